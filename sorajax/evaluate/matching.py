"""Where in a video a sprite of the world fits best: least squares over all places, sizes, poses, by FFT.

Laying sprite S with coverage a over background B changes it by C = a (S - B). With D = F - B, what the frame F
shows beyond the background, the sprite explains sum(D^2) - sum((D - C)^2) = 2 sum(D C) - sum(C^2) of it: the gain.
Both sums are correlations, so one FFT per sprite gives the gain at every place. Everything happens on a grid of
GRID cells a side, so frames of any size are welcome and fine detail does not matter.
"""

import functools
from dataclasses import dataclass

import numpy as np

from sorajax.data.atlas import objects, sprite
from sorajax.data.scenes import UNITS

GRID = 32
CELL = UNITS // GRID
PADDED = 2 * GRID
"""Holds the grid and the largest sprite side by side, so that correlations do not wrap."""

SIDES = (10, 12, 14, 18, 22, 26, 30, 34, 40, 48, 56)
"""Sides tried, in world units."""
POSES = (0, 4, 8, 12)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The best place for one object in each frame; every array is [t]."""

    gain: np.ndarray
    """Squared difference that the sprite explains, in units of (255 levels)^2 cells."""
    likeness: np.ndarray
    """Cosine between what the sprite would change and what is seen in its square, -1 to 1."""
    x: np.ndarray
    y: np.ndarray
    side: np.ndarray
    """Centre and side, in world units."""


@dataclass(frozen=True)
class _Templates:
    """All sprites of one object: sides [k] in world units, pixels [k, GRID, GRID, 4], transforms [f, 9, k].

    The nine rows meet those of ``Matcher._spectra``: colour, coverage, a colour, a^2 and colour^2.
    """

    side: np.ndarray
    pixels: np.ndarray
    spectra: np.ndarray


def _reduced(name: str, pose: int, side: int, flip: bool) -> np.ndarray:
    """A sprite on the grid, f32 [side / CELL, side / CELL, 4], premultiplied, 0 to 1."""
    return sprite(name, pose, side, flip).reshape(side // CELL, CELL, side // CELL, CELL, 4).mean((1, 3)) / 255


def _blob(name: str, side: int) -> np.ndarray:
    """A shapeless thing of the object's mean colour, extent and coverage: what a poor picture of it may be."""
    pictures = np.stack([_reduced(name, pose, side, False) for pose in POSES])
    cover = pictures[..., 3]
    mean = pictures[..., :3].sum((0, 1, 2)) / cover.sum()
    cells = np.arange(side // CELL)
    weight = cover.mean(0)
    (y, dy), (x, dx) = (_spread(weight.sum(axis), cells) for axis in (1, 0))
    # The ellipse with the silhouette's own centre and second moments; its edge is soft.
    radius = np.sqrt(((cells[:, None] - y) / (2 * dy)) ** 2 + ((cells - x) / (2 * dx)) ** 2)
    soft = np.clip((1.25 - radius) / 0.5, 0, 1)
    return np.concatenate([soft[..., None] * mean, soft[..., None]], -1).astype(np.float32)


def _spread(weight: np.ndarray, cells: np.ndarray) -> tuple[float, float]:
    mean = (weight @ cells) / weight.sum()
    return mean, max(float(np.sqrt(weight @ (cells - mean) ** 2 / weight.sum())), 0.5)


@functools.lru_cache(maxsize=96)
def _templates(name: str, shapeless: bool, every: int) -> _Templates:
    flips = (False,) if objects()[name].faces == "none" else (False, True)
    looks = [(side, pose, flip) for side in SIDES for pose in POSES for flip in flips][::every]
    if shapeless:
        small = [_blob(name, side) for side in SIDES]
    else:
        small = [_reduced(name, pose, side, flip) for side, pose, flip in looks]
    pixels = np.zeros((len(small), GRID, GRID, 4), np.float32)
    for k, picture in enumerate(small):
        pixels[k, : len(picture), : len(picture)] = picture
    color, cover = pixels[..., :3], pixels[..., 3:]
    rows = np.concatenate([color, cover, color * cover, cover**2, (color**2).sum(-1, keepdims=True)], -1)
    return _Templates(
        side=np.array([len(picture) * CELL for picture in small]),
        pixels=pixels,
        spectra=np.ascontiguousarray(np.conj(_transform(np.moveaxis(rows, -1, 0))).transpose(2, 0, 1)),
    )


def _transform(x: np.ndarray) -> np.ndarray:
    """Padded two-dimensional transforms, complex [..., GRID, GRID] to [..., f]."""
    spectrum = np.fft.rfft2(x, (PADDED, PADDED)).astype(np.complex64)
    return spectrum.reshape(*x.shape[:-2], -1)


class Matcher:
    """Fits objects to the frames of one video, given its background."""

    def __init__(self, frames: np.ndarray, background: np.ndarray) -> None:
        """frames f32 [t, GRID, GRID, 3] and background f32 [GRID, GRID, 3], both 0 to 1."""
        self.difference = frames - background
        self.background = background
        count = len(frames)
        still = np.concatenate(
            [2 * background, -(background**2).sum(-1, keepdims=True), -np.ones_like(background[..., :1])], -1
        )
        rows = np.concatenate(
            [
                2 * self.difference,
                -2 * (self.difference * background).sum(-1, keepdims=True),
                np.broadcast_to(still, (count, *still.shape)),
            ],
            -1,
        )
        # 2 D C - C^2, spelt out in products of something of the video and something of the sprite: [f, t, 9].
        self._spectra = np.ascontiguousarray(_transform(np.moveaxis(rows, -1, 1)).transpose(2, 0, 1))

    def fit(self, name: str, *, shapeless: bool = False, every: int = 1) -> Fit:
        """The place, size and pose of an object that explain each frame best.

        shapeless: of an ellipse of its mean colour and extent instead, to tell whether the shape matters.
        every: try only so many of its sprites, for a quick look.
        """
        bank = _templates(name, shapeless, every)
        count, looks = len(self.difference), len(bank.side)
        product = np.matmul(self._spectra, bank.spectra).transpose(1, 2, 0).reshape(count * looks, PADDED, -1)
        gain = np.fft.irfft2(product, (PADDED, PADDED)).reshape(count, -1)
        top = gain.argmax(1)
        best = gain[np.arange(count), top]
        where = np.stack([top // PADDED**2, top // PADDED % PADDED, top % PADDED], 1)
        # Places beyond the grid are wrapped negative ones: the sprite sticks out at the top or the left.
        places = np.where(where[:, 1:] >= GRID, where[:, 1:] - PADDED, where[:, 1:])
        side = bank.side[where[:, 0]]
        likeness = [self._likeness(bank.pixels[k], side[t] // CELL, places[t], t) for t, k in enumerate(where[:, 0])]
        return Fit(
            gain=np.maximum(best, 0),
            likeness=np.array(likeness),
            x=places[:, 1] * CELL + side / 2,
            y=places[:, 0] * CELL + side / 2,
            side=side.astype(float),
        )

    def _likeness(self, pixels: np.ndarray, side: int, place: np.ndarray, t: int) -> float:
        top, left = (int(v) for v in place)
        if top + side <= 0 or left + side <= 0:
            return 0.0
        rows, columns = slice(max(top, 0), min(top + side, GRID)), slice(max(left, 0), min(left + side, GRID))
        patch = pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        change = patch[..., :3] - patch[..., 3:] * self.background[rows, columns]
        seen = self.difference[t, rows, columns]
        norm = np.sqrt((change**2).sum() * (seen**2).sum())
        return float((change * seen).sum() / norm) if norm > 1e-6 else 0.0
