"""Energy as the machine tells it."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import pytest

from sorajax.cost import power


@dataclass(frozen=True)
class Board:
    local_hardware_id: int
    platform: str = "gpu"


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A CPU of two packages, as Linux shows it; the second has a domain of its own for memory."""
    zones = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:1:0": "dram", "intel-rapl:2": "psys"}
    for name, kind in (zones | {"intel-rapl-mmio:0": "package-0"}).items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{kind}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("999999\n")
        (tmp_path / name / "energy_uj").write_text("900000\n")
    monkeypatch.setattr(power, "POWERCAP", tmp_path)
    return tmp_path


def test_a_cpu_s_packages_add_up_and_their_counters_may_begin_anew(powercap):
    found = power.meter(jax.devices("cpu"))
    assert found is not None and found[1] == "measured by RAPL"
    assert found[0]() == 0.0
    (powercap / "intel-rapl:0" / "energy_uj").write_text("950000")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("100000")  # past 999999
    (powercap / "intel-rapl:1:0" / "energy_uj").write_text("990000")  # is in its package
    (powercap / "intel-rapl:2" / "energy_uj").write_text("990000")  # has the packages in it
    assert found[0]() == pytest.approx(0.05 + 0.2)
    assert found[0]() == pytest.approx(0.25)


def test_a_cpu_without_counters_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(power, "POWERCAP", tmp_path)
    assert power.meter(jax.devices("cpu")) is None


def driver(joules, asked):
    """Stands in for NVIDIA's library, whose boards count millijoules."""

    def by_index(number):
        asked.append(number)
        return number

    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=by_index,
        nvmlDeviceGetHandleByUUID=lambda name: by_index(name),
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 1000 * joules[handle],
    )


def test_the_boards_of_this_process_add_up(monkeypatch):
    joules, asked = {0: 5.0, 1: 7.0, 3: 11.0}, []
    monkeypatch.setitem(sys.modules, "pynvml", driver(joules, asked))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = power.meter([Board(0), Board(1)])
    assert found is not None and found[0]() == 12.0 and asked == [0, 1]


def test_boards_are_those_that_cuda_shows(monkeypatch):
    joules, asked = {3: 11.0, "GPU-8a": 2.0}, []
    monkeypatch.setitem(sys.modules, "pynvml", driver(joules, asked))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8a")
    found = power.meter([Board(0), Board(1)])
    assert found is not None and found[0]() == 13.0 and asked == [3, "GPU-8a"]


def test_without_the_library_boards_are_not_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert power.meter([Board(0)]) is None


def test_nothing_tells_the_energy_of_a_tpu():
    assert power.meter([Board(0, "tpu")]) is None
