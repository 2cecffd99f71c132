"""What the devices that are here can do and draw, by the names that JAX gives them. A table of published figures.

Peaks are those of dense bf16 products. Sources: for TPUs Google's "System architecture" pages
(docs.cloud.google.com/tpu/docs), which state watts for v4 alone (the mean of production, "measured min/mean/max power")
and for tpu7x by the pod of 9,216 chips with cooling and hosts, 10 MW; for GPUs NVIDIA's data sheets (peak without
sparsity, board power).
"""

import functools
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

CORE_WATTS = 4.0
"""Of a CPU's thread, where nothing is known of the CPU: what CodeCarbon assumes (``DEFAULT_POWER_PER_CORE``)."""
SIDE = 1536
"""Of the matrices by whose product a CPU's peak is measured."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """What JAX counts as one device: a chip, or one of tpu7x's two halves."""

    peak: float
    """FLOP/s."""
    watts: float | None = None
    """Under load; None: not published."""


TPUS = {
    "TPU v4": Device(peak=275e12, watts=170.0),
    "TPU v5 lite": Device(peak=197e12),
    "TPU v5": Device(peak=459e12),
    "TPU v6 lite": Device(peak=918e12),
    "TPU7x": Device(peak=2307e12 / 2, watts=10e6 / 9216 / 2),
}
GPUS = {
    "H200": Device(peak=989e12, watts=700.0),
    "H100 PCIe": Device(peak=756e12, watts=350.0),
    "H100 80GB HBM3": Device(peak=989e12, watts=700.0),
    "A100-SXM4": Device(peak=312e12, watts=400.0),
    "A100-PCIE-40GB": Device(peak=312e12, watts=250.0),
    "A100 80GB PCIe": Device(peak=312e12, watts=300.0),
    "L40S": Device(peak=362e12, watts=350.0),
    "L4": Device(peak=121e12, watts=72.0),
    "T4": Device(peak=65e12, watts=70.0),  # float16: it has no bfloat16
}
"""By what their names begin with after the maker's."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """All devices of a job together, and how their figures are known."""

    kind: str
    devices: int
    peak: float | None
    """FLOP/s; None: not known."""
    peak_from: str
    watts: float | None
    """None: not known."""
    watts_from: str


def machine(devices: Sequence[Any], *, watts: float | None = None, measure: bool = False) -> Machine:
    """The machine that some devices (of JAX) make; ``watts`` of each, where the user knows better than the table.

    ``measure`` finds out the peak of CPUs, which takes about a second. CPU devices of one process share its cores.
    """
    kind = devices[0].device_kind
    known = lookup(kind)
    peak, peak_from = (None, "not known")
    power, power_from = (None, "not published; give watts")
    if known is not None:
        peak, peak_from = known.peak * len(devices), "published"
        if known.watts is not None:
            power, power_from = known.watts * len(devices), f"{known.watts:.4g} W a device, published"
    elif devices[0].platform == "cpu":
        processes = len({device.process_index for device in devices})
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        power, power_from = CORE_WATTS * cores * processes, f"{CORE_WATTS:g} W a thread, as CodeCarbon assumes"
        if measure:
            peak, peak_from = _measured() * processes, f"a product of {SIDE} x {SIDE} bf16 matrices, measured"
    if watts is not None:
        power, power_from = watts * len(devices), f"{watts:.4g} W a device, given"
    return Machine(kind=kind, devices=len(devices), peak=peak, peak_from=peak_from, watts=power, watts_from=power_from)


def lookup(kind: str) -> Device | None:
    """The figures of a device by the name that JAX gives its kind; None for one that is not in the table."""
    if kind in TPUS:
        return TPUS[kind]
    name = kind.removeprefix("NVIDIA ").removeprefix("Tesla ")
    return next((device for start, device in GPUS.items() if re.match(rf"{re.escape(start)}\b", name)), None)


@functools.cache
def _measured() -> float:
    """FLOP/s of one process's CPU, the best of a few products."""
    device = jax.local_devices(backend="cpu")[0]
    x = jax.device_put(jnp.ones((SIDE, SIDE), jnp.bfloat16), device)
    product = jax.jit(lambda x: jnp.dot(x, x, preferred_element_type=jnp.float32).sum())
    product(x).block_until_ready()
    times = []
    for _ in range(4):
        began = time.perf_counter()
        product(x).block_until_ready()
        times.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(times)
