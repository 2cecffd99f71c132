"""How fast a run is, what keeps it waiting, and how much of the devices' time it has had."""

import time
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Meter:
    """Measures between one ``read`` and the next, on the host's clock."""

    def __init__(self, devices: int, seconds: float = 0.0, device_seconds: float = 0.0):
        """``seconds`` and ``device_seconds`` are what the run has had before, in other processes."""
        self._devices, self._before = devices, (seconds, device_seconds)
        self._began = self._since = time.monotonic()
        self._waited, self._samples, self._tokens = 0.0, 0, 0

    def waiting(self, source: Iterator[T]) -> T:
        """The next batch, with the time that it took to come."""
        began = time.monotonic()
        batch = next(source)
        self._waited += time.monotonic() - began
        return batch

    def count(self, samples: int, tokens: int) -> None:
        """A step was begun, on so many samples and tokens."""
        self._samples, self._tokens = self._samples + samples, self._tokens + tokens

    def spent(self) -> dict[str, float]:
        """Seconds of the whole run, and of all its devices together."""
        now = time.monotonic() - self._began
        return {"seconds": self._before[0] + now, "device_seconds": self._before[1] + now * self._devices}

    def read(self) -> dict[str, float]:
        """Samples and tokens a second since the last time, the share of it in which the host waited for a batch (the
        devices did at most that), and what is ``spent``."""
        now = time.monotonic()
        span = max(now - self._since, 1e-9)
        rates = {"samples_per_second": self._samples / span, "tokens_per_second": self._tokens / span}
        rates["input_wait"] = self._waited / span
        self._since, self._waited, self._samples, self._tokens = now, 0.0, 0, 0
        return rates | self.spent()
