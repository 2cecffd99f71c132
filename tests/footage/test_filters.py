"""What is dropped has a reason with a figure and its limit; near copies are found, however many scenes there are."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorajax.errors import ConfigError, InputError
from sorajax.footage import hooks
from sorajax.footage.filters import FilterConfig, Likenesses, judge, parts
from sorajax.footage.scan import Scene

GOOD = Scene(
    start=1.0, end=4.0, frames=48, fps=16, width=640, height=360, luma=100.0, motion=5.0, text=0.05, hash="0" * 16,
    thumbnail=np.zeros((3, 2, 2, 3), np.uint8),
)  # fmt: skip
LIMITS = FilterConfig()


@pytest.mark.parametrize(
    ("changes", "reason", "why"),
    [
        ({}, None, ""),
        ({"height": 50}, "small", "50 pixels, under 64"),
        ({"end": 1.5}, "short", "0.50 s, under 1"),
        ({"luma": 3.0}, "black", "brightness 3.0, under 16"),
        ({"luma": 250.0}, "white", "over 245"),
        ({"motion": 0.1}, "still", "motion 0.10, under 0.5"),
        ({"motion": 80.0}, "restless", "motion 80.0, over 60"),
        ({"text": 0.4}, "writing", "40% of a band, over 25%"),
    ],
)
def test_each_limit_has_its_reason(changes, reason, why):
    verdict = judge(dataclasses.replace(GOOD, **changes), LIMITS)
    assert (verdict is None) if reason is None else (verdict is not None and verdict[0] == reason and why in verdict[1])


def test_a_picture_has_no_time_and_no_motion():
    assert judge(dataclasses.replace(GOOD, end=1.0, motion=0.0), LIMITS, is_image=True) is None


@given(st.floats(0.1, 100.0), st.floats(0.5, 20.0))
def test_parts_are_alike_follow_each_other_and_none_is_too_long(length, limit):
    scene = dataclasses.replace(GOOD, start=3.0, end=3.0 + length)
    found = parts(scene, FilterConfig(min_seconds=0.1, max_seconds=limit))
    assert found[0][0] == 3.0 and found[-1][1] == pytest.approx(3.0 + length)
    assert all(b == c for (_, b), (c, _) in zip(found, found[1:], strict=False))
    assert max(b - a for a, b in found) <= limit * 1.0001 + 1e-9


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=9)
)
def test_copies_are_found_within_the_distance_and_never_beyond(others, value, bits):
    known = Likenesses()
    for i, other in enumerate(others):
        known.add(f"{other:016x}", f"other {i}")
    known.add(f"{value:016x}", "original")
    changed = value
    for bit in bits:
        changed ^= 1 << bit
    nearest = min([len(bits), *((changed ^ other).bit_count() for other in others)])
    assert (known.find(f"{changed:016x}", 6) is not None) == (nearest <= 6)


def test_limits_are_given_by_name():
    config = hooks.limits(["min_seconds=2", "likeness=-1", "captioned=false"])
    assert (config.min_seconds, config.likeness, config.captioned) == (2.0, -1, False)
    with pytest.raises(ConfigError, match="unknown key 'min_second'"):
        hooks.limits(["min_second=2"])
    with pytest.raises(InputError, match="--limit min_seconds=two: 'two' is not a number"):
        hooks.limits(["min_seconds=two"])
    with pytest.raises(InputError, match="--limit captioned=0: '0' is neither true nor false"):
        hooks.limits(["captioned=0"])
    with pytest.raises(ConfigError, match="leave nothing"):
        hooks.limits(["min_seconds=20"])


def test_functions_are_named_by_module():
    assert hooks.function("math:sqrt")(4) == 2
    for name in ("math:nothing", "no_such_module:f", "math:pi", ""):
        with pytest.raises(InputError, match="name it as|no function"):
            hooks.function(name)
