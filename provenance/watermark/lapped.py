"""A lapped transform of a picture, laid on a grid that belongs to the picture and not to its pixels.

The modulated lapped transform (Malvar, "Signal Processing with Lapped Transforms", 1992; the MDCT of audio coding) has
blocks that overlap by half, so that changing a coefficient leaves no edge. Along one axis, for block i and mode k, at
u = x / pitch - i in (0, 2):

    b_ik(x) = sqrt(2 / pitch) sin(pi u / 2) cos(pi (k + 1/2) (u + 1/2))

which is orthonormal; here it is sampled at pixel centres for any pitch, whole or not. The pitch is the root of the
picture's area by ``SIDE``: a picture that was resized has the same coefficients. They are given at the scale of
``UNIT`` pixels a pitch, as if every picture had 480 x 480 pixels' area.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIDE = 15
"""Pitches along the side of a square picture; others have as many in all."""
UNIT = 32
MODES = 10
"""Modes along an axis; mode k has (k + 1/2) / 2 cycles a pitch."""
_BAND = (1.3, 9.6)

_KY, _KX = np.meshgrid(np.arange(MODES), np.arange(MODES), indexing="ij")
_RADIUS = np.hypot(_KY + 0.5, _KX + 0.5)
_KEEP = (_BAND[0] <= _RADIUS) & (_BAND[1] >= _RADIUS)
KY, KX, RADIUS = _KY[_KEEP], _KX[_KEEP], _RADIUS[_KEEP]
"""The modes in use: row, column and radius of each, half cycles a pitch."""


@dataclass(frozen=True)
class Axis:
    """Blocks along one axis of a picture: block i covers pitch * (i .. i + 2) + offset, in pixels."""

    pitch: float
    offset: float
    first: int
    count: int


@dataclass(frozen=True)
class Grid:
    """Blocks of a picture."""

    y: Axis
    x: Axis

    @property
    def scale(self) -> float:
        """Pixels for one pixel of the unit scale."""
        return float(np.sqrt(self.y.pitch * self.x.pitch)) / UNIT

    def part(self, size: int) -> "Grid":
        """A square of ``size`` blocks from the middle, or less where there are less."""
        return Grid(_middle(self.y, size), _middle(self.x, size))


def _middle(axis: Axis, count: int) -> Axis:
    count = min(count, axis.count)
    return replace(axis, first=axis.first + (axis.count - count) // 2, count=count)


def whole(height: float, width: float, ratio: float | None = None) -> Grid:
    """The grid of a whole picture, whose sides may end within a pixel: block 0 begins in its centre.

    Args:
        height, width: pixels.
        ratio: width by height when it was marked; None if that has not changed since.
    """
    root = float(np.sqrt(width / height if ratio is None else ratio))
    return Grid(
        within(height, height * root / SIDE, height / 2),
        within(width, width / root / SIDE, width / 2),
    )


def within(size: float, pitch: float, offset: float) -> Axis:
    """All blocks that lie within ``size`` pixels."""
    first = int(np.ceil(-offset / pitch - 0.02))
    last = int(np.floor((size - offset) / pitch - 2 + 0.02))
    return Axis(pitch, offset, first, max(0, last - first + 1))


@lru_cache(maxsize=32)
def _basis(axis: Axis, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Rows of the transform [count * MODES, size], the sum of each [count, MODES], and weights of block means."""
    x = (np.arange(size) + 0.5 - axis.offset) / axis.pitch
    u = x[None, :] - (axis.first + np.arange(axis.count))[:, None]
    window = np.where((u > 0) & (u < 2), np.sin(np.pi * u / 2), 0.0)
    turn = np.pi * (np.arange(MODES) + 0.5)[None, :, None] * (u[:, None] + 0.5)
    basis = window[:, None] * np.cos(turn) * np.sqrt(2 / axis.pitch)
    mean = window**2 / np.maximum(1e-9, np.sum(window**2, axis=1, keepdims=True))
    return (
        basis.reshape(-1, size).astype(np.float32),
        basis.sum(axis=-1).astype(np.float32),
        mean.astype(np.float32),
    )


def analyse(picture: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Coefficients at the unit scale, [blocks down, blocks across, modes in use]. Those of a flat picture are zero:
    what little of a block's mean the basis lets through is taken out."""
    down, sum_y, mean_y = _basis(grid.y, picture.shape[0])
    across, sum_x, mean_x = _basis(grid.x, picture.shape[1])
    full = (down @ picture @ across.T).reshape(grid.y.count, MODES, grid.x.count, MODES)
    means = mean_y @ picture @ mean_x.T
    chosen = full.transpose(0, 2, 1, 3)[:, :, KY, KX]
    leaks = sum_y[:, None, KY] * sum_x[None, :, KX]
    return ((chosen - means[..., None] * leaks) / np.float32(grid.scale)).astype(np.float32)


def synthesise(change: NDArray[np.float32], grid: Grid, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The picture [h, w] that these coefficients add up to."""
    full = np.zeros((grid.y.count, grid.x.count, MODES, MODES), np.float32)
    full[:, :, KY, KX] = change * np.float32(grid.scale)
    down, across = _basis(grid.y, shape[0])[0], _basis(grid.x, shape[1])[0]
    picture = down.T @ full.transpose(0, 2, 1, 3).reshape(grid.y.count * MODES, -1) @ across
    return picture.astype(np.float32, copy=False)
