"""Which files are meant: names, patterns, folders, and lists of them."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from provenance import formats
from provenance.errors import InputError, MediaError

SUFFIXES = frozenset(suffix for format in formats.FORMATS for suffix in format.suffixes)
"""Files named so in a folder are taken even if nothing in them is what it should be: damage is to be reported."""

_LARGEST_LIST = 1 << 28


def expand(names: Sequence[str], *, files_from: str | None = None, recursive: bool = False) -> list[str]:
    """The files meant, in order.

    Args:
        names: files; patterns, where no such file exists (``**`` goes through folders); ``-`` for a list on standard
            input.
        files_from: a file that holds a list, one name a line, or each ended by NUL if there is a NUL in it; ``-`` as
            above.
        recursive: of a folder, take every media file in and below it, in order of name, hidden ones left out.
            Otherwise a folder stays in the list as it is.

    Raises:
        InputError: a list that cannot be read, or nothing left to verify.
    """
    given = [name for word in names for name in (_listed(word) if word == "-" else _matching(word))]
    if files_from is not None:
        given += _listed(files_from)
    found = []
    for name in given:
        if recursive and os.path.isdir(name):
            found += _below(name)
        else:
            found.append(name)
    if not found:
        where = ", ".join([*names, *([files_from] if files_from is not None else [])])
        raise InputError(f"there is no file to verify in {where}; name files, or folders with --recursive")
    return found


def _listed(source: str) -> list[str]:
    try:
        if source == "-":
            data = sys.stdin.buffer.read(_LARGEST_LIST + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(_LARGEST_LIST + 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the list {source}: {getattr(error, 'strerror', None) or error}; check the path"
        ) from None
    if len(data) > _LARGEST_LIST:
        raise InputError(f"the list {source} is longer than {_LARGEST_LIST >> 20} MB; is it the right file?")
    names = data.split(b"\0") if b"\0" in data else [line.rstrip(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]


def _matching(name: str) -> list[str]:
    """What a pattern matches, each file once; a name that is no pattern, or matches nothing, as it is."""
    if not glob.has_magic(name) or os.path.lexists(name):
        return [name]
    # Links may lead in circles, and every turn is a further name of the same file.
    shortest = {
        os.path.realpath(match): match for match in sorted(glob.glob(name, recursive=True), key=len, reverse=True)
    }
    return sorted(shortest.values()) or [name]


def _below(folder: str) -> Iterator[str]:
    # Links to folders are not followed: they may lead in circles.
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(here, name)
            if not name.startswith(".") and _is_media(path):
                yield path


def _is_media(path: str) -> bool:
    """By name or by what is in it: either may be wrong."""
    if Path(path).suffix.lower() in SUFFIXES:
        return True
    try:
        formats.of(path)
    except MediaError:
        return False
    return True
