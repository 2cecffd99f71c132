"""Which seconds of a video were altered.

A signature over one hash of everything only says that something is different. Signed videos here have a hash for each
chunk of their media data as well (the leaves of C2PA's Merkle tree, specification 18.7.2, all of them stored), so that
a verifier can find the chunks that differ, and, by the file's index, the pictures and the sound that lie in them.

Validators differ in where the first chunk begins if an mdat's header is short, with a size of 32 bits: 16 bytes after
its start, as C2PA's library has it, or after the header. So ``widened`` gives it 16 bytes where there is room; where
there is none, chunks are left out. A sidecar's video has to stay as it is, and gets them as the library has it.

Sizes: a leaf takes 34 bytes. Chunks are 4 KiB, and larger where a file would have more than ``MOST_CHUNKS`` of them, so
leaves add about 1 % to a small file and at most 140 KB to a large one. At 5 Mbit/s a chunk of 4 KiB lasts 7 ms.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from provenance import video
from provenance.errors import MediaError
from provenance.formats import Format

LEAST_CHUNK = 4
"""KiB."""
MOST_CHUNKS = 4096

_SKIPPED = 16
"""Bytes at the start of each mdat that belong to no chunk: its header and, where that is short, 8 of content."""
_LONG = b"\0\0\0\1"
"""In place of a box's size: it follows, with 64 bits (ISO/IEC 14496-12, 4.2)."""
_SPARE = (b"free", b"skip", b"wide")
"""Boxes of 8 bytes that writers put before an mdat, so that its header can grow into them."""
_MOST_SPANS = 12
_ALGORITHMS = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of one kind of stream whose data are not those that were signed. What is shown may differ until the
    next whole picture after it, for later pictures build on it."""

    kind: str
    """video, audio, subtitle or data."""
    start: float
    """Seconds."""
    end: float


@dataclass(frozen=True, kw_only=True)
class Located:
    """What can be said of the place of a change."""

    spans: tuple[Span, ...] = ()
    findings: tuple[str, ...] = ()


def chunk_size(path: Path, format: Format, *, short: bool = False) -> int | None:
    """KiB of a chunk for a file that is to be signed; None where chunks cannot be hashed by themselves: other formats,
    fragmented files (the library's own check fails on them), media data of a few bytes, and unless ``short`` those
    with a short header.

    Raises:
        MediaError: the file cannot be read.
    """
    if not format.is_bmff:
        return None
    total = 0
    with path.open("rb") as file:
        for kind, at, size in video.boxes(file):
            if kind == b"moof":
                return None
            if kind == b"mdat":
                file.seek(at)
                head = file.read(4)
                endless = head == bytes(4)  # up to the end of the file
                if size <= _SKIPPED or endless or (head != _LONG and not short):
                    return None
                total += size
    if not total:
        return None
    return max(LEAST_CHUNK, 2 ** math.ceil(math.log2(max(1, total / 1024 / MOST_CHUNKS))))


def widened(src: Path, dst: Path) -> bool:
    """Copy a video to ``dst`` with long mdat headers, each grown into an empty box before it, so that nothing moves.
    Without any to change, no copy is made.

    Returns:
        Whether there is a copy.

    Raises:
        MediaError: ``src`` cannot be read.
        OSError: ``dst`` cannot be written.
    """
    places, before = [], None
    with src.open("rb") as file:
        for kind, at, size in video.boxes(file):
            file.seek(at)
            if kind == b"mdat" and before is not None and file.read(4) not in (_LONG, bytes(4)):
                places.append((before, size + 8))
            before = at if kind in _SPARE and size == 8 else None
    if not places:
        return False
    shutil.copyfile(src, dst)
    with dst.open("r+b") as file:
        for at, size in places:
            file.seek(at)
            file.write(_LONG + b"mdat" + size.to_bytes(8, "big"))
    return True


def locate(path: str | os.PathLike, binding: dict[str, Any] | None) -> Located:
    """Where a file differs from what was signed.

    Args:
        path: an MP4 or MOV whose content hash does not match.
        binding: the signed assertion with the hashes, as ``provenance.credentials`` gives it. Nothing in it is trusted
            to be of a certain kind.
    """
    trees = (binding or {}).get("merkle")
    if not isinstance(trees, list) or not trees:
        return Located(
            findings=("which seconds were altered cannot be said, for the signer hashed the file as a whole",)
        )
    try:
        with Path(path).open("rb") as file:
            places = [(at, size) for kind, at, size in video.boxes(file) if kind == b"mdat"]
            if len(places) != len(trees):
                said = f"its media data are in {len(places)} pieces, and were in {len(trees)} when it was signed"
                return Located(findings=(f"which seconds were altered cannot be said: {said}",))
            ranges = [r for place, tree in zip(places, trees, strict=True) for r in _changed(file, place, tree)]
            sizes = [_longer(place, tree) for place, tree in zip(places, trees, strict=True)]
    except (OSError, KeyError, TypeError, ValueError) as error:  # MediaError is a ValueError
        return Located(findings=(f"which seconds were altered cannot be said: {_reason(error)}",))
    if not ranges:
        return Located(
            findings=(
                "the picture and sound data are as they were signed; what was changed is the index or the metadata "
                "around them, which say how, when and in which order they are shown",
            )
        )
    try:
        spans, lost = _spans(path, ranges)
    except MediaError as error:
        return Located(findings=(f"which seconds were altered cannot be said, for its index cannot be read: {error}",))
    found = []
    if any(sizes):
        how = "longer" if max(sizes, key=abs) > 0 else "shorter"
        found.append(
            f"its media data are {how} than when it was signed: something was put in or cut out, and all that lies "
            "behind the first such place counts as altered"
        )
    found += [f"altered: {span.kind} from {_down(span.start)} s to {_up(span.end)} s" for span in spans]
    if len(found) > _MOST_SPANS:
        found = [*found[:_MOST_SPANS], f"altered: {len(found) - _MOST_SPANS} more stretches"]
    if lost:
        found.append(f"altered: {lost} bytes of media data that belong to no picture or sound")
    return Located(spans=tuple(spans), findings=tuple(found))


def _changed(file: BinaryIO, place: tuple[int, int], tree: Any) -> Iterator[tuple[int, int]]:
    """Byte ranges of one mdat, as (start, end), whose chunks are not those of its tree.

    Raises:
        KeyError, TypeError, ValueError: the tree is not one whose leaves are all stored.
    """
    leaves, size, new = tree["hashes"], int(tree["fixedBlockSize"]), _ALGORITHMS[tree.get("alg") or "sha256"]
    if not isinstance(leaves, list) or len(leaves) != int(tree["count"]) or size < 1:
        raise ValueError("the signer did not store the hash of each chunk")
    at, end = place[0] + _SKIPPED, place[0] + place[1]
    file.seek(at)
    start: int | None = None
    for index in range(max(len(leaves), math.ceil((end - at) / size))):
        here = at + index * size
        same = index < len(leaves) and here < end and _digest(file, min(size, end - here), new) == bytes(leaves[index])
        if same and start is not None:
            yield start, here
            start = None
        elif not same and start is None:
            start = min(here, end)
        if here >= end or index >= len(leaves):  # longer or shorter than it was: the rest is not what was signed
            break
    if start is not None:
        yield start, end


def _longer(place: tuple[int, int], tree: Any) -> int:
    """By how many chunks an mdat has grown."""
    return max(0, math.ceil((place[1] - _SKIPPED) / int(tree["fixedBlockSize"]))) - len(tree["hashes"])


def _digest(file: BinaryIO, size: int, new: Any) -> bytes:
    digest = new()
    while size > 0 and (data := file.read(min(size, 2**20))):
        digest.update(data)
        size -= len(data)
    return digest.digest()


def _spans(path: str | os.PathLike, ranges: list[tuple[int, int]]) -> tuple[list[Span], int]:
    """(stretches, bytes that no packet covers) of sorted byte ranges.

    Raises:
        MediaError: the index cannot be read.
    """
    hits: dict[tuple[int, str], list[tuple[float, float]]] = {}
    covered = 0
    for index, kind, at, size, start, end in _packets(path):
        touched = sum(max(0, min(at + size, stop) - max(at, begin)) for begin, stop in _near(ranges, at, at + size))
        # A cut at the very end of the data leaves an empty range, which no packet touches.
        if touched:
            covered += touched
            hits.setdefault((index, kind), []).append((start, end))
    spans = [
        Span(kind=kind, start=max(0.0, start), end=max(0.0, end))
        for (_, kind), times in hits.items()
        for start, end in _merged(sorted(times))
    ]
    total = sum(stop - begin for begin, stop in ranges)
    return sorted(spans, key=lambda s: (s.start, s.kind)), max(0, total - covered)


def _near(ranges: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Those of the sorted ranges that overlap [start, end)."""
    import bisect

    at = bisect.bisect_right(ranges, (start, math.inf)) - 1
    for pair in ranges[max(0, at) :]:
        if pair[0] >= end:
            return
        if pair[1] > start:
            yield pair


def _packets(path: str | os.PathLike) -> Iterator[tuple[int, str, int, int, float, float]]:
    """(stream, kind, byte offset, size, start, end in seconds) of everything in the file's index."""
    import av.error

    with video.opened(path) as media:
        try:
            for packet in media.demux():
                time = packet.pts if packet.pts is not None else packet.dts
                if packet.size and packet.pos is not None and packet.pos >= 0 and time is not None:
                    unit = float(packet.time_base or 0)
                    start = time * unit
                    yield (
                        packet.stream_index, packet.stream.type, packet.pos, packet.size, start,
                        start + max(packet.duration or 0, 0) * unit,
                    )  # fmt: skip
        except (av.error.FFmpegError, ValueError, MemoryError):
            return  # damaged from here on; what came before still helps


def _merged(times: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sorted stretches, those that touch joined."""
    out: list[tuple[float, float]] = []
    for start, end in times:
        if out and start <= out[-1][1] + 1e-3:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def _down(seconds: float) -> str:
    return f"{math.floor(seconds * 10 + 1e-6) / 10:.1f}"


def _up(seconds: float) -> str:
    return f"{math.ceil(seconds * 10 - 1e-6) / 10:.1f}"


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    return str(error) if isinstance(error, ValueError) else "its hashes are of an unknown kind"
