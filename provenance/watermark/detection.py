"""Looking for the watermark in frames: the likely first, and everything else only if asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from provenance.watermark import geometry, lapped, layout, picture, reading, search, statistics
from provenance.watermark.geometry import Alignment
from provenance.watermark.reading import Soft

FALSE_ALARM = 1e-9
KEPT = 32
"""At most so many frames are kept, evenly spaced however long the clip, as luma of 640 x 360 or not much more."""

_FEW = 8
_GAINS = tuple(float(g) for g in np.exp(np.arange(-0.96, 0.97, 0.06)) if abs(g - 1) > 0.02)
_FEW_GAINS = (1.0, 0.5, 0.71, 1.41)
_GAMMAS = tuple(float(g) for g in np.exp(np.arange(-0.72, 0.73, 0.09)) if abs(g - 1) > 0.02)
_CANDIDATES = 8
_FINE = 0.0008
"""Steps of proportion and radians between which the lattice layer of a whole frame is still read."""
_ROUGH = 0.005
"""The same for its middle ``_PART`` blocks."""
_PART = 9
_KINDS = {"size": "cropped", "scale": "cropped or placed", "turn": "turned", "ratio": "cropped and stretched"}
_LEAST_SIDE, _LEAST_SEARCHED, _MOST_RATIO = 32, 64, 8
"""Pixels a side that a picture must have to be looked at at all, and to be searched for the pattern; and how many times
as long as wide it may be for that."""
_SIZES = 3
_DOUBT = 1e-3
"""A payload is given only if it is so unlikely that a neighbouring word is the right one."""


@dataclass(frozen=True)
class Detection:
    """What ``detect`` saw. ``payload`` is given only when ``found``; ``how`` says what was done to the pictures."""

    found: bool
    payload: bytes | None
    p_value: float
    how: str = ""


NOTHING = Detection(found=False, payload=None, p_value=1.0)


class _Record:
    """The best fit so far and how many attempts it took."""

    def __init__(self) -> None:
        self._tries, self._first, self._how = 0.0, 0.0, ""
        self._word = reading.Word(b"", 0.0, 1.0)

    def attempt(self, soft: Soft, how: str) -> bool:
        """Decode; whether that settles it."""
        word = reading.decode(soft)
        self._tries += soft.tries
        self._first = self._first or soft.tries
        if word.fit > self._word.fit:
            self._word, self._how = word, how
        return self.result().found

    def result(self) -> Detection:
        p_value = statistics.p_value(self._word.fit, self._tries, self._first or 1.0)
        if p_value < FALSE_ALARM and self._word.doubt < _DOUBT:
            return Detection(found=True, payload=self._word.payload, p_value=p_value, how=self._how)
        return Detection(found=False, payload=None, p_value=p_value)


class _Reel:
    """A few frames of one size, evenly spaced however many there were."""

    def __init__(self) -> None:
        self.lumas: list[NDArray[np.float16]] = []
        self.seen, self._stride = 0, 1

    def add(self, frame: NDArray[np.uint8]) -> None:
        if self.seen % self._stride == 0:
            if len(self.lumas) == KEPT:
                self.lumas = self.lumas[::2]
                self._stride *= 2
            if self.seen % self._stride == 0:
                self.lumas.append(picture.luma(frame, picture.shrink(*frame.shape[:2])).astype(np.float16))
        self.seen += 1


class Detector:
    """Takes frames one at a time, keeps a few of them, and looks for the watermark in those."""

    def __init__(self, key: bytes):
        self._key = key
        self._reels: dict[tuple[int, int], _Reel] = {}

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Look at one RGB frame, uint8 [h, w, 3]. Of a video that changes its size, the size of most frames counts;
        after ``_SIZES`` different ones, further sizes are left out."""
        height, width = frame.shape[:2]
        if min(height, width) < _LEAST_SIDE:
            return
        if (height, width) not in self._reels and len(self._reels) == _SIZES:
            return
        self._reels.setdefault((height, width), _Reel()).add(frame)

    def result(self, thorough: bool = True) -> Detection:
        """What was found; unless ``thorough``, only in frames that are whole and upright."""
        if not self._reels:
            return NOTHING
        size, reel = max(self._reels.items(), key=lambda item: item[1].seen)
        lumas = [luma.astype(np.float32) for luma in reel.lumas]
        if max(float(np.ptp(luma)) for luma in lumas) == 0.0:
            return NOTHING
        record = _Record()
        for attempt in _attempts(lumas, self._key, thorough, picture.shrink(*size)):
            if record.attempt(*attempt):
                break
        return record.result()


def _attempts(lumas: list[NDArray[np.float32]], key: bytes, thorough: bool, shrunk: int) -> Iterator[tuple[Soft, str]]:
    yield from _as_it_is(lumas, key)
    if not thorough:
        return
    yield from _mirrored(lumas, key)
    yield from _toned(lumas, key)
    yield from _stretched(lumas, key)
    yield from _turned(lumas, key)
    inner = geometry.content(lumas)
    if inner is not None:
        framed = [np.ascontiguousarray(luma[inner]) for luma in lumas]
        yield from _as_it_is(framed, key)
        yield from _stretched(framed, key)
    if min(lumas[0].shape) >= max(_LEAST_SEARCHED, max(lumas[0].shape) / _MOST_RATIO):
        yield from _searched(lumas, key, shrunk)


def _whole(luma: NDArray[np.float32], ratio: float | None = None) -> lapped.Grid:
    return lapped.whole(luma.shape[0], luma.shape[1], ratio)


def _sums(lumas: list[NDArray[np.float32]], grid: lapped.Grid) -> NDArray[np.complex64]:
    """[frames, period, period, modes]"""
    return np.concatenate([reading.lattice_sums(luma, grid) for luma in lumas])


def _as_it_is(lumas: list[NDArray[np.float32]], key: bytes) -> Iterator[tuple[Soft, str]]:
    """All frames together, then each alone: a codec keeps far more of the watermark in its key frames."""
    sums = _sums(lumas, _whole(lumas[0]))
    yield reading.lattice_soft(sums.sum(axis=0, keepdims=True), key), "as it is"
    if len(lumas) > 1:
        yield reading.lattice_soft(sums, key), "as it is, one frame"
        runs = [sums[i : i + n].sum(axis=0) for n in (3, 8) for i in range(0, len(sums) - n + 1, max(1, n // 2))]
        if runs:
            yield reading.lattice_soft(np.array(runs), key), "as it is, some frames"


def _mirrored(lumas: list[NDArray[np.float32]], key: bytes) -> Iterator[tuple[Soft, str]]:
    lumas = _spaced(lumas, _FEW)
    for which in range(geometry.SYMMETRIES):
        turned = [np.ascontiguousarray(geometry.symmetry(luma, which)) for luma in lumas]
        sums = _sums(turned, _whole(turned[0])).sum(axis=0)
        # A negative has the phases of the other sign.
        yield (
            reading.lattice_soft(np.stack([sums, sums.conj()]), key),
            "mirrored or turned" if which else "as it is or negative",
        )


def _toned(lumas: list[NDArray[np.float32]], key: bytes) -> Iterator[tuple[Soft, str]]:
    """Contrast or gamma changed, or colours so that luma changed: the spread layer does not mind."""
    lumas = _spaced(lumas, _FEW)
    grid = _whole(lumas[0])
    sums = np.sum([reading.lattice_sums(luma, grid, _GAINS) for luma in lumas], axis=0)
    yield reading.lattice_soft(sums, key), "contrast changed"
    yield _spread_whole(lumas, key), "tones changed"
    for gamma in _GAMMAS:
        bent = [255.0 * (luma / 255.0) ** np.float32(gamma) for luma in lumas]
        yield reading.lattice_soft(_sums(bent, grid).sum(axis=0, keepdims=True), key), "gamma changed"


def _spread_whole(lumas: list[NDArray[np.float32]], key: bytes) -> Soft:
    pooled = _pooled(lumas)
    plan = layout.spread(key)
    softs = []
    for which in range(geometry.SYMMETRIES):
        turned = np.ascontiguousarray(geometry.symmetry(pooled, which))
        grid = _whole(turned)
        fy = plan.ky[plan.sync :] / (layout.TILE * grid.y.pitch)
        fx = plan.kx[plan.sync :] / (layout.TILE * grid.x.pitch)
        waves = search.Spectrum(turned).at(fy, fx)
        softs.append(reading.spread_soft(np.stack([waves, -waves]), key))
    return Soft.join(softs)


def _stretched(lumas: list[NDArray[np.float32]], key: bytes) -> Iterator[tuple[Soft, str]]:
    """Resized out of proportion: what is left to know is the proportion it had."""
    height, width = lumas[0].shape

    def sums(by: float, few: int, part: int) -> NDArray[np.complex64]:
        grid = _whole(lumas[0], width / height * float(np.exp(by))).part(part)
        return _sums(_spaced(lumas, few), grid).sum(axis=0)

    yield from _one_parameter(sums, 0.16, key, "stretched")


def _turned(lumas: list[NDArray[np.float32]], key: bytes) -> Iterator[tuple[Soft, str]]:
    """Turned about the middle, on a canvas of the same size."""
    height, width = lumas[0].shape
    scale = float(np.sqrt(height * width)) / (lapped.SIDE * lapped.UNIT)
    centre = np.array([height / 2, width / 2])

    def sums(by: float, few: int, part: int) -> NDArray[np.complex64]:
        alignment = Alignment(0, search.matrix(scale, by), centre)
        return _sums(*geometry.straighten(_spaced(lumas, few), alignment, part)).sum(axis=0)

    yield from _one_parameter(sums, 0.28, key, "turned")


def _one_parameter(
    sums: Callable[[float, int, int], NDArray[np.complex64]], reach: float, key: bytes, how: str
) -> Iterator[tuple[Soft, str]]:
    """Try the middle of a few frames in rough steps; where it fits best, the whole of more in fine ones."""
    rough = np.arange(-round(reach / _ROUGH), round(reach / _ROUGH) + 1) * _ROUGH
    soft = reading.lattice_soft(np.array([sums(by, 3, _PART) for by in rough]), key)
    yield soft, how
    fits = reading.fits(soft).reshape(len(rough), -1).max(axis=1)
    for by in rough[np.argsort(fits)[::-1][:4]]:
        near = by + np.arange(-3, 4) * _FINE
        fine = reading.lattice_soft(np.array([sums(float(x), 6, 99) for x in near]), key)
        yield replace(fine, tries=2 * fine.tries), how  # for they are near what fitted best


def _searched(lumas: list[NDArray[np.float32]], key: bytes, shrunk: int) -> Iterator[tuple[Soft, str]]:
    """Cropped, turned, placed in another picture: the spread layer finds where, then both are read. Of the first
    picture alone too, which a codec keeps best."""
    every = tuple(range(geometry.SYMMETRIES))
    pooled = search.Search(_pooled(lumas), key, shrunk)
    first = search.Search(_pooled(lumas[:1]), key, shrunk)
    yield from _found(pooled, lumas, "size", (0, 1), key)
    yield from _found(first, lumas[:1], "size", (0, 1), key)
    yield from _found(pooled, lumas, "scale", every, key)
    yield from _found(first, lumas[:1], "scale", (0, 1), key)
    for kind in ("turn", "ratio"):
        for which in (0, 1):
            yield from _found(pooled, lumas, kind, (which,), key)


def _found(
    where: search.Search, lumas: list[NDArray[np.float32]], kind: str, symmetries: tuple[int, ...], key: bytes
) -> Iterator[tuple[Soft, str]]:
    few = _spaced(lumas, 5)
    for candidate in where.candidates(kind, symmetries, _CANDIDATES):
        alignment, waves = where.align(candidate)
        yield reading.spread_soft(waves[None], key), _KINDS[kind]
        yield aligned_soft(few, alignment, key), _KINDS[kind]


def aligned_soft(lumas: list[NDArray[np.float32]], alignment: Alignment, key: bytes) -> Soft:
    """The lattice layer, for each place in its period where the spread layer's tile may lie."""
    half = layout.PERIOD // 2
    straight, grid = geometry.straighten(lumas, alignment)
    sums = np.sum([reading.lattice_sums(luma, grid, _FEW_GAINS) for luma in straight], axis=0)
    places = [np.roll(sums, (y, x), axis=(1, 2)) for y in (0, half) for x in (0, half)]
    return reading.lattice_soft(np.concatenate(places), key)


def _pooled(lumas: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    total = picture.residual(lumas[0])
    for luma in lumas[1:]:
        total = total + picture.residual(luma)
    return total


def _spaced(items: list, count: int) -> list:
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def look(frames: NDArray[np.uint8], key: bytes, thorough: bool) -> Detection:
    """All of a clip [t, h, w, 3]."""
    detector = Detector(key)
    for frame in frames:
        if frame.size:
            detector.add(frame)
    return detector.result(thorough)
