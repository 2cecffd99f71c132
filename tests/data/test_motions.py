"""Ideal tracks: unmistakable, inside the frame, the same however many frames there are."""

import itertools

import numpy as np
import pytest

from sorajax.data.motions import MOTIONS, SIZES, moments, pan, track, zoom


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", [-1, 0, 1])
def test_an_object_stays_mostly_in_the_frame(motion, size, place):
    path = track(motion, size, 17, place=place)
    for at in (path.x, path.y):
        inside = np.minimum(at + path.side / 2, 64) - np.maximum(at - path.side / 2, 0)
        assert (inside / path.side > 0.7).all()


def test_any_two_motions_differ_by_more_than_a_few_pixels():
    def shape(motion):
        path = track(motion, "medium", 17)
        return np.stack([path.x - path.x.mean(), path.y - path.y.mean(), path.side - path.side.mean()])

    for a, b in itertools.combinations(MOTIONS, 2):
        assert np.abs(shape(a) - shape(b)).max() > 8, (a, b)


def test_more_frames_sample_the_same_path():
    np.testing.assert_allclose(track("circling", "small", 33).x[::2], track("circling", "small", 17).x)
    assert moments(1) == 0


def test_cameras_pan_opposite_ways_and_zoom_inverse_ways():
    np.testing.assert_allclose(pan("pan left", 9), -pan("pan right", 9))
    np.testing.assert_allclose(zoom("zoom in", 9), zoom("zoom out", 9)[::-1])
    assert not pan("still", 9).any() and (zoom("still", 9) == 1).all()
