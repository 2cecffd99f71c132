"""Where the watermark's plane lies in a picture that was cropped, turned, stretched or mirrored."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provenance.watermark import lapped

SYMMETRIES = 8
_LARGEST = 4096


def symmetry(picture: NDArray, which: int) -> NDArray:
    """One of the eight ways to mirror and turn a picture [h, w]: 1 mirrors left and right, 2 top and bottom, 3 is half
    a turn, and 4 to 7 are those of the transpose. A view, not a copy."""
    if which & 4:
        picture = picture.T
    if which & 2:
        picture = picture[::-1]
    return picture[:, ::-1] if which & 1 else picture


@dataclass(frozen=True)
class Alignment:
    """The point u of the watermark's plane (y, x; unit pixels) is at ``origin + matrix @ u`` in ``symmetry(picture)``,
    where whole numbers are the edges of pixels."""

    symmetry: int
    matrix: NDArray[np.float64]
    origin: NDArray[np.float64]

    def moved(self, by: tuple[float, float]) -> "Alignment":
        """The same with the plane's point ``by`` for its origin."""
        return Alignment(self.symmetry, self.matrix, self.origin + self.matrix @ np.array(by))

    @property
    def upright(self) -> bool:
        """Whether rows are rows: not turned or sheared by more than about a tenth of a pixel in a picture."""
        m = self.matrix
        return abs(m[0, 1]) + abs(m[1, 0]) < 3e-4 * float(np.sqrt(abs(np.linalg.det(m))))


def straighten(
    pictures: list[NDArray[np.float32]], alignment: Alignment, part: int | None = None
) -> tuple[list[NDArray[np.float32]], lapped.Grid]:
    """Pictures of one size as the watermark's plane sees them, and the grid of the blocks that lie within them; only of
    the ``part`` times ``part`` blocks about the plane's origin if asked."""
    pictures = [symmetry(picture, alignment.symmetry) for picture in pictures]
    height, width = pictures[0].shape
    matrix, origin = alignment.matrix, alignment.origin
    if alignment.upright:
        grid = lapped.Grid(
            lapped.within(height, lapped.UNIT * float(matrix[0, 0]), float(origin[0])),
            lapped.within(width, lapped.UNIT * float(matrix[1, 1]), float(origin[1])),
        )
        return [np.ascontiguousarray(picture) for picture in pictures], grid
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    pitch = lapped.UNIT * scale
    forward = matrix / scale
    corners = np.array([[y, x] for y in (0.0, height) for x in (0.0, width)]) - origin
    around = corners @ np.linalg.inv(forward).T
    low, high = np.floor(around.min(axis=0)), np.ceil(around.max(axis=0))
    if part is not None:
        reach = np.ceil((part + 1) / 2 * pitch)
        low, high = np.maximum(low, -reach), np.minimum(high, reach)
    rows, columns = (int(n) for n in np.clip(high - low, 1, _LARGEST))
    y = (low[0] + np.arange(rows) + 0.5)[:, None]
    x = (low[1] + np.arange(columns) + 0.5)[None]
    at_y = (origin[0] - 0.5 + forward[0, 0] * y + forward[0, 1] * x).astype(np.float32)
    at_x = (origin[1] - 0.5 + forward[1, 0] * y + forward[1, 1] * x).astype(np.float32)
    grid = lapped.Grid(lapped.within(rows, pitch, -low[0]), lapped.within(columns, pitch, -low[1]))
    return _bilinear(pictures, at_y, at_x), grid


def _bilinear(
    pictures: list[NDArray[np.float32]], y: NDArray[np.float32], x: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Values between pixel centres; the mean of the picture outside."""
    height, width = pictures[0].shape
    outside = (y < -0.5) | (y > height - 0.5) | (x < -0.5) | (x > width - 0.5)
    y, x = np.clip(y, 0, height - 1.001), np.clip(x, 0, width - 1.001)
    row, column = y.astype(np.int32), x.astype(np.int32)
    down, right = y - row, x - column
    at = row * width + column
    out = []
    for picture in pictures:
        flat = np.ascontiguousarray(picture).ravel()
        top, bottom = flat.take(at), flat.take(at + width)
        top += (flat.take(at + 1) - top) * right
        bottom += (flat.take(at + width + 1) - bottom) * right
        top += (bottom - top) * down
        top[outside] = picture.mean()
        out.append(top)
    return out


def content(pictures: list[NDArray[np.float32]]) -> tuple[slice, slice] | None:
    """The rectangle inside plain bars (letterbox, pillarbox) that all pictures share; None if there are no bars."""
    spans = []
    for axis in (1, 0):
        lively = np.max([p.max(axis=axis) - p.min(axis=axis) for p in pictures], axis=0) > 10.0
        where = np.flatnonzero(lively)
        if not len(where):
            return None
        spans.append(slice(int(where[0]), int(where[-1]) + 1))
    height, width = pictures[0].shape
    rows, columns = spans[0].stop - spans[0].start, spans[1].stop - spans[1].start
    if rows * columns > 0.98 * height * width or min(rows, columns) < 32:
        return None
    return spans[0], spans[1]
