"""Frames of a stretch of a video, at the size and rate that a model takes."""

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from sorajax.errors import InputError
from sorajax.footage.scan import begins, named
from sorajax.footage.sources import Source


def read(
    source: Source,
    start: float,
    fps: float,
    count: int,
    size: tuple[int, int],
    *,
    crop: tuple[float, float, float] = (1.0, 0.5, 0.5),
    seek: bool = True,
) -> NDArray[np.uint8]:
    """uint8 [count, h, w, 3]: the frames shown at ``start``, ``start`` + 1/fps, ... seconds, for ``size`` (w, h).

    A frame is scaled to cover the size and cut alike on both sides; ``crop`` takes another part of it: a share of the
    sides of that, and where it lies across and down, 0 to 1. ``seek`` saves decoding what comes before; a file
    whose index leads too far is read from its beginning. Raises InputError where the video ends before.
    """
    wanted = [start + i / fps for i in range(count)]
    frames: list[NDArray[np.uint8]] = []
    frame = None
    try:
        with source.open() as file, av.open(named(file), mode="r") as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            zero = begins(stream)
            seek = seek and start > 1 and not source.is_image
            if seek:
                container.seek(int((zero + start - 0.5) * av.time_base))
            for frame, until in _shown(container.decode(stream), zero):
                if seek and not frames and float(frame.time or 0.0) - zero > start + 1e-3:
                    return read(source, start, fps, count, size, crop=crop, seek=False)
                while len(frames) < count and wanted[len(frames)] < until - 1e-6:
                    frames.append(_cover(frame, size, crop))
                if len(frames) == count:
                    break
    except (FFmpegError, OSError) as error:
        raise InputError(f"{source.name} cannot be decoded ({error.strerror}); take it out") from None
    if frame is None or count - len(frames) > 1:
        raise InputError(f"{source.name} ends before {wanted[-1]:.2f} s; scan it anew")
    return np.stack(frames + [_cover(frame, size, crop)] * (count - len(frames)))  # one may be a rounding too late


def _shown(frames: Any, zero: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """Each frame with the time at which the next one takes its place."""
    before, step = None, 0.0
    for frame in frames:
        time = float(frame.time or 0.0) - zero
        if before is not None:
            step = time - (float(before.time or 0.0) - zero)
            yield before, time
        before = frame
    if before is not None:
        yield before, float(before.time or 0.0) - zero + max(step, 1.0)  # what was planned ends with the scene


def _turned(frame: av.VideoFrame) -> int:
    """Quarter turns to the left that put a frame upright."""
    return frame.rotation // 90 % 4


def _cover(frame: av.VideoFrame, size: tuple[int, int], crop: tuple[float, float, float]) -> NDArray[np.uint8]:
    turned, (share, across, down) = _turned(frame), crop
    width, height = size if turned % 2 == 0 else size[::-1]
    scale = max(width / frame.width, height / frame.height) / share
    inner = max(width, round(frame.width * scale)), max(height, round(frame.height * scale))
    how = Interpolation.AREA if scale < 1 else Interpolation.BICUBIC
    pixels: Any = frame.to_ndarray(width=inner[0], height=inner[1], format="rgb24", interpolation=how)
    pixels = np.rot90(pixels, turned)
    left, top = int((pixels.shape[1] - size[0]) * across), int((pixels.shape[0] - size[1]) * down)
    return np.ascontiguousarray(pixels[top : top + size[1], left : left + size[0]])
