"""Batches in the order of their index, made ahead of time by Grain."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import grain
import numpy as np

Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Source:
    """Batches by index, as Grain's random access source."""

    make: Callable[[int], Batch]
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Batch:
        return self.make(int(index))


def batches(
    make: Callable[[int], Batch], *, start: int, stop: int, threads: int = 1, ahead: int = 4
) -> Iterator[Batch]:
    """``make(start)``, ..., ``make(stop - 1)``, in order.

    ``make`` must depend on its index alone: then the order and content of batches after a resumption are those
    of a run that was never interrupted.
    """
    data = grain.MapDataset.source(_Source(make, stop))[start:]
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)))
