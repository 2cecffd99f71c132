"""Kernels that stay as they are, with a low-rank change beside them that is learned (LoRA, arXiv 2106.09685)."""

from dataclasses import dataclass, field
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Adapted:
    """A kernel [..., i, o] plus ``scale`` times ``down`` [..., i, r] ``up`` [..., r, o].

    Neither is made up into one array, nor is a gradient of the kernel: a product goes by both ways.
    """

    kernel: Any
    """An array, or ``Quantised``."""
    down: Any
    up: Any
    scale: float = field(default=1.0, metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kernel.shape

    @property
    def ndim(self) -> int:
        return self.kernel.ndim

    @property
    def dtype(self) -> Any:
        return self.kernel.dtype

    def __getitem__(self, index: Any) -> "Adapted":
        """A variable asks for ``[...]``; nothing else is given."""
        if index is not Ellipsis:
            raise IndexError("an adapted kernel is only given whole")
        return self
