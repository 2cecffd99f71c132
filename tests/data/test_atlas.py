"""The sprites: forty objects, small on disk, premultiplied, at any size."""

import numpy as np
import pytest

from sorajax.data import atlas
from sorajax.data.captions import LANGUAGES


def test_forty_objects_with_names_in_every_language():
    assert len(atlas.objects()) == 40
    for name, thing in atlas.objects().items():
        assert thing.name == name and thing.faces in ("left", "right", "none")
        assert all(thing.names[language] and all(thing.names[language]) for language in LANGUAGES)
        assert all(thing.gender[language] in "mf" for language in ("es", "ar")) and len(thing.measure) == 1


def test_no_two_objects_share_a_name():
    for language in LANGUAGES:
        names = [name for thing in atlas.objects().values() for name in thing.names[language]]
        assert len(names) == len(set(names))


def test_the_atlas_stays_small():
    assert (atlas.ASSETS / "atlas.webp").stat().st_size < 3_000_000


@pytest.mark.parametrize("name", ["dog", "star"])
@pytest.mark.parametrize("size", [10, 28, 56])
def test_a_sprite_is_premultiplied_and_stands_on_the_floor(name, size):
    pixels = atlas.sprite(name, 0, size)
    assert pixels.shape == (size, size, 4) and pixels.dtype == np.float32
    assert (pixels[..., :3] <= pixels[..., 3:]).all() and pixels.min() >= 0 and pixels.max() <= 255
    covered = np.stack([atlas.sprite(name, pose, size)[..., 3] for pose in range(atlas.POSES)]).max(0) > 64
    rows, columns = np.nonzero(covered)
    assert rows.max() >= size - 2
    assert max(np.ptp(rows), np.ptp(columns)) >= 0.9 * size - 2


def test_poses_are_animated_and_come_round():
    first = atlas.sprite("butterfly", 0, 28)
    assert np.abs(first - atlas.sprite("butterfly", 8, 28)).mean() > 10
    np.testing.assert_array_equal(first, atlas.sprite("butterfly", atlas.POSES, 28))


def test_mirrored_is_mirrored():
    np.testing.assert_array_equal(atlas.sprite("car", 3, 20, True), atlas.sprite("car", 3, 20)[:, ::-1])


def test_every_sprite_is_unlike_every_other():
    """Objects must be told apart at the size they have in a clip: each differs in colour or outline."""
    looks = np.stack([atlas.sprite(name, 0, 28).ravel() for name in atlas.objects()])
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    likeness = looks @ looks.T - 2 * np.eye(len(looks))
    assert likeness.max() < 0.97
