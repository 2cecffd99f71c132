"""The transformer's objective on real clips: latents and text states from shards on disk."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sorajax.config import digest
from sorajax.data.shards import Sample, Shape, Shards
from sorajax.diffusion.condition import with_mask
from sorajax.errors import ConfigError
from sorajax.train import judge
from sorajax.train.config import TrainConfig
from sorajax.train.judge import HeldOut
from sorajax.train.video import VideoObjective
from sorajax.weights import folder as folders

HELD_OUT = 32
"""One file in so many is kept for validation, and two at least; none where there are fewer than that."""


class FootageObjective(VideoObjective):
    """Batches of one shape each, drawn by the number of samples of that shape and the weight of their folder."""

    def __init__(self, config: TrainConfig, folder: Path, mesh: Mesh | None = None):
        """Raises InputError for shards that cannot be used, ConfigError for those of another model."""
        super().__init__(config, folder, mesh)
        self.shards = [Shards(Path(path)) for path in config.video.data]
        for shards in self.shards:
            _check_model(shards, self)
        held_out = _held_out({name for shards in self.shards for name in shards.files()})
        self._numbers = []
        for shards in self.shards:
            kept = set() if shards.files() <= held_out else held_out  # none is held out whole
            self._numbers.append({shape: _split(shards, shape, kept) for shape in shards.shapes()})
        weights = config.video.weights or (1.0,) * len(self.shards)
        self.groups: list[tuple[int, Shape]] = []
        """A folder and a shape, from which a batch is drawn."""
        chances: list[float] = []
        for i, numbers in enumerate(self._numbers):
            count = sum(len(trained) for trained, _ in numbers.values())
            for shape, (trained, _) in numbers.items():
                self.groups.append((i, shape))
                chances.append(weights[i] * len(trained) / count)
        self._chances = np.array(chances) / sum(chances)
        self._empty = np.asarray(self.states([""])[0, :1], np.float16)
        self._asked = self.states(list(config.sample_prompts)) if config.sample_prompts else None
        del self.text  # nothing else needs it: text states are on disk

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """latents f32 [b, t, h, w, c], text f32 [b, l, d]; a function of the seed and the index."""
        rng, group, chosen = self._picked(index)
        shards, shape = self.shards[group[0]], group[1]
        texts = rng.random(len(chosen))
        dropped = rng.random(len(chosen)) < self.config.video.caption_dropout
        mine = np.arange(len(chosen)) if rows is None else rows
        samples = shards.read(shape, [int(i) for i in chosen[mine]])
        states = [self._text(s, float(texts[i]), bool(dropped[i])) for s, i in zip(samples, mine, strict=True)]
        made = {"latents": np.stack([s.latents for s in samples]).astype(np.float32), "text": self._padded(states)}
        return made | self._beside(samples)

    def sources(self) -> Mapping[str, str]:
        """The frozen parts, and the shards."""
        made = "".join(shards.digest() for shards in self.shards)
        return {**super().sources(), "video.data": hashlib.sha256(made.encode()).hexdigest()}

    @property
    def frozen(self) -> Any:
        """Nothing: text states are on disk."""
        return ()

    def learned_from(self) -> list[str]:
        """Each folder, with what is in it."""
        lines = []
        for shards in self.shards:
            count, files = sum(shards.shapes().values()), len(shards.files())
            lines.append(f"{shards.folder.name}: {count} clips of {files} files (index {shards.digest()[:12]})")
        return lines

    def names(self, index: int) -> list[str]:
        """File and second of each clip of a batch."""
        _, group, chosen = self._picked(index)
        samples = self.shards[group[0]].read(group[1], [int(i) for i in chosen])
        return [f"{s.about['source']} at {s.about['start']} s" for s in samples]

    def held_out(self) -> HeldOut:
        """Clips of files that are not trained on, of the commonest shape; of others where there are too few files."""
        i, shape = max(self.groups, key=lambda group: len(self._numbers[group[0]][group[1]][0]))
        trained, kept = self._numbers[i][shape]
        numbers = kept if len(kept) >= 2 else trained
        spread = np.linspace(0, len(numbers) - 1, 32).astype(int)
        samples = self.shards[i].read(shape, [int(n) for n in numbers[spread]])
        captions = [s.about["captions"][0] for s in samples]
        shown = [captions.index(caption) for caption in dict.fromkeys(captions)][: judge.SHOWN]
        return HeldOut(
            latents=np.stack([s.latents for s in samples]).astype(np.float32),
            text=self._padded([s.text[0] for s in samples]),
            captions=captions,
            prompts=list(self.config.sample_prompts) or [captions[i] for i in shown],
            shown=self._padded([samples[i].text[0] for i in shown]) if self._asked is None else self._asked,
            beside=self._beside(samples).get("beside"),
        )

    def _picked(self, index: int) -> tuple[np.random.Generator, tuple[int, Shape], np.ndarray]:
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, index]))
        group = self.groups[int(rng.choice(len(self.groups), p=self._chances))]
        trained = self._numbers[group[0]][group[1]][0]
        return rng, group, trained[rng.integers(len(trained), size=self.config.batch)]

    def empty(self) -> np.ndarray:
        """The text states of no prompt, f32 [1, l, d]."""
        return self._padded([self._empty])

    def _beside(self, samples: list[Sample]) -> dict[str, np.ndarray]:
        """beside f32 [b, t, h, w, k], for models that take a picture so; nothing for others."""
        if self.config.model.sample.image != "beside":
            return {}
        stored = np.stack([s.beside for s in samples if s.beside is not None]).astype(np.float32)
        return {"beside": np.asarray(with_mask(jnp.asarray(stored), self.config.model.vae.temporal_factor))}

    def _text(self, sample: Sample, which: float, dropped: bool) -> np.ndarray:
        return self._empty if dropped else sample.text[int(which * len(sample.text))]

    def _padded(self, states: list[np.ndarray]) -> np.ndarray:
        """f32 [b, l, d]: what follows a caption is zero, as the encoder leaves it."""
        out = np.zeros((len(states), self.config.model.text.length, states[0].shape[-1]), np.float32)
        for row, one in zip(out, states, strict=True):
            row[: len(one)] = one
        return out


def _held_out(files: set[str]) -> set[str]:
    """The files that are kept for validation, by their names' checksums: whole ones, the same for all shapes."""
    if len(files) < HELD_OUT:
        return set()
    return set(sorted(files, key=lambda name: hashlib.sha256(name.encode()).digest())[: max(2, len(files) // HELD_OUT)])


def _split(shards: Shards, shape: Shape, held_out: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the samples that are trained on, and of those that are kept for validation."""
    kept = np.array([name in held_out for name in shards.index["sources"]["x".join(map(str, shape))]], bool)
    return np.flatnonzero(~kept), np.flatnonzero(kept)


def _check_model(shards: Shards, objective: VideoObjective) -> None:
    """Raises ConfigError unless the shards were made with the parts that are there, weights and all."""
    config, index = objective.model_config, shards.index
    wanted: dict[str, str | bool] = {"vae": digest(config.vae), "text": digest(config.text)}
    wanted |= {f"{part}_weights": folders.part_digest(objective.folder, part) for part in ("vae", "text_encoder")}
    other = [
        key.replace("_weights", "'s weights").replace("_", " ")
        for key in wanted
        if index.get(key, wanted[key]) != wanted[key]
    ]
    if (config.sample.image == "beside") != index.get("beside", False):
        other.append("way to take a picture")
    if other:
        raise ConfigError(
            f"video.data: {shards.folder} was made by a {index['model']} that differs from the one in "
            f"{objective.folder} by {', '.join(other)}; prepare it with that one"
        )
