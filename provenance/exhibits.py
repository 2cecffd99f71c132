"""What a page shows of a file besides its report: a few small pictures, its size and its digest. It judges nothing."""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import formats, stills, video
from provenance.errors import MediaError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from PIL.Image import Image

WIDEST = 360
"""Pixels on the longer side of a picture."""
LARGEST = 40_000
"""Bytes of a JPEG."""

_FEW = 3
_MOST = 8
_PATIENCE = 300
"""Frames decoded on the way to one that is wanted."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """``pictures``: (seconds, JPEG), in order; none where the file cannot be decoded."""

    sha256: str | None = None
    size: int | None = None
    """Bytes."""
    pictures: tuple[tuple[float, bytes], ...] = ()


def take(path: str | os.PathLike, times: Sequence[float] | None = None) -> Exhibit:
    """Look at a file; never raises for what it may hold.

    Args:
        path: the file.
        times: seconds at which pictures are wanted; a few, evenly spaced, if None.
    """
    try:
        if not Path(path).is_file():
            return Exhibit()
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except (OSError, ValueError):
        return Exhibit()
    return Exhibit(sha256=digest, size=size, pictures=tuple(_pictures(path, times)))


def _pictures(path: str | os.PathLike, times: Sequence[float] | None) -> Iterator[tuple[float, bytes]]:
    import av.error
    from PIL import Image

    try:
        if formats.of(path).container is None:
            for picture in stills.read_frames(path):
                yield 0.0, jpeg(Image.fromarray(picture))
                return
        if times is None:
            duration = video.probe(path).duration or 0.0
            times = [duration * (i + 0.5) / _FEW for i in range(_FEW)]
        last = None
        for wanted in times[:_MOST]:
            found = _frame(path, wanted)
            if found is not None and found[0] != last:
                last = found[0]
                yield last, jpeg(found[1])
    except (MediaError, av.error.FFmpegError, ValueError, OverflowError, MemoryError, OSError):
        return


def _frame(path: str | os.PathLike, wanted: float) -> "tuple[float, Image] | None":
    """The picture shown at a time, and its own time."""
    with video.opened(path) as media:
        stream = video.main_stream(media)
        unit = float(stream.time_base or 0) or 1.0
        first = stream.start_time or 0
        if wanted > 0:
            media.seek(first + int(wanted / unit), stream=stream, backward=True)
        best: tuple[float, VideoFrame] | None = None
        for i, frame in enumerate(media.decode(stream)):
            if frame.width * frame.height > video.MAX_PIXELS or i == _PATIENCE:
                break
            at = ((frame.pts or 0) - first) * unit
            if best is not None and at > wanted:
                break
            best = at, frame
        if best is None:
            return None
        scale = min(1.0, WIDEST / max(best[1].width, best[1].height))
        width, height = (max(2, round(side * scale)) for side in (best[1].width, best[1].height))
        return best[0], best[1].reformat(width=width, height=height, format="rgb24").to_image()


def jpeg(image: "Image") -> bytes:
    """A small JPEG of a picture, without anything else that the file may have held."""
    image.thumbnail((WIDEST, WIDEST))
    for quality in (80, 60, 40, 20, 5):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()
