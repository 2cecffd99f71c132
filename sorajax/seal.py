"""A list of a folder's files with their digests, inside it: whether they still are as they were written."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAME = "seal.json"
LATER = "_CHECKPOINT_METADATA"
"""Orbax writes the time at which it finished into this one, afterwards."""


def seal(folder: Path, *, threads: int = 4) -> None:
    """Write the list, last: every file below ``folder`` with its size in bytes and SHA-256."""
    files = sorted(_files(folder))
    with ThreadPoolExecutor(threads) as pool:
        digests = pool.map(lambda name: [(folder / name).stat().st_size, _digest(folder / name)], files)
    (folder / NAME).write_text(json.dumps(dict(zip(files, digests, strict=True)), indent=1), encoding="utf-8")


def broken(folder: Path, *, threads: int = 4) -> str | None:
    """What is wrong with the files of a sealed folder, in a few words; None if nothing is."""
    try:
        listed = json.loads((folder / NAME).read_text(encoding="utf-8"))
        sizes = {str(name): int(size) for name, (size, _) in listed.items()}
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError, AttributeError, TypeError):
        return f"{NAME} cannot be read"
    for name, size in sizes.items():  # sizes first: they cost nothing
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            return f"{name} " + ("is missing" if found is None else f"has {found} bytes instead of {size}")
    try:
        with ThreadPoolExecutor(threads) as pool:
            digests = list(pool.map(lambda name: _digest(folder / name), sizes))
    except OSError as error:
        return f"{error.filename} cannot be read: {error.strerror}"
    changed = [name for name, digest in zip(sizes, digests, strict=True) if digest != listed[name][1]]
    return f"{changed[0]} was changed" if changed else None


def _files(folder: Path) -> Iterable[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (NAME, LATER))
    return (path.relative_to(folder).as_posix() for path in files)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
