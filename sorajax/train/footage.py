"""The transformer's objective on real clips: latents and text states from shards on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sorajax.config import digest
from sorajax.data.shards import Sample, Shards
from sorajax.diffusion.condition import with_mask
from sorajax.errors import ConfigError
from sorajax.train import judge
from sorajax.train.config import TrainConfig
from sorajax.train.draws import Draws
from sorajax.train.judge import HeldOut
from sorajax.train.video import VideoObjective
from sorajax.weights import folder as folders


class FootageObjective(VideoObjective):
    """Flow matching on what ``Draws`` draws; text states come from the shards too."""

    def __init__(self, config: TrainConfig, folder: Path, mesh: Mesh | None = None):
        """Raises InputError for shards that cannot be used, ConfigError for those of another model."""
        super().__init__(config, folder, mesh)
        self.draws = Draws(config.video, config.seed)
        for shards in self.draws.shards:
            _check_model(shards, self)
        self._empty = np.asarray(self.states([""])[0, :1], np.float16)
        self._asked = self.states(list(config.sample_prompts)) if config.sample_prompts else None
        del self.text  # nothing else needs it: text states are on disk

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """latents f32 [b, t, h, w, c], text f32 [b, l, d]; a function of the seed and the index."""
        rng, group, chosen = self.draws.pick(index, self.config.batch)
        texts = rng.random(len(chosen))
        dropped = rng.random(len(chosen)) < self.config.video.caption_dropout
        mine = np.arange(len(chosen)) if rows is None else rows
        samples = self.draws.read(group, chosen[mine])
        states = [self._text(s, float(texts[i]), bool(dropped[i])) for s, i in zip(samples, mine, strict=True)]
        made = {"latents": np.stack([s.latents for s in samples]).astype(np.float32), "text": self._padded(states)}
        return made | self._beside(samples)

    def sources(self) -> Mapping[str, str]:
        """The frozen parts, and the shards."""
        return {**super().sources(), "video.data": self.draws.digest()}

    @property
    def frozen(self) -> Any:
        """Nothing: text states are on disk."""
        return ()

    def learned_from(self) -> list[str]:
        """Each folder, with what is in it."""
        return self.draws.about()

    def names(self, index: int) -> list[str]:
        """File and second of each clip of a batch."""
        return self.draws.names(*self.draws.pick(index, self.config.batch)[1:])

    def held_out(self) -> HeldOut:
        """Clips of files that are not trained on."""
        group, numbers = self.draws.spread(32, held_out=True)
        samples = self.draws.read(group, np.resize(numbers, 32))  # in turn, so that neighbours' captions are others
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
