"""A blind, keyed video watermark that carries 64 bits. Pure numpy.

**Pattern.** One tile of T x T pixels (T = 128) is drawn in the frequency domain and repeated over the frame, the same
in every frame. Of the frequencies k with radius between ``BAND`` (cycles a pixel) a keyed third is for synchronisation,
the others for data; all have a keyed random phase phi_k:

    X_k = exp(i phi_k)                 synchronisation
    X_k = exp(i phi_k) (1 - 2 c_j(k))  data, c the code bits of ``coding``, j(k) keyed
    p(x) = sum_k X_k exp(2 pi i k.x / T),  scaled to an rms of 1

    marked(x) = frame(x) + g m(x) p(x),    m = local activity (Weber masking), g for an rms error of ``RMS``

added to R, G and B alike, so it lies in luma: spread spectrum (Cox et al., 1997) with a perceptual mask.

**Detection.** Luma minus its neighbourhood, divided by the local activity, is averaged over frames to r(x). With

    Z_k(s) = sum_x r(x) exp(-2 pi i k.x / (T s)),   whitened: Z_k / sqrt(mean of |Z|^2 around k)

a frame resized by s is read without being resampled, and mirrored or turned frames are Z with its axes flipped or
swapped. For a shift d the statistic is

    t(d) = sqrt(2) Re sum_sync Z_k exp(-i phi_k) exp(2 pi i k.d / T) / sqrt(sum_sync |Z_k|^2)

for all d at once by one inverse FFT. In a video that was not marked with this key the phases phi_k are random to Z, so
t is a normalised sum of independent terms: standard normal, whatever the video shows. With K alignments to try,

    p_value = 1 - (1 - Q(t_max))^K,  Q the normal tail (Sidak's correction for K tries).

``found`` needs p_value < 1e-9 and the payload's CRC-24.

**What it proves.** That the pixels carry this payload. The default key is public, so that anyone can look a clip up;
so anyone can also write a payload, or copy a watermark on to another clip. Only a signature proves who made it.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from provenance import coding
from provenance.errors import InputError

ALGORITHM = "io.sorajax.watermark.1"
"""Name of this watermark in a C2PA soft-binding assertion."""
PUBLIC_KEY = b"sorajax public watermark key, version 1"
PAYLOAD_BYTES = coding.PAYLOAD_BYTES
FALSE_ALARM = 1e-9
MIN_SIZE = 128
"""Frames need at least one whole tile, in pixels a side."""

TILE = 128
BAND = (0.045, 0.21)
RMS = 2.0
"""Error in grey levels: 20 log10(255 / 2.0) = 42.1 dB, 42.0 once rounded to bytes."""

_RADIUS = math.ceil(BAND[1] * TILE)
_SHIFTS = TILE * TILE
_SCALES = tuple(float(s) for s in np.exp(np.arange(-np.log(2), np.log(2), 0.007)))
_SEARCH_SIDE = 384
_FINE = tuple(float(s) for s in np.exp(np.linspace(-0.0035, 0.0035, 5)))
# The fine search is not counted: its neighbours are no independent chances (measured: p-values stay uniform).
_ALIGNMENTS = _SHIFTS * (8 + 2 * len(_SCALES))


@dataclass(frozen=True)
class Detection:
    """What ``detect`` saw. ``payload`` is given only when ``found``."""

    found: bool
    payload: bytes | None
    p_value: float


NOTHING = Detection(found=False, payload=None, p_value=1.0)


@dataclass(frozen=True)
class _Pattern:
    """The keyed layout: rows and columns of each frequency in the half plane kx > 0 or (kx = 0, ky > 0)."""

    ky: NDArray[np.int64]
    kx: NDArray[np.int64]
    phase: NDArray[np.complex64]
    sync: NDArray[np.bool_]
    bit: NDArray[np.int64]
    """Code bit of each data frequency, in the order of ``~sync``."""


@lru_cache(maxsize=8)
def _pattern(key: bytes) -> _Pattern:
    ky, kx = np.meshgrid(np.arange(-_RADIUS, _RADIUS + 1), np.arange(_RADIUS + 1), indexing="ij")
    radius = np.hypot(ky, kx) / TILE
    keep = (radius >= BAND[0]) & (radius <= BAND[1]) & ((kx > 0) | (ky > 0))
    ky, kx, radius = ky[keep], kx[keep], radius[keep]
    n = len(ky)
    # SHAKE-256 rather than a numpy generator: the stream must never change between versions.
    words = np.frombuffer(hashlib.shake_256(b"sorajax watermark 1\0" + key).digest(12 * n), "<u4").reshape(3, n)
    phase = np.exp(2j * np.pi * words[0] / 2.0**32).astype(np.complex64)
    order = np.argsort(words[1], kind="stable")
    sync = np.zeros(n, bool)
    sync[order[: n // 3]] = True
    data = np.argsort(words[2][~sync], kind="stable")
    bit = np.empty(len(data), np.int64)
    bit[data] = np.arange(len(data)) % coding.CODE_BITS
    return _Pattern(ky, kx, phase, sync, bit)


def _tile(payload: bytes, key: bytes) -> NDArray[np.float32]:
    """The pattern, rms 1, [T, T]."""
    pattern = _pattern(key)
    sign = np.ones(len(pattern.ky))
    sign[~pattern.sync] = 1.0 - 2.0 * coding.encode(payload)[pattern.bit]
    spectrum = np.zeros((TILE, TILE), np.complex128)
    spectrum[pattern.ky % TILE, pattern.kx] = pattern.phase * sign
    tile = np.fft.ifft2(spectrum).real
    return (tile / np.sqrt(np.mean(tile**2))).astype(np.float32)


def _box(x: NDArray[np.floating], radius: int) -> NDArray[np.float32]:
    """Mean over (2 radius + 1)^2 neighbours, edges repeated. x [h, w]."""
    size = 2 * radius + 1
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(x, pad, mode="edge"), axis=axis, dtype=np.float64)
        n = x.shape[axis]
        x = ((total.take(range(size, size + n), axis) - total.take(range(n), axis)) / size).astype(np.float32)
    return x.astype(np.float32, copy=False)


def _luma(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """BT.601 luma, [h, w, 3] -> [h, w]."""
    return frame @ np.array([0.299, 0.587, 0.114], np.float32)


def _detail(luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Luma minus its neighbourhood, and the rms of that around each pixel."""
    detail = luma - _box(luma, 4)
    return detail, np.sqrt(np.maximum(_box(detail * detail, 6), 0.0))


def mark(frames: Iterable[NDArray[np.uint8]], payload: bytes, key: bytes | None = None) -> Iterator[NDArray[np.uint8]]:
    """``embed`` for a stream: frames [h, w, 3] in, marked frames out, one at a time."""
    if len(payload) != PAYLOAD_BYTES:
        raise InputError(f"a watermark payload is {PAYLOAD_BYTES} bytes, not {len(payload)}; shorten or pad it")
    tile = _tile(bytes(payload), PUBLIC_KEY if key is None else key)
    pattern: NDArray[np.float32] | None = None
    for frame in frames:
        height, width = frame.shape[:2]
        if pattern is None or pattern.shape != (height, width):
            pattern = np.tile(tile, (-(-height // TILE), -(-width // TILE)))[:height, :width]
        _, activity = _detail(_luma(frame))
        delta = pattern * np.clip(1.0 + 0.08 * activity, 1.0, 3.0)
        delta *= RMS / np.sqrt(np.mean(delta**2))
        yield np.clip(np.rint(frame + delta[..., None]), 0, 255).astype(np.uint8)


def embed(frames: NDArray[np.uint8], payload: bytes, key: bytes | None = None) -> NDArray[np.uint8]:
    """Mark a clip.

    Args:
        frames: uint8 [t, h, w, 3], RGB, at least 128 x 128 pixels.
        payload: 8 bytes.
        key: any bytes; None is the public key, so that anyone can read the payload.

    Returns:
        uint8 [t, h, w, 3]; PSNR against ``frames`` is at least 40 dB, about 42 where nothing clips.

    Raises:
        InputError: frames of another type or shape, or too small; a payload of another length.
    """
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        what = f"{frames.dtype} {list(frames.shape)}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise InputError(f"frames to watermark must be uint8 [t, h, w, 3], not {what}")
    if len(frames) == 0 or min(frames.shape[1:3]) < MIN_SIZE:
        raise InputError(
            f"frames to watermark must be at least one of {MIN_SIZE}x{MIN_SIZE} pixels, not "
            f"{len(frames)} of {frames.shape[2]}x{frames.shape[1]}; enlarge them first"
        )
    out = np.empty_like(frames)
    for i, marked in enumerate(mark(frames, payload, key)):
        out[i] = marked
    return out


class Detector:
    """Pools frames one at a time (memory: one frame), then looks for the watermark."""

    def __init__(self, key: bytes | None = None):
        self._key = PUBLIC_KEY if key is None else key
        self._sum: NDArray[np.float64] | None = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Pool one RGB frame, uint8 [h, w, 3]; a frame of another size than the first is left out."""
        if self._sum is not None and self._sum.shape != frame.shape[:2]:
            return
        detail, activity = _detail(_luma(frame))
        residual = np.clip(detail / (activity + 1.0), -2.5, 2.5)
        self._sum = residual.astype(np.float64) if self._sum is None else self._sum + residual

    def result(self) -> Detection:
        """Search the alignments: as it was, mirrored and turned; then resized, mirrored or not."""
        if self._sum is None or min(self._sum.shape) < 32 or not self._sum.any():
            return NOTHING
        image = self._sum.astype(np.float32)
        pattern = _pattern(self._key)
        best = _try_planes(_symmetries(_plane(image, 1.0)), pattern)
        if best.found:
            return best
        height, width = (min(side, _SEARCH_SIDE) for side in image.shape)
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        centre = image[top : top + height, left : left + width]
        ranked = []
        for scale in _SCALES:
            plane = _plane(centre, scale)
            for flipped in (False, True):
                t, _ = _peak(plane[::-1] if flipped else plane, pattern)
                ranked.append((t, scale, flipped))
        ranked.sort(reverse=True)
        for _, scale, flipped in ranked[:3]:
            for fine in _FINE:
                plane = _plane(image, scale * fine)
                found = _try_planes([plane[::-1] if flipped else plane], pattern)
                if found.found or found.p_value < best.p_value:
                    best = found
                if best.found:
                    return best
        return best


def detect(frames: NDArray[np.uint8], key: bytes | None = None) -> Detection:
    """Look for a watermark in uint8 [t, h, w, 3]. Never raises: odd video simply has no watermark that can be found."""
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        return NOTHING
    detector = Detector(key)
    for frame in frames:
        if frame.size:
            detector.add(frame)
    return detector.result()


def _plane(image: NDArray[np.float32], scale: float) -> NDArray[np.complex64]:
    """Whitened Z_k(s) for ky, kx in -R..R, [2R+1, 2R+1]."""
    k = np.arange(-_RADIUS, _RADIUS + 1)
    height, width = image.shape
    # Pixel centres: a resized picture keeps (x + 1/2) / s.
    turn = 2.0 * np.pi / (TILE * scale)
    ey = np.exp(-1j * turn * np.outer(k, np.arange(height) + 0.5)).astype(np.complex64)
    angle = turn * np.outer(np.arange(width) + 0.5, k[_RADIUS:])
    half = ey @ (image @ np.cos(angle).astype(np.float32) - 1j * (image @ np.sin(angle).astype(np.float32)))
    plane = np.concatenate([np.conj(half[::-1, :0:-1]), half], axis=1)
    power = _box(np.abs(plane) ** 2, 3)
    plane = plane / np.sqrt(power + 1e-6 * power.max() + 1e-30)
    return (plane / np.maximum(1.0, np.abs(plane) / 1.8)).astype(np.complex64)


def _symmetries(plane: NDArray[np.complex64]) -> list[NDArray[np.complex64]]:
    """The eight ways to mirror and turn a frame; conj is a turn by 180 degrees since frames are real."""
    upright = [plane, plane[::-1], plane.conj(), plane[::-1].conj()]
    return upright + [p.T for p in upright]


def _peak(plane: NDArray[np.complex64], pattern: _Pattern) -> tuple[float, tuple[int, int]]:
    """Largest t(d) over all whole-pixel shifts, and where."""
    ky, kx = pattern.ky[pattern.sync], pattern.kx[pattern.sync]
    z = plane[ky + _RADIUS, kx + _RADIUS]
    energy = float(np.sum(z.real**2 + z.imag**2))
    if energy <= 0.0:
        return 0.0, (0, 0)
    spectrum = np.zeros((TILE, TILE // 2 + 1), np.complex64)
    spectrum[ky % TILE, kx] = z * pattern.phase[pattern.sync].conj()
    # irfft2 counts kx > 0 twice and divides by T^2.
    spectrum[:, 0] *= 2.0
    spectrum[:, 0] = 0.5 * (spectrum[:, 0] + np.roll(spectrum[::-1, 0], 1).conj())
    field = np.fft.irfft2(spectrum, s=(TILE, TILE))
    at = int(field.argmax())
    return float(field.flat[at]) * _SHIFTS / 2.0 * math.sqrt(2.0 / energy), (at // TILE, at % TILE)


def _try_planes(planes: list[NDArray[np.complex64]], pattern: _Pattern) -> Detection:
    """Synchronise on the best plane and decode it."""
    peaks = [_peak(plane, pattern) for plane in planes]
    best = max(range(len(planes)), key=lambda i: peaks[i][0])
    t, (dy, dx) = peaks[best]
    p_value = -math.expm1(-_ALIGNMENTS * 0.5 * math.erfc(t / math.sqrt(2.0)))
    if p_value >= FALSE_ALARM:
        return Detection(found=False, payload=None, p_value=p_value)
    rotated = planes[best][pattern.ky + _RADIUS, pattern.kx + _RADIUS] * pattern.phase.conj()
    # The true shift lies between pixels after a resize: take the best of a grid of quarter pixels.
    offsets = np.arange(-0.75, 0.76, 0.25)
    fy, fx = (a.ravel() for a in np.meshgrid(dy + offsets, dx + offsets, indexing="ij"))
    turn = np.exp(2j * np.pi / TILE * (np.outer(fy, pattern.ky) + np.outer(fx, pattern.kx)))
    aligned = (rotated * turn).real
    at = int(aligned[:, pattern.sync].sum(axis=1).argmax())
    soft = np.bincount(pattern.bit, weights=aligned[at][~pattern.sync], minlength=coding.CODE_BITS)
    payload = coding.decode(soft)
    return Detection(found=payload is not None, payload=payload, p_value=p_value)
