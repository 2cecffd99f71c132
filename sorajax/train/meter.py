"""How fast a run is, what keeps it waiting, and what it has cost."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from sorajax.cost.account import Cost, CostMeter
from sorajax.errors import CheckpointError
from sorajax.hosts.arrays import is_primary
from sorajax.weights.folder import write_text

T = TypeVar("T")


class Meter:
    """Measures between one ``read`` and the next, on the host's clock."""

    def __init__(self, costs: CostMeter, kept: Path | None = None):
        """costs has what the run has cost before, in other processes. Each reading is ``kept`` in that file, by process
        0: checkpoints know nothing of the steps after them."""
        self._costs, self._kept = costs, kept
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
        if self._kept is not None and is_primary():
            with contextlib.suppress(CheckpointError):  # a full disk ends no run
                write_text(self._kept, json.dumps(dataclasses.asdict(cost)))
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


def spent(kept: Path, saved: Cost) -> Cost:
    """What a run has cost that goes on from a checkpoint which says ``saved``: with the steps after it, which are made
    again, as far as the file knows of them."""
    try:
        cost = Cost(**json.loads(kept.read_text()))
        return cost if cost.device_seconds > saved.device_seconds else saved
    except (OSError, ValueError, TypeError):
        return saved
