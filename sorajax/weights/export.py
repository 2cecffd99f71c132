"""A model folder in diffusers layout, which diffusers and ``sorajax.load`` read, made of any model folder."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sorajax.errors import InputError
from sorajax.mesh import make_mesh
from sorajax.weights import folder as folders
from sorajax.weights import layout
from sorajax.weights.dit import export_dit
from sorajax.weights.text import export_text
from sorajax.weights.vae import export_vae

EXPORTS: Mapping[str, Callable[[Any], dict[str, np.ndarray]]] = {
    "text_encoder": export_text,
    "transformer": export_dit,
    "transformer_2": export_dit,
    "vae": export_vae,
}


def export(source: Path, target: Path) -> Path:
    """Write the model of a folder in diffusers layout: every tensor's bits and type stay. The new folder appears whole.

    Original Wan names become those of diffusers. Raises InputError if the target is there already, CheckpointError for
    what the layout has no place for, and for weights that do not fit their config.
    """
    if target.exists():
        raise InputError(f"{target} is there already; name a folder that is not, or remove it")
    config, mesh = folders.load_config(source), make_mesh(data=1, devices=jax.local_devices()[:1])
    draft = target.with_name(f"{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        layout.write(draft, config)
        shutil.copytree((source / folders.TOKENIZER).parent, draft / folders.TOKENIZER.parent)
        for part in folders.parts(config):
            found = folders.load_part(source, part)
            types = {name: found.header(name)[1] for name in found}
            with jax.set_mesh(mesh):
                made = EXPORTS[part](folders.load_model(source, part, config, mesh))
            folders.save_part(draft, part, made, {name: types[name] for name in made})
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target
