"""A low-rank adapter of the transformer (LoRA, arXiv 2106.09685) as what is trained; the transformer stays as it is."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.errors import ConfigError
from sorajax.hosts.arrays import place
from sorajax.mesh import param
from sorajax.models.adapted import Adapted
from sorajax.models.dit import DiT
from sorajax.models.quantised import Quantised
from sorajax.train.config import TrainConfig
from sorajax.train.step import Metrics
from sorajax.train.video import VideoObjective
from sorajax.weights import folder as folders
from sorajax.weights.convert import LINEAR, Match, matches
from sorajax.weights.dit import RULES
from sorajax.weights.find import find
from sorajax.weights.lora import TRANSFORMER, read

FILE, LOW_FILE = "lora.safetensors", "lora-low.safetensors"
"""The second is of the transformer for low noise levels, of models of two."""


class Adapter(nnx.Module):
    """Two factors of what is added to a kernel of every block: ``down`` [layer, i, r] and ``up`` [layer, r, o]."""

    def __init__(self, shape: tuple[int, int, int], rank: int, *, rngs: nnx.Rngs):
        layers, din, dout = shape
        bound = din**-0.5  # as PEFT begins: nothing is added at first
        down = jax.random.uniform(rngs.params(), (layers, din, rank), minval=-bound, maxval=bound)
        self.down = param(down, None, None, None)
        self.up = param(jnp.zeros((layers, rank, dout)), None, None, None)


class Adapters(nnx.Module):
    """An adapter for each kernel that is adapted, by its name in diffusers with the layer left open."""

    def __init__(self, targets: Mapping[str, Match], rank: int, *, rngs: nnx.Rngs):
        made = {name: Adapter(match.variable.get_value().shape, rank, rngs=rngs) for name, match in targets.items()}
        self.by_name = nnx.Dict(made)


class LoraObjective:
    """The objective of a transformer, learned by its adapters alone. Its file is one that ``load_lora`` reads."""

    def __init__(self, inner: VideoObjective, config: TrainConfig):
        """Raises ConfigError if no kernel has one of the names in ``lora.targets``."""
        self.inner, self.options, self.batch, self.size = inner, config.lora, inner.batch, inner.size
        self.names, self.tokens, self.learned_from = inner.names, inner.tokens, inner.learned_from
        self.result = inner.folder.parent / (FILE if inner.part == "transformer" else LOW_FILE)
        self.source = find(config.start) if config.start else inner.folder
        inner.source = self.source
        kinds = config.dtype, config.lora.weights or None  # nothing of the kernels is trained: as products take them
        base = folders.load_model(self.source, inner.part, config.model, inner.mesh, *kinds)
        base.remat = config.remat
        self.frozen: Any = {"dit": base, "inner": inner.frozen}
        self.targets = {
            match.rule.theirs.replace("{layer}", "*").removesuffix(".weight"): match
            for match in matches(base, RULES)
            if match.stacked and match.rule.axes == LINEAR and any(t in match.path for t in config.lora.targets)
        }
        if not self.targets:
            raise ConfigError(
                f"lora.targets: no kernel is called {', '.join(config.lora.targets)}; known: to_q, to_k, to_v, to_out, "
                "ffn_in, ffn_out, or attn1 and attn2 for all of self- or cross-attention"
            )
        self._paths = {match.path: name for name, match in self.targets.items()}

    def sources(self) -> Mapping[str, str]:
        """The inner objective's, and the transformer that is adapted."""
        inner = self.inner.sources()
        parts = folders.part_digest(self.source, self.inner.part), inner["start"]
        return {**inner, "start": hashlib.sha256(" ".join(parts).encode()).hexdigest()}

    def init(self, rngs: nnx.Rngs) -> Adapters:
        """New adapters, which change nothing yet."""
        return Adapters(self.targets, self.options.rank, rngs=rngs)

    def warm_start(self, model: Adapters) -> None:
        """Go on from the file that is named, where one is. The transformer is that of the model folder in any case.

        Raises ConfigError for a file of another rank, or of kernels that are not adapted.
        """
        if not self.options.start:
            return
        lora = read(Path(self.options.start).expanduser(), self.frozen["dit"])
        if lora.transformer not in (None, int(self.inner.part == "transformer_2")):
            raise ConfigError(f"lora.start: {lora.path} is of the other of two transformers; see video.expert")
        changes = dict(lora.changes)
        for name, adapter in model.by_name.items():
            down, up = np.array(adapter.down[...]), np.array(adapter.up[...])
            for i in range(len(down)):
                if (change := changes.pop(f"{name.replace('*', str(i))}.weight", None)) is None:
                    continue
                if change.down is None or change.up is None or len(change.down) != self.options.rank:
                    rank = "none" if change.down is None else len(change.down)
                    raise ConfigError(f"lora.start: {lora.path} is of rank {rank}, and lora.rank {self.options.rank}")
                own = 1.0 if change.alpha is None else change.alpha / len(change.down)
                down[i], up[i] = change.down.T, change.up.T * np.float32(own / self._scale)
            for factor, value in ((adapter.down, down), (adapter.up, up)):
                factor[...] = place(value, factor[...].sharding)
        if changes:
            raise ConfigError(
                f"lora.start: {lora.path} changes {min(changes)}, which lora.targets do not name; name the same ones"
            )

    @property
    def _scale(self) -> float:
        """What the product of the factors is multiplied by."""
        return (self.options.alpha or self.options.rank) / self.options.rank

    def adapted(self, model: Adapters, dit: DiT) -> DiT:
        """The transformer with the adapters beside its kernels."""

        def one(path: Any, leaf: Any) -> Any:
            name = self._paths.get(tuple(getattr(part, "name", "") for part in path[:-1]))
            if name is None:
                return leaf
            adapter = model.by_name[name]
            return Adapted(leaf, adapter.down[...], adapter.up[...], self._scale)

        return jax.tree_util.tree_map_with_path(one, dit, is_leaf=lambda leaf: isinstance(leaf, Quantised))

    def loss(
        self, model: Adapters, frozen: Any, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """The inner objective's, of the transformer with its adapters."""
        return self.inner.loss(self.adapted(model, frozen["dit"]), frozen["inner"], batch, key)

    def evaluate(self, model: Adapters, step: int, folder: Path, *, signed: bool = True) -> dict[str, float]:
        """The inner objective's, of the transformer with its adapters."""
        if self.result.is_file():
            self.inner.facts = {"loras": [{"name": self.result.stem, "digest": folders.file_digest(self.result)}]}
        return self.inner.evaluate(self.adapted(model, self.frozen["dit"]), step, folder, signed=signed)

    def export(self, model: Adapters, folder: Path) -> None:
        """Write the adapters with the keys of diffusers and PEFT beside the model folder; alpha is multiplied in."""
        tensors, scale = {}, np.float32(self._scale)
        for name in self.targets:
            adapter = model.by_name[name]
            down, up = np.asarray(adapter.down[...]), np.asarray(adapter.up[...])
            for i in range(len(down)):
                key = f"transformer.{name.replace('*', str(i))}"
                tensors[f"{key}.lora_A.weight"] = np.ascontiguousarray(down[i].T)
                tensors[f"{key}.lora_B.weight"] = np.ascontiguousarray(scale * up[i].T)
        about = {"format": "pt"}
        if self.inner.config.video.expert:
            about[TRANSFORMER] = "1" if self.inner.part == "transformer_2" else "0"
        folders.write_tensors(self.result, tensors, about)
