"""A clip's pictures at their times, for fingerprints and small pictures: decoded once, in small sizes."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from provenance import formats, video
from provenance import stills as pictures
from provenance.errors import MediaError
from provenance.fingerprint import Fingerprint, Recorder, grey_of

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

MOST_STILLS = 12
STILL_SIDE = 320
"""Pixels of a still's longer side."""
_GREY_SIDE = 192
_QUALITY = 80
_SHOWN, _MOST_PICTURES = 0.1, 600


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """What was seen of a clip."""

    fingerprint: Fingerprint
    stills: tuple[tuple[float, bytes], ...] = ()
    """(seconds, JPEG)."""
    info: video.VideoInfo


@dataclass(kw_only=True)
class _Stills:
    """A still a second, or fewer: when there are too many, every other one goes."""

    kept: list[tuple[float, bytes]] = field(default_factory=list)
    step: float = 1.0

    def add(self, seconds: float, frame: "VideoFrame") -> None:
        if self.kept and seconds < self.kept[-1][0] + self.step - 1e-6:
            return
        if len(self.kept) == MOST_STILLS:
            self.kept = self.kept[::2]
            self.step *= 2
            if seconds < self.kept[-1][0] + self.step - 1e-6:
                return
        self.kept.append((round(seconds, 3), jpeg(frame)))


def look(path: str | os.PathLike, *, stills: bool = True) -> Scenes:
    """Fingerprint and stills of a video or a picture; an animation's pictures are taken for a tenth of a second each.

    Raises:
        MediaError: it cannot be read, or holds no frame that can be decoded.
    """
    format = formats.of(path)
    if format.container is None:
        return _look_at_picture(path, format)
    info = video.probe(path)
    recorder, kept, end = Recorder(), _Stills(), 0.0
    for seconds, frame in timed_frames(path):
        recorder.add(seconds, partial(_grey, frame))
        if stills:
            kept.add(seconds, frame)
        end = seconds
    fingerprint = recorder.result(end + (1 / info.fps if info.fps > 0 else 0.0))
    if fingerprint is None:
        raise MediaError("it holds no frame that can be decoded")
    return Scenes(fingerprint=fingerprint, stills=tuple(kept.kept), info=info)


def _look_at_picture(path: str | os.PathLike, format: formats.Format) -> Scenes:
    recorder, size, count = Recorder(), (0, 0), 0
    for count, frame in enumerate(islice(pictures.read_frames(path), _MOST_PICTURES), 1):
        recorder.add((count - 1) * _SHOWN, partial(grey_of, frame))
        size = frame.shape[:2] if count == 1 else size
    fingerprint = recorder.result(count * _SHOWN if count > 1 else 0.0)
    if fingerprint is None:
        raise MediaError("it holds no picture that can be decoded")
    info = video.VideoInfo(
        container=format.name, codec="", width=size[1], height=size[0], fps=0.0, frames=count, duration=None
    )
    return Scenes(fingerprint=fingerprint, info=info)


def stills_at(path: str | os.PathLike, times: list[float]) -> list[tuple[float, bytes]]:
    """The stills shown at these seconds, which must grow.

    Raises:
        MediaError: as ``look``.
    """
    found: list[tuple[float, bytes]] = []
    waiting, last = list(times), None
    for seconds, frame in timed_frames(path):
        while waiting and last is not None and waiting[0] < seconds - 1e-6:
            found.append((waiting.pop(0), jpeg(last)))
        if not waiting:
            break
        last = frame
    return found + ([(at, jpeg(last)) for at in waiting] if last is not None else [])


def timed_frames(path: str | os.PathLike) -> "Iterator[tuple[float, VideoFrame]]":
    """Every frame with the seconds since the first, as they are shown.

    Raises:
        MediaError: as ``video.read_frames``.
    """
    import av.error

    with video.opened(path) as media:
        stream = video.main_stream(media)
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or 25)
        first = last = None
        try:
            for frame in media.decode(stream):
                if frame.width * frame.height > video.MAX_PIXELS:
                    raise MediaError(f"frames of {frame.width}x{frame.height} are refused")
                at = frame.time if frame.time is not None else (0.0 if last is None else last + 1 / rate)
                first = at if first is None else first
                if last is not None and at <= last:
                    at = last + 1e-3
                last = at
                yield at - first, frame
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            if isinstance(error, MediaError):
                raise
            raise MediaError(f"its video cannot be decoded: {' '.join(str(error).split())[:200]}") from None


def _grey(frame: "VideoFrame") -> "NDArray[np.uint8]":
    shrunk = max(1.0, max(frame.width, frame.height) / _GREY_SIDE)
    # The library picks RGB first, as a plane of luma may be of limited range.
    small = frame.reformat(
        width=max(8, round(frame.width / shrunk)),
        height=max(8, round(frame.height / shrunk)),
        format="rgb24",
        interpolation="AREA",
    )
    return grey_of(np.ascontiguousarray(small.to_ndarray(), np.uint8))


def jpeg(frame: "VideoFrame") -> bytes:
    """At most 320 pixels a side."""
    from PIL import Image

    shrunk = max(1.0, max(frame.width, frame.height) / STILL_SIDE)
    size = {"width": max(2, round(frame.width / shrunk)), "height": max(2, round(frame.height / shrunk))}
    out = io.BytesIO()
    pixels = frame.reformat(**size, format="rgb24", interpolation="AREA").to_ndarray()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
