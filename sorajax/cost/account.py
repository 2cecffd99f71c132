"""What work has cost: devices' time, FLOPs and energy; and, for a price and a carbon intensity, money and CO2.

energy = measured where the machine tells it (``power``), else power of all devices x seconds (``devices``)
wall   = energy x PUE                    (what the building draws for it; PUE 1: the devices alone)
CO2    = wall in kWh x carbon intensity  (g CO2e a kWh of the grid)
money  = device hours x price
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from jax.sharding import Mesh

from sorajax.cost import devices, power
from sorajax.cost.devices import Machine
from sorajax.cost.power import Joules
from sorajax.errors import ConfigError, InputError

KWH = 3.6e6
"""Joules."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the user knows of the machine and its electricity; None is not known."""

    price: float | None = None
    """Of an hour of one device."""
    currency: str = "USD"
    carbon: float | None = None
    """Grams of CO2e that a kWh causes: the grid's intensity."""
    watts: float | None = None
    """Of one device under load, where the machine does not tell its energy and the table does not know it better."""
    pue: float = 1.0
    """What the building draws over what the devices do (power usage effectiveness)."""

    def __post_init__(self) -> None:
        """Raises ConfigError for values that make no sense."""
        for name in ("price", "carbon", "watts"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(f"{name}: {value} is not possible; give a number from 0 on")
        if not 1 <= self.pue < float("inf"):
            raise ConfigError(f"pue: {self.pue} is not possible; 1 for the devices alone, or more")


def parse_rates(text: str) -> Rates:
    """Of NAME=VALUE pairs, as in "price=1.2,currency=EUR,carbon=380". Raises InputError that names the pair."""
    values: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        if name not in Rates.__dataclass_fields__:
            raise InputError(f"rate {name!r} is unknown; known: {', '.join(Rates.__dataclass_fields__)}")
        try:
            values[name] = value if name == "currency" else float(value)
        except ValueError:
            raise InputError(f"rate {pair!r}: {value!r} is not a number; write it as in price=1.2") from None
    return Rates(**values)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some work has cost. Costs add up, whatever machines they are of."""

    seconds: float = 0.0
    device_seconds: float = 0.0
    flops: float = 0.0
    """Of products, without what is computed twice."""
    measured_joules: float = 0.0
    estimated_joules: float = 0.0
    dark_seconds: float = 0.0
    """Device seconds whose power is not known."""
    money: float = 0.0
    """In the rates' currency."""
    unpriced_seconds: float = 0.0
    """Device seconds that have no price."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def share(self, parts: int) -> "Cost":
        """One of so many equal parts."""
        return Cost(**{name: value / parts for name, value in asdict(self).items()})

    @property
    def joules(self) -> float | None:
        """Of the devices; None if that of a part is not known."""
        return None if self.dark_seconds else self.measured_joules + self.estimated_joules

    def figures(self, rates: Rates) -> dict[str, float]:
        """device_seconds, flops, and as far as they are known kwh (at the wall), money and co2_grams."""
        values = {"device_seconds": self.device_seconds, "flops": self.flops}
        if self.joules is not None:
            values["kwh"] = self.joules * rates.pue / KWH
            if rates.carbon is not None:
                values["co2_grams"] = values["kwh"] * rates.carbon
        if rates.price is not None and not self.unpriced_seconds:
            values["money"] = self.money
        return values


class CostMeter:
    """Adds up the cost of work on a machine, from its making on."""

    def __init__(
        self,
        machine: Machine,
        power: tuple[Joules, str] | None,
        rates: Rates,
        before: Cost | None = None,
        total: Callable[[float], float] = float,
    ):
        """before is what the work has cost elsewhere. power measures this process's devices, and total makes the sum of
        all processes of it; they all ask for the cost alike."""
        self.machine, self.rates, self._total = machine, rates, total
        self._power, self._cost = power, before or Cost()
        self._joules = 0.0 if power is None else power[0]()
        self._since = time.monotonic()

    @property
    def energy_from(self) -> str:
        """How its energy is known."""
        return f"device seconds x {self.machine.watts_from}" if self._power is None else self._power[1]

    def read(self, flops: float = 0.0) -> Cost:
        """The cost up to now, to which those ``flops`` are added."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        count, price, watts = self.machine.devices, self.rates.price, self.machine.watts
        measured = 0.0
        if self._power is not None:
            try:
                joules = self._power[0]()
            except Exception:  # of a driver: no run ends for a figure, nor asks the others in vain
                joules = self._joules
            measured, self._joules = self._total(joules - self._joules), joules
        dark = self._power is None and watts is None
        self._cost += Cost(
            seconds=seconds,
            device_seconds=seconds * count,
            flops=flops,
            measured_joules=measured,
            estimated_joules=seconds * watts if self._power is None and watts is not None else 0.0,
            dark_seconds=seconds * count if dark else 0.0,
            money=seconds * count * (price or 0.0) / 3600,
            unpriced_seconds=seconds * count if price is None else 0.0,
        )
        return self._cost

    def about(self) -> dict[str, Any]:
        """What the figures rest on."""
        machine, rates = self.machine, {k: v for k, v in asdict(self.rates).items() if v is not None}
        about: dict[str, Any] = {
            "device": machine.kind,
            "devices": machine.devices,
            "energy": self.energy_from,
            **rates,
        }
        if machine.peak is not None:
            about |= {"peak_flops": machine.peak, "peak": machine.peak_from}
        return about


def meter(
    mesh: Mesh,
    rates: Rates,
    *,
    before: Cost | None = None,
    total: Callable[[float], float] = float,
    measure: bool = False,
) -> CostMeter:
    """A meter of a mesh's devices, from now on. ``measure`` finds out the peak of CPUs (``devices.machine``)."""
    every = list(mesh.devices.flat)
    known, measured = devices.machine(every, watts=rates.watts, measure=measure), power.meter(mesh.local_devices)
    if total(float(measured is not None)) < len({device.process_index for device in every}):
        measured = None  # what one cannot measure is estimated of all
    return CostMeter(known, measured, rates, before, total)
