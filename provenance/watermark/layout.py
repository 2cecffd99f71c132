"""What a key decides: which code bit each coefficient carries, and by what phase it is hidden.

SHAKE-256 rather than a numpy generator draws everything: the stream must never change between versions, for clips out
there must stay readable.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from provenance.watermark import lapped
from provenance.watermark.coding import CODE_BITS

PERIOD = 8
"""The lattice layer's layout repeats after this many blocks, down and across."""
TILE = 4
"""The spread layer's pattern repeats after this many pitches."""
LOW = 3.4
"""Modes of a smaller radius have the wide steps, which strong compression leaves."""
STEPS = np.where(lapped.RADIUS < LOW, 170.0, 48.0).astype(np.float32)
"""Lattice step of each mode, grey levels at the unit scale."""

_BAND = (0.1, 0.28)
"""The spread layer's frequencies, cycles a unit pixel."""
REACH = int(np.ceil(_BAND[1] * TILE * lapped.UNIT))
_SYNC_SHARE = 0.75


@dataclass(frozen=True)
class Lattice:
    """Phase in turns and code bit of each coefficient, [PERIOD, PERIOD, modes]."""

    turn: NDArray[np.float32]
    bit: NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """Frequencies of the half plane kx > 0 or (kx = 0, ky > 0), in cycles a tile; the first ``sync`` of them are for
    synchronisation, the others carry the code bits ``bit``."""

    ky: NDArray[np.int64]
    kx: NDArray[np.int64]
    phase: NDArray[np.complex64]
    sync: int
    bit: NDArray[np.int64]


def _words(label: bytes, key: bytes, rows: int, count: int) -> NDArray[np.uint32]:
    stream = hashlib.shake_256(b"sorajax watermark 2 " + label + b"\0" + key).digest(4 * rows * count)
    return np.frombuffer(stream, "<u4").reshape(rows, count)


def _deal(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Every code bit as often as any other, in random order."""
    bits = np.empty(len(words), np.int64)
    bits[np.argsort(words, kind="stable")] = np.arange(len(words)) % CODE_BITS
    return bits


@lru_cache(maxsize=8)
def lattice(key: bytes) -> Lattice:
    """The lattice layer's layout."""
    modes = len(lapped.RADIUS)
    turn, order = _words(b"lattice", key, 2, PERIOD * PERIOD * modes)
    order = order.reshape(-1, modes)
    bit = np.empty((PERIOD * PERIOD, modes), np.int64)
    for chosen in (lapped.RADIUS < LOW, lapped.RADIUS >= LOW):
        bit[:, chosen] = _deal(order[:, chosen].ravel()).reshape(PERIOD * PERIOD, -1)
    shape = (PERIOD, PERIOD, modes)
    return Lattice((turn / 2.0**32).reshape(shape).astype(np.float32), bit.reshape(shape))


@lru_cache(maxsize=8)
def spread(key: bytes) -> Spread:
    """The spread layer's layout."""
    ky, kx = np.meshgrid(np.arange(-REACH, REACH + 1), np.arange(REACH + 1), indexing="ij")
    radius = np.hypot(ky, kx) / (TILE * lapped.UNIT)
    keep = (radius >= _BAND[0]) & (radius <= _BAND[1]) & ((kx > 0) | (ky > 0))
    ky, kx = ky[keep], kx[keep]
    turn, order, deal = _words(b"spread", key, 3, len(ky))
    shuffled = np.argsort(order, kind="stable")
    sync = round(_SYNC_SHARE * len(ky))
    return Spread(
        ky=ky[shuffled],
        kx=kx[shuffled],
        phase=np.exp(2j * np.pi * turn / 2.0**32).astype(np.complex64),
        sync=sync,
        bit=_deal(deal[sync:]),
    )
