"""A blind, keyed video watermark that carries 64 bits. Pure numpy.

    marked = watermark.embed(frames, payload=b"8 bytes!")     # uint8 [t, h, w, 3]
    found = watermark.detect(marked)                          # found.found, found.payload, found.p_value

How it works, what it withstands and what it proves: docs/watermark.md. From the ground up: ``coding`` (bits and code),
``lapped`` (the transform), ``layout`` (what the key decides), ``picture``, ``statistics``, ``budget`` (how strongly);
``embedding`` writes; ``reading`` reads where the geometry is known, ``geometry`` and ``search`` find it, ``detection``
puts them in order.

The default key is public, so that anyone can look a clip up; so anyone can also write a payload, or copy a watermark on
to another clip. Only a signature proves who made it.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from provenance.errors import InputError
from provenance.watermark import coding, detection, embedding
from provenance.watermark.detection import FALSE_ALARM, NOTHING, Detection
from provenance.watermark.embedding import MIN_SIZE

__all__ = [
    "ALGORITHM",
    "FALSE_ALARM",
    "MIN_SIZE",
    "NOTHING",
    "PAYLOAD_BYTES",
    "PUBLIC_KEY",
    "Detection",
    "Detector",
    "detect",
    "embed",
    "mark",
]

ALGORITHM = "io.sorajax.watermark.2"
"""Name of this watermark in a C2PA soft-binding assertion."""
PUBLIC_KEY = b"sorajax public watermark key, version 2"
PAYLOAD_BYTES = coding.PAYLOAD_BYTES


class Detector(detection.Detector):
    """Takes frames one at a time with ``add``; ``result`` says what was found. Memory: some small frames."""

    def __init__(self, key: bytes | None = None):
        super().__init__(_known(key))


def mark(
    frames: Iterable[NDArray[np.uint8]],
    payload: bytes,
    key: bytes | None = None,
    psnr: float | None = None,
    count: int | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """``embed`` for a stream: frames [h, w, 3] in, marked frames out, in order; ``count`` of them if that is known."""
    if not isinstance(payload, (bytes, bytearray)) or len(payload) != PAYLOAD_BYTES:
        what = len(payload) if isinstance(payload, (bytes, bytearray)) else type(payload).__name__
        raise InputError(f"a watermark payload is {PAYLOAD_BYTES} bytes, not {what}; shorten or pad it")
    return embedding.mark(frames, bytes(payload), _known(key), psnr, count)


def embed(
    frames: NDArray[np.uint8], payload: bytes, key: bytes | None = None, psnr: float | None = None
) -> NDArray[np.uint8]:
    """Mark a clip.

    Args:
        frames: uint8 [t, h, w, 3], RGB, at least 128 x 128 pixels.
        payload: 8 bytes.
        key: any bytes; None is the public key, so that anyone can read the payload.
        psnr: decibels, how faint the watermark is; None is 42.1 for 640 x 360 pixels and more, 40.1 for 256 x 256.

    Returns:
        uint8 [t, h, w, 3].

    Raises:
        InputError: frames of another type or shape, too small or too thin; a payload of another length.
    """
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        what = f"{frames.dtype} {list(frames.shape)}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise InputError(f"frames to watermark must be uint8 [t, h, w, 3], not {what}")
    if len(frames) == 0:
        raise InputError("frames to watermark must be at least one; there is none")
    embedding.check_size(*frames.shape[1:3])
    out = np.empty_like(frames)
    for i, marked in enumerate(mark(frames, payload, key, psnr, len(frames))):
        out[i] = marked
    return out


def detect(frames: NDArray[np.uint8], key: bytes | None = None, thorough: bool = True) -> Detection:
    """Look for a watermark in uint8 [t, h, w, 3]. Odd video never raises: it has no watermark that can be found.

    Args:
        frames: a clip, or one frame [1, h, w, 3].
        key: that of ``embed``.
        thorough: also search for clips that were mirrored, cropped, turned, stretched or changed in tone, which takes
            seconds where there is no watermark.
    """
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        return NOTHING
    return detection.look(np.asarray(frames), _known(key), thorough)


def _known(key: bytes | None) -> bytes:
    if key is not None and not isinstance(key, (bytes, bytearray, memoryview)):
        raise InputError(f"a watermark key must be bytes, not {type(key).__name__}; encode it")
    return PUBLIC_KEY if key is None else bytes(key)
