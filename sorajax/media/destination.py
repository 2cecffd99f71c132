"""Where a file may appear, and what is needed for it to appear whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from sorajax.errors import InputError


def check(path: str | Path, *, suffix: str, overwrite: bool = False) -> Path:
    """The path as a Path, once a file can be written there; nothing is created.

    Raises InputError if it does not end in ``suffix`` (".mp4"), if its folder does not exist or cannot be written,
    if it is a folder, or if it exists and ``overwrite`` is false.
    """
    path = Path(path)
    try:
        _check(path, suffix, overwrite)
    except OSError as error:  # a name too long, or a folder that may not be looked into
        raise InputError(f"destination {str(path)!r} cannot be used: {error.strerror}; choose another") from error
    return path


def _check(path: Path, suffix: str, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"destination {str(path)!r} is a folder; name a file in it that ends in {suffix}")
    if path.suffix.lower() != suffix or not path.stem.strip(". "):
        raise InputError(f"destination {str(path)!r} does not end in {suffix}; rename it, as in 'clip{suffix}'")
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"destination folder {str(folder)!r} does not exist; create it first, or save elsewhere")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"destination folder {str(folder)!r} cannot be written; choose another or change its rights")
    if not overwrite and os.path.lexists(path):
        raise InputError(f"destination {str(path)!r} exists; choose another name, or overwrite it knowingly")


@contextlib.contextmanager
def hidden(path: Path) -> Iterator[Path]:
    """A hidden path beside ``path`` to prepare a file at, which is gone when the block ends, however it ends.

    Moving the file to ``path`` is the block's last act. An OSError (disk full, file too large) becomes an InputError
    that names the destination.
    """
    part = path.with_name(f".{path.stem[:60]}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield part
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"destination {str(path)!r} could not be written: {reason}; nothing was left there") from error
    finally:
        part.unlink(missing_ok=True)
