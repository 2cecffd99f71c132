"""What devices can do and draw, by the names that JAX gives them."""

from dataclasses import dataclass

import jax
import pytest

from sorajax.cost.devices import CORE_WATTS, lookup, machine


@dataclass(frozen=True)
class Fake:
    device_kind: str
    platform: str = "tpu"
    process_index: int = 0


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("Tesla T4", 65e12),
    ],
)
def test_published_peaks_by_jax_s_names(kind, peak):
    found = lookup(kind)
    assert found is not None and found.peak == peak


@pytest.mark.parametrize("kind", ["TPU v99", "NVIDIA H100 NVL", "NVIDIA L40", "NVIDIA A100-SXM3", ""])
def test_a_device_that_is_not_in_the_table_is_not_taken_for_another(kind):
    assert lookup(kind) is None


def test_a_machine_is_all_of_its_devices():
    two = machine([Fake("NVIDIA H200", "gpu")] * 2)
    assert (two.devices, two.peak, two.watts) == (2, 2 * 989e12, 1400.0)


def test_power_that_nobody_published_is_not_made_up():
    chip = machine([Fake("TPU v5 lite")])
    assert chip.peak == 197e12 and chip.watts is None and "give watts" in chip.watts_from
    assert machine([Fake("TPU v5 lite")] * 4, watts=200.0).watts == 800.0


def test_devices_of_one_cpu_share_its_cores():
    kind = jax.devices()[0].device_kind
    one, eight = machine([Fake(kind, "cpu")]), machine([Fake(kind, "cpu")] * 8)
    assert one.watts == eight.watts and one.watts is not None and one.watts % CORE_WATTS == 0
    assert machine([Fake(kind, "cpu", 0), Fake(kind, "cpu", 1)]).watts == 2 * one.watts


def test_a_cpu_s_peak_is_measured_if_asked_for():
    assert machine(jax.devices()).peak is None
    found = machine(jax.devices(), measure=True)
    assert found.peak is not None and found.peak > 1e9 and "measured" in found.peak_from
