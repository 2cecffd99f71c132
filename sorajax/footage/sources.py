"""Where videos come from: folders, lists in CSV or JSON lines, WebDataset's tars; with the captions beside them."""

import csv
import hashlib
import io
import json
import math
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from sorajax.errors import InputError
from sorajax.footage import captions as captions_of
from sorajax.footage.captions import Caption

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v", ".ts", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
COLUMNS = ("video", "path", "file_name", "file", "filename", "image")
"""Under which of these a row of a list names its file."""
PIECE = 1 << 16
"""Bytes by which a file's content is told."""


@dataclass(frozen=True)
class Source:
    """One video or picture, before anything of it was read."""

    name: str
    """Tells it from the others, whatever machine the data is on: its path below what was asked for."""
    path: Path
    captions: tuple[Caption, ...] = ()
    member: tuple[int, int] | None = None
    """Where it begins in a tar, and its bytes."""
    start: float = 0.0
    end: float = math.inf
    """Stretch that is used, in seconds, where a list says so."""
    problem: str = ""
    """What is wrong with its captions."""

    @property
    def key(self) -> str:
        """Its name, with the stretch if it is not all of the file."""
        whole = not self.start and math.isinf(self.end)
        return self.name if whole else f"{self.name} {self.start:g}-{self.end:g} s"

    @property
    def is_image(self) -> bool:
        """Whether it is a picture, by its name."""
        return self.name.lower().endswith(IMAGES)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes, as a file that can be sought. Raises OSError as the file system does."""
        with self.path.open("rb") as file:
            yield file if self.member is None else io.BufferedReader(_Part(file, *self.member), 1 << 18)

    def version(self) -> str:
        """Changes when the file does, and when it is copied: its size and time, which are known without reading it."""
        found = self.path.stat()
        return f"{found.st_size}-{found.st_mtime_ns}"

    def content(self) -> str:
        """What is in it, whatever disk it is on: a hash of its size and of its first, middle and last 64 KiB."""
        with self.open() as file:
            size = file.seek(0, io.SEEK_END)
            found = hashlib.sha256(str(size).encode())
            for at in sorted({0, max(0, size - PIECE) // 2, max(0, size - PIECE)}):
                file.seek(at)
                found.update(file.read(PIECE))
        return found.hexdigest()[:32]


def find(paths: Sequence[Path]) -> list[Source]:
    """Everything in some folders, lists (``.csv``, ``.jsonl``), tars and single files, by name.

    Raises InputError for a path that is not there or of no such kind, a list without a column for files or with a row
    that cannot be read, and for two files of one name.
    """
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            found += _folder(path)
        elif not path.is_file():
            raise InputError(f"{path} is not there; name folders, videos, .csv, .jsonl or .tar files")
        elif path.suffix.lower() in (".csv", ".jsonl"):
            found += _list(path)
        elif path.suffix.lower() == ".tar":
            found += _tar(path, path.name)
        elif path.suffix.lower() in VIDEOS + IMAGES:
            found.append(_beside(path, path.name))
        else:
            raise InputError(f"{path} is no video, list or tar; name folders, videos, .csv, .jsonl or .tar files")
    found.sort(key=lambda source: (source.name, source.start, source.end))
    for one, other in zip(found, found[1:], strict=False):
        if one.key == other.key:
            raise InputError(f"{one.path} and {other.path} are both called {one.name}; name a folder above both")
    return found


def _folder(folder: Path) -> Iterator[Source]:
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() in VIDEOS + IMAGES:
            yield _beside(path, name)
        elif path.suffix.lower() == ".tar":
            yield from _tar(path, name)


def _beside(path: Path, name: str) -> Source:
    """A file with the captions of files of its stem: dog.mp4, dog.txt, dog.zh.srt."""
    files = [
        p for p in sorted(path.parent.glob(f"{_escaped(path.stem)}.*")) if p.suffix.lower() in captions_of.SUFFIXES
    ]
    own = [p for p in files if p.stem == path.stem or not _is_of_another(p)]
    return _captioned(Source(name, path), [(p.name, p.read_bytes()) for p in own])


def _is_of_another(captions: Path) -> bool:
    """a.1.txt is that of a.1.mp4 where there is one, not of a.mp4."""
    return any(captions.with_suffix(suffix).exists() for suffix in VIDEOS + IMAGES)


def _tar(path: Path, name: str) -> Iterator[Source]:
    """WebDataset: files of one sample lie together and share a name up to its first dot."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                inside = PurePosixPath(member.name)
                if member.isfile() and not inside.name.startswith("."):
                    samples[str(inside.parent / inside.name.partition(".")[0])][member.name] = member
            for members in samples.values():
                texts = [
                    (n, file.read())
                    for n, m in sorted(members.items())
                    if n.lower().endswith(captions_of.SUFFIXES) and (file := archive.extractfile(m))
                ]
                for inner, member in sorted(members.items()):
                    if inner.lower().endswith(VIDEOS + IMAGES):
                        place = member.offset_data, member.size
                        yield _captioned(Source(f"{name}/{inner}", path, member=place), texts)
    except tarfile.TarError as error:
        raise InputError(f"{path} cannot be read as a tar ({error}); fetch it again, uncompressed") from None


def _captioned(source: Source, files: list[tuple[str, bytes]]) -> Source:
    found: list[Caption] = []
    problem = ""
    for name, data in files:
        try:
            found += captions_of.read(name, data)
        except InputError as error:
            problem = problem or str(error)
    return Source(source.name, source.path, tuple(found), source.member, problem=problem)


def _list(path: Path) -> Iterator[Source]:
    for number, row in _rows(path):
        column = next((key for key in COLUMNS if row.get(key)), None)
        if column is None:
            raise InputError(
                f"{path}:{number}: no file is named (columns: {', '.join(row)}); call its column one of "
                f"{', '.join(COLUMNS)}"
            )
        try:
            start, end = float(row.get("start") or 0), float(row.get("end") or math.inf)
        except (TypeError, ValueError):
            raise InputError(f"{path}:{number}: start or end is not a number of seconds; correct it") from None
        file = path.parent / str(row[column])
        said = tuple(captions_of.of_values(row, f"{path}:{number}"))
        said = said or _beside(file, "").captions
        yield Source(str(row[column]), file, said, start=start, end=end)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                yield from enumerate(csv.DictReader(file), 2)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise InputError(f"{path}:{number}: not an object; each line is one, as in " + '{"video": ...}')
                    yield number, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason}); convert it, as in iconv -f LATIN1 -t UTF-8") from None
    except (json.JSONDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}; correct it") from None


def _escaped(stem: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem)


class _Part(io.RawIOBase):
    """A stretch of a file as a file."""

    def __init__(self, file: BinaryIO, begin: int, size: int):
        self._file, self._begin, self._size, self._at = file, begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._begin + self._at)
        count = self._file.readinto(view)  # pyright: ignore[reportAttributeAccessIssue]
        self._at += count
        return count
