"""How fast a run is, what keeps it waiting, and what it has cost."""

import time
from collections.abc import Iterator
from typing import Any, TypeVar

from sorajax.cost.account import Cost, CostMeter

T = TypeVar("T")


class Meter:
    """Measures between one ``read`` and the next, on the host's clock."""

    def __init__(self, costs: CostMeter):
        """costs has what the run has cost before, in other processes."""
        self._costs = costs
        self._since = time.monotonic()
        self._waited, self._samples, self._tokens, self._flops, self._told = 0.0, 0, 0, 0.0, 0.0

    def waiting(self, source: Iterator[T]) -> T:
        """The next batch, with the time that it took to come."""
        began = time.monotonic()
        batch = next(source)
        self._waited += time.monotonic() - began
        return batch

    def count(self, samples: int, tokens: int, flops: float) -> None:
        """A step was begun, on so many samples and tokens, that is worth so many FLOPs."""
        self._samples, self._tokens, self._flops = self._samples + samples, self._tokens + tokens, self._flops + flops

    def cost(self) -> Cost:
        """Of the whole run. All processes ask for it alike."""
        new, self._told = self._flops - self._told, self._flops
        return self._costs.read(new)

    def read(self) -> dict[str, float]:
        """Samples and tokens a second since the last time, the share of it in which the host waited for a batch (the
        devices did at most that), the share of the devices' peak that the steps were worth (mfu), where that is known,
        and what the run has cost."""
        cost = self.cost()
        now = time.monotonic()
        span = max(now - self._since, 1e-9)
        values = {"samples_per_second": self._samples / span, "tokens_per_second": self._tokens / span}
        values["input_wait"] = self._waited / span
        if self._costs.machine.peak is not None:
            values["mfu"] = self._flops / span / self._costs.machine.peak
        self._since, self._waited, self._samples, self._tokens, self._flops, self._told = now, 0.0, 0, 0, 0.0, 0.0
        return values | {"seconds": cost.seconds} | cost.figures(self._costs.rates)

    def about(self) -> dict[str, Any]:
        """What its figures rest on."""
        return self._costs.about()
