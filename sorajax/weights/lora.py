"""Low-rank adapters of a transformer (LoRA, arXiv 2106.09685): files of common key styles, merged into its kernels.

An adapter adds ``scale alpha / r B A`` to a weight [o, i], for A [r, i] and B [o, r]. Keys are read as diffusers and
PEFT write them, as Wan's own names with or without ComfyUI's prefix, and as kohya's scripts do, with underscores.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from sorajax.errors import CheckpointError, InputError
from sorajax.models.dit import DiT
from sorajax.models.quantised import Quantised, quantise
from sorajax.weights.convert import LINEAR, Match, matches, rearrange
from sorajax.weights.dit import RULES
from sorajax.weights.folder import file_digest
from sorajax.weights.original import diffusers_name, original_name

_PREFIXES = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "lora_unet_",
    "lora_transformer_",
)
_KEY = re.compile(
    r"(?P<module>.+?)\.(?:(?P<down>lora_A|lora_down)|(?P<up>lora_B|lora_up))(?:\.default)?(?:\.weight)?"
    r"|(?P<scaled>.+)\.(?P<alpha>alpha)|(?P<whole>.+)\.(?P<diff>diff|diff_b)"
)


TRANSFORMER = "sorajax.transformer"
"""In a file's metadata: which of a model's two transformers it is for, 0 or 1."""


@dataclass
class Change:
    """What is added to one weight [o, ...]: ``alpha / r up down``, or ``diff``."""

    down: np.ndarray | None = None
    up: np.ndarray | None = None
    alpha: float | None = None
    diff: np.ndarray | None = None


@dataclass(frozen=True)
class Lora:
    """The changes of a file, by the name that diffusers gives the weight or bias."""

    path: Path
    digest: str
    changes: Mapping[str, Change] = field(repr=False)
    transformer: int | None = None
    """Which of two it says it is for."""


def read(path: Path, model: DiT) -> Lora:
    """Read a file for a transformer.

    Raises InputError if there is none, CheckpointError if it is damaged or, naming the keys, if some match no weight of
    the transformer or are of another shape.
    """
    if not path.is_file():
        raise InputError(f"no LoRA at {str(path)!r}; name a .safetensors file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}); fetch it again") from None
    shapes = {name: match.theirs for match in matches(model, RULES) for name in match.names}
    modules = {}
    for name in shapes:
        module = name.removesuffix(".weight").removesuffix(".bias")
        for known in (module, original_name(module)):
            modules |= {known: module, known.replace(".", "_"): module}
    changes: dict[str, Change] = {}
    strange = [key for key, value in tensors.items() if not _take(key, value, modules, shapes, changes)]
    incomplete = [name for name, c in changes.items() if c.diff is None and (c.down is None or c.up is None)]
    wrong = [name for name, c in changes.items() if name not in incomplete and _shape(c) != _flat(shapes[name], c)]
    problems = [("match nothing in this transformer", strange), ("have one of two factors", incomplete)]
    problems += [("are of another shape, as of a model of another size", wrong)]
    said = "; ".join(f"{len(some)} keys {what}: {_listed(some)}" for what, some in problems if some)
    if said:
        raise CheckpointError(f"{path}: {said}")
    if not changes:
        raise CheckpointError(f"{path} holds no LoRA; a file with keys such as ...lora_A.weight is expected")
    with safe_open(path, framework="numpy") as file:
        said = (file.metadata() or {}).get(TRANSFORMER, "")
    return Lora(path, f"sha256:{file_digest(path)}", changes, int(said) if said in ("0", "1") else None)


class Adapters:
    """The adapters of one transformer, by name. Its kernels are always those of the file plus all that is here.

    The transformer may be away: then adapters are noted, and merged when it comes.
    """

    def __init__(self) -> None:
        self._model: DiT | None = None
        self._held: dict[str, tuple[Lora, float]] = {}
        self._own: dict[tuple[Any, ...], Any] = {}

    def attach(self, model: DiT) -> None:
        """A transformer that was just loaded."""
        self._model, self._own = model, {}
        self._change(self._held)

    def detach(self) -> None:
        """The transformer is about to be given up, with its kernels."""
        self._model, self._own = None, {}

    def facts(self) -> list[dict[str, Any]]:
        """Name, digest and scale of each, for the manifest."""
        return [{"name": n, "digest": lora.digest, "scale": scale} for n, (lora, scale) in self._held.items()]

    def set(self, name: str, lora: Lora, scale: float) -> None:
        """Add an adapter, or put it in the place of that of this name."""
        self._change(self._held | {name: (lora, scale)})

    def scale(self, name: str, scale: float) -> None:
        """Give an adapter another scale."""
        self.set(name, self._held[name][0], scale)

    def remove(self, name: str) -> None:
        """Take an adapter away; without any, every kernel is bit for bit what it was."""
        self._change({other: held for other, held in self._held.items() if other != name})

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def _change(self, held: dict[str, tuple[Lora, float]]) -> None:
        if self._model is not None:
            _put(self._model, self._own)
            merged = merge(self._model, list(held.values())) if held else {}
            self._own = {m.path: m.variable.get_value() for m in matches(self._model, RULES) if m.path in merged}
            _put(self._model, merged)
        self._held = held


def _put(model: DiT, values: Mapping[tuple[Any, ...], Any]) -> None:
    variables = {match.path: match.variable for match in matches(model, RULES)}
    nnx.update(model, nnx.from_flat_state({path: variables[path].replace(value) for path, value in values.items()}))


def merge(model: DiT, loras: Sequence[tuple[Lora, float]]) -> dict[tuple[Any, ...], Any]:
    """The parameters that the adapters change, by path, with all of them added, each times its scale, in float32.

    A kernel of eight bits is rounded anew.
    """
    merged = {}
    for match in matches(model, RULES):
        added = [
            (i, lora.changes[name], scale)
            for i, name in enumerate(match.names)
            for lora, scale in loras
            if name in lora.changes
        ]
        if not added:
            continue
        old = match.variable.get_value()
        value = old.astype(jnp.float32)
        for i, change, scale in added:
            value = _add(value, *_factors(change, match), np.float32(scale), np.int32(i), match.stacked)
        merged[match.path] = quantise(value, old.both) if isinstance(old, Quantised) else value.astype(old.dtype)
    return merged


def _take(
    key: str, value: np.ndarray, modules: Mapping[str, str], shapes: Mapping[str, Any], changes: dict[str, Change]
) -> bool:
    """Enter a tensor of a file into ``changes``; False if it belongs to nothing."""
    bare = key
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    found = _KEY.fullmatch(bare)
    if found is None:
        return False
    name = found["module"] or found["scaled"] or found["whole"]
    module = modules.get(name) or modules.get(diffusers_name(name))
    tensor = f"{module}.{'bias' if found['diff'] == 'diff_b' else 'weight'}"
    if tensor not in shapes:
        return False
    change = changes.setdefault(tensor, Change())
    value = np.asarray(value, np.float32)
    if found["alpha"]:
        change.alpha = float(value.reshape(-1)[0])
    elif found["diff"]:
        change.diff = value
    elif found["down"]:
        change.down = value.reshape(value.shape[0], -1)
    else:
        change.up = value.reshape(value.shape[0], -1)
    return True


def _shape(change: Change) -> tuple[int, ...] | None:
    if change.diff is not None:
        return change.diff.shape
    assert change.up is not None and change.down is not None
    return (change.up.shape[0], change.down.shape[1]) if change.up.shape[1] == change.down.shape[0] else None


def _flat(shape: tuple[int, ...], change: Change) -> tuple[int, ...]:
    return shape if change.diff is not None else (shape[0], int(np.prod(shape[1:])))


def _factors(change: Change, match: Match) -> tuple[np.ndarray, np.ndarray | None]:
    """Two factors [i, r] and [r, o] of what is added to a kernel; or all of it, in our axes, and None."""
    if change.diff is None:
        assert change.up is not None and change.down is not None
        rank = change.down.shape[0]
        down = change.down * np.float32((rank if change.alpha is None else change.alpha) / rank)
        if match.rule.axes == LINEAR:
            return down.T, change.up.T
        whole = (change.up @ down).reshape(match.theirs)
    else:
        whole = change.diff
    return rearrange(whole, match.rule.axes, dict(match.rule.sizes)), None


@jax.jit(static_argnames="stacked")
def _add(
    value: jax.Array, a: jax.Array, b: jax.Array | None, scale: jax.Array, i: jax.Array, stacked: bool
) -> jax.Array:
    change = scale * (a if b is None else jnp.matmul(a, b, precision="highest"))
    return value.at[i].add(change) if stacked else value + change


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
