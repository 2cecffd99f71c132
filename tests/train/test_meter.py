"""What a run says of its speed and cost adds up."""

import jax
import pytest

from sorajax.cost import account
from sorajax.cost.account import Cost, CostMeter, Rates
from sorajax.cost.devices import Machine
from sorajax.train import meter as module
from sorajax.train.meter import Meter

FOUR = Machine(kind="chip", devices=4, peak=1e6, peak_from="published", watts=800.0, watts_from="200 W a device, given")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    now = [100.0]
    for where in (module, account):
        monkeypatch.setattr(where.time, "monotonic", lambda: now[0])
    return now


def test_rates_are_of_the_time_since_the_last_reading_and_costs_of_the_whole_run(clock):
    before = Cost(seconds=50.0, device_seconds=100.0, flops=1e6, estimated_joules=3.6e6, unpriced_seconds=100.0)
    meter = Meter(CostMeter(FOUR, None, Rates(carbon=500.0), before))

    def slow():
        clock[0] += 1.0
        yield "batch"

    assert meter.waiting(slow()) == "batch"
    meter.count(samples=8, tokens=800, flops=2e6)
    clock[0] += 1.0
    assert meter.cost().flops == 3e6  # a checkpoint asks between two readings
    clock[0] += 2.0
    assert meter.read() == pytest.approx(
        {
            "samples_per_second": 2.0,
            "tokens_per_second": 200.0,
            "input_wait": 0.25,
            "mfu": 0.5,
            "seconds": 54.0,
            "device_seconds": 116.0,
            "flops": 3e6,
            "kwh": 1 + 4 * 800 / 3.6e6,
            "co2_grams": 500 * (1 + 4 * 800 / 3.6e6),
        }
    )
    clock[0] += 1.0
    later = meter.read()
    assert later["samples_per_second"] == later["input_wait"] == later["mfu"] == 0.0
    assert later["device_seconds"] == 120.0 and later["flops"] == 3e6


def test_a_mesh_s_meter_knows_its_devices():
    mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    about = Meter(account.meter(mesh, Rates(price=2.0, watts=50.0), measure=True)).about()
    assert about["devices"] == len(jax.devices()) and about["price"] == 2.0
    assert about["peak_flops"] > 0 and "measured" in about["peak"]
