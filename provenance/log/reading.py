"""Read a log, from its folder or from a web server, and believe nothing that its checkpoint does not cover.

Every proof made here is checked against the checkpoint before it is handed out, and so is every entry; a wrong tile
therefore ends in a ``ProofError``, never in a wrong answer.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from provenance.errors import InputError, LogError, ProofError
from provenance.log import checkpoints, merkle, notes, tiles
from provenance.log.checkpoints import Checkpoint
from provenance.log.proofs import Proof
from provenance.log.sources import Source, source_of

_KEPT_TILES = 64


class Reader:
    """One state of a log: that of the checkpoint it had when this was made. Close it, or use it in ``with``.

    Args:
        location: a folder, an address (http:// or https://, asked because the user gave it), or a source.
        verifier: the log's key. Without it the signature is not checked, and what is read is only known to belong to
            this checkpoint.
        checkpoint: read the log's state under this checkpoint, earlier or not yet published, instead of the newest.

    Raises:
        LogError: nothing there that can be read as a log.
        ProofError: the checkpoint is not signed by ``verifier``.
    """

    def __init__(
        self,
        location: str | os.PathLike | Source,
        verifier: str | notes.Verifier | None = None,
        *,
        checkpoint: Checkpoint | None = None,
    ):
        given = isinstance(location, (str, os.PathLike))
        self.source: Source = source_of(_as_path(location)) if given else location  # type: ignore[assignment]
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        try:
            self.checkpoint = checkpoint or read_checkpoint(self.source)
            if verifier is not None:
                self.checkpoint.check(notes.as_verifier(verifier))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self.source.close()

    @property
    def size(self) -> int:
        return self.checkpoint.size

    def prove(self, index: int) -> Proof:
        """That the entry at ``index`` is in the log.

        Raises:
            InputError: no such entry.
            ProofError: what the log serves does not lead to its checkpoint.
        """
        if not 0 <= index < self.size:
            raise InputError(f"the log has no entry {index}; it has {self.size}, counted from 0")
        path = tuple(self._hash(*part) for part in merkle.inclusion_parts(index, self.size))
        merkle.check_inclusion(index, self.size, self.checkpoint.root, self._hash(index, index + 1), path)
        return Proof(index, path, self.checkpoint)

    def consistency(self, old_size: int) -> tuple[bytes, ...]:
        """PROOF(old_size, D[size]) of RFC 6962, section 2.1.2: that the log only grew since it had ``old_size``.

        Raises:
            InputError: the log never had that size.
            ProofError: what the log serves does not lead to its checkpoint.
        """
        if not 0 <= old_size <= self.size:
            raise InputError(f"the log has {self.size} entries, so it has no proof from {old_size}")
        path = tuple(self._hash(*part) for part in merkle.consistency_parts(old_size, self.size))
        if path:
            old_root = self._hash(0, old_size)
            merkle.check_consistency(old_size, self.size, old_root, self.checkpoint.root, path)
        return path

    def check_grown_from(self, earlier: Checkpoint) -> None:
        """Is this state one that only adds to an earlier one?

        Raises:
            ProofError: the log was rolled back, or forked, or is another log. The two checkpoints together are the
                evidence; keep both.
        """
        if earlier.origin != self.checkpoint.origin:
            raise ProofError(f"the earlier checkpoint is one of the log {earlier.origin}, not {self.checkpoint.origin}")
        if earlier.size > self.size:
            raise ProofError(f"the log was rolled back: it had {earlier.size} entries and now shows {self.size}")
        if earlier.size == self.size:
            if earlier.root != self.checkpoint.root:
                raise ProofError(f"the log was forked: two different roots over {self.size} entries are signed")
        elif earlier.size:
            path = self.consistency(earlier.size)
            try:
                merkle.check_consistency(earlier.size, self.size, earlier.root, self.checkpoint.root, path)
            except ProofError:
                raise ProofError(
                    f"the log was forked: its first {earlier.size} entries are not those of the earlier checkpoint"
                ) from None

    def entry(self, index: int) -> bytes:
        """The entry at ``index``, checked.

        Raises:
            InputError: no such entry.
            ProofError: what the log serves is not the entry that its checkpoint covers.
        """
        self.prove(index)
        n, at = divmod(index, tiles.WIDTH)
        data = self.bundle(n)[at]
        if merkle.leaf_hash(data) != self._hash(index, index + 1):
            raise ProofError(f"entry {index} was changed: it is not what the checkpoint covers")
        return data

    def find(self, data: bytes) -> int | None:
        """The index of the first entry that equals ``data``; None if there is none. Reads 32 bytes an entry.

        Raises:
            ProofError: what the log serves does not lead to its checkpoint.
        """
        wanted = merkle.leaf_hash(data)
        for n in range(-(-self.size // tiles.WIDTH)):
            hashes = self.tile(0, n)
            at = hashes.find(wanted)
            while at % merkle.HASH_BYTES > 0 and at >= 0:
                at = hashes.find(wanted, at + 1)
            if at >= 0:
                return n * tiles.WIDTH + at // merkle.HASH_BYTES
        return None

    def tile(self, level: int, n: int) -> bytes:
        """The hashes of a tile, as they are served: not checked.

        Raises:
            ProofError: the tile that the checkpoint's size implies is not there, or has another length.
        """
        width = tiles.width_of(level, n, self.size)
        kept = self._tiles.get((level, n))
        if kept is not None:
            self._tiles.move_to_end((level, n))
            return kept
        data, path = self._file(level, n, width, tiles.TILE_BYTES)
        length = width * merkle.HASH_BYTES
        if len(data) < length or (".p/" in path and len(data) > length):
            raise ProofError(f"{path} has {len(data)} bytes where the tree has {length}")
        self._tiles[level, n] = data = data[:length]
        if len(self._tiles) > _KEPT_TILES:
            self._tiles.popitem(last=False)
        return data

    def bundle(self, n: int) -> list[bytes]:
        """Entries 256 n to 256 n + 255, or to the last one, as they are served: not checked.

        Raises:
            ProofError: the bundle is not there or damaged.
        """
        width = tiles.width_of(0, n, self.size)
        data, path = self._file(tiles.ENTRIES, n, width, tiles.WIDTH * (2 + tiles.LONGEST_ENTRY))
        grown = width < tiles.WIDTH and ".p/" not in path
        try:
            return tiles.split_bundle(data, width, path, more=grown)
        except LogError as error:
            raise ProofError(str(error)) from None

    def entries(self) -> Iterator[bytes]:
        """All entries, as they are served: not checked one by one. ``audit`` does that."""
        for n in range(-(-self.size // tiles.WIDTH)):
            yield from self.bundle(n)

    def _file(self, level: int | str, n: int, width: int, limit: int) -> tuple[bytes, str]:
        path = tiles.tile_path(level, n, width)
        data = self.source.read(path, limit)
        if data is None and width < tiles.WIDTH:
            # The log grew meanwhile, and has put the full tile in the place of the partial one.
            path = tiles.tile_path(level, n)
            data = self.source.read(path, limit)
        if data is None:
            raise ProofError(f"{tiles.tile_path(level, n, width)} is missing, which the checkpoint's size implies")
        return data, path

    def _hash(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]) for a subtree that RFC 6962 forms."""
        return merkle.fold([self._perfect(height, index) for height, index in merkle.perfect_parts(start, end)])

    def _perfect(self, height: int, index: int) -> bytes:
        level, inside = divmod(height, 8)
        first = index << inside
        n, at = divmod(first, tiles.WIDTH)
        hashes = self.tile(level, n)
        start = at * merkle.HASH_BYTES
        return merkle.perfect_root(hashes[start : start + (merkle.HASH_BYTES << inside)])


def read_checkpoint(source: Source) -> Checkpoint:
    """The newest checkpoint of a log.

    Raises:
        LogError: there is none, or it cannot be read.
    """
    text = source.read(checkpoints.PATH, notes.LONGEST_NOTE)
    if text is None:
        raise LogError(f"there is no log at {source.name}: it has no checkpoint; `log init` makes one")
    return Checkpoint.from_text(text)


def _as_path(location: str | os.PathLike) -> str | Path:
    text = os.fspath(location)
    return os.fsdecode(text) if isinstance(text, bytes) else text
