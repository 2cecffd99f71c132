"""How likely it is that what was read is chance."""

import math

MESSAGES = 64 * math.log(2.0)
"""Natural logarithm of how many payloads there are."""

_FIRST, _STEP = 5.0, 0.25
_DRAWN = (
    *(-0.0002, -0.0008, -0.0032, -0.0099, -0.0267, -0.0605, -0.1233, -0.2207, -0.3567, -0.5228),
    *(-0.7036, -0.8852, -1.0830, -1.3610, -1.8056, -2.4708, -3.4276, -4.6320, -6.0836),
)
"""ln P(fit > x) for x from ``_FIRST`` in steps, of 200,000 draws: ``tools/calibrate_watermark.py``."""
_CONTINUED = (-7.758, -9.651, -11.767, -14.042)
"""The same further on. ln P - ln Q(x), over how many payloads the bound counts too many, has risen by 1.78, 1.68, 1.52,
1.29, 1.10 and 0.92 in the last steps drawn; here by 0.76, 0.60, 0.44 and 0.28, until the bound is reached, long before
a fit that counts as found."""
_TABLE = _DRAWN + _CONTINUED


def log_tail(z: float) -> float:
    """ln Q(z), the tail of the normal distribution."""
    if z < 25.0:
        return math.log(0.5 * math.erfc(z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(z * math.sqrt(2.0 * math.pi))


def log_p(fit: float) -> float:
    """ln of the chance that, without a watermark, some payload fits as well in one try: as drawn, continued a little
    where draws are too rare to be counted, and then at most the number of payloads times the tail."""
    place = (fit - _FIRST) / _STEP
    if place <= 0.0:
        return 0.0
    if place >= len(_TABLE) - 1:
        return min(_TABLE[-1], MESSAGES + log_tail(fit))
    i = int(place)
    return _TABLE[i] + (place - i) * (_TABLE[i + 1] - _TABLE[i])


def p_value(best: float, tries: float, first: float = 1.0) -> float:
    """The chance that any of ``tries`` would do as well: 1 - (1 - p)^tries (Sidak). One may stop as soon as it is small
    enough; for that tries count 1 + ln(tries / first) times, ``first`` being those after which one could first stop.
    """
    tries *= 1.0 + math.log(max(1.0, tries / first))
    log_one = log_p(best)
    if log_one > -1e-12:
        return 1.0
    return float(-math.expm1(tries * math.log1p(-math.exp(log_one))))
