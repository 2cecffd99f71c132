"""A run that is interrupted goes on as if it had not been, and one that cannot go on says why."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import provenance
import sorajax
from sorajax.checkpoint import Checkpoints
from sorajax.cost.account import Cost, Rates
from sorajax.data.world import WorldConfig
from sorajax.errors import CheckpointError, ConfigError, SorajaxError
from sorajax.media import samples
from sorajax.train import config as configs
from sorajax.train.config import OptimizerConfig, TrainConfig, VaeLossConfig, VideoConfig
from sorajax.train.loop import train
from sorajax.train.meter import spent
from sorajax.train.video import VideoObjective
from sorajax.weights import folder as folders
from sorajax.weights.vae import load_vae
from tests import tiny
from tests.train.line import RUN, SIZE, Line, stand_in

BASE = TrainConfig(
    objective="vae",
    model=tiny.CONFIG,
    world=WorldConfig(size=32, frames=9),
    vae_loss=VaeLossConfig(frames=(5,)),
    optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=2, clip_norm=10.0, ema=0.9),
    steps=6,
    batch=2,
    dtype="float32",
    log_every=1,
    checkpoint_every=3,
    evaluate_every=100,
    sample_clips=0,
)


def losses(runs) -> dict[int, float]:
    lines = (runs / "tiny" / "vae" / "log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {r["step"]: r["loss"] for r in records if "loss" in r}


def test_a_stage_leaves_a_model_folder_a_log_and_a_sheet(tmp_path):
    train(dataclasses.replace(BASE, steps=2), runs=tmp_path, progress=False)
    tensors = folders.load_part(tmp_path / "tiny" / "model", "vae")
    assert tensors and all(np.isfinite(t.astype(np.float32)).all() for t in tensors.values())
    config = folders.load_config(tmp_path / "tiny" / "model")
    assert len(config.vae.latents_std) == config.vae.z_dim and min(config.vae.latents_std) > 0
    assert sorted(losses(tmp_path)) == [1, 2]
    assert (tmp_path / "tiny" / "vae" / "vae-0000002.png").stat().st_size > 1000


@pytest.fixture
def whole(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    train(RUN, runs=tmp_path / "whole", progress=False)
    return tmp_path / "whole"


def kernel(runs) -> np.ndarray:
    return np.load(runs / "tiny" / "model" / "kernel.npy")


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_resumed_run_repeats_the_losses_of_an_uninterrupted_one_exactly(whole, tmp_path, steps):
    train(dataclasses.replace(RUN, steps=steps), runs=tmp_path, progress=False)
    train(RUN, runs=tmp_path, progress=False)
    assert losses(tmp_path) == losses(whole) and len(losses(whole)) == 6
    np.testing.assert_array_equal(kernel(tmp_path), kernel(whole))


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(whole, tmp_path):
    train(dataclasses.replace(RUN, steps=5), runs=tmp_path, progress=False)
    for path in (tmp_path / "tiny" / "vae" / "checkpoints" / "5").rglob("d/*"):
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="checkpoints/5 is damaged .*has 0 bytes instead of"):
        train(RUN, runs=tmp_path, progress=False)
    assert losses(tmp_path) == losses(whole)


def test_a_disk_that_is_full_for_a_while_costs_nothing(whole, tmp_path, monkeypatch):
    usage = shutil.disk_usage
    free = iter([0])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free, usage(path).free)))
    with pytest.warns(UserWarning, match="checkpoint of step 3 could not be written"):
        train(RUN, runs=tmp_path, progress=False)
    assert losses(tmp_path) == losses(whole)
    with contextlib.closing(Checkpoints(tmp_path / "tiny" / "vae" / "checkpoints")) as checkpoints:
        assert checkpoints.newest_whole() == 6


def test_an_export_that_finds_no_space_is_made_up_for_in_the_end(whole, tmp_path, monkeypatch, capsys):
    export, full = Line.export, iter([True])

    def fails(self, model, folder):
        if next(full, False):
            raise CheckpointError("no space is left there")
        export(self, model, folder)

    monkeypatch.setattr(Line, "export", fails)
    train(dataclasses.replace(RUN, evaluate_every=3), runs=tmp_path, progress=False)
    assert "step 3: no space is left there" in capsys.readouterr().err
    np.testing.assert_array_equal(kernel(tmp_path), kernel(whole))


def test_a_disk_that_stays_full_is_an_error_in_the_end(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with (
        pytest.warns(UserWarning),
        pytest.raises(CheckpointError, match="step 6 could not be saved in .*; free some space"),
    ):
        train(RUN, runs=tmp_path, progress=False)
    np.testing.assert_array_equal(kernel(tmp_path), kernel(whole))


def test_sigterm_saves_a_checkpoint_and_ends(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    make = Line.batch

    def batch(self, index):
        if index == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(self, index)

    monkeypatch.setattr(Line, "batch", batch)
    before = signal.getsignal(signal.SIGTERM)
    train(dataclasses.replace(RUN, steps=100_000), runs=tmp_path, progress=False)
    assert signal.getsignal(signal.SIGTERM) is before
    with contextlib.closing(Checkpoints(tmp_path / "tiny" / "vae" / "checkpoints")) as checkpoints:
        assert 1 <= checkpoints.newest_whole() < 10_000


def test_a_stage_of_other_sizes_than_the_one_before_is_refused(tmp_path):
    folder = tiny.write(tmp_path / "tiny" / "model")
    model = dataclasses.replace(tiny.CONFIG, vae=dataclasses.replace(tiny.CONFIG.vae, base_dim=16))
    with pytest.raises(ConfigError, match=f"model.vae: {folder} holds one of other sizes"):
        train(dataclasses.replace(BASE, objective="video", model=model), runs=tmp_path, progress=False)


def test_latents_are_made_once_and_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    from flax import nnx

    from sorajax.data.world import World
    from sorajax.models.vae import VAE
    from sorajax.train import latents

    folder = tiny.write(tmp_path / "model")
    vae = VAE(tiny.CONFIG.vae, rngs=nnx.Rngs(0))
    load_vae(vae, folders.load_part(folder, "vae"))
    world = World(BASE.world)
    monkeypatch.setattr(latents, "CHUNK", 2)
    whole, cover = latents.cached(world, vae, 4, tmp_path / "whole", "a")
    assert whole.shape == (4, 3, 2, 2, 8) and 0 < cover.max() <= 1

    replace, calls = os.replace, []

    def killed(draft, path):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(draft, path)

    monkeypatch.setattr(latents.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        latents.cached(world, vae, 4, tmp_path / "parts", "a")
    monkeypatch.setattr(latents.os, "replace", replace)
    again, _ = latents.cached(world, vae, 4, tmp_path / "parts", "a")
    np.testing.assert_array_equal(again, whole)


def test_a_changed_config_is_named_rather_than_resumed(whole):
    with pytest.raises(CheckpointError, match="another config .batch: 2 -> 4.; .*--accept batch"):
        train(dataclasses.replace(RUN, batch=4), runs=whole, progress=False)


def test_a_section_of_another_objective_may_change(whole):
    config = dataclasses.replace(RUN, video=VideoConfig(clips=32), steps=1)
    assert train(config, runs=whole, progress=False).is_dir()


def test_a_change_that_is_agreed_to_goes_on_and_is_written_down(whole):
    train(dataclasses.replace(RUN, batch=4, steps=8), runs=whole, progress=False, accept=["batch"])
    lines = (whole / "tiny" / "vae" / "log.jsonl").read_text().splitlines()
    _, event = [r for r in map(json.loads, lines) if "event" in r]
    assert (event["step"], event["event"]) == (6, "resumed")
    assert event["changed"] == ["batch: 2 -> 4", "steps: 6 -> 8"]


def test_stretches_are_taken_in_turn_with_as_many_frames_in_all(tmp_path):
    from sorajax.train.vae import VaeObjective

    config = dataclasses.replace(BASE, batch=4, vae_loss=VaeLossConfig(frames=(5, 5, 9)))
    objective = VaeObjective(config, tmp_path)
    assert [objective.batch(i)["frames"].shape[:2] for i in range(4)] == [(4, 5), (4, 5), (2, 9), (4, 5)]
    with pytest.raises(ConfigError, match="vae_loss.frames: .*17.*at most 9, which the clips have"):
        VaeObjective(dataclasses.replace(BASE, vae_loss=VaeLossConfig(frames=(5, 17))), tmp_path)


def test_the_transformer_learns_from_what_the_stages_before_exported(tmp_path):
    tiny.write(tmp_path / "tiny" / "model")
    config = dataclasses.replace(
        BASE,
        objective="video",
        video=VideoConfig(clips=32),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=5),
        steps=60,
        batch=16,
        log_every=10,
        evaluate_every=60,
    )
    folder = train(config, runs=tmp_path, progress=False)
    records = [json.loads(line) for line in (tmp_path / "tiny" / "video" / "log.jsonl").read_text().splitlines()]
    curve = [r["loss"] for r in records if "loss" in r]
    assert min(curve[1:]) < curve[0]
    assert {"eval_loss_0.6", "eval_text_gap_0.6"} <= records[-1].keys()
    assert folders.load_part(folder, "transformer")


def test_configs_inherit_and_refuse_what_they_do_not_know(tmp_path):
    assert configs.load("mini-vae").model == configs.load("mini").model
    assert configs.load("mini-vae").objective == "vae"
    bad = tmp_path / "bad.toml"
    bad.write_text('base = "mini"\nsteps = "many"\n')
    with pytest.raises(ConfigError, match="steps: 'many' is of type str, int is expected"):
        configs.load(bad)
    bad.write_text('base = "mini"\n[model]\ndepth = 3\n')
    with pytest.raises(ConfigError, match="unknown key 'depth'; known keys: name"):
        configs.load(bad)
    with pytest.raises(ConfigError, match="no config 'maxi'; presets: .*mini"):
        configs.load("maxi")
    bad.write_text('base = "bad.toml"')
    with pytest.raises(ConfigError, match="its base leads back to itself"):
        configs.load(bad)
    bad.write_text("base = 3")
    with pytest.raises(ConfigError, match="base: 3 is not the name of a config"):
        configs.load(bad)


def test_a_path_that_is_wrong_is_not_taken_for_a_preset():
    with pytest.raises(ConfigError, match="no config 'experimnts/mini.toml'"):
        configs.load("experimnts/mini.toml")


def test_a_base_is_sought_beside_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "base.toml").write_text('base = "mini"\nsteps = 3\n')
    (tmp_path / "own" / "run.toml").write_text('base = "base.toml"\nbatch = 5\n')
    config = configs.load("own/run.toml")
    assert (config.steps, config.batch, config.model.name) == (3, 5, "mini")


def test_what_the_run_is_made_of_changed_since_is_named_too(whole, monkeypatch):
    monkeypatch.setattr(Line, "sources", lambda self: {"video.data": "aaaa"})
    train(dataclasses.replace(RUN, steps=8), runs=whole, progress=False)  # was not known before
    monkeypatch.setattr(Line, "sources", lambda self: {"video.data": "bbbb"})
    longer = dataclasses.replace(RUN, steps=10)
    with pytest.raises(CheckpointError, match=r"video.data: its files are others .aaaa -> bbbb.*--accept video.data"):
        train(longer, runs=whole, progress=False)
    train(longer, runs=whole, progress=False, accept=["video.data"])
    assert sorted(losses(whole)) == list(range(1, 11))


def test_the_cost_of_a_run_goes_on_where_it_was_broken_off(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    priced = dataclasses.replace(RUN, cost=Rates(price=3600.0, currency="EUR", carbon=100.0, watts=3.6e6))
    train(dataclasses.replace(priced, steps=3), runs=tmp_path, progress=False)
    train(priced, runs=tmp_path, progress=False)
    lines = [json.loads(line) for line in (tmp_path / "tiny" / "vae" / "log.jsonl").read_text().splitlines()]
    steps = [r for r in lines if "loss" in r]
    assert [r["flops"] for r in steps] == [step * 2 * 2 * 2 * SIZE**2 for step in range(1, 7)]
    for name in ("seconds", "device_seconds", "kwh", "money", "co2_grams"):
        values = [r[name] for r in steps]
        assert values == sorted(values) and values[0] > 0
    last = steps[-1]
    assert last["money"] == pytest.approx(last["device_seconds"])  # a device's second is 1 EUR
    assert last["kwh"] == pytest.approx(last["device_seconds"])  # and 1 kWh
    assert last["co2_grams"] == pytest.approx(100 * last["kwh"])
    assert lines[0]["event"] == "started" and lines[0]["energy"] == "device seconds x 3.6e+06 W a device, given"


def test_steps_that_a_kill_made_in_vain_were_paid_for(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    train(dataclasses.replace(RUN, steps=3), runs=tmp_path, progress=False)
    stage = tmp_path / "tiny" / "vae"
    saved = json.loads((stage / "spent.json").read_text())
    (stage / "spent.json").write_text(json.dumps({name: 10 * value for name, value in saved.items()}))
    train(RUN, runs=tmp_path, progress=False)
    [*_, last] = (r for r in map(json.loads, (stage / "log.jsonl").read_text().splitlines()) if "loss" in r)
    assert last["flops"] == 10 * saved["flops"] + 3 * saved["flops"] / 3
    assert last["device_seconds"] > 10 * saved["device_seconds"]
    for damage in ('{"seconds": 1', '{"hours": 1}', '{"device_seconds": "much"}'):
        (stage / "spent.json").write_text(damage)
        assert spent(stage / "spent.json", Cost(flops=5.0)) == Cost(flops=5.0)


def test_a_checkpoint_of_before_costs_were_kept_goes_on(whole, monkeypatch):
    restore = Checkpoints.about
    old = lambda self, step: {k: v for k, v in restore(self, step).items() if k not in ("cost", "sources", "judged")}  # noqa: E731
    monkeypatch.setattr(Checkpoints, "about", lambda self, step: old(self, step) | {"seconds": 7.0})
    train(dataclasses.replace(RUN, steps=8), runs=whole, progress=False)
    assert sorted(losses(whole)) == list(range(1, 9))


def image_config(**options) -> TrainConfig:
    sample = dataclasses.replace(tiny.CONFIG.sample, image="first")
    values = {"objective": "video", "model": dataclasses.replace(tiny.CONFIG, sample=sample), "batch": 4}
    values |= {"steps": 2, "video": VideoConfig(clips=32, image=0.5)}
    return dataclasses.replace(BASE, **values | options)


def test_a_model_that_was_given_first_frames_takes_a_picture(tmp_path):
    tiny.write(tmp_path / "tiny" / "model")
    folder = train(image_config(), runs=tmp_path, progress=False)
    pipe = sorajax.load(folder)
    picture = np.full((32, 32, 3), 200, np.uint8)
    latents = pipe.sample(["a dog"], image=picture, seed=1)
    first = pipe.encode_video(picture[None, None].astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(latents[:, :1], first, atol=1e-5)
    assert (tmp_path / "tiny" / "video" / "video-0000002-image.png").stat().st_size > 1000
    records = [json.loads(line) for line in (tmp_path / "tiny" / "video" / "log.jsonl").read_text().splitlines()]
    assert {"eval_image_loss_0.6", "eval_loss_0.6"} <= records[-1].keys()


def test_a_given_first_frame_is_seen_clean_at_timestep_0_and_not_learned(tmp_path):
    tiny.write(tmp_path / "model")
    objective = VideoObjective(image_config(), tmp_path / "model")
    seen = {}

    def model(latents, timestep, text):
        seen.update(latents=latents, timestep=timestep)
        return jnp.zeros_like(latents)

    x, noise = jnp.ones((2, 3, 2, 2, 8)), jnp.full((2, 3, 2, 2, 8), 5.0)
    given = jnp.array([True, False])
    error, weight = objective._error(model, x, None, jnp.array([0.5, 0.5]), noise, given)
    np.testing.assert_allclose(seen["timestep"], [[0, 500, 500], [500, 500, 500]])
    np.testing.assert_allclose(seen["latents"][0, 0], 1.0)
    np.testing.assert_allclose(seen["latents"][0, 1:], 3.0)
    np.testing.assert_allclose(seen["latents"][1], 3.0)
    np.testing.assert_array_equal(weight[:, :, 0, 0], [[0, 1, 1], [1, 1, 1]])
    np.testing.assert_allclose(error, 16.0)


def test_a_model_that_takes_no_picture_is_not_trained_to(tmp_path):
    tiny.write(tmp_path / "tiny" / "model")
    with pytest.raises(ConfigError, match='video.image: 0.5, and model.sample.image is None; set that to "first"'):
        train(image_config(model=tiny.CONFIG), runs=tmp_path, progress=False)


def test_samples_of_a_run_are_signed_clips_of_the_model_it_exported(tmp_path):
    tiny.write(tmp_path / "tiny" / "model")
    sample = dataclasses.replace(tiny.CONFIG.sample, image=None)
    config = image_config(
        model=dataclasses.replace(tiny.CONFIG, sample=sample), video=VideoConfig(clips=32), sample_clips=1
    )
    folder = train(config, runs=tmp_path, progress=False)
    clips = sorted((tmp_path / "tiny" / "video").glob("*.mp4"))
    assert [clip.name for clip in clips] == ["video-0000002-0.mp4"]
    report = provenance.verify(clips[0])
    assert report.status == "authentic" and report.watermark.found
    assert report.manifest["generation"]["model"]["digest"] == folders.model_digest(folder)
    assert report.manifest["generation"]["settings"]["training_step"] == 2


def test_a_sample_in_which_no_watermark_holds_is_left_out_with_a_warning(tmp_path, monkeypatch):
    blank = np.zeros((1, 9, 32, 32, 3), np.uint8)
    monkeypatch.setattr(samples, "make_clip", lambda *_, **__: raise_(SorajaxError("cannot be read back")))
    with pytest.warns(UserWarning, match="no sample video-0-0.mp4: cannot be read back"):
        facts = {"prompts": ["a dog"], "fps": 8, "model": ("tiny", "sha256:0"), "seed": 0, "settings": {}}
        assert samples.save_samples(list(blank), tmp_path, "video-0", **facts) == []


def raise_(error):
    raise error
