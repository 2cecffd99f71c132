"""How a transformer in training is judged: its samples."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import sorajax
from sorajax.data.world import WorldConfig
from sorajax.errors import ConfigError
from sorajax.mesh import make_mesh
from sorajax.train import judge
from sorajax.train.config import OptimizerConfig, TrainConfig
from sorajax.train.loop import train
from sorajax.train.video import VideoObjective
from tests import tiny

PROMPTS = ("a red dog", "two cats", "a boat at sea")
CONFIG = TrainConfig(
    objective="video",
    model=tiny.CONFIG,
    world=WorldConfig(size=32, frames=9),
    dtype="float32",
    sample_prompts=PROMPTS,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("judge") / "tiny" / "model")


def test_samples_in_groups_are_those_of_all_at_once(folder, monkeypatch):
    pipe, mesh = sorajax.load(folder), make_mesh(devices=jax.devices()[:1])
    text = np.asarray(pipe.encode_text(list(PROMPTS)))
    arguments = pipe.dit, pipe.vae, tiny.CONFIG.sample, text, text[:1], (3, 2, 2, 8), mesh
    whole = judge.samples(*arguments)
    counted, sample = [], judge.sample
    monkeypatch.setattr(judge, "sample", lambda *a, **k: counted.append(len(a[1])) or sample(*a, **k))
    monkeypatch.setattr(judge, "AT_ONCE", 2 * 3 * 2 * 2)
    groups = judge.samples(*arguments)
    assert counted == [2, 2] and groups.shape == whole.shape == (3, 9, 32, 32, 3)
    np.testing.assert_allclose(groups.astype(int), whole.astype(int), atol=1)


def test_the_loss_of_groups_is_that_of_all_at_once(folder, monkeypatch):
    pipe, mesh, objective = sorajax.load(folder), make_mesh(devices=jax.devices()[:1]), VideoObjective(CONFIG, folder)
    clips = objective.held_out()
    whole = judge.figures(objective._errors, pipe.dit, clips, mesh, images=True)
    monkeypatch.setattr(judge, "AT_ONCE", 5 * 3 * 2 * 2)
    shapes = []
    told = lambda *arguments: shapes.append(arguments[2].shape) or objective._errors(*arguments)  # noqa: E731
    assert judge.figures(told, pipe.dit, clips, mesh, images=True) == pytest.approx(whole, rel=1e-4, abs=1e-5)
    assert set(shapes) == {(5, 3, 2, 2, 8)} and len(whole) == 12  # 32 of them: the last of seven groups is filled up


@pytest.mark.parametrize(("count", "size"), [(8, 16), (32, 32), (33, 48), (2, 16)])
def test_every_device_has_as_many_clips(count, size):
    mesh: Any = SimpleNamespace(shape={"data": 4, "fsdp": 4})
    assert judge._at_once(mesh, (21, 60, 104, 16), count) == 16  # a device can hold one of them
    assert judge._at_once(mesh, (9, 8, 8, 16), count) == size


def test_samples_are_of_the_prompts_that_are_asked_for(folder):
    held_out = VideoObjective(CONFIG, folder).held_out()
    assert held_out.prompts == list(PROMPTS)
    states = np.asarray(sorajax.load(folder).encode_text(held_out.prompts))
    np.testing.assert_allclose(held_out.shown, states, atol=1e-5)


def test_a_model_that_needs_a_picture_has_no_prompts_of_ones_own(tmp_path):
    config = dataclasses.replace(CONFIG, model=tiny.WAN["i2v-a14b"], optimizer=OptimizerConfig())
    tiny.write(tmp_path / config.model.name / "model", config.model)
    with pytest.raises(ConfigError, match='sample_prompts: wan-i2v-a14b takes a picture "beside"'):
        train(config, runs=tmp_path, progress=False)
