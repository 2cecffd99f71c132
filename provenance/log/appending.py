"""Append to a log. What is in it under a signed checkpoint never changes again.

An append writes, in this order, each forced to disk before the next: the entries, the tiles, and a new checkpoint,
which is the commit point. ``provenance.log.recovery`` says what becomes of one that was cut short.

A log's folder is what a web server may publish as it is. Its key lies beside it, as FOLDER.key.pem, and must stay
there: whoever has it can sign another history.
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from provenance.errors import InputError, KeyFileError, LogError, ProvenanceError
from provenance.log import checkpoints, files, merkle, notes, recovery, tiles
from provenance.log.checkpoints import Checkpoint
from provenance.log.files import Files
from provenance.log.proofs import Proof
from provenance.log.reading import Reader

_OWN = {files.LOCK, files.INCOMING}


class Log:
    """A log to append to; ``create`` and ``open_log`` give one. Threads and processes may share a folder."""

    def __init__(self, folder: Path, signer: notes.Signer, disk: Files):
        self.folder = folder
        self._signer = signer
        self._disk = disk
        self._guard = threading.Lock()
        self._checkpoint: Checkpoint | None = None
        self._edge, self._bundle = tiles.Edge(), b""
        self._folders: set[str] = set()

    @property
    def origin(self) -> str:
        return self._signer.verifier.name

    @property
    def verifier(self) -> notes.Verifier:
        """The public key; ``str(log.verifier)`` is what to give to those who verify."""
        return self._signer.verifier

    @property
    def size(self) -> int:
        """How many entries the log has, those by other processes included."""
        return self.checkpoint().size

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint."""
        with self.reader() as reader:
            return reader.checkpoint

    def reader(self) -> Reader:
        """A reader of the log as it is now."""
        return Reader(self.folder, self.verifier)

    def prove(self, index: int) -> Proof:
        """That the entry at ``index`` is in the log; ``.to_text()`` is what to keep beside the entry.

        Raises:
            InputError: no such entry.
            ProofError: the log is damaged.
        """
        with self.reader() as reader:
            return reader.prove(index)

    def consistency(self, old_size: int) -> tuple[bytes, ...]:
        """That the log only grew since it had ``old_size`` entries; see ``Reader.consistency``."""
        with self.reader() as reader:
            return reader.consistency(old_size)

    def append(self, data: bytes) -> int:
        """Add one entry of up to 65,535 bytes. When this returns, it is on disk under a signed checkpoint.

        Returns:
            Its index.

        Raises:
            InputError, LogError, ProofError: as ``append_many``.
        """
        return self.append_many([data])[0]

    def append_many(self, entries: Iterable[bytes]) -> range:
        """Add entries under one checkpoint: all of them or, whatever happens, none. Others wait meanwhile.

        Memory does not grow with the number of entries, so an iterator may give millions.

        Returns:
            Their indices.

        Raises:
            InputError: an entry that is too long or not bytes.
            LogError: the disk failed. What the iterator or the signer's callback raises comes out as it is.
            ProofError: the log was tampered with: its last tiles do not belong to its checkpoint, or that is not signed
                with the log's key.
        """
        with self._guard, _said(self.folder), self._disk.locked() as lock:
            if (before := self._disk.marked(lock)) is not None:  # another process was killed
                recovery.recover(self._disk, self.verifier, before)
                self._disk.mark(lock, None)
            self._load()
            first = self._edge.size
            self._disk.mark(lock, first)
            try:
                checkpoint = self._append(entries)
            except BaseException as error:
                self._checkpoint = None
                self._folders.clear()  # some may not have been forced to disk
                repaired = self._repair(first, lock)
                if not isinstance(error, OSError):
                    raise
                end = self._edge.size if repaired else recovery.signed_size(self._disk, self.verifier)
                if end == first:
                    raise
                if not repaired:
                    raise LogError(
                        f"cannot finish the log {self.folder}: {error.strerror or error}; entries {first} to {end - 1} "
                        "are signed and will be in it when it is next opened, so do not append them again"
                    ) from None
                return range(first, end)  # the system refused at the very end, and not when asked again
            self._checkpoint = checkpoint
            with suppress(OSError):  # what is left over does no harm
                recovery.drop_partials(self._disk, first, checkpoint.size)
            self._disk.mark(lock, None)
            return range(first, checkpoint.size)

    def _repair(self, before: int, lock: int) -> bool:
        """Undo or finish what failed; if that cannot be, the next append or opening will."""
        try:
            recovery.recover(self._disk, self.verifier, before)
            self._disk.mark(lock, None)
            self._load()
        except (OSError, ProvenanceError):
            return False
        return True

    def _load(self) -> None:
        """Have the right edge of the log as it is on disk."""
        with self.reader() as reader:
            if self._checkpoint is None or reader.checkpoint.signed != self._checkpoint.signed:
                self._checkpoint = None
                if self._edge.size != reader.size or self._edge.root() != reader.checkpoint.root:
                    self._edge, self._bundle = recovery.load_edge(reader)
                self._checkpoint = reader.checkpoint

    def _append(self, entries: Iterable[bytes]) -> Checkpoint:
        """Everything up to the new checkpoint in its place."""
        edge, touched, changed = self._edge.copy(), set[str](), {0}
        digest, width = hashlib.sha256, tiles.TILE_BYTES
        bundle, leaves, room = bytearray(self._bundle), bytearray(), width - len(edge.partial(0))
        for data in _from_elsewhere(entries):
            if not isinstance(data, bytes) or len(data) > tiles.LONGEST_ENTRY:
                raise InputError(_unfit(data))
            bundle += len(data).to_bytes(2, "big") + data
            leaves += digest(b"\x00" + data).digest()
            if len(leaves) == room:
                self._put(tiles.tile_path(tiles.ENTRIES, edge.size // tiles.WIDTH), bytes(bundle), touched)
                for level, n, hashes in edge.grow(bytes(leaves)):
                    self._put(tiles.tile_path(level, n), hashes, touched)
                    changed.add(level + 1)
                bundle, leaves, room = bytearray(), bytearray(), width
        if leaves:
            edge.grow(bytes(leaves))
        if edge.size == self._edge.size and self._checkpoint is not None:
            return self._checkpoint
        for level in sorted(changed):
            if hashes := edge.partial(level):
                n, count = tiles.counts(level, edge.size)
                self._put(tiles.tile_path(level, n, count), hashes, touched)
        if bundle:
            n, count = tiles.counts(0, edge.size)
            self._put(tiles.tile_path(tiles.ENTRIES, n, count), bytes(bundle), touched)
        for folder in sorted(touched):
            self._disk.sync_folder(folder)
        try:
            checkpoint = Checkpoint.sign(self.origin, edge.size, edge.root(), self._signer)
        except OSError as error:
            raise _Elsewhere(error) from None
        self._disk.write(recovery.PENDING, checkpoint.signed.encode())
        self._disk.move(recovery.PENDING, checkpoints.PATH)
        self._disk.sync_folder(".")
        self._edge, self._bundle = edge, bytes(bundle)
        return checkpoint

    def _put(self, path: str, data: bytes, touched: set[str]) -> None:
        """Put a file, with the folders it needs; ``touched`` takes those in which there is a new name."""
        parts = path.split("/")[:-1]
        folder = "/".join(parts)
        if folder not in self._folders:
            for end in range(1, len(parts) + 1):
                above, below = "/".join(parts[: end - 1]) or ".", "/".join(parts[:end])
                if below not in self._folders:
                    self._disk.make_folder(below)
                    touched.add(above)
                    if not below.endswith(".p"):  # those go again
                        self._folders.add(below)
        self._disk.put(path, data)
        touched.add(folder)


def key_path(folder: str | os.PathLike) -> Path:
    """Where a log's own key lies: beside its folder, never in it."""
    folder = Path(os.path.abspath(folder))
    return folder.with_name(f"{folder.name}.key.pem")


def own_verifier(location: str | os.PathLike) -> notes.Verifier | None:
    """The public key of a log in a folder here whose private key lies beside it; None for all other logs.

    Raises:
        LogError: no log there.
        KeyFileError: there is a key, and it cannot be used.
    """
    if isinstance(location, str) and location.lower().startswith(("http://", "https://")):
        return None
    if not os.path.lexists(key_path(location)):
        return None
    with Reader(location) as reader:
        return notes.load_signer(key_path(location), reader.checkpoint.origin).verifier


def create(folder: str | os.PathLike, *, origin: str, signer: notes.Signer | None = None) -> Log:
    """Begin a log: a folder with the signed checkpoint of no entries.

    Args:
        folder: a new folder, or an empty one.
        origin: the log's name for all time, such as ``example.com/clips``: an address without its scheme, with no
            spaces and no '+'. No two logs may share one.
        signer: None makes a key, in a file beside the folder (``key_path``) that its owner alone can read. Else the
            means to sign with a key that is elsewhere; its name must be the origin.

    Raises:
        InputError: the folder cannot be used, or has a log.
        KeyFileError: an origin that cannot be the name of a key, or the key of another log lies where this one's
            would.
        LogError: the disk or the signer failed; nothing is left.
    """
    folder = Path(os.path.abspath(folder))
    notes.check_name(origin)
    if signer is not None and signer.verifier.name != origin:
        raise KeyFileError(f"the signer's name is {signer.verifier.name}; it must be the origin {origin}")
    with _said(folder):
        if folder.exists() and (not folder.is_dir() or set(os.listdir(folder)) - _OWN):
            raise InputError(f"{folder} is in use; a log begins in a new folder or an empty one")
        if not folder.parent.is_dir():
            raise InputError(f"the folder {folder.parent} does not exist; make it first")
        began = folder.exists() and files.LOCK in os.listdir(folder)  # and was cut short
        if signer is None and not began and os.path.lexists(key_path(folder)):
            raise KeyFileError(
                f"{key_path(folder)} is the key of an earlier log here, and would sign a second history of it; "
                "move it away first"
            )
        folder.mkdir(exist_ok=True)
        disk = Files(folder)
        with disk.locked():
            if (folder / checkpoints.PATH).exists():
                raise InputError(f"{folder} has a log already; open it")
            disk.make_folder(files.INCOMING)
            signer = signer or _own_signer(folder, origin)
            try:
                text = Checkpoint.sign(origin, 0, merkle.EMPTY_ROOT, signer).signed
            except BaseException:
                disk.remove_folder(files.INCOMING)
                disk.remove(files.LOCK)
                folder.rmdir()
                raise
            disk.put(checkpoints.PATH, text.encode())
            disk.sync_folder(".")
        above = Files(folder.parent)
        above.sync_folder(".")
    return Log(folder, signer, disk)


def open_log(folder: str | os.PathLike, *, signer: notes.Signer | None = None) -> Log:
    """Open a log to append to it. What an append by a process that was killed left behind is finished or removed.

    Args:
        folder: as given to ``create``.
        signer: None takes the key beside the folder.

    Raises:
        LogError: no log there, or the disk failed.
        KeyFileError: the key is missing or is not a key.
        ProofError: the log's checkpoint is not signed with this key.
    """
    folder = Path(os.path.abspath(folder))
    if signer is None:
        with Reader(folder) as reader:
            signer = notes.load_signer(key_path(folder), reader.checkpoint.origin)
    disk = Files(folder)
    with _said(folder):
        with Reader(folder, signer.verifier):  # nothing is touched in a folder that is not this log
            pass
        with disk.locked() as lock:
            disk.make_folder(files.INCOMING)
            recovery.recover(disk, signer.verifier, disk.marked(lock))
            disk.mark(lock, None)
    return Log(folder, signer, disk)


def _own_signer(folder: Path, origin: str) -> notes.Signer:
    """The key beside the folder, made if need be."""
    path = key_path(folder)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # by a ``create`` that was cut short
        return notes.load_signer(path, origin)
    try:
        os.write(handle, notes.make_key())
        os.fsync(handle)
    finally:
        os.close(handle)
    return notes.load_signer(path, origin)


def _unfit(data: object) -> str:
    if not isinstance(data, bytes):
        return f"an entry is bytes, not {type(data).__name__}"
    return (
        f"an entry of {len(data)} bytes is longer than the {tiles.LONGEST_ENTRY} that a log takes; "
        "log its SHA-256 instead, and keep it elsewhere"
    )


class _Elsewhere(Exception):
    """An error of the system that has nothing to do with the log's disk: a key server that is down, say."""

    def __init__(self, error: OSError):
        super().__init__(error)
        self.error = error


def _from_elsewhere(entries: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from entries
    except OSError as error:
        raise _Elsewhere(error) from None


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """The system's refusals in one line."""
    try:
        yield
    except _Elsewhere as elsewhere:
        raise elsewhere.error from None
    except OSError as error:
        what = f" ({os.path.relpath(os.fsdecode(error.filename), folder)})" if error.filename else ""
        raise LogError(
            f"cannot write the log {folder}{what}: {error.strerror or error}; nothing was appended"
        ) from None
