"""What may change between a checkpoint and its resumption, and what is said of it."""

import dataclasses
from pathlib import Path

import pytest

from sorajax.errors import CheckpointError
from sorajax.train import resume
from sorajax.train.config import GuardConfig, OptimizerConfig, TrainConfig, VideoConfig
from tests import tiny

RUN = TrainConfig(objective="vae", model=tiny.CONFIG, optimizer=OptimizerConfig(learning_rate=1e-3), steps=10)
FOLDER = Path("runs/tiny/vae")


def check(accept=(), **changes) -> list[str]:
    now = dataclasses.replace(RUN, **changes)
    return resume.check(resume.plain(RUN), resume.plain(now), FOLDER, accept)


def test_an_autoencoder_of_before_it_could_learn_from_films_knows_that_it_did_not():
    old = {key: value for key, value in resume.plain(RUN).items() if key != "video"}
    assert resume.check(old, resume.plain(RUN), FOLDER) == []
    films = dataclasses.replace(RUN, video=VideoConfig(data=("films",)))
    with pytest.raises(CheckpointError, match="video.data"):
        resume.check(old, resume.plain(films), FOLDER)


def test_nothing_changed_is_nothing_said():
    assert check() == []


def test_harmless_changes_are_listed():
    assert check(steps=20, guard=GuardConfig(policy="skip")) == ["guard.policy: 'stop' -> 'skip'", "steps: 10 -> 20"]


def test_what_concerns_another_objective_may_change():
    assert check(video=VideoConfig(clips=32)) == []


def test_other_changes_are_listed_in_full_with_the_flag_that_agrees_to_them():
    with pytest.raises(CheckpointError) as error:
        check(batch=4, optimizer=OptimizerConfig(learning_rate=2e-3), seed=3, steps=20)
    message = str(error.value)
    assert "batch: 32 -> 4; optimizer.learning_rate: 0.001 -> 0.002; seed: 0 -> 3" in message
    assert message.endswith("--accept batch,optimizer.learning_rate,seed") and "steps" not in message


@pytest.mark.parametrize("accept", [("batch", "optimizer"), ("optimizer.learning_rate", "batch")])
def test_changes_that_are_agreed_to_are_listed(accept):
    changed = check(accept, batch=4, optimizer=OptimizerConfig(learning_rate=2e-3))
    assert changed == ["batch: 32 -> 4", "optimizer.learning_rate: 0.001 -> 0.002"]


@pytest.mark.parametrize("accept", [(), ("model", "optimizer")])
def test_another_model_or_optimizer_is_another_run_whatever_is_agreed_to(accept):
    model = dataclasses.replace(tiny.CONFIG, vae=dataclasses.replace(tiny.CONFIG.vae, base_dim=16))
    with pytest.raises(CheckpointError, match="another kind .model.vae.base_dim: .* -> 16; optimizer.name: "):
        check(accept, model=model, optimizer=OptimizerConfig(name="muon", learning_rate=1e-3))


def test_keys_that_one_of_two_versions_does_not_know_have_not_changed():
    older = {key: value for key, value in resume.plain(RUN).items() if key != "guard"} | {"gone": 1}
    assert resume.check(older, resume.plain(RUN), FOLDER) == []


def test_how_samples_are_made_may_change_but_not_what_is_trained():
    def of(**options):
        sample = dataclasses.replace(tiny.CONFIG.sample, **options)
        return dataclasses.replace(tiny.CONFIG, sample=sample)

    assert check(model=of(steps=9)) == [f"model.sample.steps: {tiny.CONFIG.sample.steps} -> 9"]
    for changed in ({"boundary": 0.5}, {"image": "first"}):
        with pytest.raises(CheckpointError, match="run of another kind"):
            check(model=of(**changed))
