"""Finding the watermark's plane in a picture of unknown geometry, by the spread layer.

The pattern repeats, so its Fourier transform lives on a lattice of frequencies k / tile, each with a keyed phase phi_k.
If the plane's point u is at b + A u, then frequency k is found at A^-T k / tile in the picture's transform Z, and

    t(d) = sqrt(2) Re sum_k conj(Z_k) exp(i phi_k) exp(2 pi i k . d / tile) / sqrt(sum_k |Z_k|^2)

for all shifts d at once by one small inverse FFT. So a candidate for A costs some fifty microseconds, and thousands of
them, scale, turn and proportion, are tried on one transform of the picture.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provenance.watermark import lapped, layout
from provenance.watermark.geometry import Alignment, symmetry

TILE = layout.TILE * lapped.UNIT
_FIELD = 96
"""Shifts tried a tile and axis; more than twice the highest k."""
_COARSE = {"size": (448, 0.0), "scale": (448, 0.005), "ratio": (288, 0.008), "turn": (288, 0.008)}
"""For each kind of search the side of the middle part that is looked at first, in pixels, and the step between
candidates: a small part forgives small errors of A, a large one holds more of the pattern."""
_SIZES = (
    *((256, 256), (480, 480), (512, 512), (720, 720), (1024, 1024), (1080, 1080)),
    *((640, 360), (640, 480), (720, 404), (720, 480), (720, 576), (768, 432), (832, 480), (854, 480), (960, 540)),
    *((1024, 576), (1280, 704), (1280, 720), (1440, 1080), (1920, 1080), (2560, 1440), (3840, 2160)),
)
"""Usual sizes of video, also upright: a crop that was not resized has the scale of one of them."""
_LEAST_LEFT = 0.3
"""Of each side, in such a crop."""
_BATCH = 48
_OUTLIER = 2.0


@dataclass(frozen=True)
class Candidate:
    """``matrix`` as in ``Alignment``, and how well the synchronisation waves agree."""

    t: float
    symmetry: int
    matrix: NDArray[np.float64]

    def near(self, other: "Candidate") -> bool:
        """Whether both climbed to the same maximum."""
        apart = np.abs(self.matrix - other.matrix).max() / np.abs(self.matrix).max()
        return self.symmetry == other.symmetry and bool(apart < 2e-3)


class Spectrum:
    """Whitened Fourier transform of a picture about its centre, finely sampled."""

    def __init__(self, picture: NDArray[np.float32]):
        height, width = picture.shape
        self.centre = np.array([height / 2, width / 2])
        rows, columns = self._size = _fast_size(2 * max(height, 256)), _fast_size(2 * max(width, 256))
        z = np.fft.rfft2(picture - picture.mean(), s=self._size)
        fy, fx = np.fft.fftfreq(rows), np.fft.rfftfreq(columns)
        z *= np.exp(2j * np.pi * fy * (self.centre[0] - 0.5)).astype(np.complex64)[:, None]
        z *= np.exp(2j * np.pi * fx * (self.centre[1] - 0.5)).astype(np.complex64)[None]
        power = _blurred(z.real**2 + z.imag**2)
        z /= np.sqrt(power + np.float32(1e-6) * power.max() + np.float32(1e-20))
        z /= np.maximum(np.float32(1.0), np.abs(z) / np.float32(_OUTLIER))
        self._z = z

    def at(self, fy: NDArray[np.float64], fx: NDArray[np.float64]) -> NDArray[np.complex64]:
        """Z at these frequencies, cycles a pixel; 0 where the picture has none so high."""
        mirrored = fx < 0
        fy, fx = np.where(mirrored, -fy, fy), np.where(mirrored, -fx, fx)
        rows, columns = self._size
        row, column = np.rint(fy * rows).astype(np.int64), np.rint(fx * columns).astype(np.int64)
        outside = (np.abs(row) >= rows // 2) | (column >= columns // 2)
        row[outside], column[outside] = 0, 0
        z = self._z[row, column]
        z = np.where(mirrored, z.conj(), z)
        z[outside] = 0
        return z


def _fast_size(least: int) -> int:
    """The next multiple of 64 that has no prime factor above 5."""
    sizes = (64 * 2**a * 3**b * 5**c for a in range(8) for b in range(4) for c in range(3))
    return min(size for size in sizes if size >= least)


def _blurred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over squares of 16, each between its neighbours' too; rows go around."""
    side = 16
    rows, columns = x.shape[0] // side, -(-x.shape[1] // side)
    padded = np.pad(x, [(0, 0), (0, columns * side - x.shape[1])], mode="edge")
    means = padded.reshape(rows, side, columns, side).mean(axis=(1, 3))
    means = ((np.roll(means, 1, axis=0) + 2 * means + np.roll(means, -1, axis=0)) / 4).astype(np.float32, copy=False)
    return np.repeat(np.repeat(means, side, axis=0), side, axis=1)[:, : x.shape[1]]


def sync_field(
    spectrum: Spectrum, matrices: NDArray[np.float64], key: bytes
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest t over all shifts for each A [b, 2, 2], and where, on a grid of ``_FIELD``: [b], [b, 2]."""
    plan = layout.spread(key)
    ky, kx = plan.ky[: plan.sync], plan.kx[: plan.sync]
    inverse = np.linalg.inv(matrices) / TILE
    fy = inverse[:, 0, 0, None] * ky + inverse[:, 1, 0, None] * kx
    fx = inverse[:, 0, 1, None] * ky + inverse[:, 1, 1, None] * kx
    z = spectrum.at(fy, fx)
    waves = z.conj() * plan.phase[: plan.sync]
    field = np.zeros((len(z), _FIELD, _FIELD // 2 + 1), np.complex64)
    field[:, ky % _FIELD, kx] = waves
    edge = kx == 0  # irfft2 counts kx > 0 twice, this column once
    field[:, -ky[edge] % _FIELD, 0] = waves[:, edge].conj()
    values = np.fft.irfft2(field, s=(_FIELD, _FIELD)).reshape(len(z), -1)
    best = values.argmax(axis=1)
    energy = np.sum(z.real**2 + z.imag**2, axis=1)
    t = values[np.arange(len(z)), best] * (_FIELD**2 / np.sqrt(2.0 * energy + 1e-12))
    return t.astype(np.float32), np.stack([best // _FIELD, best % _FIELD], axis=1)


def matrix(scale: float, turn: float = 0.0, ratio: float = 1.0) -> NDArray[np.float64]:
    """A for pixels a unit pixel, radians, and how much wider than high a square has become."""
    c, s = math.cos(turn), math.sin(turn)
    high, wide = scale * ratio**-0.5, scale * ratio**0.5
    return np.array([[c * high, -s * wide], [s * high, c * wide]], np.float64)


def matrices_for(kind: str, size: float, shrunk: int = 1) -> NDArray[np.float64]:
    """Candidates for A, [b, 2, 2]. ``size`` is the scale at which the whole plane would fit the picture, ``shrunk`` by
    which factor the picture was made smaller to be looked at."""
    step = _COARSE[kind][1]
    if kind == "size":
        scales = {math.sqrt(high * wide) / (lapped.SIDE * lapped.UNIT * shrunk) for wide, high in _SIZES}
        return np.array([matrix(s) for s in sorted(scales) if _LEAST_LEFT * s < size < 0.99 * s]).reshape(-1, 2, 2)

    def span(low: float, high: float) -> NDArray[np.float64]:
        return np.arange(round(low / step), round(high / step) + 1).astype(np.float64) * step

    if kind == "scale":
        return np.array([matrix(size * np.exp(s)) for s in span(-1.25, 1.3)])
    if kind == "ratio":
        ratios = [r for r in span(-0.14, 0.14) if r]
        return np.array([matrix(size * np.exp(s), ratio=np.exp(r)) for r in ratios for s in span(-0.6, 1.1)])
    turns = [a for a in span(-0.29, 0.29) if a]
    return np.array([matrix(size * np.exp(s), turn=a) for a in turns for s in span(-0.75, 1.1)])


class Search:
    """Looks for the plane in one picture [h, w], as ``picture.residual`` makes them; keeps what it has transformed."""

    def __init__(self, picture: NDArray[np.float32], key: bytes, shrunk: int = 1):
        self._picture, self._key, self._shrunk = picture, key, shrunk
        self._spectra: dict[tuple[int, int], Spectrum] = {}

    def spectrum(self, which: int, side: int = 0) -> Spectrum:
        """Of the picture in one of its symmetries, or of a middle part."""
        if (which, side) not in self._spectra:
            turned = np.ascontiguousarray(symmetry(self._picture, which))
            self._spectra[which, side] = Spectrum(_middle(turned, side) if side else turned)
        return self._spectra[which, side]

    def candidates(self, kind: str, symmetries: tuple[int, ...], keep: int = 8) -> list[Candidate]:
        """The best candidates of a kind, refined, best first."""
        height, width = self._picture.shape
        options = matrices_for(kind, float(np.sqrt(height * width)) / (lapped.SIDE * lapped.UNIT), self._shrunk)
        if not len(options):
            return []
        rough = []
        for which in symmetries:
            spectrum = self.spectrum(which, _COARSE[kind][0])
            parts = [
                sync_field(spectrum, options[i : i + _BATCH], self._key)[0] for i in range(0, len(options), _BATCH)
            ]
            scores = np.concatenate(parts)
            rough += [(float(scores[i]), which, int(i)) for i in np.argsort(scores)[::-1][:keep]]
        rough.sort(reverse=True)
        refined = [
            _refine(Candidate(t, which, options[i]), self.spectrum(which), self._key)
            for t, which, i in rough[: 2 * keep]
        ]
        refined.sort(key=lambda candidate: -candidate.t)
        distinct: list[Candidate] = []
        for candidate in refined:
            if not any(candidate.near(other) for other in distinct):
                distinct.append(candidate)
        return distinct[:keep]

    def align(self, candidate: Candidate) -> tuple[Alignment, NDArray[np.complex64]]:
        """The shift for a candidate's A, to a fraction of a pixel, and the data waves aligned to it, [waves]."""
        return align(candidate, self.spectrum(candidate.symmetry), self._key)


def _middle(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    height, width = picture.shape
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return picture[top : top + side, left : left + side]


_MOVES = np.array(
    [[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, -1], [1, 0]], [[0, 1], [1, 0]]], float
)  # scale, proportion, turn, shear


def _refine(start: Candidate, spectrum: Spectrum, key: bytes) -> Candidate:
    """Climb to the nearest maximum of t over A on the whole picture."""
    best, step = start.matrix, 0.004
    t = float(sync_field(spectrum, best[None], key)[0][0])
    while step > 1e-4:
        moves = np.concatenate([np.eye(2) + step * _MOVES, np.eye(2) - step * _MOVES])
        options = moves @ best
        scores = sync_field(spectrum, options, key)[0]
        at = int(scores.argmax())
        if scores[at] > t:
            best, t = options[at], float(scores[at])
        else:
            step /= 2
    return Candidate(t, start.symmetry, best)


def align(candidate: Candidate, spectrum: Spectrum, key: bytes) -> tuple[Alignment, NDArray[np.complex64]]:
    """The shift for a candidate's A, to a fraction of a pixel, and the data waves aligned to it, [waves]."""
    plan = layout.spread(key)
    _, at = sync_field(spectrum, candidate.matrix[None], key)
    inverse = np.linalg.inv(candidate.matrix) / TILE
    fy = inverse[0, 0] * plan.ky + inverse[1, 0] * plan.kx
    fx = inverse[0, 1] * plan.ky + inverse[1, 1] * plan.kx
    z = spectrum.at(fy[None], fx[None])[0]
    fine = np.arange(-6, 7) / (8.0 * _FIELD)
    dy, dx = (a.ravel() for a in np.meshgrid(at[0, 0] / _FIELD + fine, at[0, 1] / _FIELD + fine, indexing="ij"))
    sync = slice(0, plan.sync)
    turn = np.exp(2j * np.pi * (np.outer(dy, plan.ky[sync]) + np.outer(dx, plan.kx[sync])))
    best = int((turn @ (z[sync].conj() * plan.phase[sync])).real.argmax())
    shift = np.array([dy[best], dx[best]])
    data = slice(plan.sync, None)
    waves = z[data] * np.exp(-2j * np.pi * (plan.ky[data] * shift[0] + plan.kx[data] * shift[1]))
    origin = spectrum.centre - candidate.matrix @ (shift * TILE)
    return Alignment(candidate.symmetry, candidate.matrix, origin), waves.astype(np.complex64)
