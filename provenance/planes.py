"""A change made to pictures as RGB, added to them as they are stored.

Turning a picture into RGB and back would cost it precision it may have beyond 8 bits, and rounding everywhere. So only
the difference d = changed - view, both 8-bit RGB, is turned into luma and chroma, and is added to the stored planes:

    Y' = Y + s (kr dR + kg dG + kb dB),    Cb' = Cb + s' (dB - dY) / (2 (1 - kb)),    Cr' alike

with the stream's own matrix (kr, kg, kb: ITU-T H.273, table 4), range and bit depth in s and s', and chroma averaged
where it is stored at fewer places. Where d is 0, nothing changes. swscale does the sums: the matrix is linear, so it is
given d + 85 as a picture and its answer for 85 is taken off (85 because 219 / 255 of it is a whole number).
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame

_ZERO = 85
_MPEG, _JPEG = 1, 2  # AVColorRange: limited and full
# Threads of swscale write over the ends of each other's lines at some widths; PyAV 16 does not have the choice.
_ALONE: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
RGB_BECOMES = 1
"""The matrix that RGB pictures are stored with, as limited range: BT.709's number in ITU-T H.273."""
FORMATS = frozenset(
    [name + depth for name in ("gray", "yuv420p", "yuv422p", "yuv444p") for depth in ("", "10le", "12le")]
    + ["yuvj420p", "yuvj422p", "yuvj444p"]
)
"""Formats that ``Planes`` can write: planar, little-endian, 8, 10 or 12 bits."""


def has_alpha(stored: "VideoFormat") -> bool:
    """Whether pictures have transparency."""
    return not stored.has_palette and any(component.is_alpha for component in stored.components)


def bits(stored: "VideoFormat") -> int:
    """Bits a sample, rounded up to 8, 10 or 12; more than 12 count as 12."""
    most = 8 if stored.has_palette else max(component.bits for component in stored.components)
    return 8 if most <= 8 else 10 if most <= 10 else 12


def nearest(stored: "VideoFormat") -> str:
    """The format of ``FORMATS`` that holds the pictures best: the same samples in another order where there is one;
    RGB becomes 4:4:4, unusual chroma the next finer."""
    if stored.name in FORMATS:
        return stored.name
    depth = {8: "", 10: "10le", 12: "12le"}[bits(stored)]
    if stored.has_palette or stored.is_rgb:
        return f"yuv444p{depth}"
    if len(stored.components) == 1:
        return f"gray{depth}"
    across, down = 16 // max(1, stored.chroma_width(16)), 16 // max(1, stored.chroma_height(16))
    if down >= 2:
        return f"yuv{'444' if across == 1 else '420'}p{depth}"
    return f"yuv{'444' if across == 1 else '422'}p{depth}"


def is_full(frame: "VideoFrame") -> bool:
    """Whether black is 0 and not 16 (of 255)."""
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == _JPEG


class Planes:
    """Writes changes into pictures stored as ``name``, one of ``FORMATS``."""

    def __init__(self, name: str):
        self.name = name
        self._deep = name.endswith("le")
        self._bits = int(name[-4:-2]) if self._deep else 8

    def view(self, frame: "VideoFrame") -> NDArray[np.uint8]:
        """The picture as uint8 [h, w, 3], RGB: what a player without colour management would show."""
        return np.asarray(frame.to_ndarray(format="rgb24", **_ALONE), np.uint8)

    def add(self, frame: "VideoFrame", view: NDArray[np.uint8], changed: NDArray[np.uint8]) -> "VideoFrame":
        """The picture with ``changed - view`` in it, at its own depth. It keeps its time and side data.

        Args:
            frame: a decoded picture; it may itself be changed.
            view: ``view(frame)``, uint8 [h, w, 3].
            changed: uint8 [h, w, 3], no more than 85 levels from ``view``.
        """
        rgb = frame.format.is_rgb or frame.format.has_palette
        colours, full = (RGB_BECOMES, False) if rgb else (int(frame.colorspace), is_full(frame))
        frame = self._as_stored(frame, full)
        # swscale rounds full-range chroma down, so that range is done at 10 bits at least, and rounded here.
        spare = 2 if full and not self._deep else 0
        name = self.name.replace("yuvj", "yuv") + ("10le" if spare else "")
        # Unsigned bytes wrap around, so this is changed - view + 85 at a third of the cost of going through int16.
        turned = _turned((changed - view) + np.uint8(_ZERO), name, colours, full)
        top, deep = (1 << self._bits) - 1, self._deep or spare > 0
        for plane, change, zero in zip(frame.planes, turned.planes, _zeros(name, colours, full), strict=True):
            delta = _samples(change, deep).astype(np.int16)
            delta -= zero
            if spare:
                delta += 1 << (spare - 1)
                delta >>= spare
            stored = _samples(plane, self._deep)
            delta += stored  # at most 12 bits, so int16 does not overflow
            np.copyto(stored, np.clip(delta, 0, top, out=delta), casting="unsafe")
        return frame

    def put(self, frame: "VideoFrame", top: int, left: int, rgb: NDArray[np.uint8]) -> "VideoFrame":
        """The picture with a part of it replaced. It keeps its time and side data.

        Args:
            frame: a decoded picture; it may itself be changed.
            top, left: where the part begins; even numbers.
            rgb: uint8 [h, w, 3], of even height and width unless it reaches to the end of the picture;
                nothing is replaced by an empty one.
        """
        from_rgb = frame.format.is_rgb or frame.format.has_palette
        colours, full = (RGB_BECOMES, False) if from_rgb else (int(frame.colorspace), is_full(frame))
        frame = self._as_stored(frame, full)
        if not rgb.size:
            return frame
        part = _turned(np.ascontiguousarray(rgb), self.name, colours, full)
        for plane, new in zip(frame.planes, part.planes, strict=True):
            down, across = (round(frame.height / plane.height), round(frame.width / plane.width))
            samples = _samples(new, self._deep)
            y, x = top // down, left // across
            _samples(plane, self._deep)[y : y + samples.shape[0], x : x + samples.shape[1]] = samples
        return frame

    def _as_stored(self, frame: "VideoFrame", full: bool) -> "VideoFrame":
        if frame.format.name == self.name:
            frame.make_writable()  # a decoder still predicts from its pictures
            return frame
        if frame.format.is_rgb or frame.format.has_palette:
            return frame.reformat(format=self.name, dst_colorspace=RGB_BECOMES, dst_color_range=_MPEG, **_ALONE)
        how = _JPEG if full else _MPEG
        return frame.reformat(format=self.name, src_color_range=how, dst_color_range=how, **_ALONE)


def _turned(rgb: NDArray[np.uint8], name: str, colours: int, full: bool) -> "VideoFrame":
    """uint8 [h, w, 3] as a picture of another format."""
    # PyAV's names of matrices are AVColorSpace's, but few; BT.601 where nothing is said, as for the view.
    matrix = {1: 1, 4: 4, 7: 7, 9: 9, 10: 9}.get(colours, 5)
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    how = _JPEG if full else _MPEG
    return picture.reformat(format=name, src_color_range=_JPEG, dst_colorspace=matrix, dst_color_range=how, **_ALONE)


@lru_cache(maxsize=64)
def _zeros(name: str, colours: int, full: bool) -> tuple[int, ...]:
    """What no difference is turned into, a sample for each plane."""
    nothing = _turned(np.full((64, 64, 3), _ZERO, np.uint8), name, colours, full)
    return tuple(int(_samples(plane, name.endswith("le"))[0, 0]) for plane in nothing.planes)


def _samples(plane, deep: bool) -> NDArray:
    """A plane's samples [h, w] without the padding of its lines; writing to them writes to it."""
    whole = np.frombuffer(plane, np.uint16 if deep else np.uint8)
    return whole.reshape(plane.height, -1)[:, : plane.width]
