"""Time of collectives on a torus, by hand."""

import itertools

import pytest

from sorajax.plan import chips, network

SQUARE = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
LINK = chips.CHIPS["v5e"].link_rate


def on(topology: str, kind: str, size: float, group: list[int], pairs: list[tuple[int, int]] | None = None) -> float:
    slice_ = chips.parse(topology)
    shape = [*slice_.shape, 1][:3]
    where = [p[::-1] for p in itertools.product(*(range(n) for n in reversed(shape)))]
    return network.seconds(kind, size, group, pairs or [], where, slice_)


def test_a_square_gathers_over_both_links_of_each_corner() -> None:
    assert on("v5e:2x2", "all-gather", 1e9, [0, 1, 2, 3]) == pytest.approx(1e9 * 3 / 4 / (2 * LINK))


def test_a_pair_has_one_link() -> None:
    assert on("v5e:2x2", "all-gather", 1e9, [0, 1]) == pytest.approx(1e9 / 2 / LINK)


def test_a_sum_is_a_scatter_and_a_gather() -> None:
    scatter, gather, total = (
        on("v5e:4x4", kind, 1e9, list(range(16))) for kind in ("reduce-scatter", "all-gather", "all-reduce")
    )
    assert total == pytest.approx(scatter + gather)


def test_a_ring_is_twice_as_fast_as_a_line() -> None:
    cube = on("v5p:4x4x4", "all-gather", 1e9, [0, 1, 2, 3])
    line = on("v5p:2x4x4", "all-gather", 1e9, [0, 2, 4, 6])  # dimension y, which does not close
    assert line == pytest.approx(2 * cube)


def test_an_exchange_is_held_up_in_the_middle_of_a_long_line() -> None:
    line = [i * 8 for i in range(8)]
    assert on("v5e:8x8", "all-to-all", 1e9, line) == pytest.approx(1e9 * 8 / 4 / LINK)


def test_a_shift_takes_as_long_as_its_longest_way() -> None:
    assert on("v5e:4x4", "collective-permute", 1e9, [], [(0, 1), (3, 0)]) == pytest.approx(3 * 1e9 / LINK)
    assert on("v5p:4x4x4", "collective-permute", 1e9, [], [(0, 1), (3, 0)]) == pytest.approx(1e9 / (2 * LINK))


def test_the_halves_of_a_chip_exchange_for_free() -> None:
    slice_ = chips.parse("tpu7x:2x2x1")
    assert network.seconds("all-gather", 1e9, [0, 1], [], [(0, 0, 0), (0, 0, 0)], slice_) == 0


def test_a_sum_sends_what_a_scatter_and_a_gather_send():
    assert network.sent("all-reduce", 4) == network.sent("reduce-scatter", 4) + network.sent("all-gather", 4) == 1.5
    assert network.sent("collective-permute", 4) == 1
