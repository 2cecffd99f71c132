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
    """All sprites of one object: coverage and colour on the grid, and their transforms."""

    side: np.ndarray
    pixels: np.ndarray
    color: np.ndarray
    cover: np.ndarray
    color_cover: np.ndarray
    cover_squared: np.ndarray
    color_squared: np.ndarray


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


@functools.lru_cache(maxsize=64)
def _templates(name: str, shapeless: bool = False) -> _Templates:
    flips = (False,) if objects()[name].faces == "none" else (False, True)
    sides, pictures = [], []
    for side in SIDES:
        for small in (
            [_blob(name, side)]
            if shapeless
            else [_reduced(name, pose, side, flip) for pose in POSES for flip in flips]
        ):
            picture = np.zeros((PADDED, PADDED, 4), np.float32)
            picture[: small.shape[0], : small.shape[1]] = small
            sides.append(side)
            pictures.append(picture)
    pixels = np.stack(pictures)
    color, cover = pixels[..., :3], pixels[..., 3]

    def transform(x: np.ndarray) -> np.ndarray:
        return np.conj(np.fft.rfft2(x, axes=(1, 2))).astype(np.complex64)

    return _Templates(
        side=np.array(sides),
        pixels=pixels[:, :GRID, :GRID],
        color=transform(color),
        cover=transform(cover),
        color_cover=transform(color * cover[..., None]),
        cover_squared=transform(cover**2),
        color_squared=transform((color**2).sum(-1)),
    )


class Matcher:
    """Fits objects to the frames of one video, given its background."""

    def __init__(self, frames: np.ndarray, background: np.ndarray) -> None:
        """frames f32 [t, GRID, GRID, 3] and background f32 [GRID, GRID, 3], both 0 to 1."""
        self.difference = frames - background
        self.background = background

        def transform(x: np.ndarray) -> np.ndarray:
            return np.fft.rfft2(x, (PADDED, PADDED), axes=(-2, -1)).astype(np.complex64)

        self._difference = np.moveaxis(transform(np.moveaxis(self.difference, -1, 1)), 1, -1)
        self._dot = transform((self.difference * background).sum(-1))
        self._background = np.moveaxis(transform(np.moveaxis(background, -1, 0)), 0, -1)
        self._background_squared = transform((background**2).sum(-1))
        self._inside = transform(np.ones((GRID, GRID), np.float32))

    def fit(self, name: str, *, shapeless: bool = False) -> Fit:
        """The place, size and pose of an object that explain each frame best.

        shapeless: of an ellipse of its mean colour and extent instead, to tell whether the shape matters.
        """
        bank = _templates(name, shapeless)
        count = len(self.difference)
        best = np.full(count, -np.inf)
        where = np.zeros((count, 3), int)
        for k in range(len(bank.side)):
            along = (self._difference * bank.color[k]).sum(-1) - self._dot * bank.cover[k]
            energy = (
                self._inside * bank.color_squared[k]
                - 2 * (self._background * bank.color_cover[k]).sum(-1)
                + self._background_squared * bank.cover_squared[k]
            )
            gain = np.fft.irfft2(2 * along - energy, (PADDED, PADDED), axes=(-2, -1)).reshape(count, -1)
            top = gain.argmax(1)
            value = gain[np.arange(count), top]
            better = value > best
            best[better] = value[better]
            where[better] = np.stack([np.full(count, k), top // PADDED, top % PADDED], 1)[better]
        # Places beyond the grid are wrapped negative ones: the sprite sticks out at the top or the left.
        places = np.where(where[:, 1:] >= GRID, where[:, 1:] - PADDED, where[:, 1:])
        side = bank.side[where[:, 0]]
        likeness = [
            self._likeness(bank.pixels[k], side[t] // CELL, places[t], t) for t, k in enumerate(where[:, 0])
        ]
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
