"""The judge: right on what is drawn, on soft, noisy and tinted copies too, and not fooled by what is not there."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sorajax.data.motions import MOTIONS
from sorajax.data.scenes import MARGIN, UNITS, background
from sorajax.data.world import CORE, SCENES, SIZES, ClipSpec, World, WorldConfig
from sorajax.errors import InputError
from sorajax.evaluate.adherence import judge

WORLD = World(WorldConfig())
SPECS = [
    ClipSpec(objects=(CORE[i],), motion=MOTIONS[i % 9], scene=SCENES[(3 * i + 1) % 8], size=SIZES[1 + i % 2], seed=i)
    for i in range(12)
]


def spoilt(frames: np.ndarray, seed: int) -> np.ndarray:
    """Blurred by 1.5 pixels, tinted and noisy, as a small model's output is."""
    rng = np.random.default_rng(seed)
    soft = [np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(1.5))) for frame in frames]
    tinted = np.stack(soft) * rng.uniform(0.88, 1.1, 3) + rng.uniform(-12, 12, 3)
    return np.clip(tinted + rng.normal(0, 8, frames.shape), 0, 255).astype(np.uint8)


def still_video(scene: str) -> np.ndarray:
    return np.repeat(background(scene)[None, :, MARGIN : MARGIN + UNITS], 17, 0)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.objects[0]}-{s.motion}-{s.scene}")
def test_what_is_drawn_is_seen(spec):
    found = judge(WORLD.render(spec).frames, WORLD)
    assert (found.object, found.motion, found.scene, found.size) == (
        spec.objects[0],
        spec.motion,
        spec.scene,
        spec.size,
    )
    assert found.agrees(spec) == {"object": True, "motion": True, "scene": True}
    assert found.likeness > 0.8


def test_soft_noisy_tinted_copies_are_still_recognised():
    found = [judge(spoilt(WORLD.render(spec).frames, i), WORLD).agrees(spec) for i, spec in enumerate(SPECS[:10])]
    for aspect in ("object", "motion", "scene"):
        assert sum(f[aspect] for f in found) >= 9


@pytest.mark.parametrize("scene", ["night", "city", "beach"])
def test_an_empty_scene_has_no_object_and_no_motion(scene):
    for frames in (still_video(scene), spoilt(still_video(scene), 1)):
        found = judge(frames, WORLD)
        assert (found.object, found.motion, found.scene) == (None, None, scene)


def test_a_blob_of_the_right_colour_is_not_the_object():
    frames = still_video("night").astype(float)
    y, x = np.mgrid[:64, :64]
    for t in range(17):
        weight = np.clip(1.5 - np.hypot((x - 48 + 2 * t) / 13, (y - 42) / 11), 0, 1)[..., None]
        frames[t] += weight * (np.array([90, 180, 245]) - frames[t])
    found = judge(frames.astype(np.uint8), WORLD)
    assert found.nearest == "fish" and found.object is None
    assert found.motion == "left"


def test_noise_is_nothing_at_all():
    frames = np.random.default_rng(0).integers(0, 256, (17, 64, 64, 3), dtype=np.uint8)
    found = judge(frames, WORLD)
    assert (found.object, found.motion, found.scene) == (None, None, None)


def test_larger_and_longer_clips_are_judged_alike():
    spec = ClipSpec(objects=("car",), motion="right", scene="snow")
    large = World(WorldConfig(size=128, frames=33)).render(spec).frames
    assert all(judge(large, WORLD).agrees(spec).values())


def test_a_clip_of_another_motion_disagrees_in_motion_alone():
    drawn = ClipSpec(objects=("pig",), motion="left", scene="forest")
    asked = ClipSpec(objects=("pig",), motion="right", scene="forest")
    assert judge(WORLD.render(drawn).frames, WORLD).agrees(asked) == {"object": True, "motion": False, "scene": True}


@pytest.mark.parametrize("shape, kind", [((64, 64, 3), "u1"), ((1, 64, 64, 3), "u1"), ((4, 64, 64, 3), "f4")])
def test_anything_but_a_clip_is_refused(shape, kind):
    with pytest.raises(InputError, match="uint8"):
        judge(np.zeros(shape, kind), WORLD)
