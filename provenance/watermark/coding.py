"""64 payload bits <-> 256 code bits: a tail-biting convolutional code, read back by soft decisions.

Rate 1/4, constraint length 11, generators 2327, 2353, 2671, 3175 octal, free distance 29 (Larsen 1973; Proakis,
"Digital Communications", table 8.2). There is no checksum: how well the best codeword fits is itself the test, see
``statistics``, and 24 bits of CRC would cost 1.4 dB. The decoder is the Viterbi algorithm, walked around the circle
until the state that it began with no longer matters; many soft vectors are decoded at once.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PAYLOAD_BYTES = 8
CODE_BITS = 256

_GENERATORS = (0o2327, 0o2353, 0o2671, 0o3175)
_MEMORY = 10
_STATES = 1 << _MEMORY
_INFO_BITS = 8 * PAYLOAD_BYTES
_NEAR_SPAN, _NEAR_WEIGHT = 13, 40
"""Of the words near by, those whose payloads differ within so many bits and which differ in so many code bits."""
_WARM_UP = 48
"""Steps before and after the round that is read: several constraint lengths."""


def _outputs() -> NDArray[np.int8]:
    """Code bits of each 11-bit register (10 bits of the past, the newest in the lowest place), [2048, 4]."""
    register = np.arange(2 * _STATES)
    bits = np.zeros((2 * _STATES, len(_GENERATORS)), np.int8)
    for i in range(_MEMORY + 1):
        for j, generator in enumerate(_GENERATORS):
            # The leftmost digit of an octal generator is the tap on the newest bit.
            if generator >> (_MEMORY - i) & 1:
                bits[:, j] ^= (register >> i & 1).astype(np.int8)
    return bits


_OUT = _outputs()
_SIGNS = (1.0 - 2.0 * _OUT.T).astype(np.float32)


def encode(payload: bytes) -> NDArray[np.int8]:
    """Code bits, each 0 or 1, [256]."""
    return _encode_bits(np.unpackbits(np.frombuffer(payload, np.uint8))[None])[0]


def _encode_bits(info: NDArray[np.uint8]) -> NDArray[np.int8]:
    """[b, 64] -> [b, 256]. Tail biting: the state before the first bit is the one that the last bits leave."""
    taps = [np.roll(info, i, axis=1).astype(np.int64) << i for i in range(_MEMORY + 1)]
    return _OUT[np.sum(taps, axis=0)].reshape(len(info), CODE_BITS)


@lru_cache(maxsize=1)
def _near_words() -> NDArray[np.float32]:
    """The words of little weight, by which those near any word differ from it, 0 or 1, [words, 256]."""
    starts = np.arange(1, 1 << _NEAR_SPAN, 2, dtype=np.uint64)
    info = np.unpackbits(starts.byteswap().view(np.uint8).reshape(-1, 8), axis=1)
    words = _encode_bits(info)
    words = words[words.sum(axis=1) <= _NEAR_WEIGHT]
    turned = [np.roll(words, len(_GENERATORS) * i, axis=1) for i in range(_INFO_BITS)]
    return np.concatenate(turned).astype(np.float32)


def doubt(payload: bytes, soft: NDArray[np.floating]) -> float:
    """How likely another word near by is the right one, next to this one: the sum of their likelihood ratios.

    ``soft`` [256] is one over the standard deviation of a word's correlation, so that a word's log likelihood is that
    correlation times its mean, which is about the fit itself.
    """
    agreement = ((1.0 - 2.0 * encode(payload)) * soft).astype(np.float32)
    behind = 2.0 * (_near_words() @ agreement)
    return float(np.sum(np.exp(np.minimum(-float(agreement.sum()) * behind, 50.0))))


def decode(soft: NDArray[np.floating]) -> tuple[list[bytes], NDArray[np.float32]]:
    """The codewords that fit best.

    Args:
        soft: [b, 256]; positive leans to 0, negative to 1.

    Returns:
        Payloads, and each codeword's correlation sum_j (1 - 2 c_j) soft_j, [b].
    """
    soft = np.asarray(soft, np.float32)
    symbols = soft.reshape(len(soft), _INFO_BITS, -1)
    steps = _INFO_BITS + 2 * _WARM_UP
    metric = np.zeros((len(soft), _STATES), np.float32)
    choice = np.empty((steps, len(soft), _STATES), bool)
    reached = np.empty((len(soft), 2 * _STATES), np.float32)
    pairs = reached.reshape(len(soft), _STATES, 2)
    low, high = reached[:, :_STATES], reached[:, _STATES:]
    # Register r = previous state * 2 + bit; the next state drops the top bit of r, so r and r + 1024 meet.
    for step in range(steps):
        np.matmul(symbols[:, (step - _WARM_UP) % _INFO_BITS], _SIGNS, out=reached)
        pairs += metric[..., None]
        np.greater(high, low, out=choice[step])
        np.maximum(low, high, out=metric)
    rows, state = np.arange(len(soft)), metric.argmax(axis=1)
    info = np.empty((steps, len(soft)), np.uint8)
    for step in range(steps - 1, -1, -1):
        info[step] = state & 1
        state = (choice[step, rows, state].astype(np.int64) << _MEMORY | state) >> 1
    bits = info[_WARM_UP : _WARM_UP + _INFO_BITS].T
    fit = ((1.0 - 2.0 * _encode_bits(bits)) * soft).sum(axis=1)
    return [row.tobytes() for row in np.packbits(bits, axis=1)], fit.astype(np.float32)
