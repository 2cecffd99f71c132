"""Luma, and how lively it is around each pixel: what both the embedder and the detector look at."""

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_FLOOR = 1.0
"""Grey levels; what is flatter than this counts as if it had as much noise."""
_LIVELY = 6.0
"""Grey levels of rms detail at which a place has a cover of 1."""
_COVER = (0.55, 1.6)
_BRIGHT, _LEAST = 20.0, 0.38
"""Grey levels from which on a place gets all of the watermark, and the share that black gets."""


def shrink(height: int, width: int) -> int:
    """By which whole factor a frame is made smaller before anything else: to 640 x 360 or not much more."""
    return max(1, int(np.sqrt(height * width / (640 * 360)) + 0.15))


def luma(frame: NDArray[np.uint8], factor: int = 1) -> NDArray[np.float32]:
    """BT.601 luma [h, w] of an RGB frame [h, w, 3]; of whole squares of ``factor`` pixels if asked."""
    if factor == 1:
        return (frame @ _LUMA).astype(np.float32, copy=False)
    height, width = frame.shape[0] // factor, frame.shape[1] // factor
    frame = frame[: height * factor, : width * factor]
    total = np.zeros((height, width, 3), np.uint16 if factor <= 16 else np.uint32)
    for y in range(factor):
        for x in range(factor):
            total += frame[y::factor, x::factor]
    return (total @ (_LUMA / np.float32(factor**2))).astype(np.float32, copy=False)


def box(x: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Mean over (2 radius + 1)^2 neighbours, edges repeated. x [h, w]."""
    size = 2 * radius + 1
    padded = np.pad(x, radius, mode="edge")
    height, width = x.shape
    rows = padded[:height].copy()
    for i in range(1, size):
        rows += padded[i : i + height]
    out = rows[:, :width].copy()
    for i in range(1, size):
        out += rows[:, i : i + width]
    out *= np.float32(1.0 / size**2)
    return out


def detail(picture: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Luma minus its neighbourhood, and the rms of that around each pixel."""
    rest = picture - box(picture, 4)
    return rest, np.sqrt(box(np.square(rest, dtype=np.float32), 4) + np.float32(_FLOOR**2), dtype=np.float32)


def cover(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of a slowly varying change a place hides, 1 for a moderately lively one: less where it is flat, for the
    eye sees it there, and near black, where half of it would be cut off besides."""
    rest, rms = detail(picture)
    lively = np.clip(np.sqrt(box(rms, 6) / np.float32(_LIVELY)), *_COVER)
    return lively * np.clip((picture - rest) / np.float32(_BRIGHT), _LEAST, 1.0)


def residual(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Detail over its rms, outliers cut off: every part of the picture weighs the same."""
    rest, rms = detail(picture)
    return np.clip(rest / rms, -3.0, 3.0)
