"""Steps of the solver that take the velocity of a step before instead of calling the transformer.

Between neighbouring steps the velocity changes little once the first have set the scene. So after those, it is computed
at every few steps and kept for the ones between, which then cost next to nothing. The steps are chosen beforehand,
by their number alone: nothing waits for a device's answer, and all hosts do the same. TeaCache (arXiv 2411.19108) and
MagCache (arXiv 2506.09045) choose them by estimates of the change, made for each published model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sorajax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Caching:
    """Which steps are computed: the first ones, and then one in ``every``."""

    every: int = 3
    first: float = 0.15
    """Share of the steps, from the start, that are all computed; at least one is."""

    def __post_init__(self) -> None:
        """Raises InputError for values that make no sense."""
        if isinstance(self.every, bool) or not isinstance(self.every, int) or not 1 <= self.every <= 100:
            raise InputError(f"every is {self.every!r}; give a whole number from 1 (all steps are computed) to 100")
        if not isinstance(self.first, (int, float)) or not 0 <= self.first <= 1:
            raise InputError(f"first is {self.first!r}; give a share of the steps from 0 to 1")

    def computed(self, steps: int, switches: Sequence[int] = ()) -> list[bool]:
        """Whether each step calls the transformer; at ``switches`` another takes over, and the count begins anew."""
        chosen, since = [], 0
        for i in range(steps):
            since = 0 if i < math.ceil(self.first * steps) or i in switches or not i else since + 1
            chosen.append(since % self.every == 0)
        return chosen

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"every": self.every, "first": self.first}


def caching(wanted: "Caching | bool | None") -> Caching | None:
    """What a caller asks for: True for the usual, None or False for none. Raises InputError for anything else."""
    if wanted is None or isinstance(wanted, Caching):
        return wanted
    if isinstance(wanted, bool):
        return Caching() if wanted else None
    raise InputError(f"cache is {wanted!r}; give True, False or a Caching(every=, first=)")
