"""Styles: the look of finished frames."""

import numpy as np

from sorajax.data.styles import apply

FRAMES = np.full((2, 8, 8, 3), (200, 120, 40), np.uint8)
ALPHA = np.zeros((2, 8, 8), np.uint8)


def test_plain_is_untouched():
    assert apply("plain", FRAMES, ALPHA) is FRAMES


def test_film_noir_is_gray_and_darker_in_the_corners():
    noir = apply("film noir", FRAMES, ALPHA)
    assert np.ptp(noir, axis=-1).max() == 0
    assert noir[0, 0, 0, 0] < noir[0, 4, 4, 0]


def test_cartoon_inks_a_line_around_objects():
    alpha = ALPHA.copy()
    alpha[:, 3:5, 3:5] = 255
    cartoon = apply("cartoon", FRAMES, alpha)
    assert cartoon[0, 2, 3].max() < 40 and cartoon[0, 0, 0].max() > 150 and cartoon[0, 3, 3].max() > 150


def test_vintage_is_sepia_with_the_same_grain_every_time():
    old = apply("vintage", FRAMES, ALPHA)
    np.testing.assert_array_equal(old, apply("vintage", FRAMES, ALPHA))
    red, green, blue = old.reshape(-1, 3).mean(0)
    assert red > green > blue
    assert old[0].std(axis=(0, 1)).min() > 2 and (old[0] != old[1]).any()
