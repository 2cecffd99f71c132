"""How strongly each picture is marked: more where a scene begins, for which the pictures after it pay.

Codecs code the first picture of a scene by itself and make the others of it, so under strong compression that is where
the watermark lives or dies. There the eye also sees least, for some tenth of a second after a cut (Seyler and Budrikis,
"Detail perception after scene changes in television image presentations", IEEE Trans. Inf. Theory 11, 1965).
"""

import math

import numpy as np
from numpy.typing import NDArray

_OPENING = 1.5
"""What the first picture of a scene gets besides, times the energy of an ordinary one."""
_PAID = 0.1
"""What each of the pictures after it gives for that."""
_CUT, _STRIDE = 24.0, 8
"""Grey levels by which pictures differ in the mean at a cut; every so many-th pixel is looked at."""


class Budget:
    """Energy for one picture after another, 1 in the mean over any clip whose length is known."""

    def __init__(self, frames: int | None = None):
        """``frames`` in all, if known: towards the end few are left to pay."""
        self._left = math.inf if frames is None else frames
        self._debt = 0.0
        self._last: NDArray[np.float32] | None = None

    def share(self, luma: NDArray[np.float32], room: float = 1.0) -> float:
        """Of the next picture, given its luma [h, w]; ``room`` from 0 to 1 is how far it may differ from others."""
        look = luma[::_STRIDE, ::_STRIDE]
        last, self._last = self._last, look
        self._left -= 1
        opens = last is None or last.shape != look.shape or float(np.mean(np.abs(look - last))) > _CUT
        more = min(room * _OPENING, _PAID * self._left - self._debt)
        if opens and more > 0 and self._debt < _PAID:
            self._debt += more
            return 1.0 + more
        paid = min(_PAID, self._debt)
        self._debt -= paid
        return 1.0 - paid
