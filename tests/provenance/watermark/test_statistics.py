"""Chance, told honestly."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.watermark import statistics


@pytest.mark.parametrize(("z", "tail"), [(0.0, 0.5), (1.959964, 0.025), (6.0, 9.8659e-10), (10.0, 7.61985e-24)])
def test_the_normal_tail_is_the_table_s(z: float, tail: float) -> None:
    assert math.exp(statistics.log_tail(z)) == pytest.approx(tail, rel=1e-4)


def test_the_normal_tail_has_no_seam() -> None:
    assert statistics.log_tail(25.0 - 1e-9) == pytest.approx(statistics.log_tail(25.0), rel=1e-4)


@given(st.floats(0, 80), st.floats(0, 80), st.integers(1, 10**6))
def test_a_better_fit_is_never_likelier(a: float, b: float, tries: int) -> None:
    low, high = sorted((a, b))
    assert 0.0 <= statistics.p_value(high, tries) <= statistics.p_value(low, tries) <= 1.0
    assert statistics.p_value(a, tries) <= statistics.p_value(a, tries + 1)


def test_what_counts_as_found_rests_on_the_bound_alone() -> None:
    fit = 11.0
    assert statistics.log_p(fit) == pytest.approx(statistics.MESSAGES + statistics.log_tail(fit))
    assert statistics.p_value(fit, 1) > 1e-9
