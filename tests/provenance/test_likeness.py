"""Which part of a clip a copy holds, and what was done to it."""

import numpy as np
import pytest
from PIL import Image

from provenance import attacks, fingerprint, likeness
from provenance.likeness import Likeness

FPS = 8


def film(seed: int, frames: int = 24, size: tuple[int, int] = (144, 192)) -> np.ndarray:
    """A landscape of clouds in several sizes, over which the camera moves, uint8 [t, h, w, 3]."""
    rng = np.random.default_rng(seed)
    h, w = size
    ground = np.zeros((2 * h, 2 * w, 3))
    for cells in (5, 12, 30, 70):
        rough = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        ground += (np.asarray(rough.resize((2 * w, 2 * h), Image.Resampling.BICUBIC)) - 127.5) / 3
    ground = np.clip(ground + 128, 0, 255).astype(np.uint8)
    down, across = rng.uniform(-1, 1, 2)
    places = ((int((0.5 + down * t / 60) * h), int((0.5 + across * t / 60) * w)) for t in range(frames))
    return np.stack([ground[y : y + h, x : x + w] for y, x in places])


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return film(5, 32)


@pytest.fixture(scope="module")
def original(frames) -> fingerprint.Fingerprint:
    return fingerprint.of_frames(frames, FPS)


@pytest.fixture
def like(original):
    def compare(changed: np.ndarray, fps: float = FPS) -> Likeness:
        return likeness.compare(fingerprint.of_frames(changed, fps), original)

    return compare


def test_the_whole_clip(frames, like) -> None:
    found = like(frames)
    assert found.same and found.agreement > 0.95 and found.in_order and not found.negative
    assert (found.start, found.speed) == (0.0, 1.0) and found.end == pytest.approx(4.0, abs=0.11)


@pytest.mark.parametrize(("first", "last"), [(0, 16), (8, 24), (20, 32)])
def test_a_part_of_it(first, last, frames, like) -> None:
    found = like(frames[first:last])
    assert found.same
    assert found.start == pytest.approx(first / FPS, abs=0.26) and found.end == pytest.approx(last / FPS, abs=0.26)


def test_at_another_frame_rate_and_speed(frames, like) -> None:
    assert like(np.repeat(frames, 3, axis=0), 24).end == pytest.approx(4.0, abs=0.1)
    slow, fast = like(frames, FPS * 0.7), like(frames, FPS * 1.5)
    assert slow.same and slow.speed == pytest.approx(0.7, abs=0.08) and slow.end == pytest.approx(4.0, abs=0.3)
    assert fast.same and fast.speed == pytest.approx(1.5, abs=0.15)


def test_backwards_and_out_of_order(frames, like) -> None:
    assert like(frames[::-1]).speed == -1
    shuffled = np.concatenate([frames[24:], frames[8:16], frames[:8], frames[16:24]])
    assert like(shuffled).same and not like(shuffled).in_order


def test_mirrored_turned_and_negative(frames, like) -> None:
    assert like(frames[:, :, ::-1]).part.symmetry == 1
    assert like(frames[:, ::-1]).part.symmetry == 2
    assert like(np.rot90(frames, 1, (1, 2))).part.symmetry & 4
    assert like(255 - frames).negative


def test_cropped(frames, like) -> None:
    found = like(frames[:, 14:100, 38:153])  # six tenths of each side
    assert found.same
    top, bottom, left, right = found.part.original
    assert (bottom - top, right - left) == pytest.approx((0.6, 0.6), abs=0.05)
    assert (top, left) == pytest.approx((0.1, 0.2), abs=0.11)  # a smooth cartoon


@pytest.mark.parametrize("name", ["letterbox_1:1", "picture_in_picture", "rotate_+5", "subtitles"])
def test_laid_out_anew(name, frames, like) -> None:
    assert like(attacks.ATTACKS[name].apply(frames, FPS)).same


def test_other_clips_are_not_the_same(clip, original) -> None:
    for changed in (film(21), clip(23, frames=12)):
        other = fingerprint.of_frames(changed, FPS)
        assert not likeness.compare(other, original).same


def test_nothing_to_see_is_like_nothing(original) -> None:
    grey = fingerprint.of_frames(np.full((8, 64, 64, 3), 128, np.uint8), FPS)
    assert not likeness.compare(grey, original, search=False).same
    noise = np.random.default_rng(1).integers(0, 256, (8, 64, 64, 3), np.uint8)
    assert not likeness.compare(fingerprint.of_frames(noise, FPS), original).same
