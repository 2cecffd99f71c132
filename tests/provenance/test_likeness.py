"""Which part of a clip a copy holds, and what was done to it."""

import numpy as np
import pytest

from provenance import attacks, fingerprint, likeness
from provenance.likeness import Likeness

FPS = 8


@pytest.fixture(scope="module")
def frames(clip) -> np.ndarray:
    return clip(5, frames=32, size=(192, 256))


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
    assert (found.start, found.end, found.speed) == (0.0, 4.0, 1.0)


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
    found = like(frames[:, 19:134, 51:205])  # six tenths of each side
    assert found.same
    assert found.part.original == pytest.approx((0.1, 0.7, 0.2, 0.8), abs=0.05)


@pytest.mark.parametrize("name", ["letterbox_1:1", "picture_in_picture", "rotate_+5", "subtitles", "brightness_.5"])
def test_laid_out_anew(name, frames, like) -> None:
    assert like(attacks.ATTACKS[name].apply(frames, FPS)).same


def test_other_clips_are_not_the_same(clip, original) -> None:
    for seed in (21, 22, 23, 24):
        other = fingerprint.of_frames(clip(seed, frames=12, size=(192, 256)), FPS)
        assert not likeness.compare(other, original).same


def test_nothing_to_see_is_like_nothing(original) -> None:
    for value in (0, 128, 255):
        grey = fingerprint.of_frames(np.full((8, 64, 64, 3), value, np.uint8), FPS)
        assert not likeness.compare(grey, original).same
    noise = np.random.default_rng(1).integers(0, 256, (8, 64, 64, 3), np.uint8)
    assert not likeness.compare(fingerprint.of_frames(noise, FPS), original).same
