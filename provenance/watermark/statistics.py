"""How likely it is that what was read is chance."""

import math

MESSAGES = 64 * math.log(2.0)
"""Natural logarithm of how many payloads there are."""


def log_tail(z: float) -> float:
    """ln Q(z), the tail of the normal distribution."""
    if z < 25.0:
        return math.log(0.5 * math.erfc(z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(z * math.sqrt(2.0 * math.pi))


def log_p(fit: float) -> float:
    """ln of the chance that, without a watermark, some payload fits as well in one try."""
    return min(0.0, MESSAGES + log_tail(fit)) if fit > 0.0 else 0.0


def p_value(best: float, tries: int) -> float:
    """The chance that any of ``tries`` would do as well: 1 - (1 - p)^tries (Sidak)."""
    log_one = log_p(best)
    if log_one > -1e-12:
        return 1.0
    return float(-math.expm1(tries * math.log1p(-math.exp(log_one))))
