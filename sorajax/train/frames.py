"""The autoencoder's objective on real clips: frames from shards on disk."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from sorajax.errors import ConfigError
from sorajax.train.config import TrainConfig
from sorajax.train.draws import Draws, Group
from sorajax.train.vae import VaeObjective, at_once

MEASURED = 256
"""Clips of which the latents' mean and deviation are, at most."""


class FramesObjective(VaeObjective):
    """Stretches of what ``Draws`` draws, of any size that the autoencoder takes."""

    def __init__(self, config: TrainConfig, folder: Path):
        """Raises InputError for shards that cannot be used, ConfigError for those that hold no frames, or too few."""
        self.draws = Draws(config.video, config.seed)
        for shards in self.draws.shards:
            if not shards.index.get("pixels"):
                raise ConfigError(f"video.data: {shards.folder} holds no frames; prepare it with --pixels")
        self._shapes = {group: self._stored(group, np.array([0]))[0].shape for group in self.draws.groups}
        cell = config.model.vae.spatial_factor
        for (i, _), (_, h, w, _) in self._shapes.items():
            if h % cell or w % cell:
                raise ConfigError(
                    f"video.data: {self.draws.shards[i].folder} has frames of {w}x{h}, no multiple of the "
                    f"autoencoder's {cell} pixels; prepare them for a model whose sizes are"
                )
        super().__init__(config, folder, max(t for t, *_ in self._shapes.values()))

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """frames uint8 [b, t, h, w, 3]: a stretch of each clip."""
        stretch = self.stretch(index)
        rng, group, chosen = self.draws.pick(index, self.size(index), self._has(stretch))
        starts = rng.integers(self._shapes[group][0] - stretch + 1, size=len(chosen))
        mine = np.arange(len(chosen)) if rows is None else rows
        stored = self._stored(group, chosen[mine])
        return {"frames": np.stack([x[i : i + stretch] for x, i in zip(stored, starts[mine], strict=True)])}

    def names(self, index: int) -> list[str]:
        """File and second of each clip of a batch."""
        picked = self.draws.pick(index, self.size(index), self._has(self.stretch(index)))
        return self.draws.names(*picked[1:])

    def sources(self) -> Mapping[str, str]:
        """The shards."""
        return {"video.data": self.draws.digest()}

    def learned_from(self) -> list[str]:
        """Each folder, with what is in it."""
        return self.draws.about()

    def held_out(self) -> tuple[np.ndarray, None]:
        """Clips of files that are not trained on."""
        return np.stack(self._stored(*self._spread(16, held_out=True))), None

    def measured(self) -> Iterator[np.ndarray]:
        """Clips that are trained on."""
        group, numbers = self._spread(MEASURED, held_out=False)
        size = at_once(self._shapes[group])
        for first in range(0, len(numbers), size):
            yield np.stack(self._stored(group, numbers[first : first + size]))

    def _spread(self, count: int, *, held_out: bool) -> tuple[Group, np.ndarray]:
        return self.draws.spread(count, held_out=held_out, of=self._has(max(self.config.vae_loss.frames)))

    def _has(self, stretch: int) -> Callable[[Group], bool]:
        """Whether clips of a group have so many frames."""
        return lambda group: self._shapes[group][0] >= stretch

    def _stored(self, group: Group, numbers: np.ndarray) -> list[np.ndarray]:
        return [sample.frames for sample in self.draws.read(group, numbers) if sample.frames is not None]
