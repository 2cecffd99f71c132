"""The watermark: unseen, read back after what happens to video, and silent where there is none."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import provenance
from provenance import video, watermark
from provenance.errors import InputError

PAYLOAD = b"\x00\xff8bytes"
SCENES = {
    "bright": {},
    "dark": {"brightness": 0.25},
    "almost black": {"brightness": 0.03},
    "black and white": {"grey": True},
    "wide": {"size": (360, 640)},
}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize(("scene", "crf"), [*((scene, 23) for scene in SCENES), ("bright", 17), ("bright", 30)])
def test_survives_h264(scene: str, crf: int, clip, encode, tmp_path) -> None:
    frames = watermark.embed(clip(crf, **SCENES[scene]), PAYLOAD)
    saved = encode(tmp_path / "clip.mp4", frames, crf=crf)
    found = watermark.detect(np.stack(list(video.read_frames(saved))))
    assert found.found and found.payload == PAYLOAD and found.p_value < 1e-9


@pytest.mark.parametrize("side", [180, 128, 384])
def test_survives_h264_and_a_new_size(side: int, clip, encode, tmp_path) -> None:
    frames = watermark.embed(clip(3), PAYLOAD)
    saved = encode(tmp_path / "clip.mp4", frames, crf=23, size=(side, side))
    assert watermark.detect(np.stack(list(video.read_frames(saved)))).payload == PAYLOAD


CHANGES = {
    "flipped": lambda x: x[:, :, ::-1],
    "upside down": lambda x: x[:, ::-1],
    "turned by 90 degrees": lambda x: np.rot90(x, axes=(1, 2)),
    "cropped off centre": lambda x: x[:, 20:202, 37:219],
    "half as bright": lambda x: x // 2,
    "contrast x1.5": lambda x: np.clip((x - 128.0) * 1.5 + 128, 0, 255).astype(np.uint8),
    "grey": lambda x: np.repeat(x.mean(-1, keepdims=True), 3, -1).astype(np.uint8),
    "reversed": lambda x: x[::-1],
    "one frame": lambda x: x[4:5],
    "noisy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 10, x.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_survives(change: str, clip) -> None:
    changed = np.ascontiguousarray(CHANGES[change](watermark.embed(clip(4), PAYLOAD)))
    assert watermark.detect(changed).payload == PAYLOAD


@pytest.mark.parametrize("scene", SCENES)
def test_cannot_be_seen(scene: str, clip) -> None:
    frames = clip(5, frames=2, **SCENES[scene])
    least = 42.0 if scene == "wide" else 40.0
    for before, after in zip(frames, watermark.embed(frames, PAYLOAD), strict=True):
        assert psnr(before, after) >= least


@pytest.mark.parametrize("psnr_asked", [36.0, 45.0])
def test_is_as_faint_as_is_asked(psnr_asked: float) -> None:
    lively = np.random.default_rng(0).integers(60, 196, (1, 360, 640, 3), np.uint8)
    assert psnr(lively, watermark.embed(lively, PAYLOAD, psnr=psnr_asked)) == pytest.approx(psnr_asked, abs=0.3)


def test_sides_that_do_not_divide_are_read_as_well_as_those_that_do(clip) -> None:
    # Large frames are looked at in squares of whole pixels; what is left at the edges must not shift the grid.
    even = clip(9, frames=1, size=(720, 1280))
    odd = np.pad(even, [(0, 0), (0, 1), (0, 1), (0, 0)], mode="edge")
    chances = [
        np.log(watermark.detect(watermark.embed(frames, PAYLOAD), thorough=False).p_value) for frames in (even, odd)
    ]
    assert chances[0] < -60 and chances[1] == pytest.approx(chances[0], rel=0.2)


def test_a_video_that_changes_its_size_is_judged_by_most_of_its_frames(clip) -> None:
    detector = watermark.Detector()
    for frame in (*clip(10, frames=1, size=(240, 320)), *watermark.embed(clip(11, frames=4), PAYLOAD)):
        detector.add(frame)
    detector.add(np.zeros((8, 8, 3), np.uint8))
    assert detector.result(thorough=False).payload == PAYLOAD


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(min_size=8, max_size=8), key=st.none() | st.binary(max_size=64), seed=st.integers(0, 10**6))
def test_any_payload_with_any_key_on_any_clip(payload: bytes, key: bytes | None, seed: int, clip) -> None:
    frames = clip(seed, frames=1)
    marked = watermark.embed(frames, payload, key)
    assert marked.dtype == np.uint8 and marked.shape == frames.shape
    assert watermark.detect(marked, key).payload == payload


def test_another_key_sees_nothing(clip) -> None:
    marked = watermark.embed(clip(6, frames=2), PAYLOAD, key=b"private")
    assert not watermark.detect(marked, thorough=False).found
    assert not watermark.detect(marked, key=b"another").found


def test_unmarked_clips_give_no_alarm_and_honest_p_values(clip) -> None:
    # Keys and clips both vary; p is below u in a share u of cases at most, within what 60 draws allow (1 in 1000).
    frames = [clip(200 + i, frames=1, size=(192, 192)) for i in range(6)]
    p_values = np.array([watermark.detect(frames[i % 6], key=b"%d" % i, thorough=False).p_value for i in range(60)])
    assert p_values.min() > 1e-5
    assert (p_values < 0.05).sum() <= 10
    assert (p_values < 0.5).sum() <= 42


def test_a_thorough_search_raises_no_false_alarm(clip) -> None:
    found = watermark.detect(clip(300, frames=3))
    assert not found.found and found.payload is None and found.p_value > 1e-6


def test_a_flat_negative_is_not_read_as_another_payload() -> None:
    flat = np.full((2, 256, 256, 3), 120, np.uint8)
    marked = watermark.embed(flat, PAYLOAD)
    assert watermark.detect(255 - marked).payload == PAYLOAD
    assert watermark.detect(marked // 2).payload == PAYLOAD


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "a path",
        [],
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((3, 0, 0, 3), np.uint8),
        np.zeros((3, 1, 1, 3), np.uint8),
        np.zeros((2, 40, 3000, 3), np.uint8),
        np.zeros((2, 256, 256, 3), np.float32),
        np.full((2, 256, 256, 3), np.nan),
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((2, 256, 256, 4), np.uint8),
        np.full((2, 256, 256, 3), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (1, 40, 3000, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (1, 33, 33, 3), np.uint8)[:, ::-1, ::2],
        np.ma.masked_array(np.zeros((1, 256, 256, 3), np.uint8), mask=True),
        np.array([object()]),
    ],
    ids=lambda odd: f"{type(odd).__name__} {getattr(odd, 'shape', '')}",
)
def test_odd_video_has_no_watermark_and_raises_nothing(odd) -> None:
    found = watermark.detect(odd)
    assert not found.found and found.payload is None and 0 <= found.p_value <= 1


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


@settings(max_examples=40)
@given(st.tuples(st.integers(0, 2), st.integers(0, 70), st.integers(0, 31)), st.booleans(), st.integers(0, 10**6))
def test_frames_too_small_to_search_are_nothing(shape: tuple[int, int, int], turned: bool, seed: int) -> None:
    t, long, short = shape
    assert watermark.detect(noise(t, *((short, long) if turned else (long, short)), seed=seed)) == watermark.NOTHING


@settings(max_examples=4, deadline=None)
@example((1, 32, 32), 0)
@example((2, 32, 300), 0)
@given(st.tuples(st.integers(1, 2), st.integers(32, 70), st.integers(32, 70)), st.integers(0, 10**6))
def test_any_larger_size_is_searched_without_complaint(shape: tuple[int, int, int], seed: int) -> None:
    found = watermark.detect(noise(*shape, seed=seed))
    assert not found.found and 0 < found.p_value <= 1


@pytest.mark.parametrize(
    ("frames", "payload", "says"),
    [
        (np.zeros((1, 256, 256, 3), np.float32), PAYLOAD, "float32"),
        (np.zeros((256, 256, 3), np.uint8), PAYLOAD, r"\[256, 256, 3\]"),
        (np.zeros((1, 64, 256, 3), np.uint8), PAYLOAD, "at least 128 pixels a side, not 256x64"),
        (np.zeros((0, 256, 256, 3), np.uint8), PAYLOAD, "at least one; there is none"),
        (np.zeros((1, 256, 256, 3), np.uint8), b"short", "8 bytes, not 5"),
        (np.zeros((1, 128, 4000, 3), np.uint8), PAYLOAD, "8 times as long as wide, not 4000x128"),
        (None, PAYLOAD, "NoneType"),
    ],
)
def test_what_cannot_be_marked_is_refused_with_the_reason(frames, payload: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        provenance.watermark.embed(frames, payload)


@pytest.mark.parametrize("psnr_asked", [0.0, 1e6, float("nan"), -5.0])
def test_a_strength_that_makes_no_sense_is_refused(psnr_asked: float) -> None:
    with pytest.raises(InputError, match="from 30 to 60 dB"):
        watermark.embed(np.zeros((1, 256, 256, 3), np.uint8), PAYLOAD, psnr=psnr_asked)


def test_a_key_is_bytes(clip) -> None:
    marked = watermark.embed(clip(12, frames=1), PAYLOAD, bytearray(b"private"))
    assert watermark.detect(marked, b"private", thorough=False).payload == PAYLOAD
    with pytest.raises(InputError, match="must be bytes, not str"):
        watermark.detect(marked, "private")


def test_a_stream_is_marked_like_an_array(clip) -> None:
    frames = clip(7, frames=3)
    streamed = np.stack(list(watermark.mark(iter(frames), PAYLOAD)))
    assert np.array_equal(streamed, watermark.embed(frames, PAYLOAD))
