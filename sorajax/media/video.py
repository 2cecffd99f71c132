"""mp4 in and out: H.264 in yuv420p, which every player reads, with BT.709 colours that are said and meant."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from provenance import video
from provenance.errors import MediaError
from sorajax.errors import InputError
from sorajax.media.post import check_frames

_BT709 = 1  # ITU-T H.273: primaries, transfer and matrix of BT.709 share the number
_THREADS = 4  # fixed, as x264 decides differently for another number
_FPS_LIMIT = 240
CRF = 17
"""Visually lossless: the clip is signed as it is saved, so what is lost here is lost."""


def check_video(frames: NDArray[np.uint8], fps: float | Fraction) -> Fraction:
    """The frame rate as an exact fraction, once ``write_mp4`` could write these frames. 23.976 becomes 24000/1001.

    Raises InputError for frames that are not uint8 [t, h, w, 3], an odd height or width (yuv420p halves colour), or
    a rate outside (0, 240].
    """
    check_frames(frames)
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise InputError(f"frames are {width}x{height}; H.264 needs an even width and height, crop or pad by a pixel")
    if isinstance(fps, bool) or not isinstance(fps, (int, float, Fraction)) or not 0 < fps <= _FPS_LIMIT:
        raise InputError(f"fps {fps!r} is not possible; give a number above 0 and at most {_FPS_LIMIT}, such as 16")
    broadcast = Fraction(round(fps) * 1000, 1001)
    return broadcast if abs(fps - broadcast) < 0.002 else Fraction(fps).limit_denominator(1001)


def write_mp4(path: str | Path, frames: NDArray[np.uint8], fps: float | Fraction, *, crf: float = CRF) -> None:
    """Write uint8 [t, h, w, 3] sRGB frames as H.264.

    ``crf`` is x264's constant rate factor: 0 is lossless, 17 looks so, 51 is worst. The index comes first (fast
    start), so a browser can play while it loads. The same frames give the same bytes with the same FFmpeg.

    Raises InputError as ``check_video`` and for a crf outside 0 to 51, OSError as the file system does.
    """
    rate = check_video(frames, fps)
    if not 0 <= crf <= 51:
        raise InputError(f"crf {crf} is out of range; 0 (lossless) to 51 (worst) is possible")
    try:
        _encode(Path(path), frames, rate, crf)
    except FFmpegError as error:
        code = error.errno or 0  # FFmpeg's own codes are below zero
        raise OSError(code, os.strerror(code) if code > 0 else str(error.strerror)) from error


def _encode(path: Path, frames: NDArray[np.uint8], rate: Fraction, crf: float) -> None:
    _, height, width, _ = frames.shape
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = 1 / rate
        codec = stream.codec_context
        codec.thread_count = _THREADS
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = ColorRange.MPEG
        for index, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.LANCZOS,
            )
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def read_mp4(path: str | Path) -> tuple[NDArray[np.uint8], float]:
    """All frames, uint8 [t, h, w, 3], and frames a second. Raises InputError if it is not readable video."""
    try:
        frames = list(video.read_frames(path))
        fps = video.probe(path).fps
    except MediaError as error:
        raise InputError(f"video {str(path)!r}: {error}") from None
    if not frames:
        raise InputError(f"video {str(path)!r}: holds no frames; fetch it again")
    return np.stack(frames), fps
