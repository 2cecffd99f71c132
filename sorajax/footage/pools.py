"""Where files are scanned: in processes of this machine, side by side. ``on_ray`` does the same on many machines."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from sorajax.footage.sources import Source

Scan = Callable[[Source], dict[str, Any]]
"""What is found in a source, as plain values; a function of a module, which other processes can import."""
FELLED = {"problem": "reading it brought the process down; encode it again or take it out", "passing": True}
"""The record of a source that cannot be scanned; it may have been memory, so it is tried again by the next run."""


class Pool(Protocol):
    """Scans sources, each in a process that it may bring down."""

    def scan(
        self, function: Scan, missing: Sequence[tuple[Source, str]]
    ) -> Iterator[tuple[Source, str, dict[str, Any]]]:
        """Each source with its version and record, once, as it is finished."""
        ...


@dataclass(frozen=True)
class Processes:
    """So many processes of this machine."""

    workers: int

    def scan(
        self, function: Scan, missing: Sequence[tuple[Source, str]]
    ) -> Iterator[tuple[Source, str, dict[str, Any]]]:
        """As ``Pool`` says. One that brings its process down is found by scanning one at a time."""
        waiting: list[tuple[Source, str]] = list(missing)
        suspects: list[tuple[Source, str]] = []
        while waiting or suspects:
            alone, queue = bool(suspects), suspects or waiting
            count = 1 if alone else min(self.workers, len(queue))
            with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
                running: dict[Future[dict[str, Any]], tuple[Source, str]] = {}
                try:
                    while queue or running:
                        while queue and len(running) < (1 if alone else 2 * count):
                            source, version = queue[0]
                            running[pool.submit(function, source)] = (source, version)
                            queue.pop(0)  # not before: a pool that broke takes none
                        for future in wait(running, return_when=FIRST_COMPLETED).done:
                            record = future.result()
                            yield *running.pop(future), record
                except BrokenProcessPool:
                    left = list(running.values())
                    if alone and left:
                        yield *left.pop(0), dict(FELLED)
                    suspects += left
