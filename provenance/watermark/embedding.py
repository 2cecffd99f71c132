"""Writing the watermark into frames."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from provenance.errors import InputError
from provenance.watermark import coding, lapped, layout, picture
from provenance.watermark.budget import Budget

MIN_SIZE = 128
"""Frames need as many pixels a side."""
MOST_RATIO = 8
"""Frames may be so many times as long as wide, or as wide as high."""
PSNR_RANGE = (30.0, 60.0)
PSNR = 42.1
"""Of a frame of 640 x 360 or more; smaller ones, which have less room, go down to ``PSNR_SMALL`` at 256 x 256."""
PSNR_SMALL = 40.1

_SHARES = {"low": 0.76, "high": 0.10, "spread": 0.14}
"""How the error's energy is shared between the layers."""
_STRENGTHS = np.arange(0.03, 2.4, 0.03)
_TABLE = 1024
_LOUDEST = (2.5, 1.3)
"""How far flat frames may be made up for, small ones and large ones: those get a fainter watermark than is allowed."""


def default_psnr(height: int, width: int) -> float:
    """Decibels; the watermark's error in a frame of this size, unless asked otherwise."""
    return PSNR_SMALL + (PSNR - PSNR_SMALL) * _room(height, width)


def _room(height: int, width: int) -> float:
    """From 0 for frames of 256 x 256 pixels to 1 for 640 x 360."""
    return min(1.0, max(0.0, math.log(height * width / 256**2) / math.log(640 * 360 / 256**2)))


class Embedder:
    """Marks frames of one size with one payload.

    What a frame carries does not depend on others, only how strongly (``budget``): no order, rate or length of frames
    is needed to read the mark back.
    """

    def __init__(self, payload: bytes, height: int, width: int, key: bytes, psnr: float | None = None):
        self._factor = picture.shrink(height, width)
        self._size = (height, width)
        rows, columns = height // self._factor, width // self._factor
        self._grid = lapped.whole(rows, columns)
        code = coding.encode(payload)
        self._turn = lattice_turns(code, key, self._grid)
        self._pattern = spread_pattern(code, key, self._grid, (rows, columns))
        self.room = _room(height, width)
        self._loudest = _LOUDEST[0] + (_LOUDEST[1] - _LOUDEST[0]) * self.room
        psnr = default_psnr(height, width) if psnr is None else psnr
        # Rounding to bytes adds an error of its own.
        self._energy = max(0.05, 255.0**2 / 10 ** (psnr / 10) - 1 / 12)
        self._strengths = lru_cache(partial(lattice_strength, self._grid, (rows, columns)))

    def luma(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What of an RGB frame [h, w, 3] decides the change: luma of 640 x 360 pixels or not much more."""
        return picture.luma(frame, self._factor)

    def change(self, luma: NDArray[np.float32], share: float = 1.0) -> NDArray[np.float32]:
        """What the watermark adds to each of R, G and B, grey levels, as large as ``luma``; with ``share`` times the
        energy of an ordinary frame."""
        energy = self._energy * share
        cover = picture.cover(luma)
        change = lattice_change(luma, self._turn, self._strengths(energy), self._grid)
        change *= cover
        pattern = self._pattern * cover
        change *= _scaled_to(change, energy * (_SHARES["low"] + _SHARES["high"]), self._loudest)
        pattern *= _scaled_to(pattern, energy * _SHARES["spread"], self._loudest * math.sqrt(share))
        change += pattern
        change *= _scaled_to(change, energy, 1.0)
        return change

    def add(self, frame: NDArray[np.uint8], change: NDArray[np.float32]) -> NDArray[np.uint8]:
        """A marked copy of the frame."""
        change = _enlarge(change, self._factor)
        left_over = [(0, whole - done) for whole, done in zip(self._size, change.shape, strict=True)]
        if any(sum(left_over, ())):
            change = np.pad(change, left_over, mode="edge")
        rounded = np.rint(change).astype(np.int16)
        marked = np.empty(frame.shape, np.int16)
        for channel in range(3):  # three times as fast as broadcasting along so short an axis
            marked[..., channel] = rounded
        marked += frame
        np.clip(marked, 0, 255, out=marked)
        return marked.astype(np.uint8)


def _scaled_to(change: NDArray[np.float32], energy: float, most: float) -> np.float32:
    """The factor that gives a change this mean square, or the largest one allowed."""
    return np.float32(min(most, math.sqrt(energy / max(1e-9, float(np.mean(change**2))))))


def lattice_turns(code: NDArray[np.int8], key: bytes, grid: lapped.Grid) -> NDArray[np.float32]:
    """Where on its lattice each coefficient should lie, in turns: the keyed phase, half a turn on for a code bit of 1.
    [blocks down, blocks across, modes]"""
    plan = layout.lattice(key)
    target = plan.turn + 0.5 * code[plan.bit].astype(np.float32)
    rows = np.arange(grid.y.first, grid.y.first + grid.y.count) % layout.PERIOD
    columns = np.arange(grid.x.first, grid.x.first + grid.x.count) % layout.PERIOD
    return target[rows[:, None], columns[None, :]].astype(np.float32, copy=False)


@lru_cache(maxsize=1)
def _moves() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """For each of ``_STRENGTHS``: how far a coefficient at x moves, in steps, x in ``_TABLE`` places from -1/2 to 1/2;
    and its mean square. The equation of ``lattice_change``, solved by bisection between 0 and x."""
    x = (np.arange(_TABLE) + 0.5) / _TABLE - 0.5
    low, high = np.zeros((len(_STRENGTHS), _TABLE)), np.broadcast_to(np.abs(x), (len(_STRENGTHS), _TABLE)).copy()
    pull = _STRENGTHS[:, None] / (2 * np.pi)
    for _ in range(24):
        middle = (low + high) / 2
        beyond = middle + pull * np.sin(2 * np.pi * middle) > np.abs(x)
        high, low = np.where(beyond, middle, high), np.where(beyond, low, middle)
    moves = np.sign(x) * high - x
    return moves.astype(np.float32), np.mean(moves**2, axis=1)


def lattice_strength(grid: lapped.Grid, shape: tuple[int, int], energy: float) -> tuple[int, int]:
    """Which of ``_STRENGTHS`` the low and the high modes can have for their share of the energy."""
    squares = _moves()[1]
    low = lapped.RADIUS < layout.LOW
    pixels = shape[0] * shape[1] / grid.scale**2
    blocks = grid.y.count * grid.x.count
    chosen = []
    for modes, share in ((low, _SHARES["low"]), (~low, _SHARES["high"])):
        whole = blocks * float(np.sum(layout.STEPS[modes] ** 2))
        chosen.append(int(np.searchsorted(squares, share * energy * pixels / whole).clip(1, len(squares)) - 1))
    return chosen[0], chosen[1]


def lattice_change(
    luma: NDArray[np.float32], turns: NDArray[np.float32], strength: tuple[int, int], grid: lapped.Grid
) -> NDArray[np.float32]:
    """The lattice layer of a picture [h, w]: quantisation index modulation (Chen and Wornell, 2001), made smooth.

    A coefficient c lies at x = c / step - turn on its lattice and should be near a whole number. Instead of jumping
    there it moves to the y that makes cos(2 pi y) largest for the energy spent, which is where

        y + a / (2 pi) sin(2 pi y) = x.

    Up to a = 1 this is smooth in c, so that nothing flickers, and the mean of cos(2 pi y) is a / 2, whatever the
    picture shows.
    """
    moves = _moves()[0]
    x = lapped.analyse(luma, grid) / layout.STEPS - turns
    place = ((x - np.floor(x + np.float32(0.5)) + np.float32(0.5)) * _TABLE).astype(np.int32).clip(0, _TABLE - 1)
    move = np.where(lapped.RADIUS < layout.LOW, moves[strength[0]][place], moves[strength[1]][place])
    return lapped.synthesise(move * layout.STEPS, grid, luma.shape)


def spread_pattern(
    code: NDArray[np.int8], key: bytes, grid: lapped.Grid, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """The spread layer's pattern [h, w], rms about 1: a sum of waves with keyed phases, some turned by code bits."""
    plan = layout.spread(key)
    wave = plan.phase.copy()
    wave[plan.sync :] *= (1.0 - 2.0 * code[plan.bit]).astype(np.float32)
    spectrum = np.zeros((2 * layout.REACH + 1, layout.REACH + 1), np.complex64)
    spectrum[plan.ky + layout.REACH, plan.kx] = wave
    y = (np.arange(shape[0]) + 0.5 - grid.y.offset) / (layout.TILE * grid.y.pitch)
    x = (np.arange(shape[1]) + 0.5 - grid.x.offset) / (layout.TILE * grid.x.pitch)
    down = np.exp(2j * np.pi * np.outer(y, np.arange(-layout.REACH, layout.REACH + 1))).astype(np.complex64)
    across = np.exp(2j * np.pi * np.outer(np.arange(layout.REACH + 1), x)).astype(np.complex64)
    pattern = (down @ spectrum @ across).real * math.sqrt(2.0 / len(wave))
    return pattern.astype(np.float32, copy=False)


@lru_cache(maxsize=8)
def _phases(factor: int) -> list[tuple[int, np.float32]]:
    """For each of ``factor`` places in an enlarged pixel: which neighbour, and its weight."""
    at = (np.arange(factor) + 0.5) / factor - 0.5
    return [(-1 if a < 0 else 1, np.float32(abs(a))) for a in at]


def _enlarge(x: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Linear interpolation between pixel centres, [h, w] -> [factor h, factor w]."""
    if factor == 1:
        return x
    for axis in (0, 1):
        padded = np.pad(x, [(1, 1) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        shape = list(x.shape)
        shape[axis] *= factor
        out = np.empty(shape, np.float32)
        n = x.shape[axis]
        for place, (side, weight) in enumerate(_phases(factor)):
            neighbour = padded[1 + side : 1 + side + n] if axis == 0 else padded[:, 1 + side : 1 + side + n]
            target = out[place::factor] if axis == 0 else out[:, place::factor]
            np.multiply(neighbour, weight, out=target)
            target += x * (1 - weight)
        x = out
    return x


def check_size(height: int, width: int) -> None:
    """Raises InputError for frames too small or too thin to carry the payload."""
    if min(height, width) < MIN_SIZE:
        raise InputError(
            f"frames to watermark must be at least {MIN_SIZE} pixels a side, not {width}x{height}; enlarge them first"
        )
    if max(height, width) > MOST_RATIO * min(height, width):
        raise InputError(
            f"frames to watermark may be {MOST_RATIO} times as long as wide, not {width}x{height}; cut them in pieces"
        )


def mark(
    frames: Iterable[NDArray[np.uint8]], payload: bytes, key: bytes, psnr: float | None = None, count: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames [h, w, 3] in, marked frames out, in order; the next is begun and the last finished meanwhile."""
    if psnr is not None and not PSNR_RANGE[0] <= psnr <= PSNR_RANGE[1]:
        raise InputError(f"a watermark's psnr is from {PSNR_RANGE[0]:g} to {PSNR_RANGE[1]:g} dB, not {psnr:g}")
    embedder, size, budget = None, None, Budget(count)
    begun: tuple[Embedder, NDArray[np.uint8], Future[NDArray[np.float32]]] | None = None
    ending: deque[Future[NDArray[np.uint8]]] = deque()
    # Products of matrices stay in this thread, for they may have threads of their own.
    with ThreadPoolExecutor(1) as pool:
        for frame in frames:
            if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
                what = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
                raise InputError(f"a frame to watermark must be uint8 [h, w, 3], not {what}")
            if embedder is None or frame.shape != size:
                height, width = frame.shape[:2]
                check_size(height, width)
                embedder, size = Embedder(payload, height, width, key, psnr), frame.shape
            following = embedder, frame, pool.submit(embedder.luma, frame)
            if begun is not None:
                ending.append(_end(begun, budget, pool))
            begun = following
            if len(ending) > 1:
                yield ending.popleft().result()
        if begun is not None:
            ending.append(_end(begun, budget, pool))
        while ending:
            yield ending.popleft().result()


def _end(
    begun: tuple[Embedder, NDArray[np.uint8], Future[NDArray[np.float32]]], budget: Budget, pool: ThreadPoolExecutor
) -> Future[NDArray[np.uint8]]:
    embedder, frame, luma = begun[0], begun[1], begun[2].result()
    return pool.submit(embedder.add, frame, embedder.change(luma, budget.share(luma, embedder.room)))
