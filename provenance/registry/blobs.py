"""Content-addressed blobs: each is stored once under its own SHA-256, in fan-out folders, on disk or in object storage.

Any fsspec address will do: a folder, memory://..., s3://... (with the package fsspec names for it). A blob appears
whole or not at all, and what is read is checked against its name.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator

from provenance.errors import RegistryError

_NAME = re.compile(r"[0-9a-f]{64}")


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Blobs:
    """A place for blobs.

    Raises:
        RegistryError: from every method, where the place cannot be used.
    """

    def __init__(self, address: str):
        import fsspec

        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError, OSError) as error:
            raise RegistryError(f"the registry's blobs cannot be kept at {address}: {_one_line(error)}") from None
        self._address, self._local = address, type(self._files).__name__ == "LocalFileSystem"

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name[:2]}/{name[2:4]}/{name}"

    def put(self, data: bytes) -> str:
        """Keep a blob; its name."""
        name = digest(data)
        path = self._path(name)
        try:
            if self._files.exists(path) and self._files.size(path) == len(data):
                return name
            folder = path.rsplit("/", 1)[0]
            self._files.makedirs(folder, exist_ok=True)
            if not self._local:
                self._files.pipe_file(path, data)  # object storage shows an upload when it is complete
                return name
            part = f"{folder}/.{name[:16]}.{uuid.uuid4().hex}.part"
            try:
                with open(part, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, path)
            finally:
                if os.path.exists(part):
                    os.unlink(part)
        except OSError as error:
            raise self._trouble("written", error) from None
        return name

    def get(self, name: str) -> bytes:
        """A blob's bytes, checked.

        Raises:
            RegistryError: it is missing or damaged, too.
        """
        if not _NAME.fullmatch(name):
            raise RegistryError(f"the registry names a blob {name[:80]!r}, which is no SHA-256")
        try:
            data = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            raise RegistryError(f"the registry's blob {name} is missing; restore it, or import a backup") from None
        except OSError as error:
            raise self._trouble("read", error) from None
        if digest(data) != name:
            raise RegistryError(f"the registry's blob {name} is damaged; restore it, or import a backup")
        return data

    def names(self) -> Iterator[str]:
        """Every blob there."""
        try:
            for path in self._files.find(self._root):
                name = path.rsplit("/", 1)[-1]
                if _NAME.fullmatch(name):
                    yield name
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._trouble("listed", error) from None

    def leftovers(self) -> list[str]:
        """Paths of unfinished writes: of a writer that was killed, or is at it this moment."""
        try:
            return [path for path in self._files.find(self._root) if path.endswith(".part")]
        except OSError:
            return []

    def age(self, path: str) -> float:
        """Seconds since a local file was changed; 0 where that is not known."""
        import time

        try:
            return time.time() - os.path.getmtime(path) if self._local else 0.0
        except OSError:
            return 0.0

    def path_of(self, name: str) -> str:
        """Where a blob is."""
        return self._path(name)

    def remove(self, path: str) -> None:
        """Delete a file that is nobody's."""
        try:
            self._files.rm_file(path)
        except OSError as error:
            raise self._trouble("removed", error) from None

    def _trouble(self, what: str, error: OSError) -> RegistryError:
        return RegistryError(f"the registry's blobs at {self._address} cannot be {what}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:300] or type(error).__name__
