"""What a run says of its speed adds up."""

import pytest

from sorajax.train import meter as module
from sorajax.train.meter import Meter


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_rates_are_of_the_time_since_the_last_reading(clock):
    meter = Meter(devices=4, seconds=50.0, device_seconds=100.0)

    def slow():
        clock[0] += 1.0
        yield "batch"

    assert meter.waiting(slow()) == "batch"
    meter.count(samples=8, tokens=800)
    clock[0] += 3.0
    assert meter.read() == {
        "samples_per_second": 2.0,
        "tokens_per_second": 200.0,
        "input_wait": 0.25,
        "seconds": 54.0,
        "device_seconds": 116.0,
    }
    clock[0] += 1.0
    later = meter.read()
    assert later["samples_per_second"] == later["input_wait"] == 0.0 and later["device_seconds"] == 120.0
