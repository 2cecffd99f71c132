"""The parts of a model on the devices: all of them at once, or each in the place of the one before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from sorajax.config import ModelConfig
from sorajax.weights import folder as folders
from sorajax.weights.lora import Adapters


class Stages:
    """Modules by the name of their part: text_encoder, transformer, transformer_2, vae. Loaded when first asked for.

    With ``keep``, what is loaded stays. Without, at most one part is on the devices: another that is asked for takes
    its place, and the arrays of the one before are deleted, whoever holds them.
    """

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        mesh: Mesh,
        *,
        dtypes: Mapping[str, str],
        weights: Mapping[str, str | None],
        keep: bool,
    ):
        """Raises CheckpointError now for files that are missing or damaged, or do not fit, of any part."""
        self.folder, self.config, self.mesh = folder, config, mesh
        self.dtypes, self.weights, self.keep = dict(dtypes), dict(weights), keep
        self.names = folders.parts(config)
        self.adapters = {part: Adapters() for part in self.names if part.startswith("transformer")}
        self._held: dict[str, Any] = {}
        self.abstract = {
            part: folders.check_model(folder, part, config, mesh, self.dtypes[part], self.weights[part])
            for part in self.names
        }
        """The parts without values, which cost no memory."""

    def __contains__(self, part: str) -> bool:
        return part in self._held

    def __getitem__(self, part: str) -> Any:
        if part not in self._held:
            if not self.keep:
                self.release()
            kinds = self.dtypes[part], self.weights[part]
            with jax.set_mesh(self.mesh):
                self._held[part] = folders.load_model(self.folder, part, self.config, self.mesh, *kinds)
                if part in self.adapters:
                    self.adapters[part].attach(self._held[part])
        return self._held[part]

    def release(self) -> None:
        """Give up what the devices hold; it is loaded again when asked for."""
        for part, model in self._held.items():
            if part in self.adapters:
                self.adapters[part].detach()
            for leaf in jax.tree.leaves(model):
                leaf.delete()
        self._held = {}
