"""Which samples of shards are trained on, batch by batch, and which are kept for validation."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sorajax.data.shards import Sample, Shape, Shards
from sorajax.train.config import VideoConfig

HELD_OUT = 32
"""One file in so many is kept for validation, and two at least; none where there are fewer than that."""

Group = tuple[int, Shape]
"""A folder, by its place among ``video.data``, and a shape in it; a batch is of one."""


class Draws:
    """Batches of one shape each, drawn by the number of samples of that shape and the weight of their folder."""

    def __init__(self, config: VideoConfig, seed: int):
        """Raises InputError for shards that cannot be used."""
        self.shards = [Shards(Path(path)) for path in config.data]
        self.groups: list[Group] = []
        self._seed = seed
        held_out = _held_out({name for shards in self.shards for name in shards.files()})
        self._numbers: dict[Group, tuple[np.ndarray, np.ndarray]] = {}
        weights = config.weights or (1.0,) * len(self.shards)
        chances: list[float] = []
        for i, shards in enumerate(self.shards):
            kept = set() if shards.files() <= held_out else held_out  # none is held out whole
            numbers = {shape: _split(shards, shape, kept) for shape in shards.shapes()}
            count = sum(len(trained) for trained, _ in numbers.values())
            for shape, (trained, rest) in numbers.items():
                if not len(trained):
                    continue
                self.groups.append((i, shape))
                self._numbers[i, shape] = trained, rest
                chances.append(weights[i] * len(trained) / count)
        self._chances = np.array(chances) / sum(chances)

    def pick(
        self, index: int, size: int, of: Callable[[Group], bool] = lambda group: True
    ) -> tuple[np.random.Generator, Group, np.ndarray]:
        """The group of batch ``index``, one ``of`` which that is so, and the numbers of its samples; and the generator
        that goes on from there. A function of the seed and the index."""
        rng = np.random.Generator(np.random.Philox(key=[self._seed, index]))
        chances = self._chances * [of(group) for group in self.groups]
        group = self.groups[int(rng.choice(len(self.groups), p=chances / chances.sum()))]
        trained = self._numbers[group][0]
        return rng, group, trained[rng.integers(len(trained), size=size)]

    def read(self, group: Group, numbers: np.ndarray) -> list[Sample]:
        """Samples of a group."""
        return self.shards[group[0]].read(group[1], [int(n) for n in numbers])

    def names(self, group: Group, numbers: np.ndarray) -> list[str]:
        """File and second of samples."""
        return [f"{s.about['source']} at {s.about['start']} s" for s in self.read(group, numbers)]

    def spread(
        self, count: int, *, held_out: bool, of: Callable[[Group], bool] = lambda group: True
    ) -> tuple[Group, np.ndarray]:
        """So many samples of the commonest group, or all, evenly: of files that are trained on, or of those that are
        not, where there are enough of them."""
        group = max(filter(of, self.groups), key=lambda group: len(self._numbers[group][0]))
        trained, kept = self._numbers[group]
        numbers = kept if held_out and len(kept) >= 2 else trained
        return group, numbers[np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(int)]

    def about(self) -> list[str]:
        """Each folder, with what is in it."""
        lines = []
        for shards in self.shards:
            count, files = sum(shards.shapes().values()), len(shards.files())
            lines.append(f"{shards.folder.name}: {count} clips of {files} files (index {shards.digest()[:12]})")
        return lines

    def digest(self) -> str:
        """SHA-256 of what there is to draw from."""
        return hashlib.sha256("".join(shards.digest() for shards in self.shards).encode()).hexdigest()


def _held_out(files: set[str]) -> set[str]:
    """The files that are kept for validation, by their names' checksums: whole ones, the same for all shapes."""
    if len(files) < HELD_OUT:
        return set()
    return set(sorted(files, key=lambda name: hashlib.sha256(name.encode()).digest())[: max(2, len(files) // HELD_OUT)])


def _split(shards: Shards, shape: Shape, held_out: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the samples that are trained on, and of those that are kept for validation."""
    kept = np.array([name in held_out for name in shards.index["sources"]["x".join(map(str, shape))]], bool)
    return np.flatnonzero(~kept), np.flatnonzero(kept)
