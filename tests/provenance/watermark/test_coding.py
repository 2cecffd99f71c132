"""The code: exact when clean, and mends what noise breaks."""

import heapq

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.watermark import coding

payloads = st.binary(min_size=8, max_size=8)


def signs(payload: bytes) -> np.ndarray:
    return 1.0 - 2.0 * coding.encode(payload)


@settings(max_examples=25)
@given(st.lists(payloads, min_size=1, max_size=5))
def test_clean_words_decode_to_their_payloads(several: list[bytes]) -> None:
    decoded, fit = coding.decode(np.stack([signs(payload) for payload in several]))
    assert decoded == several
    assert np.array_equal(fit, np.full(len(several), coding.CODE_BITS))


@settings(max_examples=25)
@given(payloads, st.integers(0, 2**32 - 1))
def test_noise_nearly_as_strong_as_the_signal_is_mended(payload: bytes, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 0.8, coding.CODE_BITS)
    assert coding.decode((signs(payload) + noise)[None])[0] == [payload]


def test_the_fit_is_the_correlation_with_the_word_that_is_named() -> None:
    soft = np.random.default_rng(0).normal(size=(20, coding.CODE_BITS)).astype(np.float32)
    decoded, fit = coding.decode(soft)
    named = np.stack([signs(payload) for payload in decoded])
    np.testing.assert_allclose(fit, (named * soft).sum(axis=1), rtol=1e-5)


def test_no_other_word_near_by_fits_better() -> None:
    # Maximum likelihood, checked against all words that differ in one or two payload bits.
    rng = np.random.default_rng(1)
    soft = signs(b"8 bytes!") + rng.normal(0.0, 1.2, coding.CODE_BITS)
    decoded, fit = coding.decode(soft[None])
    bits = np.unpackbits(np.frombuffer(decoded[0], np.uint8))
    for i in range(64):
        for j in range(i + 1):
            other = bits.copy()
            other[[i, j]] ^= 1
            word = 1.0 - 2.0 * coding.encode(np.packbits(other).tobytes())
            assert (word * soft).sum() <= fit[0] or np.array_equal(other, bits)


def test_between_two_words_there_is_doubt_and_at_one_there_is_none() -> None:
    one = b"8 bytes!"
    near = bytes([one[0] ^ 1, *one[1:]])
    between = (signs(one) + 0.9 * signs(near)) / np.sqrt(coding.CODE_BITS)
    assert coding.decode(between[None])[0] == [one]
    assert coding.doubt(one, between * 6 / np.sqrt(coding.CODE_BITS)) > 1e-3
    assert coding.doubt(one, signs(one) * 16 / coding.CODE_BITS) < 1e-12


def test_a_payload_that_is_given_is_seldom_a_neighbour_of_the_right_one() -> None:
    # At the weakest signal that is read at all.
    rng = np.random.default_rng(3)
    payloads = [rng.bytes(8) for _ in range(600)]
    clean = np.stack([signs(payload) for payload in payloads]) * 11.5 / coding.CODE_BITS
    soft = clean + rng.normal(size=clean.shape) / np.sqrt(coding.CODE_BITS)
    read, _ = coding.decode(soft)
    sure = [coding.doubt(word, row) < 1e-3 for word, row in zip(read, soft, strict=True)]
    wrong = [given != right for given, right in zip(read, payloads, strict=True)]
    assert sum(wrong) > 60 and sum(sure) > 200
    assert sum(w and s for w, s in zip(wrong, sure, strict=True)) <= 4


def test_the_free_distance_is_that_of_the_published_generators() -> None:
    # Shortest path by code weight from state 0 back to it, leaving at once: Dijkstra over 1024 states.
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
            heapq.heappush(queue, (cost + int(weight[register]), register & 1023))
    assert (cost, state) == (29, 0)
