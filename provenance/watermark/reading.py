"""From pictures to soft code bits, where the geometry is known.

Both layers hide what they carry behind phases phi that a key drew. Without a watermark of that key those are random to
the picture, so with weights w and any complex numbers F that the picture gives,

    soft_j = sum over the places of code bit j of w Re(F exp(-i phi))      has variance  1/2 sum w^2 |F|^2,

and a codeword's correlation with all of them, over its standard deviation, is standard normal, whatever is shown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provenance.watermark import coding, lapped, layout

HIGH_WEIGHTS = (0.5, 0.0)
"""How much the fine modes count; compression takes them first."""
_INDEPENDENT = 1.7
"""As so many independent attempts count those with ``HIGH_WEIGHTS``, whose noise is partly the same; measured."""
_DOUBTED = 9.0
"""Fits below are chance."""
_ALIVE = 1 / 16
"""Share of a step; a coefficient much nearer to zero was probably wiped out by a codec, and tells nothing."""


@dataclass(frozen=True)
class Soft:
    """Soft code bits [b, 256] of several attempts, each over the standard deviation of a codeword's correlation, and
    as how many independent attempts they count."""

    bits: NDArray[np.float32]
    tries: float

    @staticmethod
    def join(several: "list[Soft]") -> "Soft":
        return Soft(np.concatenate([soft.bits for soft in several]), sum(soft.tries for soft in several))


def lattice_sums(
    picture: NDArray[np.float32], grid: lapped.Grid, gains: tuple[float, ...] = (1.0,)
) -> NDArray[np.complex64]:
    """F of the lattice layer: exp(2 pi i c / step) of all coefficients, summed where the layout is the same, for each
    factor by which contrast may have changed, [gains, PERIOD, PERIOD, modes]."""
    period = layout.PERIOD
    out = np.zeros((len(gains), period, period, len(layout.STEPS)), np.complex64)
    if not grid.y.count or not grid.x.count:
        return out
    c = lapped.analyse(picture, grid) / layout.STEPS
    for i, gain in enumerate(gains):
        x = c / np.float32(gain)
        phasor = np.exp(np.complex64(2j * np.pi) * x)
        square = x * x
        phasor *= square / (square + np.float32(_ALIVE**2))
        for y in range(min(period, grid.y.count)):
            for z in range(min(period, grid.x.count)):
                out[i, (grid.y.first + y) % period, (grid.x.first + z) % period] = phasor[y::period, z::period].sum(
                    (0, 1)
                )
    return out


def lattice_soft(sums: NDArray[np.complex64], key: bytes) -> Soft:
    """Sums [b, PERIOD, PERIOD, modes] -> one attempt for each of ``HIGH_WEIGHTS``, [b * weights, 256]."""
    plan = layout.lattice(key)
    real = (sums * np.exp(np.complex64(-2j * np.pi) * plan.turn)).real
    power = 0.5 * (sums.real**2 + sums.imag**2)
    low = lapped.RADIUS < layout.LOW
    rows = []
    for r, p in zip(real, power, strict=True):
        for high in HIGH_WEIGHTS:
            weight = np.where(low, 1.0, high)
            soft = np.bincount(plan.bit.ravel(), (r * weight).ravel(), minlength=coding.CODE_BITS)
            rows.append(soft / np.sqrt(np.sum(p * weight**2) + 1e-20))
    return Soft(np.array(rows, np.float32).reshape(-1, coding.CODE_BITS), _INDEPENDENT * len(sums))


def spread_soft(waves: NDArray[np.complex64], key: bytes) -> Soft:
    """F of the spread layer's data waves, aligned, [b, waves] -> [b, 256]."""
    plan = layout.spread(key)
    real = (waves * plan.phase[plan.sync :].conj()).real
    deviation = np.sqrt(0.5 * np.sum(waves.real**2 + waves.imag**2, axis=1) + 1e-20)
    rows = [np.bincount(plan.bit, r, minlength=coding.CODE_BITS) / d for r, d in zip(real, deviation, strict=True)]
    return Soft(np.array(rows, np.float32).reshape(-1, coding.CODE_BITS), float(len(waves)))


def fits(soft: Soft, batch: int = 96) -> NDArray[np.float32]:
    """How well the best codeword of each attempt fits, [b]."""
    parts = [coding.decode(soft.bits[i : i + batch])[1] for i in range(0, len(soft.bits), batch)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class Word:
    """A codeword that was read: its payload, its correlation over the standard deviation, and ``coding.doubt``."""

    payload: bytes
    fit: float
    doubt: float


def decode(soft: Soft, batch: int = 96) -> Word:
    """The word that fits any of the attempts best.

    Where a picture is flat, a negative of it leans to the opposite of every code bit, and a word that has most of those
    fits well too, with a wrong payload. So the opposite of the best attempt is asked as well; the better one counts.
    """
    best, payload, row = 0.0, bytes(coding.PAYLOAD_BYTES), 0
    for start in range(0, len(soft.bits), batch):
        payloads, fits = coding.decode(soft.bits[start : start + batch])
        at = int(fits.argmax())
        if fits[at] > best:
            best, payload, row = float(fits[at]), payloads[at], start + at
    if best < _DOUBTED:
        return Word(payload, best, 1.0)
    bits = soft.bits[row]
    opposite, fits = coding.decode(-bits[None])
    if fits[0] > best:
        best, payload, bits = float(fits[0]), opposite[0], -bits
    return Word(payload, best, coding.doubt(payload, bits))
