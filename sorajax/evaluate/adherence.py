"""Does a clip show what was asked for? Says which object, motion and scene of the procedural world it sees.

Nothing here is learnt and nothing is shared with a model: the scene is the nearest drawn background, the object
the sprite that explains most of what differs from it, the motion the ideal track nearest to where that sprite
fits over time. It judges single objects in the plain style before a camera at rest.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from sorajax.data.atlas import objects
from sorajax.data.motions import SIZES, track
from sorajax.data.scenes import MARGIN, UNITS, background
from sorajax.data.world import ClipSpec, World
from sorajax.errors import InputError
from sorajax.evaluate.matching import GRID, Fit, Matcher

OUTLIER = 0.25
"""A cell this far from the background (of 1, root mean square) tells no more: it is foreground."""
FAINT = 0.17
"""A scene farther than this from every background is none of them."""
BLURS = (0.0, 1.5, 3.0)
"""How soft a background may be drawn, in pixels."""
GLANCE, HURRY, FOREMOST, LOOK = 4, 3, 2, 2
"""Every how many frames, and every how many sprites, all objects are tried; how many of them are then looked at
with every sprite, every how many frames."""
LEAST_LIKENESS, LEAST_SHAPE, LEAST_GAIN = 0.6, 0.9, 0.5
"""Below these the object is unlike all that the world knows, a mere blob of colour, or too faint to be anything."""
NEAR, SCALE = 8.0, 0.25
"""What counts as one step away from an ideal track: world units, and the logarithm of size."""
FARTHEST = 1.3
"""Beyond so many steps a motion is none of the known ones."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is seen, None where nothing known is; the scores say how clearly."""

    object: str | None
    nearest: str
    """The object that explains most, even where that is too little to be called it."""
    motion: str | None
    scene: str | None
    size: str | None
    likeness: float
    """Cosine between the sprite and what is seen, -1 to 1, over the frames where it is seen best."""
    shape: float
    """How many times more the sprite explains than an ellipse of its colour and extent; near 1: a blob."""
    objects: dict[str, float]
    """Share of the best explanation that each object reaches, 0 to 1."""
    motions: dict[str, float]
    """Distance to the nearest ideal track of each motion, in steps; smaller is nearer."""
    scenes: dict[str, float]
    """Distance to each background, 0 to 1; smaller is nearer."""
    fit: Fit | None = None
    """Where the object was found, in every LOOK-th frame."""

    def agrees(self, spec: ClipSpec) -> dict[str, bool]:
        """Whether object, motion and scene are those of a spec with one object."""
        return {
            "object": self.object == spec.objects[0],
            "motion": self.motion == spec.motion,
            "scene": self.scene == spec.scene,
        }


def judge(frames: np.ndarray, world: World) -> Judgement:
    """Judge uint8 frames [t, h, w, 3] against the objects, motions and scenes of a world.

    Raises InputError on anything but such an array with at least two frames.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) < 2:
        raise InputError(f"frames of shape {frames.shape}, {frames.dtype}: uint8 [t, h, w, 3] with t >= 2 is expected")
    video = np.stack([_grid(frame) for frame in frames])
    scenes, nearest = _scenes(video, world.config.scenes)
    scene = min(scenes, key=scenes.__getitem__)
    video, behind = _levelled(video, nearest[scene])
    few = Matcher(video[::GLANCE], behind)
    gains = {name: float(few.fit(name, every=HURRY).gain.mean()) for name in world.config.objects}
    # A glance at a few frames ranks the objects, a close look decides between the foremost.
    close = Matcher(video[::LOOK], behind)
    fits = {name: close.fit(name) for name in sorted(gains, key=gains.__getitem__, reverse=True)[:FOREMOST]}
    name = max(fits, key=lambda name: float(fits[name].gain.mean()))
    gains |= {name: float(fit.gain.mean()) for name, fit in fits.items()}
    fit, best = fits[name], gains[name]
    blob = float(close.fit(name, shapeless=True).gain.mean())
    shape = best / blob if blob > 0 else 0.0
    likeness = float(np.average(fit.likeness, weights=fit.gain)) if best > 0 else 0.0
    seen = likeness >= LEAST_LIKENESS and best >= LEAST_GAIN
    known = seen and shape >= LEAST_SHAPE and scenes[scene] < FAINT
    motions, sizes = _motions(fit, world.config.motions, objects()[name].floats, len(video))
    motion = min(motions, key=motions.__getitem__)
    moves = seen and motions[motion] <= FARTHEST
    return Judgement(
        object=name if known else None,
        nearest=name,
        motion=motion if moves else None,
        scene=scene if scenes[scene] < FAINT else None,
        size=sizes[motion] if moves else None,
        likeness=likeness,
        shape=shape,
        objects={key: min(value / best, 1.0) if best > 0 else 0.0 for key, value in gains.items()},
        motions=motions,
        scenes=scenes,
        fit=fit if seen else None,
    )


def _grid(picture: np.ndarray) -> np.ndarray:
    """Any picture, uint8 [h, w, 3], as f32 [GRID, GRID, 3] in 0 to 1, averaged."""
    small = Image.fromarray(picture).resize((GRID, GRID), Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32) / 255


def _scenes(video: np.ndarray, names: tuple[str, ...]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Distance to each scene, and the version of each (sharp or soft) that comes nearest, f32 [GRID, GRID, 3].

    A cell counts at most as an outlier, so an object costs each scene alike, however unlike it is.
    """
    distances, nearest = {}, {}
    for name in names:
        drawn = background(name, UNITS)[:, MARGIN : MARGIN + UNITS]
        picture = Image.fromarray(np.ascontiguousarray(drawn))
        soft = [_grid(np.asarray(picture.filter(ImageFilter.GaussianBlur(r)) if r else picture)) for r in BLURS]
        apart = [np.minimum(np.sqrt(((video - b) ** 2).mean(-1)), OUTLIER).mean() for b in soft]
        distances[name], nearest[name] = float(min(apart)), soft[int(np.argmin(apart))]
    return distances, nearest


def _levelled(video: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The video with its colours brought to those of the background, and the background as the video has it.

    Colours: per channel a gain and an offset, fitted twice, the second time without what is foreground.
    Background: where the video stands still near the drawn one, the video's own, so that small faults in it are
    not taken for objects.
    """
    steady = np.median(video, 0)
    levelled = video
    for _ in range(2):
        near = np.sqrt(((steady - drawn) ** 2).mean(-1)) < OUTLIER / 2
        if near.sum() < GRID:
            break
        gains, offsets = [], []
        for c in range(3):
            x, y = steady[near, c], drawn[near, c]
            # Shrunk towards gain 1: a flat scene does not say what its contrast was.
            gain = ((x - x.mean()) @ (y - y.mean()) + 1) / ((x - x.mean()) @ (x - x.mean()) + 1)
            gains.append(gain)
            offsets.append(y.mean() - gain * x.mean())
        levelled = levelled * np.array(gains, np.float32) + np.array(offsets, np.float32)
        steady = np.median(levelled, 0)
    quiet = np.sqrt(((steady - drawn) ** 2).mean(-1)) < OUTLIER / 5
    return levelled.astype(np.float32), np.where(quiet[..., None], steady, drawn).astype(np.float32)


def _motions(fit: Fit, names: tuple[str, ...], floats: bool, frames: int) -> tuple[dict[str, float], dict[str, str]]:
    """Steps from where the object was found to the nearest ideal track of each motion, and that track's size.

    Only the path's shape counts, not where it is; frames count by how clearly they show the object.
    """
    weight = fit.gain + 1e-9
    found = np.stack([_smooth(fit.x) / NEAR, _smooth(fit.y) / NEAR, np.log(_smooth(fit.side)) / SCALE])
    distances, sizes = {}, {}
    for motion in names:
        apart = {}
        for size in SIZES:
            ideal = track(motion, size, frames, floats=floats)
            path = np.stack([ideal.x / NEAR, ideal.y / NEAR, np.log(ideal.side) / SCALE])[:, ::LOOK]
            off = found - path
            still = np.average(off, axis=1, weights=weight)
            # The size may differ as a whole too, but then another size is nearer.
            off = off - still[:, None] * np.array([[1.0], [1.0], [0.8]])
            apart[size] = float(np.sqrt(np.average((off**2).sum(0), weights=weight)))
        sizes[motion] = min(apart, key=apart.__getitem__)
        distances[motion] = apart[sizes[motion]]
    return distances, sizes


def _smooth(values: np.ndarray) -> np.ndarray:
    """Median of three neighbours: one wrong frame does not bend a path."""
    padded = np.pad(values, 1, mode="edge")
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), 0)
