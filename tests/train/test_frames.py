"""An autoencoder learns from frames of real clips, which shards keep where they are asked to."""

import dataclasses
import json

import numpy as np
import pytest

import sorajax
from sorajax.data.shards import Shards
from sorajax.errors import CheckpointError, ConfigError
from sorajax.footage.augment import Augment
from sorajax.footage.encode import encode
from sorajax.train.config import OptimizerConfig, TrainConfig, VaeLossConfig, VideoConfig
from sorajax.train.draws import _held_out
from sorajax.train.footage import FootageObjective
from sorajax.train.frames import FramesObjective
from sorajax.train.loop import train
from sorajax.weights import folder as folders
from tests import tiny
from tests.footage import films


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return films.prepared(tmp_path_factory.mktemp("frames"), (60, 24), still=True)


@pytest.fixture(scope="module")
def data(prepared, model):
    return encode(sorajax.load(model), prepared, pixels=True, progress=False)


@pytest.fixture
def config(data, model):
    return TrainConfig(
        objective="vae",
        model=tiny.CONFIG,
        start=str(model),
        warm_start=True,
        video=VideoConfig(data=(str(data),)),
        vae_loss=VaeLossConfig(frames=(5, 1, 9)),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=2, ema=0.1),
        dtype="float32",
        steps=6,
        batch=4,
        log_every=1,
    )


def test_the_frames_are_those_that_the_latents_are_of(data, model):
    shards, pipe = Shards(data), sorajax.load(model)
    for shape in shards.shapes():
        [sample] = shards.read(shape, [0])
        latents = pipe.encode_video(sample.frames[None].astype(np.float32) / 127.5 - 1)
        assert tiny.relative(sample.latents[None], latents) < 1e-3


def test_frames_of_copies_are_those_that_their_latents_are_of(prepared, model, tmp_path):
    (tmp_path / "clips.jsonl").write_text((prepared / "clips.jsonl").read_text())
    pipe = sorajax.load(model)
    shards = Shards(encode(pipe, tmp_path, augment=Augment(flips=True, reverse=True), pixels=True, progress=False))
    changes = set()
    for shape, count in shards.shapes().items():
        for sample in shards.read(shape, range(count)):
            latents = pipe.encode_video(sample.frames[None].astype(np.float32) / 127.5 - 1)
            assert tiny.relative(sample.latents[None], latents) < 1e-3
            changes.add(json.dumps(sample.about["change"]))
    assert len(changes) == 3


@pytest.fixture
def uneven(prepared, model, tmp_path):
    """Shards of 40 files, of which one that is held out is the only one of the longest clips."""
    [clip, *_] = map(json.loads, (prepared / "clips.jsonl").read_text().splitlines())
    names = [f"{i}.mp4" for i in range(40)]
    [kept, *_] = sorted(_held_out(set(names)))
    clips = [clip | {"source": name, "end": clip["start"] + (1.5 if name == kept else 0.7)} for name in names]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(one) + "\n" for one in clips))
    return encode(sorajax.load(model), tmp_path, pixels=True, progress=False)


def test_lengths_that_held_out_files_alone_have_are_not_trained_on(config, model, uneven):
    assert len(Shards(uneven).shapes()) == 2
    config = dataclasses.replace(config, video=VideoConfig(data=(str(uneven),)))
    with pytest.raises(ConfigError, match="at most 5, which the clips have"):
        FramesObjective(config, model)
    objective = FramesObjective(dataclasses.replace(config, vae_loss=VaeLossConfig(frames=(5,))), model)
    assert objective.batch(0)["frames"].shape == (4, 5, 32, 32, 3)
    assert objective.held_out()[0].shape[1] == 5
    assert sum(map(len, objective.measured())) == 38


def test_shards_that_have_frames_are_kept_and_those_without_are_made_anew(prepared, model, data, tmp_path):
    [file, *_] = sorted(data.rglob("*.array_record"))
    made = file.stat().st_mtime_ns
    assert encode(sorajax.load(model), prepared, progress=False) == data
    assert file.stat().st_mtime_ns == made and Shards(data).index["pixels"]
    (tmp_path / "clips.jsonl").write_text((prepared / "clips.jsonl").read_text())
    bare = encode(sorajax.load(model), tmp_path, progress=False)
    assert "pixels" not in Shards(bare).index
    assert Shards(encode(sorajax.load(model), tmp_path, pixels=True, progress=False)).index["pixels"]


def test_batches_are_stretches_of_clips_that_have_as_many_frames(config, model):
    objective, shapes = FramesObjective(config, model), []
    for index in range(6):
        batch = objective.batch(index)["frames"]
        shapes.append(batch.shape)
        assert batch.dtype == np.uint8 and len(objective.names(index)) == objective.size(index) == len(batch)
        np.testing.assert_array_equal(objective.batch(index, np.array([1]))["frames"], batch[1:2])
    assert shapes == 2 * [(4, 5, 32, 32, 3), (20, 1, 32, 32, 3), (2, 9, 32, 32, 3)]
    assert objective.names(1) != objective.names(4)


def test_it_learns_resumes_and_leaves_a_model_whose_latents_are_measured(config, model, data, tmp_path, monkeypatch):
    folder = train(dataclasses.replace(config, evaluate_every=6), runs=tmp_path, progress=False)
    stage = tmp_path / "tiny" / "vae"
    records = [json.loads(line) for line in (stage / "log.jsonl").read_text().splitlines()]
    assert "eval_psnr" in records[-1] and "eval_psnr_objects" not in records[-1]
    assert (stage / "vae-0000006.png").is_file()
    assert folders.part_digest(folder, "vae") != folders.part_digest(model, "vae")
    objective = FramesObjective(config, folder)
    clips = np.concatenate(list(objective.measured())).astype(np.float32)
    latents = np.asarray(sorajax.load(folder).encode_video(clips / 127.5 - 1))
    np.testing.assert_allclose(latents.mean((0, 1, 2, 3)), 0, atol=0.2)
    np.testing.assert_allclose(latents.std((0, 1, 2, 3)), 1, atol=0.2)
    with pytest.raises(ConfigError, match="differs from the one in .* by vae, vae's weights; prepare it with that one"):
        FootageObjective(dataclasses.replace(config, objective="video"), folder)

    again = dataclasses.replace(config, steps=8, video=VideoConfig(data=(str(data), str(data))))
    with pytest.raises(CheckpointError, match="--accept video.data"):
        train(again, runs=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"vae_loss": VaeLossConfig(frames=(13,))},
            "vae_loss.frames: .13.; name one or more of 1 . 4k frames, at most 9",
        ),
        (
            {"model": dataclasses.replace(tiny.CONFIG, vae=dataclasses.replace(tiny.CONFIG.vae, patch_size=24))},
            "has frames of 32x32, no multiple of the autoencoder's 96 pixels",
        ),
    ],
)
def test_frames_that_do_not_fit_are_refused(config, model, changes, said):
    with pytest.raises(ConfigError, match=said):
        FramesObjective(dataclasses.replace(config, **changes), model)


def test_shards_without_frames_are_refused_with_the_remedy(config, model, tmp_path):
    tiny.write_shards(tmp_path / "shards", 4)
    video = VideoConfig(data=(str(tmp_path / "shards"),))
    with pytest.raises(ConfigError, match="video.data: .*shards holds no frames; prepare it with --pixels"):
        FramesObjective(dataclasses.replace(config, video=video), model)
