"""Fitting sprites by FFT gives what trying every place gives, and finds what was drawn."""

import numpy as np
import pytest

from sorajax.data.atlas import objects
from sorajax.data.scenes import MARGIN, UNITS, background
from sorajax.data.world import ClipSpec, World, WorldConfig
from sorajax.evaluate import matching
from sorajax.evaluate.adherence import _grid
from sorajax.evaluate.matching import CELL, GRID, Matcher

LOOKS = 29
"""Of the dog's 88 sprites every so many: four."""


def explained(matcher: Matcher, picture: np.ndarray, top: int, left: int) -> float:
    """sum(D^2) - sum((D - C)^2) of the first frame, straight from the definition."""
    canvas = np.zeros((3 * GRID, 3 * GRID, 4), np.float32)
    canvas[GRID + top : GRID + top + len(picture), GRID + left : GRID + left + len(picture)] = picture
    sprite = canvas[GRID : 2 * GRID, GRID : 2 * GRID]
    change = sprite[..., :3] - sprite[..., 3:] * matcher.background
    seen = matcher.difference[0]
    return float((seen**2).sum() - ((seen - change) ** 2).sum())


def test_the_gain_is_that_of_the_best_of_all_places():
    rng = np.random.default_rng(3)
    matcher = Matcher(rng.random((1, GRID, GRID, 3), np.float32), rng.random((GRID, GRID, 3), np.float32))
    bank = matching._templates("dog", False, LOOKS)
    found = matcher.fit("dog", every=LOOKS)
    best = max(
        (explained(matcher, pixels[: side // CELL, : side // CELL], top, left), side, left, top)
        for pixels, side in zip(bank.pixels, bank.side, strict=True)
        for top in range(1 - side // CELL, GRID, 1)
        for left in range(1 - side // CELL, GRID, 1)
    )
    assert found.gain[0] == pytest.approx(best[0], rel=1e-3)
    assert (found.side[0], found.x[0] - best[1] / 2, found.y[0] - best[1] / 2) == (best[1], best[2] * 2, best[3] * 2)


def test_an_object_is_found_where_it_was_drawn():
    spec = ClipSpec(objects=("turtle",), motion="right", scene="desert", seed=7)
    drawn = World(WorldConfig()).render(spec)
    scene = np.ascontiguousarray(background("desert")[:, MARGIN : MARGIN + UNITS])
    fit = Matcher(np.stack([_grid(f) for f in drawn.frames[::8]]), _grid(scene)).fit("turtle")
    # Seed 7 shifts it by nothing across: 7 % 5 - 2 = 0; its poses shift the outline a little.
    np.testing.assert_allclose(fit.x, (16, 32, 48), atol=3)
    assert (np.abs(fit.side - 28) <= 4).all() and (fit.likeness > 0.85).all()


def test_a_shapeless_stand_in_has_the_objects_colour_and_no_outline():
    for name in ("rocket", "fish"):
        blob = matching._blob(name, 40)
        solid = blob[..., 3] > 0.9
        assert 0.1 < solid.mean() < 0.9
        assert np.ptp(blob[solid][:, :3] / blob[solid][:, 3:], axis=0).max() < 1e-3
    assert objects()["fish"].color == "blue"
    red, _, blue, _ = matching._blob("fish", 40)[10, 10]
    assert blue > 2 * red
