"""Energy that the machine itself tells: NVIDIA's boards by NVML, Intel's and AMD's CPUs by Linux's powercap (RAPL)."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
Joules = Callable[[], float]
"""Gives joules since some moment."""


def meter(devices: Sequence[Any]) -> tuple[Joules, str] | None:
    """How to read the energy of this process's devices (of JAX), and its name; None where nothing tells it.

    That of a CPU is its whole package's, whatever else runs there.
    """
    platform = devices[0].platform
    if platform == "cpu":
        packages = _packages(POWERCAP)
        return None if not packages else (Rapl(packages), "measured by RAPL")
    if platform in ("gpu", "cuda"):
        read = _nvml([int(device.local_hardware_id) for device in devices])
        return None if read is None else (read, "measured by NVML")
    return None


class Rapl:
    """Joules of CPU packages. Their counters begin anew after some minutes to hours, so read more often than that."""

    def __init__(self, packages: Sequence[Path]):
        self._packages = packages
        self._ranges = [int((path / "max_energy_range_uj").read_text()) for path in packages]
        self._last = [int((path / "energy_uj").read_text()) for path in packages]
        self._sum = 0

    def __call__(self) -> float:
        for i, path in enumerate(self._packages):
            now = int((path / "energy_uj").read_text())
            self._sum += (now - self._last[i]) % (self._ranges[i] + 1)
            self._last[i] = now
        return self._sum / 1e6


def _packages(root: Path) -> list[Path]:
    """Domains of whole packages that may be read, which needs root on most machines."""
    found = sorted(path for path in root.glob("intel-rapl:*") if path.name.count(":") == 1)
    return [path for path in found if _is_package(path) and os.access(path / "energy_uj", os.R_OK)]


def _is_package(path: Path) -> bool:
    """Not "psys", which is the whole board, with the packages in it."""
    name = path / "name"
    return name.is_file() and name.read_text().startswith("package")


def _nvml(numbers: Sequence[int]) -> Joules | None:
    """Joules of the boards that JAX counts so, by NVIDIA's library (``nvidia-ml-py``)."""
    try:
        import pynvml  # pyright: ignore[reportMissingImports] - comes with the extra "cuda"

        pynvml.nvmlInit()
        handles = [_handle(pynvml, number) for number in numbers]
        read = pynvml.nvmlDeviceGetTotalEnergyConsumption  # millijoules; boards before Volta have none
        [read(handle) for handle in handles]
    except Exception:  # of a library that may be missing, or of a driver that may be: then it is not measured
        return None
    return lambda: sum(read(handle) for handle in handles) / 1e3


def _handle(pynvml: Any, number: int) -> Any:
    """The board of JAX's number; CUDA_VISIBLE_DEVICES may have changed the order."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    name = visible[number] if visible else str(number)
    return pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID(name)
