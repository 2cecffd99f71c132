"""Prepared clips become shards that training reads; shards that were damaged are named, and made again alone."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import sorajax
from sorajax.data import shards
from sorajax.data.shards import Shards
from sorajax.errors import ConfigError, InputError
from sorajax.footage import encode as module
from sorajax.footage.augment import Augment
from sorajax.footage.encode import encode, plan
from sorajax.footage.prepare import prepare
from sorajax.train.config import OptimizerConfig, TrainConfig, VideoConfig
from sorajax.train.footage import FootageObjective
from sorajax.train.loop import train
from tests import tiny
from tests.footage import films


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three videos and a picture, scanned and encoded for the tiny model."""
    return films.prepared(tmp_path_factory.mktemp("prepared"), (40, 20, 24), still=True)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return sorajax.load(tiny.write(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def folder(prepared, pipe):
    return encode(pipe, prepared, progress=False)


def test_samples_are_what_the_model_makes_of_the_frames_and_captions(folder, pipe, prepared):
    made = Shards(folder)
    assert made.shapes() == {(1, 2, 2): 1, (3, 2, 2): 4}  # 2.5 s are two clips of 9 frames at 8 a second
    samples = made.read((3, 2, 2), range(4))
    assert [(s.about["source"], s.about["start"]) for s in samples] == [
        ("0.mp4", 0.0),
        ("0.mp4", 1.125),
        ("1.mp4", 0.0),
        ("2.mp4", 0.0),
    ]
    clips = [json.loads(line) for line in (prepared / "clips.jsonl").read_text().splitlines()]
    (stretch, *_) = plan(clips, pipe.config)[3, 2, 2]
    frames = module._frames(stretch, 8)[None].astype(np.float32) / 127.5 - 1
    wanted = np.asarray(pipe.encode_video(np.concatenate([frames, frames])))[0]
    np.testing.assert_allclose(samples[0].latents, wanted, atol=2e-3)
    states = np.asarray(pipe.encode_text(["a dog, film 0"]))[0]
    kept = len(samples[0].text[0])
    np.testing.assert_allclose(samples[0].text[0], states[:kept], atol=2e-3)
    assert (states[kept:] == 0).all() and len(samples[0].text) == 2


ALL = Augment(flips=True, crops=2, strides=(1, 2), reverse=True, shuffle=4, style=2)


def test_copies_follow_the_clips_as_they_are(prepared, pipe):
    clips = [json.loads(line) for line in (prepared / "clips.jsonl").read_text().splitlines()]
    plain, more = plan(clips, pipe.config), plan(clips, pipe.config, ALL)
    assert {shape: more[shape][: len(found)] for shape, found in plain.items()} == plain
    assert len(more[1, 2, 2]) == 6  # a picture: mirrored, two crops, two colours
    fast = [s for s in more[3, 2, 2] if s.change.stride == 2]
    assert [(s.clip["source"], s.frames) for s in fast] == [("0.mp4", 9)]  # the others are too short for that
    assert [(s.frames, s.change.stride) for s in more[2, 2, 2]] == [(5, 2)] * 2
    assert len(more[3, 2, 2]) == 8 * len(plain[3, 2, 2]) + len(fast)
    frames = {json.dumps(s.change.about()): module._frames(s, 8) for s in more[3, 2, 2] if s.clip["source"] == "0.mp4"}
    whole = module._frames(more[3, 2, 2][0], 4)
    np.testing.assert_array_equal(frames['{"stride": 2}'], whole)


def test_samples_say_how_they_were_changed_and_so_do_their_captions(prepared, pipe, tmp_path, folder, monkeypatch):
    shutil.copytree(prepared, tmp_path / "out")
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("3x2x2/*.array_record")}
    monkeypatch.setattr(module, "SHARD", 4)  # so that the clips as they are have a file of their own
    augment = Augment(reverse=True, style=1)
    made = Shards(encode(pipe, tmp_path / "out", augment=augment, progress=False))
    assert {p: p.read_bytes() for p in before} == before
    samples = made.read((3, 2, 2), range(12))
    assert [s.about["change"] for s in samples[:8]] == [{}] * 4 + [{"reverse": True}] * 4
    assert [s.about["captions"] for s in samples[4:6]] == [
        ["a dog, film 0, played backwards", "a pet, played backwards"]
    ] * 2
    for one, other in zip(samples[:4], samples[4:8], strict=True):
        assert (one.about["source"], one.about["start"]) == (other.about["source"], other.about["start"])
        assert len(other.text[0]) > len(one.text[0]) and (one.latents != other.latents).any()
    assert {s.about["change"]["style"] for s in samples[8:]} <= {"grey", "sepia", "levels"}
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("made again"))
    encode(pipe, tmp_path / "out", augment=augment, progress=False)
    with pytest.raises(pytest.fail.Exception, match="made again"):
        encode(pipe, tmp_path / "out", augment=dataclasses.replace(augment, seed=1), progress=False)


def test_files_that_are_whole_are_not_made_again(folder, prepared, pipe, monkeypatch):
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("made again"))
    assert encode(pipe, prepared, progress=False) == folder


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_shard_that_is_cut_short_is_named_and_made_again_alone(prepared, pipe, folder, damage):
    (path,) = (folder / "3x2x2").glob("*.array_record")
    data, other = path.read_bytes(), next((folder / "1x2x2").glob("*.array_record")).stat().st_mtime_ns
    path.write_bytes(data[:-100]) if damage == "cut" else path.unlink()
    what = f"has {len(data) - 100} bytes instead of {len(data)}" if damage == "cut" else "is missing"
    with pytest.raises(InputError, match=f"00000.array_record {what}; run sorajax data prepare again"):
        Shards(folder)
    encode(pipe, prepared, progress=False)
    assert Shards(folder).shapes()[3, 2, 2] == 4
    assert next((folder / "1x2x2").glob("*.array_record")).stat().st_mtime_ns == other


def test_a_video_in_place_of_another_is_encoded_anew_and_a_copy_of_it_is_not(tmp_path, pipe, monkeypatch):
    path = films.write(tmp_path / "in" / "a.mp4", films.scene(0, 20))
    (tmp_path / "in" / "a.txt").write_text("a dog")
    made = []
    for source, seed in ((tmp_path / "in", 0), (tmp_path / "in", 1), (tmp_path / "moved", 1)):
        if source.name == "moved":
            shutil.copytree(tmp_path / "in", source, copy_function=shutil.copyfile)
            monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("made again"))
        else:
            films.write(path, films.scene(seed, 20))
        prepare([source], tmp_path / "out", workers=1, progress=False)
        found = Shards(encode(pipe, tmp_path / "out", progress=False))
        made.append((found.read((3, 2, 2), [0])[0].latents, found.digest()))
    assert (made[0][0] != made[1][0]).any() and made[0][1] != made[1][1]  # and a run that trained on it notices
    np.testing.assert_array_equal(made[1][0], made[2][0])
    assert made[1][1] == made[2][1]


def test_what_is_being_made_anew_is_not_trained_on(prepared, pipe, tmp_path, monkeypatch):
    shutil.copy(prepared / "clips.jsonl", tmp_path)
    made = encode(pipe, tmp_path, progress=False)
    next(made.glob("*/*.array_record")).unlink()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_make", killed)
    with pytest.raises(KeyboardInterrupt):
        encode(pipe, tmp_path, progress=False)
    with pytest.raises(InputError, match="holds no finished shards"):
        Shards(made)


def test_a_disk_that_is_full_is_said_in_a_line(prepared, pipe, tmp_path, monkeypatch):
    class Full(shards.ArrayRecordWriter):
        def close(self):
            super().close()
            raise RuntimeError("write() failed: No space left on device; writing x")

    shutil.copy(prepared / "clips.jsonl", tmp_path)
    monkeypatch.setattr(shards, "ArrayRecordWriter", Full)
    with pytest.raises(InputError, match="00000.array_record cannot be written: .*No space left on device; make room"):
        encode(pipe, tmp_path, progress=False)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["clips.jsonl"]


def test_a_folder_that_was_not_finished_is_named(tmp_path, pipe):
    with pytest.raises(InputError, match="holds no finished shards"):
        Shards(tmp_path)
    with pytest.raises(InputError, match="holds no clips.jsonl; make it with sorajax data prepare"):
        encode(pipe, tmp_path, progress=False)


@pytest.fixture
def config(folder):
    return TrainConfig(
        objective="video",
        model=tiny.CONFIG,
        video=VideoConfig(data=(str(folder),), caption_dropout=0.5),
        optimizer=OptimizerConfig(learning_rate=3e-3, warmup_steps=2),
        steps=8,
        batch=4,
        dtype="float32",
        log_every=1,
        checkpoint_every=4,
        evaluate_every=8,
        sample_clips=0,
    )


def test_batches_depend_on_the_index_alone_and_say_what_they_are_of(config, tmp_path):
    tiny.write(tmp_path / "model")
    one, other = (FootageObjective(config, tmp_path / "model") for _ in range(2))
    shapes = set()
    for index in range(12):
        first, second = one.batch(index), other.batch(index)
        assert first.keys() == second.keys() == {"latents", "text"}
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
        part = one.batch(index, np.array([1, 3]))
        np.testing.assert_array_equal(part["latents"], first["latents"][[1, 3]])
        np.testing.assert_array_equal(part["text"], first["text"][[1, 3]])
        assert len(one.names(index)) == 4 and all(" at " in name for name in one.names(index))
        shapes.add(first["latents"].shape)
    assert shapes == {(4, 1, 2, 2, 8), (4, 3, 2, 2, 8)}


def test_a_run_begins_with_a_model_trains_on_real_clips_and_resumes_exactly(config, tmp_path, monkeypatch):
    given = tiny.write(tmp_path / "given")
    (given / "README.txt").write_text("kept")
    weights = given / "transformer" / "diffusion_pytorch_model.safetensors"
    before = weights.read_bytes()
    config = dataclasses.replace(config, start=str(given), warm_start=True)
    made = train(config, runs=tmp_path / "whole", progress=False)
    assert (made / "README.txt").is_file() and weights.read_bytes() == before
    assert (made / "transformer" / weights.name).read_bytes() != before
    assert (tmp_path / "whole" / "tiny" / "video" / "video-0000008.png").is_file()

    monkeypatch.setattr(FootageObjective, "evaluate", lambda *_, **__: {})
    train(dataclasses.replace(config, steps=5), runs=tmp_path / "parts", progress=False)
    train(config, runs=tmp_path / "parts", progress=False)
    found = []
    for name in ("whole", "parts"):
        lines = (tmp_path / name / "tiny" / "video" / "log.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        found.append({r["step"]: r["loss"] for r in records if "loss" in r})
    assert found[0] == found[1] and sorted(found[0]) == list(range(1, 9))


def test_prompts_of_ones_own_are_encoded_as_captions_are(config, tmp_path):
    model, prompts = tiny.write(tmp_path / "model"), ("a red dog", "two cats")
    held_out = FootageObjective(dataclasses.replace(config, sample_prompts=prompts), model).held_out()
    assert held_out.prompts == list(prompts)
    assert len(held_out.captions) == 32
    np.testing.assert_allclose(held_out.shown, sorajax.load(model).encode_text(list(prompts)), atol=1e-5)


def test_shards_of_another_model_are_refused(config, tmp_path):
    vae = dataclasses.replace(tiny.CONFIG.vae, base_dim=16)
    other = dataclasses.replace(tiny.CONFIG, vae=vae)
    folder = tiny.write(tmp_path / "model", other)
    with pytest.raises(
        ConfigError, match="made by a tiny that differs from the one in .* by vae, vae's weights; prepare it with that"
    ):
        FootageObjective(dataclasses.replace(config, model=other), folder)


def test_weights_are_one_for_each_folder():
    with pytest.raises(ConfigError, match="video.weights: .1.0, 2.0. for 1 folders; one above 0 for each"):
        VideoConfig(data=("a",), weights=(1.0, 2.0))


def test_shards_of_other_weights_are_refused(config, tmp_path, pipe):
    folder = tiny.write(tmp_path / "model", seed=1)
    with pytest.raises(
        ConfigError, match="differs from the one in .* by vae's weights, text encoder's weights; prepare"
    ):
        FootageObjective(config, folder)
