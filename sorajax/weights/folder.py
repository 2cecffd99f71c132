"""Model folders in diffusers layout: one subfolder a part, safetensors and a config beside each other."""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from safetensors import SafetensorError
from safetensors.numpy import save_file

from sorajax import config as configs
from sorajax.config import ModelConfig
from sorajax.errors import CheckpointError
from sorajax.mesh import shardings
from sorajax.models import quantised
from sorajax.models.dit import DiT
from sorajax.models.text import TextEncoder
from sorajax.models.vae import VAE
from sorajax.weights import convert, dit, layout, original, text, vae
from sorajax.weights import tensors as tensors_of
from sorajax.weights.tensors import Tensors

CONFIG = "sorajax.json"
TOKENIZER = Path("tokenizer") / "spiece.model"
FILES = {
    "text_encoder": "model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "transformer_2": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}
EMBEDDING = "shared.weight"
MODELS: Mapping[str, Callable[[ModelConfig, Any], nnx.Module]] = {
    "text_encoder": lambda config, dtype: TextEncoder(config.text, dtype=dtype, rngs=nnx.Rngs(0)),
    "transformer": lambda config, dtype: DiT(config.dit, dtype=dtype, rngs=nnx.Rngs(0)),
    "transformer_2": lambda config, dtype: DiT(config.dit, dtype=dtype, rngs=nnx.Rngs(0)),
    "vae": lambda config, dtype: VAE(config.vae, dtype=dtype, rngs=nnx.Rngs(0)),
}


def parts(config: ModelConfig) -> tuple[str, ...]:
    """Names of the parts of a model, each a folder; the second transformer only where there is one."""
    return tuple(part for part in sorted(FILES) if part != "transformer_2" or config.sample.boundary is not None)


def abstract_model(
    part: str, config: ModelConfig, mesh: Mesh, dtype: str = "float32", weights: str | None = None, low: bool = True
) -> Any:
    """The part as a module of shapes, types and shardings, without values: what ``load_model`` fills.

    Kernels are of ``dtype``, that of the products they are for; ``weights``, one of ``quantised.KINDS``, makes those
    of a transformer's or text encoder's blocks ``Quantised``. The embedding is bfloat16 if ``low``.
    """
    abstract = nnx.eval_shape(lambda: MODELS[part](config, jnp.dtype(dtype)))
    kept = {"kernel": dtype, "embedding": "bfloat16" if low else "float32"}

    def lay_out(path: Any, leaf: jax.ShapeDtypeStruct, where: NamedSharding) -> Any:
        if weights in quantised.KINDS and part != "vae" and quantised.is_quantisable(path):
            return quantised.lay_out(leaf, where, weights)
        kind = next((kept[name] for key in path if (name := getattr(key, "name", "")) in kept), leaf.dtype)
        return jax.ShapeDtypeStruct(leaf.shape, kind, sharding=where)

    return jax.tree_util.tree_map_with_path(lay_out, abstract, shardings(abstract, mesh))


def has_low_embedding(tensors: Tensors) -> bool:
    """Whether a part's embedding of words is bfloat16."""
    return {tensors.header(name)[1] for name in tensors if name.endswith(EMBEDDING)} == {"bfloat16"}


def load_model(
    folder: Path, part: str, config: ModelConfig, mesh: Mesh, dtype: str = "float32", weights: str | None = None
) -> Any:
    """The part of a model folder as a module on the mesh, as ``abstract_model`` lays it out.

    An embedding of bfloat16 is kept as it is in the file.
    """
    tensors = load_part(folder, part)
    placed = abstract_model(part, config, mesh, dtype, weights, has_low_embedding(tensors))
    rules, ignore = _table(part, config)
    convert.apply(placed, tensors, rules, ignore=ignore)
    return placed


def check_model(
    folder: Path, part: str, config: ModelConfig, mesh: Mesh, dtype: str = "float32", weights: str | None = None
) -> Any:
    """What ``load_model`` would fill, unfilled; reads headers alone.

    Raises CheckpointError, as that would, for files that are missing or damaged and tensors that do not fit.
    """
    tensors = load_part(folder, part)
    abstract = abstract_model(part, config, mesh, dtype, weights, has_low_embedding(tensors))
    rules, ignore = _table(part, config)
    convert.check(abstract, tensors, rules, ignore=ignore)
    return abstract


def _table(part: str, config: ModelConfig) -> tuple[Sequence[convert.Rule], Sequence[str]]:
    """Rules of a part's tensors, and what may be there besides."""
    if part == "vae":
        return vae.rules(config.vae), ()
    return (text.RULES, text.IGNORE) if part == "text_encoder" else (dit.RULES, ())


def model_digest(folder: Path) -> str:
    """One SHA-256 over the configs and weights of a model folder: what the manifest calls the model by."""
    names = parts(load_config(folder))
    if (folder / CONFIG).is_file():
        paths = [folder / CONFIG, folder / TOKENIZER]
    else:
        paths = [folder / layout.INDEX, folder / layout.SCHEDULER, folder / TOKENIZER]
        paths += [folder / part / "config.json" for part in names]
    hasher = hashlib.sha256()
    for path in [*paths, *(file for part in names for file in tensors_of.find(folder / part))]:
        hasher.update(file_digest(path).encode())
    return f"sha256:{hasher.hexdigest()}"


def part_digest(folder: Path, *parts: str) -> str:
    """One SHA-256, in hex, over the weights of some parts of a model folder."""
    files = [file for part in parts for file in tensors_of.find(folder / part)]
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()


def save_part(
    folder: Path, part: str, tensors: Mapping[str, np.ndarray], dtype: str | Mapping[str, str] = "bfloat16"
) -> Path:
    """Write the tensors of one part, as a type for all or by name; the file appears whole."""
    path = folder / part / FILES[part]
    path.parent.mkdir(parents=True, exist_ok=True)
    types = dict.fromkeys(tensors, dtype) if isinstance(dtype, str) else dtype
    write_tensors(path, {name: np.asarray(array, jnp.dtype(types[name])) for name, array in tensors.items()})
    for old in sorted(path.parent.glob("*.safetensors*"), reverse=True):  # shards of before: their index goes first
        if old != path:
            old.unlink()
    return path


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], about: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, with its metadata; it appears whole. Raises CheckpointError if it cannot be written."""
    draft = path.with_suffix(".part")
    try:
        save_file(dict(tensors), draft, None if about is None else dict(about))
    except (SafetensorError, OSError) as error:
        draft.unlink(missing_ok=True)
        full = "No space left on device" in str(error)
        why = "no space is left there; free some" if full else f"{error}; name a folder that can be written"
        raise CheckpointError(f"{path} could not be written: {why}") from None
    draft.chmod(0o666 & ~_umask())  # the library writes for the owner alone
    os.replace(draft, path)


def load_part(folder: Path, part: str) -> Tensors:
    """The tensors of one part, read as they are asked for. Raises CheckpointError if files are missing or corrupt."""
    found = tensors_of.read(folder / part)
    if part.startswith("transformer") and original.is_original(found):
        return found.renamed(original.diffusers_name)
    return found


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write the sizes of the whole model."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / CONFIG, json.dumps(configs.to_dict(config), indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text that appears whole. Raises CheckpointError if it cannot be written."""
    draft = path.with_name(f"{path.name}.part")
    try:
        draft.write_text(text, encoding="utf-8", errors="replace")
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"{path} could not be written: {error.strerror}; free some space there") from None


def load_config(folder: Path) -> ModelConfig:
    """Read the sizes of the whole model, from our config or from those of diffusers."""
    path = folder / CONFIG
    if not path.is_file() and (folder / layout.INDEX).is_file():
        return layout.read(folder)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a model folder: it has neither {CONFIG} nor {layout.INDEX}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    return configs.from_dict(ModelConfig, values, str(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex; of one that is as it was, by size and time, it is known from before."""
    found = path.stat()
    return _file_digest(path.resolve(), found.st_size, found.st_mtime_ns, found.st_ino)


@functools.lru_cache(1024)
def _file_digest(path: Path, *version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
