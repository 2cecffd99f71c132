"""The code: exact when clean, mends what noise breaks, and knows when it could not."""

import heapq

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import coding

payloads = st.binary(min_size=8, max_size=8)


@settings(max_examples=25)
@given(payloads)
def test_a_clean_word_decodes_to_its_payload(payload: bytes) -> None:
    assert coding.decode(1.0 - 2.0 * coding.encode(payload)) == payload


@settings(max_examples=25)
@given(payloads, st.integers(0, 2**32 - 1))
def test_noise_as_strong_as_the_signal_is_mended(payload: bytes, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 1.0, coding.CODE_BITS)
    assert coding.decode(1.0 - 2.0 * coding.encode(payload) + noise) == payload


def test_noise_alone_is_not_taken_for_a_payload() -> None:
    rng = np.random.default_rng(0)
    assert all(coding.decode(rng.normal(size=coding.CODE_BITS)) is None for _ in range(50))


def test_crc_has_the_published_check_value() -> None:
    assert coding.crc24(b"123456789") == 0x21CF02


def test_the_free_distance_is_that_of_the_published_generators() -> None:
    # Shortest path by code weight from state 0 back to it, leaving at once: Dijkstra over 256 states.
    weight = coding._OUT.sum(axis=1)
    queue, best = [(int(weight[1]), 1)], {}
    while queue:
        cost, state = heapq.heappop(queue)
        if state == 0:
            break
        if best.setdefault(state, cost) < cost:
            continue
        for bit in (0, 1):
            register = state << 1 | bit
            heapq.heappush(queue, (cost + int(weight[register]), register & 255))
    assert (cost, state) == (24, 0)
