"""Tiled logs (C2SP tlog-tiles): names of tiles, and the right edge of a tree that grows.

A tile holds up to 256 hashes of one level; those of level L are roots over 256^L entries each. Tile n of a level covers
its hashes from 256 n on. The last tile of a level is partial (``.p/<width>``) unless the level ends with it.
"""

import re

from provenance.errors import LogError
from provenance.log import merkle

WIDTH = 256
TILE_BYTES = WIDTH * merkle.HASH_BYTES
LONGEST_ENTRY = 65_535
"""Bytes; entries carry a 16-bit length."""
ENTRIES = "entries"
"""Stands where a level would, in the path of a bundle of entries."""
HIGHEST_SIZE = 1 << 62
"""Larger trees are refused: nothing here would ever hold one."""


def tile_path(level: int | str, n: int, width: int = WIDTH) -> str:
    """Path of a tile below the log's prefix, such as ``tile/0/x001/x234/067.p/8``."""
    digits = str(n)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")


def counts(level: int, size: int) -> tuple[int, int]:
    """How many full tiles a level has in a tree of ``size`` entries, and the width of the partial one after them."""
    return divmod(size >> 8 * level, WIDTH)


def levels(size: int) -> int:
    """How many levels of tiles a tree of ``size`` entries has."""
    return max(0, size.bit_length() + 7) // 8


def width_of(level: int, n: int, size: int) -> int:
    """The width of tile ``n`` in a tree of ``size`` entries; 0 where there is none."""
    full, partial = counts(level, size)
    return WIDTH if n < full else partial if n == full else 0


def split_bundle(bundle: bytes, width: int, name: str, *, more: bool = False) -> list[bytes]:
    """The first ``width`` entries of a bundle: each behind its length, 16 bits big-endian.

    Raises:
        LogError: it is cut short, or goes on after them where no ``more`` are to be expected.
    """
    entries, at, end = [], 0, len(bundle)
    while len(entries) < width:
        start = at + 2
        at = start + int.from_bytes(bundle[at:start], "big")
        if start > end or at > end:
            raise LogError(f"{name} ends within entry {len(entries)} of {width}")
        entries.append(bundle[start:at])
    if at != end and not more:
        raise LogError(f"{name} goes on after its {width} entries")
    return entries


def join_bundle(entries: list[bytes]) -> bytes:
    """The bundle of these entries."""
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


class Edge:
    """The right edge of a tree: of every level the hashes of its partial tile. Enough to grow it and to know its root.

    Memory: 8 KiB a level, so 24 KiB for a million entries.
    """

    def __init__(self, size: int = 0, partial: list[bytes] | None = None):
        self.size = size
        self._partial = [bytearray(hashes) for hashes in partial or []]

    def copy(self) -> "Edge":
        return Edge(self.size, [bytes(hashes) for hashes in self._partial])

    def partial(self, level: int) -> bytes:
        """The hashes of the level's partial tile; empty if there is none."""
        return bytes(self._partial[level]) if level < len(self._partial) else b""

    def grow(self, leaves: bytes) -> list[tuple[int, int, bytes]]:
        """Add leaf hashes, at most as many as fit into the partial tile of level 0.

        Returns:
            The tiles that are full now: (level, n, hashes), lowest first.
        """
        done: list[tuple[int, int, bytes]] = []
        self.size += len(leaves) // merkle.HASH_BYTES
        level, hashes = 0, leaves
        while True:
            if level == len(self._partial):
                self._partial.append(bytearray())
            self._partial[level] += hashes
            if len(self._partial[level]) < TILE_BYTES:
                return done
            tile = bytes(self._partial[level])
            self._partial[level].clear()
            level += 1
            done.append((level - 1, (self.size >> 8 * level) - 1, tile))
            hashes = merkle.perfect_root(tile)

    def root(self) -> bytes:
        """MTH over all entries so far."""
        perfect: list[bytes] = []
        for level in reversed(range(len(self._partial))):
            hashes = bytes(self._partial[level])
            count = len(hashes) // merkle.HASH_BYTES
            for height, index in merkle.perfect_parts(0, count):
                start = (index << height) * merkle.HASH_BYTES
                perfect.append(merkle.perfect_root(hashes[start : start + (merkle.HASH_BYTES << height)]))
        return merkle.fold(perfect)


_GROUP = re.compile(r"x([0-9]{3})")
_LAST = re.compile(r"([0-9]{3})(\.p)?")


def group_of(name: str) -> int | None:
    """The number of a folder ``x123`` that holds further tiles; None for other names."""
    found = _GROUP.fullmatch(name)
    return int(found[1]) if found else None


def last_of(name: str) -> tuple[int, bool] | None:
    """The last three digits of a tile's file ``123`` or folder ``123.p``, and whether it is the latter."""
    found = _LAST.fullmatch(name)
    return (int(found[1]), found[2] is not None) if found else None
