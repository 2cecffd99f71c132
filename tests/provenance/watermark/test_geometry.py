"""Finding the plane again."""

import numpy as np
import pytest
from PIL import Image

from provenance.watermark import coding, embedding, geometry, lapped, search

KEY = b"key"
CODE = coding.encode(b"8 bytes!")


def pattern(height: int, width: int, seed: int = 0) -> np.ndarray:
    """The spread layer alone, under as much noise again."""
    drawn = embedding.spread_pattern(CODE, KEY, lapped.whole(height, width), (height, width))
    return drawn + np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)


@pytest.mark.parametrize("which", range(geometry.SYMMETRIES))
def test_a_symmetry_is_found_and_undone(which: int) -> None:
    picture = pattern(300, 300)
    undone = next(
        i
        for i in range(geometry.SYMMETRIES)
        if np.array_equal(geometry.symmetry(geometry.symmetry(picture, which), i), picture)
    )
    found = search.Search(geometry.symmetry(picture, which), KEY).candidates("scale", tuple(range(geometry.SYMMETRIES)))
    assert found[0].symmetry == undone and found[0].t > 2 * max(c.t for c in found if c.symmetry != undone)


def test_a_crop_is_located_to_a_fraction_of_a_pixel() -> None:
    picture = pattern(360, 640)[40:290, 100:500]
    where = search.Search(picture, KEY)
    best = where.candidates("scale", (0,))[0]
    found, _ = where.align(best)
    # The plane's origin was the middle of the whole; the tile repeats every 4 pitches.
    tile = layout_tile(360, 640)
    off = (found.origin - [180 - 40, 320 - 100] + tile / 2) % tile - tile / 2
    assert np.abs(off).max() < 0.3
    assert best.matrix == pytest.approx(np.eye(2) * tile / search.TILE, abs=2e-3)


def layout_tile(height: int, width: int) -> float:
    return float(np.sqrt(height * width)) / lapped.SIDE * 4


@pytest.mark.parametrize(("angle", "scale"), [(3.0, 1.0), (-11.0, 1.0), (5.0, 0.6)])
def test_a_turn_is_measured(angle: float, scale: float) -> None:
    picture = Image.fromarray(pattern(360, 480))
    picture = picture.resize((round(480 * scale), round(360 * scale)), Image.Resampling.BICUBIC)
    turned = np.asarray(picture.rotate(angle, Image.Resampling.BICUBIC))
    best = search.Search(turned, KEY).candidates("turn", (0,))[0]
    measured = np.degrees(np.arctan2(best.matrix[1, 0] - best.matrix[0, 1], np.trace(best.matrix)))
    assert abs(measured) == pytest.approx(abs(angle), abs=0.15)
    assert np.sqrt(np.linalg.det(best.matrix)) == pytest.approx(layout_tile(360, 480) / 128 * scale, rel=3e-3)


def test_what_is_straightened_has_the_coefficients_it_had() -> None:
    y, x = np.mgrid[0:360, 0:480] + 0.5
    picture = (40 * np.sin(x / 9 + y / 23) + 60 * np.cos(y / 14 - x / 40)).astype(np.float32)
    turned = np.asarray(Image.fromarray(picture).rotate(-7.0, Image.Resampling.BICUBIC))
    scale = layout_tile(360, 480) / search.TILE
    alignment = geometry.Alignment(0, search.matrix(scale, np.radians(-7.0)), np.array([180.0, 240.0]))
    (straight,), grid = geometry.straighten([turned], alignment, part=5)
    before = lapped.analyse(picture, lapped.whole(360, 480).part(5))
    after = lapped.analyse(straight, grid.part(5))
    assert (grid.part(5).y.first, grid.part(5).x.first, before.shape) == (-3, -3, after.shape)
    low = lapped.RADIUS < 4
    assert np.sqrt(np.mean((after - before)[..., low] ** 2) / np.mean(before[..., low] ** 2)) < 0.12


def test_bars_are_seen_and_pictures_without_them_are_not_cut() -> None:
    picture = pattern(200, 300) * 20 + 128
    barred = np.pad(picture, [(50, 50), (0, 0)])
    rows, columns = geometry.content([barred]) or (None, None)
    assert (rows, columns) == (slice(50, 250), slice(0, 300))
    assert geometry.content([picture]) is None
    assert geometry.content([np.zeros((100, 100), np.float32)]) is None
