"""The backgrounds: distinct, the same every time, with margins for the camera."""

import itertools

import numpy as np
import pytest

from sorajax.data.scenes import MARGIN, SCENES, UNITS, background


@pytest.mark.parametrize("size", [64, 128])
def test_a_background_has_margins_and_no_unpainted_spot(size):
    for name in SCENES:
        pixels = background(name, size)
        assert pixels.shape == (size, size * (UNITS + 2 * MARGIN) // UNITS, 3) and pixels.dtype == np.uint8
        assert not (pixels == 0).all(-1).any()


def test_scenes_are_told_apart_by_layout_and_colour():
    views = {name: background(name)[:, MARGIN : MARGIN + UNITS].astype(float) for name in SCENES}
    for a, b in itertools.combinations(views, 2):
        assert np.abs(views[a] - views[b]).mean() > 25, (a, b)


def test_a_background_is_shared_and_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        background("sea")[0, 0] = 0
