"""64 payload bits <-> 352 code bits: a CRC to know, a convolutional code to survive.

The payload's 64 bits and their CRC-24 (RFC 4880, section 6.1) make 88 bits. They enter a tail-biting convolutional
code of rate 1/4 and constraint length 9, generators 463, 535, 733, 745 octal, free distance 24 (Larsen 1973; Proakis,
"Digital Communications", table 8.2). The decoder is the Viterbi algorithm on soft values, walked three times
around the circle so that the start state does not matter; the middle round is read.
"""

import numpy as np
from numpy.typing import NDArray

PAYLOAD_BYTES = 8
CODE_BITS = 352

_GENERATORS = (0o463, 0o535, 0o733, 0o745)
_MEMORY = 8
_STATES = 1 << _MEMORY
_INFO_BITS = CODE_BITS // len(_GENERATORS)
_ROUNDS = 3


def crc24(data: bytes) -> int:
    """CRC-24 of RFC 4880 (polynomial 0x864CFB, initial value 0xB704CE)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc


def _outputs() -> NDArray[np.int8]:
    """Code bits of each 9-bit register (8 bits of the past, the newest in the lowest place), [512, 4]."""
    register = np.arange(2 * _STATES)
    bits = np.zeros((2 * _STATES, len(_GENERATORS)), np.int8)
    for i in range(_MEMORY + 1):
        for j, generator in enumerate(_GENERATORS):
            # The leftmost digit of an octal generator is the tap on the newest bit.
            if generator >> (_MEMORY - i) & 1:
                bits[:, j] ^= (register >> i & 1).astype(np.int8)
    return bits


_OUT = _outputs()


def encode(payload: bytes) -> NDArray[np.int8]:
    """Code bits, each 0 or 1, [352]."""
    data = payload + crc24(payload).to_bytes(3, "big")
    info = np.unpackbits(np.frombuffer(data, np.uint8))
    state = 0
    for bit in info[-_MEMORY:]:  # tail biting: start in the state that the last bits leave behind
        state = (state << 1 | int(bit)) & (_STATES - 1)
    code = []
    for bit in info:
        register = state << 1 | int(bit)
        code.append(_OUT[register])
        state = register & (_STATES - 1)
    return np.concatenate(code)


def decode(soft: NDArray[np.floating]) -> bytes | None:
    """The payload, or None if its CRC does not hold. ``soft`` [352]: positive leans to 0, negative to 1."""
    symbols = np.tile(np.asarray(soft, np.float32).reshape(_INFO_BITS, -1), (_ROUNDS, 1))
    branch = symbols @ (1.0 - 2.0 * _OUT.T)  # [steps, 512]
    # Register r = previous state * 2 + bit; the next state drops the top bit of r, so r and r + 256 meet.
    metric = np.zeros(_STATES, np.float32)
    choice = np.empty((len(symbols), _STATES), bool)
    for step, gain in enumerate(branch):
        reached = np.repeat(metric, 2) + gain
        low, high = reached[:_STATES], reached[_STATES:]
        choice[step] = high > low
        metric = np.maximum(low, high)
    state = int(metric.argmax())
    info = np.empty(len(symbols), np.uint8)
    for step in range(len(symbols) - 1, -1, -1):
        info[step] = state & 1
        state = (int(choice[step, state]) << _MEMORY | state) >> 1
    data = np.packbits(info[_INFO_BITS : 2 * _INFO_BITS]).tobytes()
    payload, check = data[:PAYLOAD_BYTES], data[PAYLOAD_BYTES:]
    return payload if crc24(payload).to_bytes(3, "big") == check else None
