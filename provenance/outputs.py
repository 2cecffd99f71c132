"""Files that appear whole or not at all: written beside their destination under a hidden name, then moved."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from provenance.errors import InputError, ProvenanceError


def check(dst: Path, *, overwrite: bool) -> None:
    """Everything that can be said of a destination before any work is done.

    Raises:
        InputError: a directory, no such folder, a folder or name that cannot be used, or there already.
    """
    try:
        is_folder, has_folder, exists = dst.is_dir(), dst.parent.is_dir(), dst.exists()
    except OSError as error:  # a name too long, a folder that may not be entered: up to Python 3.13 these raise
        raise InputError(f"cannot write there: {error.strerror or error}; choose another place than {dst}") from None
    if is_folder:
        raise InputError(f"the destination {dst} is a directory; name a file in it")
    if not has_folder:
        raise InputError(f"the folder {dst.parent} does not exist; make it first")
    if exists and not overwrite:
        raise InputError(f"{dst} exists already; choose another name or allow overwriting")


@contextmanager
def hidden(dst: Path) -> Iterator[Path]:
    """An empty file beside ``dst`` with the same suffix, gone afterwards unless it was moved."""
    stem = os.fsdecode(os.fsencode(dst.stem)[:60]).encode(errors="replace").decode()
    handle, name = tempfile.mkstemp(prefix=f".{stem}.", suffix=f".part{dst.suffix.lower()}", dir=dst.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the file on disk before its name is."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def publish(part: Path, dst: Path, overwrite: bool) -> None:
    """Move a finished file to its place.

    Raises:
        InputError: ``dst`` exists meanwhile.
    """
    if overwrite:
        os.chmod(part, _default_mode())
        os.replace(part, dst)
    else:
        os.chmod(part, _default_mode())
        try:
            os.link(part, dst)  # unlike a rename, fails if somebody else made it meanwhile
        except FileExistsError:
            raise InputError(f"{dst} exists already; choose another name or allow overwriting") from None
        except OSError:  # a file system without hard links
            if dst.exists():
                raise InputError(f"{dst} exists already; choose another name or allow overwriting") from None
            os.replace(part, dst)
    if os.name == "posix":
        try:
            folder = os.open(dst.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            pass  # a folder that may not be read, or a file system that cannot; the file itself is on disk


def publish_all(parts: Sequence[tuple[Path, Path]], overwrite: bool) -> None:
    """Move several finished files to their places, all or none: if one cannot be moved, those before it are taken back,
    and what they replaced returns. (A kill between two moves cannot be undone; the first are then in place.)

    Raises:
        InputError: as ``publish``.
    """
    if len(parts) == 1:
        return publish(*parts[0], overwrite)
    done: list[tuple[Path, Path | None]] = []
    try:
        for part, dst in parts:
            old = _second_name(dst) if overwrite and dst.exists() else None
            done.append((dst, old))
            try:
                publish(part, dst, overwrite)
            except BaseException:
                done.pop()
                if old is not None:
                    old.unlink()
                raise
    except BaseException:
        for dst, old in reversed(done):
            if old is None:
                dst.unlink(missing_ok=True)
            else:
                os.replace(old, dst)
        raise
    for _, old in done:
        if old is not None:
            old.unlink(missing_ok=True)
    return None


def _second_name(path: Path) -> Path:
    """Another, hidden name of a file, under which it outlives being replaced."""
    with hidden(path) as spare:
        pass
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links
        shutil.copy2(path, spare)
    return spare


def _default_mode() -> int:
    """What open() would have given the file: mkstemp makes it private."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def cannot_write(dst: Path, error: OSError, otherwise: type[ProvenanceError]) -> ProvenanceError:
    """The system's refusal in one line: the user's to mend if it is about permission, else ``otherwise``."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"cannot write {dst}: {error.strerror}; choose a folder that can be written")
    return otherwise(f"cannot write {dst}: {error.strerror or error}; nothing was left there")
