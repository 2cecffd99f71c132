"""Where the files of a log come from: a folder, or a web server when the user names one.

Both give the file at a path below the log's prefix, or None where there is none. Nobody is trusted for what is in it.
"""

from pathlib import Path
from typing import Protocol

from provenance.errors import LogError


class Source(Protocol):
    """A place that serves files."""

    name: str

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at ``path``; None if there is none.

        Raises:
            LogError: it cannot be read, or has more than ``limit`` bytes.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def source_of(location: str | Path) -> Source:
    """The folder or, only where it begins with http:// or https://, the web server at ``location``.

    Raises:
        InputError: an address that cannot be used.
        LogError: no such folder.
    """
    text = str(location)
    if text.lower().startswith(("http://", "https://")):
        from provenance.log.web import WebSource  # http.client takes its time to load

        return WebSource(text)
    return FolderSource(Path(location))


class FolderSource:
    """A log's folder on this machine."""

    def __init__(self, folder: Path):
        self.name = str(folder)
        self._folder = folder
        try:
            there = folder.is_dir()
        except (OSError, ValueError) as error:
            raise LogError(f"cannot look into {folder!s}: {getattr(error, 'strerror', None) or error}") from None
        if not there:
            raise LogError(f"{folder} is not a folder; name the folder of a log, or its address (https://...)")

    def read(self, path: str, limit: int) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LogError(f"cannot read {self._folder / path}: {error.strerror or error}") from None
        if len(data) > limit:
            raise LogError(f"{self._folder / path} is longer than the {limit} bytes that it may have")
        return data

    def close(self) -> None:
        pass
