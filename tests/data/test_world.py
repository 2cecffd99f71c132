"""The procedural world: a data set is a number, and a spec is what the frames show."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorajax.config import from_dict
from sorajax.data.motions import CAMERAS, MOTIONS
from sorajax.data.styles import STYLES
from sorajax.data.world import CORE, HELD_OUT, OBJECTS, SCENES, SIZES, ClipSpec, World, WorldConfig
from sorajax.errors import ConfigError

EVERYTHING = WorldConfig(objects=OBJECTS, two_objects=0.5, plain_style=0.4, still_camera=0.4)


def centre(alpha: np.ndarray) -> np.ndarray:
    """Mean (x, y) of the covered pixels of each frame, [t, 2]."""
    y, x = np.mgrid[: alpha.shape[1], : alpha.shape[2]]
    weight = alpha / alpha.sum((1, 2), keepdims=True)
    return np.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], -1)


def test_a_sample_follows_from_seed_and_index_alone():
    first, again = World(EVERYTHING).sample(41), World(EVERYTHING).sample(41)
    assert (first.spec, first.caption, first.language) == (again.spec, again.caption, again.language)
    np.testing.assert_array_equal(first.frames, again.frames)
    other_seed = World(dataclasses.replace(EVERYTHING, seed=1))
    assert [other_seed.spec(i) for i in range(5)] != [World(EVERYTHING).spec(i) for i in range(5)]


def test_a_sample_is_a_clip_with_its_coverage_and_caption():
    sample = World().sample(0)
    assert sample.frames.shape == (17, 64, 64, 3) and sample.frames.dtype == np.uint8
    assert sample.alpha.shape == (17, 64, 64) and sample.alpha.dtype == np.uint8
    assert sample.alpha.max() == 255 and (sample.alpha == 0).mean() > 0.3
    assert sample.caption


@pytest.mark.parametrize("size, frames", [(128, 9), (64, 1), (32, 33)])
def test_other_sizes_show_the_same_picture(size, frames):
    spec = ClipSpec(objects=("pig",), motion="still", scene="snow")
    drawn = World(WorldConfig(size=size, frames=frames)).render(spec)
    usual = World(WorldConfig(frames=1)).render(spec)
    assert drawn.frames.shape == (frames, size, size, 3)
    small, large = sorted((drawn.alpha[0], usual.alpha[0]), key=len)
    factor = len(large) // len(small)
    shrunk = large.reshape(len(small), factor, len(small), factor).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 8


def test_held_out_combinations_are_balanced_and_never_drawn():
    parts = [combination.split("/") for combination in HELD_OUT]
    assert len(set(HELD_OUT)) == 24
    assert {name: [p[0] for p in parts].count(name) for name in CORE} == dict.fromkeys(CORE, 2)
    assert {name: [p[2] for p in parts].count(name) for name in SCENES} == dict.fromkeys(SCENES, 3)
    assert all([p[1] for p in parts].count(name) in (2, 3) for name in MOTIONS)
    world = World(WorldConfig(two_objects=0.3))
    drawn = {f"{name}/{s.motion}/{s.scene}" for s in map(world.spec, range(4000)) for name in s.objects}
    assert not drawn & set(HELD_OUT)
    # Everything else does come up: 12 x 9 x 8 combinations less the 24.
    assert len(drawn) > 0.95 * (12 * 9 * 8 - 24)
    assert [f"{s.objects[0]}/{s.motion}/{s.scene}" for s in world.held_out_specs()] == list(HELD_OUT)


@settings(max_examples=40)
@given(st.integers(0, 2**40))
def test_every_spec_can_be_drawn_and_said_and_has_labels(index):
    world = World(dataclasses.replace(EVERYTHING, size=32, frames=3))
    sample = world.sample(index)
    assert sample.alpha.any()
    labels, sizes = world.labels(sample.spec), world.label_sizes()
    assert labels.keys() == sizes.keys()
    assert all(0 <= labels[key] < sizes[key] for key in labels)
    assert (labels["object2"] == 0) == (len(sample.spec.objects) == 1)


def test_labels_do_not_depend_on_which_objects_are_configured():
    spec = ClipSpec(objects=("rocket", "owl"), motion="up", scene="night", size="large", style="vintage")
    assert World().labels(spec) == World(WorldConfig(objects=("rocket",))).labels(spec)
    assert World().labels(spec)["object2"] == OBJECTS.index("owl") + 1


@pytest.mark.parametrize(
    "motion, dx, dy",
    [("left", -32, 0), ("right", 32, 0), ("up", 0, -32), ("down", 0, 32), ("still", 0, 0), ("circling", 0, 0)],
)
def test_objects_go_where_the_motion_says(motion, dx, dy):
    # The chick keeps its outline's centre while its poses change.
    path = centre(World().render(ClipSpec(objects=("chick",), motion=motion, scene="city", size="small")).alpha)
    np.testing.assert_allclose(path[-1] - path[0], (dx, dy), atol=1.5)


def test_bouncing_and_circling_come_back_on_different_paths():
    def extent(motion):
        alpha = World().render(ClipSpec(objects=("chick",), motion=motion, scene="city", size="small")).alpha
        return np.ptp(centre(alpha), axis=0)

    bounce, circle = extent("bouncing"), extent("circling")
    assert bounce[0] < 3 and bounce[1] > 15
    assert circle.min() > 20


def test_growing_and_shrinking_change_the_covered_area():
    def area(motion):
        alpha = World().render(ClipSpec(objects=("elephant",), motion=motion, scene="sea")).alpha
        return alpha.sum((1, 2), dtype=float)

    assert area("growing")[-1] > 5 * area("growing")[0]
    assert area("shrinking")[0] > 5 * area("shrinking")[-1]


def test_sizes_differ_in_what_they_cover():
    areas = [
        World().render(ClipSpec(objects=("bus",), motion="still", scene="snow", size=size)).alpha.sum()
        for size in SIZES
    ]
    assert areas[0] * 1.8 < areas[1] and areas[1] * 1.6 < areas[2]


@pytest.mark.parametrize("name", ["dog", "rocket"])
def test_objects_face_where_they_go(name):
    """The dog is drawn facing left, the rocket facing right; both turn round for the other way."""
    world = World(WorldConfig(frames=2))
    left = world.render(ClipSpec(objects=(name,), motion="left", scene="night")).alpha[1]
    right = world.render(ClipSpec(objects=(name,), motion="right", scene="night")).alpha[1]

    def cut(alpha):
        rows, columns = np.nonzero(alpha > 128)
        return alpha[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    np.testing.assert_array_equal(cut(left), cut(right)[:, ::-1])


def test_outside_its_objects_a_clip_is_the_scene():
    spec = ClipSpec(objects=("dog", "car"), motion="left", scene="forest")
    drawn = World().render(spec)
    empty = World().render(dataclasses.replace(spec, objects=("fish",), motion="up", size="small"))
    clear = (drawn.alpha == 0) & (empty.alpha == 0)
    np.testing.assert_array_equal(drawn.frames[clear], empty.frames[clear])


@pytest.mark.parametrize("style", STYLES)
def test_styles_change_the_picture_but_not_the_coverage(style):
    spec = ClipSpec(objects=("turtle",), motion="right", scene="desert")
    plain, styled = World().render(spec), World().render(dataclasses.replace(spec, style=style))
    np.testing.assert_array_equal(plain.alpha, styled.alpha)
    assert (style == "plain") == bool((plain.frames == styled.frames).all())
    if style == "film noir":
        assert np.ptp(styled.frames, axis=-1).max() == 0


def test_a_panning_camera_moves_the_scene_and_a_zoom_enlarges_the_object():
    def render(camera):
        return World().render(ClipSpec(objects=("pig",), motion="still", scene="city", camera=camera))

    at_rest, left, right = (centre(render(c).alpha)[:, 0] for c in ("still", "pan left", "pan right"))
    assert abs(at_rest[-1] - at_rest[0]) < 1.5
    assert left[-1] - left[0] > 12 and right[-1] - right[0] < -12
    sky = render("pan left").frames[:, :16]
    np.testing.assert_array_equal(sky[-1, :, 16:], sky[0, :, :-16])
    area = render("zoom in").alpha.sum((1, 2), dtype=float)
    assert area[-1] > 1.5 * area[0]
    assert set(CAMERAS) == {"still", "pan left", "pan right", "zoom in", "zoom out"}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"objects": ["unicycle"]}, "unknown 'unicycle'"),
        ({"motions": []}, "world motions: empty"),
        ({"held_out": ["dog/left/moon"]}, "'dog/left/moon'"),
        ({"two_objects": 1.5}, "1.5 is not a probability"),
        ({"frames": 0}, "world frames: 0"),
        ({"objects": ["dog"], "two_objects": 0.5}, "at least two objects"),
        ({"objects": ["dog"], "motions": ["growing"], "scenes": ["forest"]}, "holds every combination"),
    ],
)
def test_a_config_that_cannot_be_drawn_says_what_is_wrong(values, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(WorldConfig, values)


def test_a_config_comes_from_plain_values():
    config = from_dict(WorldConfig, {"objects": ["cat", "owl"], "two_objects": 1, "languages": ["ar"]})
    assert config.objects == ("cat", "owl") and config.two_objects == 1.0
    assert len(World(config).spec(3).objects) == 2
