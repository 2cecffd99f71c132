"""Steps that would do harm: their loss is not finite, or leaps up. They change nothing, and are told by their batch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sorajax.train.config import GuardConfig

DECAY = 0.99
"""Of the running mean and square of the losses."""
WARM = 50
"""Losses that are seen before a leap can be told."""


@dataclass
class Guard:
    """What the losses were like so far, on the host. A function of them alone, so that a resumed run judges alike."""

    config: GuardConfig
    mean: float = 0.0
    square: float = 0.0
    count: int = 0
    row: int = 0
    """Bad steps up to now without a good one between."""
    waiting: list[float] = field(default_factory=list)
    """Losses since the last ``fold``: the limit moves at fixed steps, wherever a run was broken off."""

    def limit(self) -> float:
        """The loss above which a step is not applied."""
        if not self.config.spike or self.count < WARM:
            return math.inf
        seen = 1 - DECAY**self.count
        mean, square = self.mean / seen, self.square / seen
        return mean + self.config.spike * math.sqrt(max(square - mean * mean, 0.0))

    def observe(self, values: Mapping[str, float]) -> str | None:
        """Take in the metrics of the next step; what was wrong with it, or None."""
        if not values["skipped"]:
            self.waiting.append(values["loss"])
            self.row = 0
            return None
        self.row += 1
        bad = [name for name in ("loss", "grad_norm") if not math.isfinite(values[name])]
        if bad:
            return f"{' and '.join(bad)} {'is' if len(bad) == 1 else 'are'} not finite"
        return f"the loss leapt to {values['loss']:.4g}, above {self.limit():.4g}"

    def fold(self) -> None:
        """Let the losses since the last time count."""
        for loss in self.waiting:
            self.mean = DECAY * self.mean + (1 - DECAY) * loss
            self.square = DECAY * self.square + (1 - DECAY) * loss * loss
            self.count += 1
        self.waiting = []

    def must_stop(self) -> bool:
        """Whether a bad step ends the run."""
        return self.config.policy == "stop" or self.row > self.config.patience

    def plain(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {key: value for key, value in asdict(self).items() if key != "config"}
