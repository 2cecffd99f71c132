"""Frames from the decoder become uint8, and large enough, without halos."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorajax.errors import InputError
from sorajax.media.post import check_frames, to_uint8, upscale


def test_pixels_from_minus_one_to_one_become_0_to_255() -> None:
    assert to_uint8(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]


def test_pixels_outside_are_clipped() -> None:
    assert to_uint8(np.array([-3.0, 1.001])).tolist() == [0, 255]


@given(st.integers(0, 255))
def test_a_grey_level_survives_the_way_through_the_model_range(level: int) -> None:
    assert to_uint8(np.float32(level / 127.5 - 1)) == level


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        to_uint8(np.array([0.0, bad]))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (256, 256)), ((64, 96), (256, 384)), ((100, 60), (500, 300)), ((256, 300), (256, 300))],
)
def test_both_sides_reach_256_by_the_smallest_whole_factor(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert upscale(np.zeros((1, *size, 3), np.uint8)).shape == (1, *expected, 3)


def test_large_frames_are_left_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    assert upscale(frames) is frames


@settings(max_examples=20)
@given(st.integers(0, 255), st.integers(2, 5))
def test_a_plain_colour_stays_plain(level: int, factor: int) -> None:
    frames = np.full((1, 9, 7, 3), level, np.uint8)
    assert (upscale(frames, min_side=7 * factor) == level).all()


def test_an_edge_gets_no_halo() -> None:
    """Pillow's Lanczos over- and undershoots a step from 60 to 190 by more than ten levels; this by less than half."""
    from PIL import Image

    step = np.full((1, 16, 16, 3), 60, np.uint8)
    step[:, :, 8:] = 190
    large = upscale(step, min_side=64)[0]
    plain = np.asarray(Image.fromarray(step[0]).resize((64, 64), Image.Resampling.LANCZOS))
    assert plain.min() < 50 and plain.max() > 200
    assert large.min() >= 55 and large.max() <= 195


def test_an_edge_is_steeper_than_linear_interpolation_makes_it() -> None:
    from PIL import Image

    step = np.zeros((1, 16, 16, 3), np.uint8)
    step[:, :, 8:] = 200
    large = upscale(step, min_side=64)[0, 32, :, 0].astype(int)
    linear = np.asarray(Image.fromarray(step[0]).resize((64, 64), Image.Resampling.BILINEAR))[32, :, 0].astype(int)
    assert np.diff(large).max() > np.diff(linear).max()
    assert (np.diff(large) >= -6).all()


def test_what_was_enlarged_shrinks_back_to_what_it_was() -> None:
    rows, columns = np.mgrid[:32, :32]
    picture = 127 + 60 * np.sin(rows / 4) + 50 * np.cos(columns / 5)
    frames = np.repeat(picture.round().astype(np.uint8)[None, ..., None], 3, axis=-1)
    shrunk = upscale(frames, min_side=128).reshape(1, 32, 4, 32, 4, 3).mean((2, 4))
    assert np.abs(shrunk - frames).max() < 4


def test_a_mirrored_picture_is_enlarged_to_the_mirror_image() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (1, 12, 14, 3), np.uint8)
    straight = upscale(frames, min_side=36).astype(int)
    mirrored = upscale(np.ascontiguousarray(frames[:, ::-1, ::-1]), min_side=36)[:, ::-1, ::-1]
    assert np.abs(straight - mirrored).max() <= 1


def test_frames_do_not_touch_each_other() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 3), np.uint8)
    together = upscale(frames, min_side=16)
    assert np.array_equal(together[1:2], upscale(frames[1:2], min_side=16))


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
        [[0, 1], [2, 3]],
    ],
)
def test_what_is_not_a_clip_of_bytes_is_refused_in_one_line(frames: object) -> None:
    with pytest.raises(InputError) as error:
        check_frames(frames)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
