"""The transform belongs to the picture, not to its pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from provenance.watermark import lapped


def scene(height: int, width: int) -> np.ndarray:
    """A smooth picture with detail at many scales, drawn at any size."""
    y, x = (np.arange(height) + 0.5)[:, None] / height, (np.arange(width) + 0.5)[None] / width
    waves = np.random.default_rng(0).uniform(-30, 30, (40, 2))
    return sum(np.cos(2 * np.pi * (a * y + b * x) + a) for a, b in waves).astype(np.float32) * 20


@settings(max_examples=15, deadline=None)
@given(st.integers(200, 400), st.integers(200, 400), st.integers(0, 10**6))
def test_what_is_added_is_what_is_read(height: int, width: int, seed: int) -> None:
    grid = lapped.whole(height, width)
    change = np.random.default_rng(seed).normal(size=(grid.y.count, grid.x.count, len(lapped.RADIUS)))
    picture = lapped.synthesise(change.astype(np.float32), grid, (height, width))
    read = lapped.analyse(picture, grid)
    assert np.corrcoef(read.ravel(), change.ravel())[0, 1] > 0.999
    # Orthonormal: the picture's energy, at the unit scale, is the coefficients'.
    assert np.sum(picture**2) / grid.scale**2 == pytest.approx(np.sum(change**2), rel=0.002)


@pytest.mark.parametrize("size", [(360, 640), (200, 200), (640, 360), (250, 333)])
def test_brightness_is_not_read(size: tuple[int, int]) -> None:
    picture = scene(*size)
    grid = lapped.whole(*size)
    np.testing.assert_allclose(lapped.analyse(picture + 90.0, grid), lapped.analyse(picture, grid), atol=0.02)


@pytest.mark.parametrize(("height", "width"), [(180, 320), (396, 704), (720, 1280), (199, 355)])
def test_a_resized_picture_has_the_same_coefficients(height: int, width: int) -> None:
    picture = scene(360, 640)
    resized = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    before = lapped.analyse(picture, lapped.whole(360, 640))
    after = lapped.analyse(resized, lapped.whole(height, width))
    low = lapped.RADIUS < 4
    error = np.sqrt(np.mean((after - before)[..., low] ** 2) / np.mean(before[..., low] ** 2))
    assert before.shape == after.shape and error < 0.08


def test_stretched_out_of_proportion_it_is_the_same_if_the_old_proportion_is_known() -> None:
    picture = scene(360, 640)
    stretched = np.asarray(Image.fromarray(picture).resize((704, 360), Image.Resampling.LANCZOS))
    before = lapped.analyse(picture, lapped.whole(360, 640))
    after = lapped.analyse(stretched, lapped.whole(360, 704, ratio=640 / 360))
    low = lapped.RADIUS < 4
    assert np.sqrt(np.mean((after - before)[..., low] ** 2) / np.mean(before[..., low] ** 2)) < 0.08


def test_a_part_is_the_middle_of_the_whole() -> None:
    picture = scene(360, 640)
    grid = lapped.whole(360, 640)
    part = grid.part(5)
    top, left = part.y.first - grid.y.first, part.x.first - grid.x.first
    whole = lapped.analyse(picture, grid)
    np.testing.assert_allclose(lapped.analyse(picture, part), whole[top : top + 5, left : left + 5], atol=1e-2)
