"""Model folders in diffusers layout: one subfolder a part, safetensors and a config beside each other."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from safetensors import SafetensorError
from safetensors.flax import save_file
from safetensors.numpy import load_file

from sorajax import config as configs
from sorajax.config import ModelConfig
from sorajax.errors import CheckpointError
from sorajax.mesh import shardings
from sorajax.weights import dit, text, vae

CONFIG = "sorajax.json"
TOKENIZER = Path("tokenizer") / "spiece.model"
FILES = {
    "text_encoder": "model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}
T = TypeVar("T", bound=nnx.Module)


def load_model(folder: Path, part: str, make: Callable[[], T], mesh: Mesh) -> T:
    """The part of a model folder as a module on the mesh; ``make`` builds it and is only run abstractly."""
    abstract = nnx.eval_shape(make)
    placed = jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        abstract,
        shardings(abstract, mesh),
    )
    fill = {"text_encoder": text.load_text, "transformer": dit.load_dit, "vae": vae.load_vae}[part]
    fill(placed, load_part(folder, part))
    return placed


def model_digest(folder: Path) -> str:
    """One SHA-256 over the config and weights of a model folder: what the manifest calls the model by."""
    hasher = hashlib.sha256()
    for path in [folder / CONFIG, folder / TOKENIZER, *(folder / part / name for part, name in sorted(FILES.items()))]:
        hasher.update(file_digest(path).encode())
    return f"sha256:{hasher.hexdigest()}"


def save_part(folder: Path, part: str, tensors: Mapping[str, np.ndarray], dtype: str = "bfloat16") -> Path:
    """Write the tensors of one part; the file appears whole."""
    path = folder / part / FILES[part]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    save_file({name: jnp.asarray(array, dtype) for name, array in tensors.items()}, draft)
    draft.chmod(0o666 & ~_umask())  # the library writes for the owner alone
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
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}); fetch or export it again"
        ) from None


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
