"""Model folders in diffusers layout: one subfolder a part, safetensors and a config beside each other."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.flax import save_file
from safetensors.numpy import load_file

from sorajax import config as configs
from sorajax.config import ModelConfig
from sorajax.errors import CheckpointError

CONFIG = "sorajax.json"
TOKENIZER = Path("tokenizer") / "spiece.model"
FILES = {
    "text_encoder": "model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


def save_part(folder: Path, part: str, tensors: Mapping[str, np.ndarray], dtype: str = "bfloat16") -> Path:
    """Write the tensors of one part; the file appears whole."""
    path = folder / part / FILES[part]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    save_file({name: jnp.asarray(array, dtype) for name, array in tensors.items()}, draft)
    os.replace(draft, path)
    return path


def load_part(folder: Path, part: str) -> dict[str, np.ndarray]:
    """The tensors of one part. Raises CheckpointError if the file is missing or corrupt."""
    path = folder / part / FILES[part]
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}; train this part first or name a complete model folder")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}); fetch or export it again") from None


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write the sizes of the whole model."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{CONFIG}.part"
    draft.write_text(json.dumps(configs.to_dict(config), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(draft, folder / CONFIG)


def load_config(folder: Path) -> ModelConfig:
    """Read the sizes of the whole model."""
    path = folder / CONFIG
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a model folder: it has no {CONFIG}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    return configs.from_dict(ModelConfig, values, str(path))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
