"""Whether two clips show the same, which part of one the other holds, and what was done to it: from fingerprints.

Pictures are compared by the correlation of their *structure*: luma less its neighbourhood, over its local strength, so
that brightness, contrast and colour hardly matter. First as they are, mirrored, turned and without bars; if that does
not agree, a search finds the part of the original that the copy shows, or the part of the copy in which the original
lies.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from provenance.fingerprint import SIDE, STEP, Fingerprint, shrink

LIKELY = 0.55
"""Agreement from which on pictures that carry a clip's watermark count as its copy. Clips of other scenes agree by less
than 0.4; clips of one scene by one model by up to 0.7, which is why a lower one is reported as in doubt."""
LIKELY_PART = 0.65
"""The same for a part that a search found: the best of many attempts agrees better by chance."""
CLEAR = 0.75
"""Agreement from which on nothing needs to be searched, and nothing is in doubt."""
CERTAIN = 0.8
"""Agreement from which on pictures without a watermark count as a copy. Measured by benchmarks/fingerprint.py."""

_FRAMES, _FEW = 32, 8
_SEARCHED = 4
_BEST = 6
_SCALES = tuple(float(s) for s in 0.945 ** np.arange(21))
_FLAT = 25.0
"""Squared grey levels below which a place counts as flat."""
_LEAST_SEEN = 0.15
"""Mean square of structure that a picture has at least, for comparing: one with less has too little to go by."""
_TURNS = (-15.0, -12.5, -10.0, -7.5, -5.0, -2.5, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0)
_INNER = 0.72
_SPEEDS = tuple(float(s) for s in np.exp(np.arange(-14, 15) * 0.05) if abs(s - 1) > 0.01)
_BAR = 12.0

Grey = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Part:
    """How the copy's picture lies in the original's, both as fractions of their sides (top, bottom, left, right)."""

    original: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    """What of the original is seen."""
    copy: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    """Where in the copy it is seen: not everywhere if there are bars, or other pictures around it."""
    symmetry: int = 0
    """Done to the copy to get back: bit 0 mirrors left and right, bit 1 top and bottom, bit 2 transposes before."""
    turn: float = 0.0
    """Degrees by which the copy has to be turned anticlockwise to get back."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """What a comparison found."""

    agreement: float
    """Mean correlation of structure, at most 1; about 0 for other pictures."""
    start: float
    """Seconds in the original."""
    end: float
    speed: float
    """Seconds of the original a second of the copy; negative if it runs backwards."""
    in_order: bool
    """False if the copy's pictures stand in another order than the original's."""
    negative: bool
    part: Part
    pairs: tuple[tuple[float, float], ...]
    """(seconds in the copy, seconds in the original) of some pictures that belong together."""
    searched: bool = False
    """Whether a search found the part."""

    @property
    def same(self) -> bool:
        """Whether they are likely the same pictures; without a watermark ask for ``CERTAIN``."""
        return self.agreement >= (LIKELY_PART if self.searched else LIKELY)


def compare(copy: Fingerprint, original: Fingerprint, *, search: bool = True) -> Likeness:
    """How alike two clips are; unless ``search``, only as they are, mirrored, turned by right angles, without bars."""
    found = max((_measured(copy, original, part) for part in _places(copy)), key=lambda f: f.agreement)
    if found.agreement >= CLEAR or not search:
        return found
    for candidates in _searched(copy, original):
        parts = [part for _, part in sorted(candidates, key=lambda c: -c[0])[:_BEST]]
        rough = sorted((_measured(copy, original, part, _FEW) for part in parts), key=lambda f: -f.agreement)
        for start in rough[:2]:
            better = replace(_measured(copy, original, _climbed(copy, original, start)), searched=True)
            if better.agreement >= CLEAR:
                return better
            found = max(found, better, key=lambda f: (f.same, f.agreement))
    return found


def _climbed(copy: Fingerprint, original: Fingerprint, best: Likeness) -> Part:
    """The same place, found more exactly: what was seen as a part is moved and scaled while that helps."""
    step = 0.04
    while step > 0.008:
        options = [_measured(copy, original, part, _FEW) for part in _near(best.part, step)]
        better = max(options, key=lambda f: f.agreement, default=best)
        if better.agreement > best.agreement + 0.002:
            best = better
        else:
            step /= 2
    return best.part


def _near(part: Part, step: float) -> Iterator[Part]:
    whole = (0.0, 1.0, 0.0, 1.0)
    name = "original" if part.original != whole else "copy"
    top, bottom, left, right = part.original if name == "original" else part.copy
    high, wide = (bottom - top) * step, (right - left) * step
    for down, across, grow in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
        moved = (
            top + (down - grow) * high,
            bottom + (down + grow) * high,
            left + (across - grow) * wide,
            right + (across + grow) * wide,
        )
        if min(moved) >= 0 and max(moved) <= 1:
            yield replace(part, **{name: moved})


def _places(copy: Fingerprint) -> Iterator[Part]:
    inner = content(copy.pictures)
    for symmetry in range(8):
        yield Part(symmetry=symmetry)
        if inner is not None:
            yield Part(symmetry=symmetry, copy=inner)


def content(pictures: Grey) -> tuple[float, float, float, float] | None:
    """The part inside plain bars that all pictures [m, h, w] share, (top, bottom, left, right); None without bars."""
    spans: list[float] = []
    for axis in (2, 1):
        across = pictures.max(axis=axis).astype(float) - pictures.min(axis=axis)
        lively = np.flatnonzero(across.max(axis=0) > _BAR)
        if not len(lively):
            return None
        # The outermost row that is lively may hold some of the bar.
        size = pictures.shape[3 - axis]
        first, last = int(lively[0]), int(lively[-1]) + 1
        spans += [(first + (0.5 if first else 0)) / size, (last - (0.5 if last < size else 0)) / size]
    top, bottom, left, right = spans
    if (bottom - top) * (right - left) > 0.97 or min(bottom - top, right - left) < 0.15:
        return None
    return top, bottom, left, right


def _measured(copy: Fingerprint, original: Fingerprint, part: Part, frames: int = _FRAMES) -> Likeness:
    """The agreement for a known place, and the best account of the times."""
    chosen = spaced(len(copy.pictures), frames)
    ours = _structure(_restored(copy, part, chosen)).reshape(len(chosen), -1)
    theirs = _structure(cut(original.pictures, SIDE, SIDE, part.original)).reshape(len(original.pictures), -1)
    # What lies over the copy, such as subtitles, counts only where it hides something of the original.
    energy = np.square(theirs, dtype=np.float32).sum(axis=1)
    alike = np.clip(ours @ theirs.T / np.maximum(energy, _LEAST_SEEN * SIDE**2), -1, 1).astype(np.float32)
    negative = bool(alike.max(axis=1).mean() < -alike.min(axis=1).mean())
    return _timed(-alike if negative else alike, copy, original, chosen, part, negative)


def _restored(copy: Fingerprint, part: Part, chosen: NDArray[np.intp]) -> Grey:
    """The copy's pictures as the original shows them."""
    pictures = _turned(copy.pictures[chosen], copy.ratio, part.turn) if part.turn else copy.pictures[chosen]
    return symmetric(cut(pictures, SIDE, SIDE, part.copy), part.symmetry)


def symmetric(pictures: Grey, which: int) -> Grey:
    """[m, h, w], one of the eight ways to mirror and turn them by right angles."""
    if which & 4:
        pictures = pictures.transpose(0, 2, 1)
    if which & 2:
        pictures = pictures[:, ::-1]
    return pictures[:, :, ::-1] if which & 1 else pictures


def cut(pictures: Grey, height: int, width: int, box: tuple[float, float, float, float] | None) -> Grey:
    """A part of each, resized."""
    from PIL import Image

    if box in (None, (0.0, 1.0, 0.0, 1.0)) and pictures.shape[1:] == (height, width):
        return pictures
    h, w = pictures.shape[1:]
    top, bottom, left, right = box or (0.0, 1.0, 0.0, 1.0)
    area = (left * w, top * h, right * w, bottom * h)
    how = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(p).resize((width, height), how, box=area)) for p in pictures])


def _turned(pictures: Grey, ratio: float, degrees: float) -> Grey:
    """Turned about the middle, in the clip's own proportions."""
    from PIL import Image

    high, wide = _sides(ratio, 96)
    out = []
    for picture in cut(pictures, high, wide, None):
        turned = Image.fromarray(picture).rotate(degrees, Image.Resampling.BILINEAR)
        out.append(shrink(np.asarray(turned), SIDE, SIDE))
    return np.stack(out)


def _sides(ratio: float, side: int) -> tuple[int, int]:
    """Height and width with the area of a square of ``side``."""
    root = float(np.sqrt(ratio))
    return max(8, round(side / root)), max(8, round(side * root))


def _structure(pictures: Grey) -> NDArray[np.float32]:
    """[m, h, w]: about 1 in mean square where there is something to see, and less where it is flat."""
    x = pictures.astype(np.float32)
    rest = np.subtract(x, _box(x, 4), dtype=np.float32)
    strength = _box(np.square(rest, dtype=np.float32), 6)
    return np.clip(rest / np.sqrt(strength + np.float32(_FLAT)), -3, 3).astype(np.float32, copy=False)


def _box(x: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Means over (2 radius + 1)^2 neighbours, edges repeated."""
    size = 2 * radius + 1
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(x, pad, mode="edge"), axis=axis, dtype=np.float64)
        n = x.shape[axis]
        ahead = np.take(total, range(size, size + n), axis=axis)
        x = ((ahead - np.take(total, range(n), axis=axis)) / size).astype(np.float32)
    return x


def spaced(count: int, most: int) -> NDArray[np.intp]:
    """At most so many indices, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


# --- where in the picture ---------------------------------------------------------------------------------------------


def _searched(copy: Fingerprint, original: Fingerprint) -> Iterator[list[tuple[float, Part]]]:
    """Candidates (score, place), the likely kinds first: a part of the original; the original within the copy; a part
    of it, turned a little; a part of it upside down or turned by right angles."""
    ours = copy.pictures[spaced(len(copy.pictures), _SEARCHED)]
    theirs = original.pictures[spaced(len(original.pictures), 2 * _SEARCHED)]
    field, whole = _Field(theirs, original.ratio), (0.0, 1.0, 0.0, 1.0)

    def parts(symmetries: Iterable[int], box: tuple[float, float, float, float]) -> list[tuple[float, Part]]:
        seen = cut(ours, SIDE, SIDE, box)
        ratio = copy.ratio * (box[3] - box[2]) / (box[1] - box[0])
        return [
            (score, Part(original=place, copy=box, symmetry=which))
            for which in symmetries
            for score, place in field.best(symmetric(seen, which), 1 / ratio if which & 4 else ratio, _SCALES)
        ]

    yield parts((0, 1), whole)
    inner = content(copy.pictures)
    if inner is not None:
        yield parts((0, 1), inner)
    around = _Field(ours, copy.ratio)
    yield [
        (score, Part(copy=place, symmetry=which))
        for which in (0, 1)
        for score, place in around.best(symmetric(theirs, which), original.ratio, _SCALES)
    ]
    edge = (1 - _INNER) / 2
    middle = (edge, 1 - edge, edge, 1 - edge)
    turns = []
    for turn in _TURNS:
        seen = cut(_turned(ours, copy.ratio, turn), SIDE, SIDE, middle)
        for which in (0, 1):
            for score, place in field.best(symmetric(seen, which), copy.ratio, [_INNER * s for s in _SCALES[:8:2]]):
                turns.append((score, Part(original=place, copy=middle, symmetry=which, turn=turn)))
    yield turns
    yield parts(range(2, 8), whole)


class _Field:
    """Pictures in which others are looked for."""

    def __init__(self, pictures: Grey, ratio: float):
        self._ratio = ratio
        self._high, self._wide = _sides(ratio, SIDE)
        # As large as the field is enough: where a smaller picture lies within it, nothing wraps around.
        self._size = self._high, self._wide
        x = _structure(cut(pictures, self._high, self._wide, None))
        self._spectrum = np.fft.rfft2(x, s=self._size)
        self._energy = np.fft.rfft2(x * x, s=self._size)

    def best(
        self, pictures: Grey, ratio: float, scales: tuple[float, ...] | list[float]
    ) -> list[tuple[float, tuple[float, float, float, float]]]:
        """For the two best scales (1 is the largest that fits): the score, and where (top, bottom, left, right)."""
        fit_high = min(1.0, self._ratio / ratio)  # fractions of this field's sides
        fit_wide = min(1.0, ratio / self._ratio)
        found = []
        for scale in scales:
            high, wide = round(fit_high * scale * self._high), round(fit_wide * scale * self._wide)
            if min(high, wide) < 12:
                break
            small = _structure(cut(pictures, high, wide, None))
            small -= small.mean(axis=(1, 2), keepdims=True)
            small /= np.sqrt(np.maximum((small * small).mean(axis=(1, 2), keepdims=True), np.float32(_LEAST_SEEN)))
            spectrum = np.fft.rfft2(small, s=self._size).conj()
            ones = np.fft.rfft2(np.ones((high, wide), np.float32), s=self._size).conj()
            rows, columns = self._high - high + 1, self._wide - wide + 1
            energy = np.fft.irfft2(self._energy * ones, s=self._size)[:, :rows, :columns]
            product = np.fft.irfft2(self._spectrum[None] * spectrum[:, None], s=self._size)
            alike = product[..., :rows, :columns] / np.sqrt(np.maximum(energy, 0.1 * high * wide) * high * wide)
            # Each of the smaller pictures' best partner, at one place for all; a negative agrees the other way.
            scores = np.maximum(alike.max(axis=1).mean(axis=0), -alike.min(axis=1).mean(axis=0))
            row, column = np.unravel_index(int(scores.argmax()), scores.shape)
            place = (row / self._high, (row + high) / self._high, column / self._wide, (column + wide) / self._wide)
            # By chance, a small picture fits somewhere better than a large one does.
            found.append((float(scores[row, column]) * (high * wide) ** 0.5, tuple(float(p) for p in place)))
        return sorted(found, reverse=True)[:2]


# --- when -------------------------------------------------------------------------------------------------------------


def _timed(
    alike: NDArray[np.float32],
    copy: Fingerprint,
    original: Fingerprint,
    chosen: NDArray[np.intp],
    part: Part,
    negative: bool,
) -> Likeness:
    """The straight line from the copy's times to the original's along which pictures agree best."""
    ours, theirs = copy.times[chosen], original.times
    step = original.every * STEP
    padded = np.concatenate([alike, np.zeros((len(alike), 1), np.float32)], axis=1)

    def along(speed: float) -> tuple[float, float]:
        offsets = np.arange(-ours[-1] * max(speed, 0) - step, theirs[-1] + step - ours[-1] * min(speed, 0), step / 2)
        if not len(offsets):
            offsets = np.zeros(1)
        at = offsets[:, None] + speed * ours[None]
        index = np.floor(at / step + 1e-6).astype(np.intp)
        index[(index < 0) | (index >= len(theirs))] = len(theirs)
        scores = padded[np.arange(len(ours))[None], index].mean(axis=1)
        # Of offsets that fit as well as any, the one nearest to none at all: a still picture fits anywhere.
        good = np.flatnonzero(scores >= scores.max() - 0.005)
        pick = good[np.abs(offsets[good]).argmin()]
        return float(scores[pick]), float(offsets[pick])

    speed, (score, offset) = 1.0, along(1.0)
    if len(ours) > 2:
        options = [(*along(other), other) for other in (*_SPEEDS, -1.0)]
        highest = max(fits for fits, _, _ in options)
        if highest > score + 0.02:  # else nothing but chance speaks against the original's speed
            good = [option for option in options if option[0] > highest - 0.003]
            score, offset, speed = min(good, key=lambda option: abs(option[2] - 1))
    best = alike.max(axis=1)
    agreement, in_order = score, True
    if best.mean() > score + 0.08:
        agreement, in_order = float(best.mean()), False
    end = max(original.duration, theirs[-1])
    matched = theirs[alike.argmax(axis=1)] if not in_order else np.clip(offset + speed * ours, 0, end)
    if in_order:
        last = offset + speed * max(copy.duration, ours[-1])
        start, stop = sorted((float(np.clip(offset, 0, end)), float(np.clip(last, 0, end))))
    else:
        start, stop = float(matched.min()), min(end, float(matched.max()) + step)
    return Likeness(
        agreement=round(agreement, 3),
        start=start,
        end=stop,
        speed=speed,
        in_order=in_order,
        negative=negative,
        part=part,
        pairs=tuple((float(a), float(b)) for a, b in zip(ours, matched, strict=True)),
    )
