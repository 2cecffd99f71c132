"""What a clip looks like, small enough to keep and to search: a hash and a grey picture at regular times.

The hash is of the DCT kind (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), with
signs instead of a median: bit i is the sign of the i-th lowest frequency of the picture at 32 x 32, the mean left out.
So a picture that is mirrored, upside down or a negative has the hash of the original with known bits flipped, and all
of these are looked up without decoding anything twice. Re-encoding and resizing change a few bits of 64.

The grey pictures (64 x 64, whatever the clip's proportions) are for comparing two clips closely: ``likeness``.
"""

import hashlib
import io
import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provenance.errors import InputError

ALGORITHM = "io.sorajax.fingerprint.1"
"""Name of this fingerprint as a soft binding."""
STEP = 0.1
"""Seconds between two hashes."""
SIDE = 64
"""Pixels a side of the pictures kept."""
MOST_PICTURES = 512
"""A longer clip has fewer pictures a second, but as many hashes."""
MOST_HASHES = 144_000
"""Four hours; what follows is left out."""
NOTHING_TO_SEE = 0
"""The hash of a picture without contrast, which would match anything."""

_DULL = 3.0
_GRID = 32
_HEAD = struct.Struct("<4sBBHIIdd")
_MAGIC = b"SXFP"
_QUALITY = 90
_BRIEF_PICTURES, _BRIEF_HASHES = 8, 480


def assertion(value: bytes) -> dict[str, Any]:
    """The soft binding for a manifest (C2PA specification, 18.9) of what ``Fingerprint.binding`` gave."""
    # C2PA says a byte string; c2pa-python has no way to write one, and this is what its readers take for one.
    binding = {"alg": ALGORITHM, "blocks": [{"scope": {}, "value": list(value)}]}
    return {"label": "c2pa.soft-binding", "created": True, "data": binding}


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """Of one clip."""

    hashes: NDArray[np.uint64]
    """[n]: at i * STEP seconds; 0 where there is nothing to see."""
    pictures: NDArray[np.uint8]
    """Grey, [m, 64, 64]: at i * ``every`` * STEP seconds."""
    every: int
    ratio: float
    """Width by height of the clip's pictures."""
    duration: float
    """Seconds."""

    @property
    def times(self) -> NDArray[np.float64]:
        """Of the pictures, seconds, [m]."""
        return np.arange(len(self.pictures), dtype=np.float64) * np.float64(self.every * STEP)

    def to_bytes(self) -> bytes:
        """To keep; the pictures as one JPEG."""
        from PIL import Image

        strip = io.BytesIO()
        Image.fromarray(self.pictures.reshape(-1, SIDE)).save(strip, "JPEG", quality=_QUALITY)
        head = _HEAD.pack(_MAGIC, 1, SIDE, self.every, len(self.hashes), len(self.pictures), self.ratio, self.duration)
        return head + self.hashes.astype("<u8").tobytes() + strip.getvalue()

    def binding(self) -> bytes:
        """What a manifest holds of it, so that nobody can pass off another as this clip's: the SHA-256 of all of it,
        and a brief one, of at most eight pictures and two minutes of hashes."""
        whole = self.to_bytes()
        stride = -(-len(self.pictures) // _BRIEF_PICTURES)
        brief = replace(
            self,
            hashes=self.hashes[:_BRIEF_HASHES],
            pictures=self.pictures[::stride],
            every=self.every * stride,
        )
        return hashlib.sha256(whole).digest() + brief.to_bytes()

    @classmethod
    def from_binding(cls, value: bytes) -> tuple[str, "Fingerprint"]:
        """(SHA-256 of the whole in hexadecimal, the brief one) of what ``binding`` gave.

        Raises:
            InputError: something else, or damaged.
        """
        return value[:32].hex(), cls.from_bytes(value[32:])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Fingerprint":
        """What ``to_bytes`` wrote.

        Raises:
            InputError: something else, or damaged.
        """
        from PIL import Image

        try:
            magic, version, side, every, hashes, pictures, ratio, duration = _HEAD.unpack_from(data)
            good = magic == _MAGIC and version == 1 and side == SIDE and 0 < pictures <= MOST_PICTURES
            good = good and 0 < hashes <= MOST_HASHES and every > 0 and 0.01 < ratio < 100 and 0 <= duration < 1e9
            if not good:
                raise ValueError("not a fingerprint of this version")
            at = _HEAD.size + 8 * hashes
            with Image.open(io.BytesIO(data[at:]), formats=["JPEG"]) as strip:
                if strip.size != (SIDE, SIDE * pictures) or strip.mode != "L":
                    raise ValueError("its pictures have another size")
                grey = np.asarray(strip, np.uint8).reshape(pictures, SIDE, SIDE)
            found = np.frombuffer(data[_HEAD.size : at], "<u8").astype(np.uint64)
        except (ValueError, OSError, SyntaxError, struct.error) as error:
            raise InputError(f"a fingerprint is damaged: {error}") from None
        return cls(hashes=found, pictures=grey, every=every, ratio=ratio, duration=duration)


class Recorder:
    """Makes a fingerprint of frames that come one at a time, with their times. Memory: 512 small pictures."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._pictures: list[NDArray[np.uint8]] = []
        self._every, self._ratio = 1, 1.0
        self._last: Callable[[], NDArray[np.uint8]] | None = None

    def add(self, seconds: float, grey: Callable[[], NDArray[np.uint8]]) -> None:
        """The frame that is shown from ``seconds`` on; ``grey`` gives it, [h, w] of any size, and is called only for
        those that are kept."""
        if math.isfinite(seconds):
            self._fill(seconds)
            self._last = grey

    def _fill(self, until: float) -> None:
        """Take the frame shown so far at every grid time before ``until``."""
        small = value = None
        while self._last is not None and len(self._hashes) < MOST_HASHES and len(self._hashes) * STEP < until - 1e-6:
            if small is None:
                grey = self._last()
                if not self._hashes:
                    self._ratio = grey.shape[1] / grey.shape[0]
                small = shrink(grey, SIDE, SIDE)
                value = int(hashes_of(small[None])[0])
            if len(self._hashes) % self._every == 0:
                self._pictures.append(small)
            self._hashes.append(value or 0)
            if len(self._pictures) > MOST_PICTURES:
                self._pictures = self._pictures[::2]
                self._every *= 2

    def result(self, duration: float) -> Fingerprint | None:
        """Of a clip of this many seconds; None if no frame came."""
        if self._last is None:
            return None
        self._fill(max(duration, 0.0 if self._hashes else STEP / 2))
        return Fingerprint(
            hashes=np.array(self._hashes, np.uint64),
            pictures=np.array(self._pictures, np.uint8),
            every=self._every,
            ratio=min(max(self._ratio, 0.02), 50.0),
            duration=max(0.0, duration),
        )


def of_frames(frames: Iterable[NDArray[np.uint8]], fps: float) -> Fingerprint | None:
    """Of RGB frames, uint8 [h, w, 3] each."""
    recorder, count = Recorder(), 0
    for count, frame in enumerate(frames, 1):
        recorder.add((count - 1) / fps, partial(grey_of, frame))
    return recorder.result(count / fps)


def grey_of(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma of an RGB frame, [h, w]."""
    from PIL import Image

    return np.asarray(Image.fromarray(frame).convert("L"))


def shrink(grey: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resized, every pixel counted: uint8 [height, width]."""
    from PIL import Image

    if grey.shape == (height, width):
        return grey
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def hashes_of(pictures: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 [n] of grey pictures uint8 [n, 64, 64]."""
    small = pictures.reshape(len(pictures), _GRID, 2, _GRID, 2).mean(axis=(2, 4), dtype=np.float32)
    basis, rows, columns = _frequencies()
    waves = np.einsum("ky,nyx,lx->nkl", basis, small, basis, optimize=True)[:, rows, columns]
    bits = (waves > 0).astype(np.uint64) << np.arange(64, dtype=np.uint64)
    values = np.maximum(bits.sum(axis=1, dtype=np.uint64), 1)
    values[small.std(axis=(1, 2)) < _DULL] = NOTHING_TO_SEE
    return values


@cache
def _frequencies() -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """DCT-II rows [k, 32], and the 64 lowest frequencies but the mean, as rows and columns."""
    k, x = np.arange(12)[:, None], np.arange(_GRID)[None]
    basis = np.cos(np.pi * k * (2 * x + 1) / (2 * _GRID)).astype(np.float32)
    order = sorted((r * r + c * c, r, c) for r in range(12) for c in range(12) if r or c)[:64]
    return basis, np.array([r for _, r, _ in order]), np.array([c for _, _, c in order])


@cache
def symmetry_masks() -> NDArray[np.uint64]:
    """Bits that differ when a picture is [as it is, mirrored left to right, top to bottom, both]: uint64 [4]."""
    _, rows, columns = _frequencies()
    places = np.uint64(1) << np.arange(64, dtype=np.uint64)
    across = places[columns % 2 == 1].sum(dtype=np.uint64)
    down = places[rows % 2 == 1].sum(dtype=np.uint64)
    return np.array([0, across, down, across ^ down], np.uint64)


def distances(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bits that differ, uint8 [len(a), len(b)]."""
    return np.bitwise_count(a[:, None] ^ b[None])
