"""What work has cost, and what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorajax.cost import account
from sorajax.cost.account import Cost, CostMeter, Rates, parse_rates
from sorajax.cost.devices import Machine
from sorajax.errors import ConfigError, InputError

FOUR = Machine(kind="chip", devices=4, peak=1e12, peak_from="published", watts=800.0, watts_from="200 W a device")
DARK = Machine(kind="chip", devices=4, peak=1e12, peak_from="published", watts=None, watts_from="not published")
amounts = st.floats(0, 1e6)
costs = st.builds(Cost, seconds=amounts, device_seconds=amounts, flops=amounts, measured_joules=amounts)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(account.time, "monotonic", lambda: now[0])
    return now


def test_an_hour_of_four_chips_by_hand(clock):
    rates = Rates(price=1.2, currency="EUR", carbon=400.0, pue=1.25)
    meter = CostMeter(FOUR, None, rates)
    clock[0] += 1800
    meter.read(flops=1e15)
    clock[0] += 1800
    figures = meter.read(flops=1e15).figures(rates)
    assert figures == pytest.approx(
        {
            "device_seconds": 4 * 3600,
            "flops": 2e15,
            "kwh": 0.8 * 1.25,  # 800 W for an hour, at the wall
            "co2_grams": 0.8 * 1.25 * 400,
            "money": 4 * 1.2,
        }
    )
    assert meter.energy_from == "device seconds x 200 W a device"


def test_what_is_measured_is_not_estimated(clock):
    counter = iter([1000.0, 1500.0])  # of the other processes as much again
    meter = CostMeter(FOUR, (lambda: next(counter), "measured by NVML"), Rates(), total=lambda joules: 2 * joules)
    clock[0] += 10
    cost = meter.read()
    assert (cost.measured_joules, cost.estimated_joules, cost.joules) == (1000.0, 0.0, 1000.0)
    assert meter.energy_from == "measured by NVML"


def test_energy_of_unknown_power_is_not_stated(clock):
    rates = Rates(carbon=400.0)
    meter = CostMeter(DARK, None, rates, Cost(measured_joules=5.0))
    clock[0] += 10
    assert meter.read().joules is None
    assert set(meter.read().figures(rates)) == {"device_seconds", "flops"}


def test_money_of_a_part_without_a_price_is_not_stated(clock):
    rates = Rates(price=1.0)
    meter = CostMeter(FOUR, None, rates, Cost(seconds=10, device_seconds=40, unpriced_seconds=40))
    clock[0] += 10
    assert "money" not in meter.read().figures(rates) and meter.read().device_seconds == 80


@given(costs, costs)
def test_costs_add_up_in_any_order(one, other):
    assert one + other == other + one
    assert (one + Cost()) == one


@given(costs, st.integers(1, 8))
def test_parts_make_the_whole(cost, parts):
    whole = sum((cost.share(parts) for _ in range(parts)), Cost())
    assert whole.joules == pytest.approx(cost.joules) and whole.device_seconds == pytest.approx(cost.device_seconds)


def test_rates_of_the_command_line():
    assert parse_rates("price=1.2,currency=EUR,carbon=380") == Rates(price=1.2, currency="EUR", carbon=380.0)
    assert parse_rates("") == Rates()


@pytest.mark.parametrize(
    ("text", "named"), [("prize=1", "'prize'"), ("price=cheap", "'cheap'"), ("carbon=-1", "carbon"), ("pue=0.5", "pue")]
)
def test_rates_that_are_none_are_named(text, named):
    with pytest.raises((InputError, ConfigError), match=named):
        parse_rates(text)
