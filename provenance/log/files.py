"""The few operations on disk of which an append is made, each a method, so that tests can let any of them fail.

A file is written under a hidden name, forced to disk, and moved to its place; a folder's new names are forced to disk
by ``sync_folder``. One writer at a time holds the log's lock, across threads and processes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"
INCOMING = ".incoming"
"""Folder for files that are not in their place yet; inside the log, for a rename must not cross file systems."""


class Files:
    """Operations on the folder of one log. Paths are below it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def put(self, path: str, data: bytes) -> None:
        """Have a file at ``path`` that is whole, whenever it is looked at. Its name lasts after ``sync_folder``."""
        part = f"{INCOMING}/part"
        self.write(part, data)
        self.move(part, path)

    def write(self, path: str, data: bytes) -> None:
        """Write a file and force its content to disk."""
        handle = os.open(self.folder / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self.write_some(handle, rest) :]
            self.sync(handle)
        finally:
            os.close(handle)

    def write_some(self, handle: int, data: memoryview) -> int:
        """Write to an open file; how much of it is the system's choice."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        """Force an open file to disk."""
        os.fsync(handle)

    def move(self, path: str, target: str) -> None:
        """Rename, replacing what is there."""
        os.replace(self.folder / path, self.folder / target)

    def make_folder(self, path: str) -> None:
        """Make one folder; that it is there already is no error."""
        try:
            os.mkdir(self.folder / path)
        except FileExistsError:
            if not (self.folder / path).is_dir():
                raise

    def sync_folder(self, path: str) -> None:
        """Force the names in a folder to disk."""
        handle = os.open(self.folder / path, os.O_RDONLY)
        try:
            self.sync(handle)
        finally:
            os.close(handle)

    def remove(self, path: str) -> None:
        """Delete a file; that it is not there is no error."""
        (self.folder / path).unlink(missing_ok=True)

    def remove_folder(self, path: str) -> None:
        """Delete a folder and the files in it; that it is not there is no error."""
        for name in self.names(path):
            self.remove(f"{path}/{name}")
        with suppress(FileNotFoundError):
            os.rmdir(self.folder / path)

    def names(self, path: str) -> list[str]:
        """What is in a folder; nothing if there is no such folder."""
        try:
            return sorted(os.listdir(self.folder / path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the lock; gives the open lock file, whose content is for ``mark`` and ``marked``."""
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)  # lets go of the lock, as the end of the process does

    def mark(self, lock: int, size: int | None) -> None:
        """Say in the lock file that an append to a log of ``size`` entries is under way, or (None) that none is.

        Not forced to disk: it tells other processes of a writer that was killed. After a loss of power every process
        opens the log anew, and looks without being told.
        """
        os.ftruncate(lock, 0)
        if size is not None:
            os.pwrite(lock, b"%d\n" % size, 0)

    def marked(self, lock: int) -> int | None:
        """What ``mark`` last said; None if no append is under way."""
        text = os.pread(lock, 32, 0).strip()
        return (int(text) if text.isdigit() else 0) if text else None
