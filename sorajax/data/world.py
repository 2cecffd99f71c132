"""The procedural world that sorajax learns from: named objects, moving over drawn scenes, with captions.

Everything follows from (seed, index), so a data set is a number: ``World(config).sample(index)``.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from sorajax.data import atlas, captions
from sorajax.data.motions import CAMERAS, MOTIONS, pan, track, zoom
from sorajax.data.motions import SIZES as SIZE_UNITS
from sorajax.data.scenes import MARGIN, UNITS, background
from sorajax.data.scenes import SCENES as DRAWN
from sorajax.data.styles import STYLES, apply
from sorajax.errors import ConfigError

OBJECTS = tuple(atlas.objects())
CORE = OBJECTS[:12]
SCENES = tuple(DRAWN)
SIZES = tuple(SIZE_UNITS)

HELD_OUT = (
    "dog/growing/forest",
    "dog/circling/night",
    "cat/down/snow",
    "cat/shrinking/beach",
    "car/right/sea",
    "car/shrinking/desert",
    "rocket/right/beach",
    "rocket/circling/desert",
    "fish/growing/desert",
    "fish/up/meadow",
    "butterfly/bouncing/sea",
    "butterfly/still/city",
    "elephant/left/meadow",
    "elephant/circling/snow",
    "penguin/up/beach",
    "penguin/down/city",
    "turtle/growing/night",
    "turtle/right/meadow",
    "pig/still/snow",
    "pig/up/sea",
    "chick/down/forest",
    "chick/left/city",
    "bus/left/forest",
    "bus/bouncing/night",
)
"""object/motion/scene combinations kept for evaluation: each core object twice, each scene three times."""

EVALUATION = 1_000_000_000
"""Clips from this index on are for evaluation; training never comes so far."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Which part of the world is drawn from, and how often its refinements appear. ConfigError on unknown names."""

    size: int = 64
    frames: int = 17
    fps: int = 8
    objects: tuple[str, ...] = CORE
    scenes: tuple[str, ...] = SCENES
    motions: tuple[str, ...] = MOTIONS
    sizes: tuple[str, ...] = SIZES
    styles: tuple[str, ...] = STYLES
    cameras: tuple[str, ...] = CAMERAS
    two_objects: float = 0.0
    """Probability of a second object."""
    plain_style: float = 1.0
    """Probability of the plain style; the other styles share the rest."""
    still_camera: float = 1.0
    """Probability of a camera at rest; the other cameras share the rest."""
    languages: tuple[str, ...] = captions.LANGUAGES
    held_out: tuple[str, ...] = HELD_OUT
    seed: int = 0

    def __post_init__(self) -> None:
        known = {
            "objects": OBJECTS,
            "scenes": SCENES,
            "motions": MOTIONS,
            "sizes": SIZES,
            "styles": STYLES,
            "cameras": CAMERAS,
            "languages": captions.LANGUAGES,
        }
        for key, names in known.items():
            chosen = getattr(self, key)
            for name in chosen:
                if name not in names:
                    raise ConfigError(f"world {key}: unknown {name!r}; known: {', '.join(names)}")
            if not chosen:
                raise ConfigError(f"world {key}: empty; name at least one of {', '.join(names)}")
        for combination in self.held_out:
            parts = combination.split("/")
            if len(parts) != 3 or any(
                p not in names for p, names in zip(parts, (OBJECTS, MOTIONS, SCENES), strict=True)
            ):
                raise ConfigError(f"world held_out: {combination!r} is not a known 'object/motion/scene'")
        for key in ("two_objects", "plain_style", "still_camera"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"world {key}: {getattr(self, key)!r} is not a probability between 0 and 1")
        for key, least in (("size", 16), ("frames", 1), ("fps", 1), ("seed", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"world {key}: {getattr(self, key)!r} is too small; at least {least}")
        if all(f"{o}/{m}/{s}" in self.held_out for o in self.objects for m in self.motions for s in self.scenes):
            raise ConfigError("world held_out: holds every combination of objects, motions and scenes; leave some")
        if self.two_objects and len(self.objects) < 2:
            raise ConfigError("world two_objects: needs at least two objects to choose from")


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """What one clip shows; two objects share the motion. `seed` decides the last few pixels of placement."""

    objects: tuple[str, ...]
    motion: str
    scene: str
    size: str = "medium"
    style: str = "plain"
    camera: str = "still"
    seed: int = 0


@dataclass(frozen=True)
class Rendered:
    """A drawn clip: frames uint8 [t, h, w, 3] and alpha uint8 [t, h, w], the objects' coverage."""

    frames: np.ndarray
    alpha: np.ndarray


@dataclass(frozen=True)
class Sample:
    """One training example."""

    frames: np.ndarray
    alpha: np.ndarray
    caption: str
    language: str
    spec: ClipSpec


class World:
    """Draws clips and their captions; holds nothing but its configuration, so it is cheap to copy to workers."""

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig()
        self._held_out = frozenset(self.config.held_out)

    def spec(self, index: int) -> ClipSpec:
        """What clip `index` shows; the same for the same (config.seed, index), and never held out."""
        c, rng = self.config, self._rng(index, 0)
        while True:
            count = 2 if rng.random() < c.two_objects else 1
            names = (_pick(rng, c.objects),)
            if count == 2:
                names += (_pick(rng, tuple(name for name in c.objects if name not in names)),)
            motion, scene = _pick(rng, c.motions), _pick(rng, c.scenes)
            if not any(f"{name}/{motion}/{scene}" in self._held_out for name in names):
                break
        return ClipSpec(
            objects=names,
            motion=motion,
            scene=scene,
            # Half of all clips show the size that a caption without a size means.
            size="medium" if "medium" in c.sizes and rng.random() < 0.5 else _pick(rng, c.sizes),
            style=_prefer(rng, "plain", c.plain_style, c.styles),
            camera=_prefer(rng, "still", c.still_camera, c.cameras),
            seed=int(rng.integers(2**31)),
        )

    def sample(self, index: int) -> Sample:
        """Clip `index` with a caption in one of the configured languages."""
        spec, rng = self.spec(index), self._rng(index, 1)
        language = _pick(rng, self.config.languages)
        drawn = self.render(spec)
        return Sample(drawn.frames, drawn.alpha, self.caption(spec, language, rng), language, spec)

    def caption(self, spec: ClipSpec, language: str, rng: np.random.Generator) -> str:
        """One of many sentences that say what the spec shows; `rng` picks the phrasing."""
        return captions.caption(spec, language, rng)

    def held_out_specs(self) -> list[ClipSpec]:
        """The combinations never drawn by `spec`, at medium size."""
        parts = [combination.split("/") for combination in self.config.held_out]
        return [ClipSpec(objects=(o,), motion=m, scene=s) for o, m, s in parts]

    def render(self, spec: ClipSpec) -> Rendered:
        """Draw a spec."""
        size, frames = self.config.size, self.config.frames
        unit = size / UNITS
        canvas = background(spec.scene, size)
        look = np.round((MARGIN + pan(spec.camera, frames)) * unit).astype(int)
        video = np.stack([canvas[:, x : x + size] for x in look])
        alpha = np.zeros((frames, size, size), np.uint8)
        jitter = (spec.seed % 5 - 2) * unit, (spec.seed // 5 % 3 - 1) * unit
        for name, place in zip(spec.objects, (0,) if len(spec.objects) == 1 else (-1, 1), strict=True):
            thing = atlas.objects()[name]
            path = track(spec.motion, spec.size, frames, floats=thing.floats, place=place)
            mirrored = _mirrored(thing.faces, spec.motion)
            sides = np.maximum(np.round(path.side * unit).astype(int), 1)
            left = np.round(path.x * unit - sides / 2 + jitter[0]).astype(int) - look + round(MARGIN * unit)
            top = np.round(path.y * unit - sides / 2 + jitter[1]).astype(int)
            for t in range(frames):
                pose = round(t * atlas.POSES / (2 * self.config.fps))
                sprite = atlas.sprite(name, pose % atlas.POSES, int(sides[t]), mirrored)
                _paste(video[t], alpha[t], sprite, int(left[t]), int(top[t]))
        video, alpha = _zoomed(video, alpha, zoom(spec.camera, frames))
        return Rendered(apply(spec.style, video, alpha), alpha)

    def labels(self, spec: ClipSpec) -> dict[str, int]:
        """Class of each attribute, among everything the world knows; object2 is 0 where there is none."""
        return {
            "object": OBJECTS.index(spec.objects[0]),
            "object2": OBJECTS.index(spec.objects[1]) + 1 if len(spec.objects) > 1 else 0,
            "motion": MOTIONS.index(spec.motion),
            "scene": SCENES.index(spec.scene),
            "size": SIZES.index(spec.size),
            "style": STYLES.index(spec.style),
            "camera": CAMERAS.index(spec.camera),
        }

    def label_sizes(self) -> dict[str, int]:
        """Number of classes of each attribute."""
        return {
            "object": len(OBJECTS),
            "object2": len(OBJECTS) + 1,
            "motion": len(MOTIONS),
            "scene": len(SCENES),
            "size": len(SIZES),
            "style": len(STYLES),
            "camera": len(CAMERAS),
        }

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.config.seed, 2 * index + stream]))


def _pick(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _prefer(rng: np.random.Generator, usual: str, probability: float, names: tuple[str, ...]) -> str:
    others = tuple(name for name in names if name != usual)
    return usual if usual in names and (not others or rng.random() < probability) else _pick(rng, others)


def _mirrored(faces: str, motion: str) -> bool:
    """Whether a sprite must be turned round to face where it goes; left and right are drawn, the rest keep."""
    return (faces, motion) in (("left", "right"), ("right", "left"))


def _paste(frame: np.ndarray, alpha: np.ndarray, sprite: np.ndarray, left: int, top: int) -> None:
    """Lay a premultiplied sprite over a frame and its coverage, in place, cut at the borders."""
    height, width = alpha.shape
    y0, y1 = max(top, 0), min(top + sprite.shape[0], height)
    x0, x1 = max(left, 0), min(left + sprite.shape[1], width)
    if y0 >= y1 or x0 >= x1:
        return
    patch = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    keep = 1 - patch[..., 3] / 255
    frame[y0:y1, x0:x1] = frame[y0:y1, x0:x1] * keep[..., None] + (patch[..., :3] + 0.5)
    alpha[y0:y1, x0:x1] = alpha[y0:y1, x0:x1] * keep + (patch[..., 3] + 0.5)


def _zoomed(video: np.ndarray, alpha: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if (scale == 1).all():
        return video, alpha
    size = video.shape[1]
    outs = []
    for frame, cover, z in zip(video, alpha, scale, strict=True):
        half = size / 2 / z
        box = (size / 2 - half, size / 2 - half, size / 2 + half, size / 2 + half)
        picture = Image.fromarray(np.concatenate([frame, cover[..., None]], -1), "RGBA")
        # As four plain channels: the coverage is data here, not transparency.
        bands = [b.resize((size, size), Image.Resampling.BICUBIC, box) for b in picture.split()]
        outs.append(np.stack([np.asarray(b) for b in bands], -1))
    both = np.stack(outs)
    return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3])
