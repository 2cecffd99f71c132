"""From what the decoder gives to frames fit for a screen: uint8, and large enough, without halos."""

import math

import numpy as np
from numpy.typing import NDArray

from sorajax.errors import InputError

_LOBES = 3
_REACH = _LOBES + 1  # of the weights; the blur looks a pixel further
_SHARPEN = 0.35
_LIMIT = 0.8


def to_uint8(x: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pixels in [-1, 1], any shape, to 0..255, rounded; values outside are clipped.

    Raises InputError if a value is not finite.
    """
    x = np.asarray(x, np.float32)
    if not np.isfinite(x).all():
        raise InputError("the model gave pixels that are not finite; its weights are damaged or its dtype is too small")
    return np.clip(np.rint((x + 1.0) * 127.5), 0, 255).astype(np.uint8)


def check_frames(frames: NDArray[np.uint8]) -> None:
    """Raise InputError unless ``frames`` is uint8 [t, h, w, 3] with at least one frame and one pixel."""
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        got = f"{getattr(frames, 'dtype', type(frames).__name__)} {getattr(frames, 'shape', '')}".strip()
        raise InputError(f"frames are {got}; uint8 [t, h, w, 3] is expected (media.post.to_uint8 converts)")
    if not frames.size:
        raise InputError(f"frames of shape {frames.shape} hold no pixels; give at least one frame")


def upscale(frames: NDArray[np.uint8], *, min_side: int = 256) -> NDArray[np.uint8]:
    """uint8 [t, h, w, 3] enlarged by the smallest whole factor that makes both sides ``min_side`` pixels or more.

    Lanczos with three lobes (Duchon, 1979), then an unsharp mask. Both overshoot at edges, which the eye sees as
    ringing; so the result is drawn towards the range of the four source pixels around each target pixel, and
    edges become steeper without halos. Frames that are large enough are returned as they are.
    """
    check_frames(frames)
    t, h, w, _ = frames.shape
    factor = math.ceil(min_side / min(h, w))
    if factor <= 1:
        return frames
    places = (np.arange(factor) + 0.5) / factor - 0.5  # of the target pixels, seen from their source pixel
    shifts = np.arange(1 - factor, factor) / factor
    tent = (1 - np.abs(shifts)) / factor
    sharp = _lanczos(places)
    soft = np.einsum("o,opk->pk", tent, [_lanczos(places + shift) for shift in shifts])
    out = np.empty((t, h * factor, w * factor, 3), np.uint8)
    for source, target in zip(frames, out, strict=True):
        planes = np.moveaxis(source, -1, 0).astype(np.float32)  # [3, h, w]
        large = (1 + _SHARPEN) * _both_sides(planes, sharp) - _SHARPEN * _both_sides(planes, soft)
        low, high = _local_range(planes, factor)
        large += _LIMIT * (np.clip(large, low, high) - large)
        target[...] = np.moveaxis(np.clip(np.rint(large), 0, 255).astype(np.uint8), 0, -1)
    return out


def _lanczos(places: NDArray[np.floating]) -> NDArray[np.float32]:
    """Weights [n, taps] of the source pixels around each of n places, which lie within 1.5 pixels of the middle one."""
    distance = places[:, None] - np.arange(-_REACH, _REACH + 1)
    weights = np.where(np.abs(distance) < _LOBES, np.sinc(distance) * np.sinc(distance / _LOBES), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _both_sides(planes: NDArray[np.float32], phases: NDArray[np.float32]) -> NDArray[np.float32]:
    """[3, h, w] -> [3, h f, w f] by weights [f, taps] along columns, then rows; edges repeat their last pixel.

    No matrix products: for arrays this small, threads of a linear algebra library wait for each other.
    """
    for axis in (1, 2):
        lines = np.moveaxis(planes, axis, -1)
        padded = np.pad(lines, ((0, 0), (0, 0), (_REACH, _REACH)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1, axis=-1)
        fine = np.einsum("chwk,pk->chwp", windows, phases)
        planes = np.moveaxis(fine.reshape(*lines.shape[:2], -1), -1, axis)
    return planes


def _local_range(planes: NDArray[np.float32], factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest of the four source pixels around each target pixel: [3, h, w] -> [3, h f, w f] each."""
    low = high = planes
    for axis in (2, 1):
        size = planes.shape[axis]
        twice = 2 * np.arange(size * factor) + 1 - factor  # 2 factor times the place between source pixels: exact
        a, b = (np.clip(n, 0, size - 1) for n in (twice // (2 * factor), -(-twice // (2 * factor))))
        low = np.minimum(low.take(a, axis), low.take(b, axis))
        high = np.maximum(high.take(a, axis), high.take(b, axis))
    return low, high
