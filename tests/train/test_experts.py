"""Models of two transformers: each is trained on its noise levels, and sampled with the other."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import provenance
import sorajax
from sorajax.diffusion.condition import of_images
from sorajax.errors import ConfigError
from sorajax.footage.encode import encode
from sorajax.train import judge
from sorajax.train.config import LoraConfig, OptimizerConfig, TrainConfig, VideoConfig
from sorajax.train.footage import FootageObjective
from sorajax.train.loop import train
from sorajax.weights import folder as folders
from tests import tiny
from tests.footage import films

TWO = dataclasses.replace(
    tiny.WAN["i2v-a14b"],
    sample=dataclasses.replace(tiny.WAN["i2v-a14b"].sample, width=32, height=32, frames=9, fps=8, steps=3),
)
PARTS = {"high": "transformer", "low": "transformer_2"}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A model of two transformers that takes a picture beside its latents, and shards that were made with it."""
    root = tmp_path_factory.mktemp("two")
    model = tiny.write(root / "model", TWO)
    return model, encode(sorajax.load(model), films.prepared(root, (40, 24)), progress=False)


def expert(two, **options) -> TrainConfig:
    model, made = two
    video = VideoConfig(data=(str(made),), **options.pop("video"))
    return TrainConfig(
        objective="video",
        model=TWO,
        start=str(model),
        warm_start=True,
        video=video,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1, ema=0.1),
        batch=2,
        dtype="float32",
        log_every=1,
        **options,
    )


def test_a_picture_beside_the_latents_is_what_sampling_gives_the_model(two):
    model, made = two
    objective = FootageObjective(expert(two, video={"expert": "high"}, steps=1), model)
    batch = objective.batch(0)
    assert batch["beside"].shape[-1] == objective.config.model.dit.in_channels - batch["latents"].shape[-1]
    clips = objective.held_out()
    pipe = sorajax.load(model)
    still = pipe.decode(clips.latents[:1])[:, :1]
    condition = of_images("beside", still[:, 0], pipe.encode_video, 9, 4).beside
    assert condition is not None and clips.beside is not None
    np.testing.assert_array_equal(clips.beside[:1, ..., :4], condition[..., :4])  # the mask
    assert clips.beside.shape[1:] == condition.shape[1:]


@pytest.mark.parametrize("which", PARTS)
def test_each_is_trained_on_its_noise_levels_and_sampled_with_the_other(two, tmp_path, monkeypatch, which):
    used, sample = {}, judge.sample

    def told(dit, *arguments, low, **options):
        used.update(high=dit, low=low(), boundary=options["boundary"])
        return sample(dit, *arguments, low=low, **options)

    monkeypatch.setattr(judge, "sample", told)
    before = {part: folders.part_digest(two[0], part) for part in PARTS.values()}
    config = expert(two, video={"expert": which}, steps=2, sample_clips=1)
    config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, ema=0.0))
    model = train(config, runs=tmp_path, progress=False)
    changed = {name for name, part in PARTS.items() if folders.part_digest(model, part) != before[part]}
    assert changed == {which}

    folder = tmp_path / "wan-i2v-a14b" / ("video-low" if which == "low" else "video")
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    levels = [float(key.rpartition("_")[2]) for key in last if key.startswith("eval_loss_")]
    assert len(levels) == 4 and all((level > 0.75) == (which == "high") for level in levels)

    pipe = sorajax.load(model)
    for name, dit in (("high", pipe.dit), ("low", pipe.dit_low)):
        np.testing.assert_allclose(used[name].blocks.ffn_in.kernel[...], dit.blocks.ffn_in.kernel[...], rtol=0.01)
    assert used["boundary"] == 0.75
    assert (folder / "video-0000002.png").is_file()
    report = provenance.verify(folder / "video-0000002-0.mp4")
    assert report.status == "authentic" and report.manifest["generation"]["settings"]["boundary"] == 0.75
    image = np.zeros((32, 32, 3), np.uint8)
    assert np.isfinite(pipe.sample(["a dog"], image=image, steps=2)).all()


def test_a_device_that_has_no_room_for_samples_ends_no_run(two, tmp_path, monkeypatch):
    def full(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1073741824 bytes")

    monkeypatch.setattr(judge, "sample", full)
    with pytest.warns(UserWarning, match="step 1: no samples, the devices' memory is too small for them"):
        train(expert(two, video={"expert": "high"}, steps=1), runs=tmp_path, progress=False)
    assert "eval_loss_" in (tmp_path / "wan-i2v-a14b" / "video" / "log.jsonl").read_text()


def test_the_first_of_two_is_trained_where_there_is_no_second_yet(two, tmp_path):
    model = shutil.copytree(two[0], tmp_path / "runs" / "wan-i2v-a14b" / "model")
    shutil.rmtree(model / "transformer_2")
    config = dataclasses.replace(expert(two, video={"expert": "high"}, steps=1), start="")
    with pytest.warns(UserWarning, match="step 1: no samples, as there is no weights in .*transformer_2"):
        train(config, runs=tmp_path / "runs", progress=False)
    assert "eval_loss_" in (tmp_path / "runs" / "wan-i2v-a14b" / "video" / "log.jsonl").read_text()


def test_an_adapter_of_the_second_transformer_says_so_in_its_file(two, tmp_path):
    config = expert(two, video={"expert": "low"}, steps=2, lora=LoraConfig(rank=2))
    file = train(config, runs=tmp_path, progress=False)
    assert file.name == "lora-low.safetensors"
    pipe = sorajax.load(two[0])
    pipe.load_lora(file)
    assert [fact["transformer"] for fact in pipe.loras] == [1]
    other = expert(two, video={"expert": "high"}, steps=1, lora=LoraConfig(rank=2, start=str(file)))
    with pytest.raises(ConfigError, match="lora-low.safetensors is of the other of two transformers"):
        train(other, runs=tmp_path / "other", progress=False)


def test_which_of_two_is_trained_must_be_said_and_of_one_must_not(two, tmp_path):
    with pytest.raises(ConfigError, match='video.expert: wan-i2v-a14b has two; say which is trained, "high" or "low"'):
        train(expert(two, video={}, steps=1), runs=tmp_path, progress=False)
    config = expert(two, video={"expert": "high"}, steps=1)
    one = dataclasses.replace(config, start="", model=tiny.CONFIG)
    tiny.write(tmp_path / "tiny" / "model")
    with pytest.raises(ConfigError, match="video.expert: tiny has one transformer; leave it out"):
        train(one, runs=tmp_path, progress=False)
