"""Reading video files, safely: formats by their first bytes, never by name, and nothing but the file itself is opened.

FFmpeg (through PyAV) is told which demuxer to use, because left to guess it would take a small text file for a
playlist and fetch what it names.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from provenance import formats
from provenance.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

MAX_PIXELS = 64_000_000
"""A frame larger than this is refused: a small file can claim any size."""
MAX_BOXES = 30_000
"""A file with more boxes is refused: time to read them grows with the square of their number. An hour of video in
fragments of two seconds has 13,000, one without fragments about a hundred."""

_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"mvex", b"moof", b"traf", b"mfra"}
_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC
C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file says of itself. ``frames`` is 0 and ``duration`` None where the container does not say."""

    container: str
    """mp4, mov, matroska (also WebM) or avi."""
    codec: str
    width: int
    height: int
    fps: float
    frames: int
    duration: float | None
    """Seconds."""


def sniff(path: str | os.PathLike) -> str:
    """The container's name: mp4, mov, matroska or avi.

    Raises:
        MediaError: missing, a directory, empty, not readable, cut short, or not a video file that is known here.
    """
    path = Path(path)
    format = formats.of(path)
    if format.container is None:
        raise MediaError(f"not a video file but {format.name}; MP4, MOV, WebM, MKV and AVI can be read")
    if format.is_bmff:
        try:
            with path.open("rb") as file:
                _check_boxes(file)
        except OSError as error:
            raise MediaError(f"cannot be read: {error.strerror or error}") from None
    return format.container


def boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Top-level ISO BMFF boxes (ISO/IEC 14496-12, 4.2) as (type, offset, size).

    Raises:
        MediaError: a box that reaches beyond the end of the file, or is smaller than its own header.
    """
    end = file.seek(0, os.SEEK_END)
    at = 0
    while at < end:
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            raise MediaError(f"cut short or damaged: {len(header)} stray bytes at the end; fetch it again")
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        least = 8
        if size == 1:
            size, least = int.from_bytes(header[8:16], "big"), 16
        elif size == 0:
            size = end - at
        if size < least:
            raise MediaError(f"damaged: the box at byte {at} says it has {size} bytes; fetch it again")
        if at + size > end:
            name = kind.decode("ascii", "replace") if kind.isalnum() else kind.hex()
            raise MediaError(f"cut short: its {name} box needs {at + size} bytes, the file has {end}; fetch it again")
        yield kind, at, size
        at += size


def _check_boxes(file: BinaryIO) -> None:
    found, count = set(), 0
    for kind, at, size in boxes(file):
        found.add(kind)
        count += 1 + (_count_inside(file, at + 8, at + size, MAX_BOXES - count) if kind in _PARENTS else 0)
        if count > MAX_BOXES:
            raise MediaError(f"it has more than {MAX_BOXES} boxes, as no ordinary video has; it is refused")
    if b"moov" not in found:
        raise MediaError("cut short or damaged: it has no moov box, so no frame can be found; fetch it again")


def _count_inside(file: BinaryIO, start: int, end: int, most: int) -> int:
    """Boxes between two places, and those inside them; about, where they are damaged, and little over ``most``."""
    count, places = 0, [(start, end)]
    while places and count <= most:
        at, end = places.pop()
        while at + 8 <= end and count <= most:
            file.seek(at)
            header = file.read(8)
            size, kind = int.from_bytes(header[:4], "big"), header[4:]
            count += 1
            if size < 8:
                break
            if kind in _PARENTS:
                places.append((at + 8, min(at + size, end)))
            at += size
    return count


def has_manifest_box(path: str | os.PathLike) -> bool:
    """Whether a C2PA box stands at the top level, readable or not."""
    with Path(path).open("rb") as file:
        for kind, at, size in boxes(file):
            if kind == b"uuid" and size >= 24:
                file.seek(at)
                if C2PA_UUID in file.read(32):
                    return True
    return False


def probe(path: str | os.PathLike) -> VideoInfo:
    """What the file says of its video stream, without decoding it.

    Raises:
        MediaError: as ``sniff``, or no video stream in it.
    """
    container = sniff(path)
    with Path(path).open("rb") as file, _open(file, container) as media:
        stream = main_stream(media)
        duration = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        if duration is None and media.duration:
            duration = media.duration / 1e6
        return VideoInfo(
            container=container,
            codec=stream.codec_context.name,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            fps=float(stream.average_rate or 0),
            frames=stream.frames,
            duration=duration,
        )


def read_frames(path: str | os.PathLike, *, step: int = 1) -> "Iterator[NDArray[np.uint8]]":
    """Every ``step``-th frame as uint8 [h, w, 3], RGB, one at a time.

    Raises:
        MediaError: as ``probe``, frames that cannot be decoded, or one that is too large: a stream may change its size.
    """
    import av.error
    import numpy as np

    container = sniff(path)
    with Path(path).open("rb") as file, _open(file, container) as media:
        try:
            for i, frame in enumerate(media.decode(main_stream(media))):
                _check_size(frame.width, frame.height)
                if i % step == 0:
                    yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        except MediaError:
            raise
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise MediaError(f"its video cannot be decoded: {_reason(error)}") from None


def count_frames(path: str | os.PathLike) -> int:
    """How many pictures are stored, by going through the file without decoding it: what a header says of this is
    missing in streams and fragmented files, and may be wrong. Up to the first damage, if there is any.

    Raises:
        MediaError: as ``probe``.
    """
    import av.error

    container, count = sniff(path), 0
    with Path(path).open("rb") as file, _open(file, container) as media:
        try:
            for packet in media.demux(main_stream(media)):
                count += packet.size > 0
        except (av.error.FFmpegError, ValueError, MemoryError):
            pass  # decoding meets it too, and says what it is
    return count


@contextmanager
def opened(path: str | os.PathLike) -> "Iterator[InputContainer]":
    """The file, opened for going through all its streams.

    Raises:
        MediaError: as ``probe``.
    """
    container = sniff(path)
    with Path(path).open("rb") as file, _open(file, container) as media:
        yield media


def main_stream(media: "InputContainer") -> "VideoStream":
    """The first stream of moving pictures; a cover is none.

    Raises:
        MediaError: there is none.
    """
    for stream in media.streams.video:
        if not is_cover(stream):
            return stream
    raise MediaError("has no video stream; give a file with pictures")


def is_cover(stream: "Stream") -> bool:
    """Whether a stream is a still picture that stands for the file."""
    return bool(disposition(stream) & _COVER)


def disposition(stream: "Stream") -> int:
    """FFmpeg's AV_DISPOSITION bits, which are no number in PyAV 16."""
    return int(getattr(stream.disposition, "value", stream.disposition))


def _open(file: BinaryIO, container: str) -> "InputContainer":
    import av
    import av.error

    try:
        media = av.open(file, mode="r", format={"mp4": "mov"}.get(container, container))
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise MediaError(f"damaged: not {container} inside ({_reason(error)}); fetch it again") from None
    try:
        context = main_stream(media).codec_context
        if context is None:
            raise MediaError("its video is in a format that cannot be decoded here")
        _check_size(context.width, context.height)
    except BaseException:
        media.close()
        raise
    return media


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise MediaError(f"frames of {width}x{height} are refused; the limit is {MAX_PIXELS} pixels")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0] if str(error) else type(error).__name__
