"""Apply a table of rules between the names and shapes of a foreign checkpoint and our parameters.

A rule is data: their name, our name, and how the axes move. Both names are templates; a part in braces stands
for one dotted component (``{n}``) or several (``{path*}``) and must be equal on both sides::

    Rule("decoder.{path*}.weight", "decoder.{path*}.kernel", CONV3D)

A part that only their template has counts layers that we keep stacked in one array with a leading axis::

    Rule("blocks.{layer}.attn1.to_q.weight", "blocks.attn1.q.kernel", LINEAR)

The first rule whose ``ours`` fits a parameter names its tensors, so a table works in both directions.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec

from sorajax.errors import CheckpointError
from sorajax.hosts.arrays import place
from sorajax.models.quantised import Quantised, quantise
from sorajax.weights.tensors import Tensors

SAME = ""
LINEAR = "o i -> i o"
CONV1D = "o i w -> w i o"
CONV2D = "o i h w -> h w i o"
CONV3D = "o i t h w -> t h w i o"
SMALL = 1 << 24
"""Bytes of a parameter whose layers are put together before they go to the devices."""


@dataclass(frozen=True)
class Rule:
    """Their tensor, our parameter, and the axes of one layer's tensor: theirs on the left, ours on the right.

    ``axes`` lists names of axes, ``1`` for an axis of size one, and groups such as ``(t h w i)`` for axes kept
    as one, on either side; axis sizes that shapes do not tell are given in ``sizes``.
    """

    theirs: str
    ours: str
    axes: str = SAME
    sizes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Match:
    """One of our parameters, the tensors it is made of, and the rule that says so."""

    rule: Rule
    path: tuple[Any, ...]
    variable: nnx.Variable
    names: tuple[str, ...]
    stacked: bool

    @property
    def theirs(self) -> tuple[int, ...]:
        """Shape of one tensor in the checkpoint."""
        left, arrow, right = self.rule.axes.partition("->")
        back = f"{right} {arrow} {left}" if arrow else SAME
        return rearrange(np.broadcast_to(np.int8(0), self.one), back, dict(self.rule.sizes)).shape

    @property
    def one(self) -> tuple[int, ...]:
        """Shape of what one tensor becomes."""
        shape = self.variable.get_value().shape
        return shape[1:] if self.stacked else shape


def check(model: nnx.Module, tensors: Mapping[str, Any], rules: Sequence[Rule], *, ignore: Iterable[str] = ()) -> None:
    """Raises CheckpointError as ``apply`` does, naming all that does not fit; nothing is read but names and shapes."""
    _check(matches(model, rules), tensors, [re.compile(pattern) for pattern in ignore])


def apply(model: nnx.Module, tensors: Mapping[str, Any], rules: Sequence[Rule], *, ignore: Iterable[str] = ()) -> None:
    """Fill the parameters of ``model`` from ``tensors``, by name; each is read once, and given up before the next.

    ``model`` may be abstract (``nnx.eval_shape``): then nothing is allocated twice. An array takes the dtype of
    the parameter, and its sharding where it has one; that of a ``Quantised`` kernel is rounded on its devices.
    ``ignore`` holds regular expressions of tensors to leave.

    Raises CheckpointError, naming missing, unexpected and misshapen tensors together before any is read; the model is
    then as it was.
    """
    found = matches(model, rules)
    _check(found, tensors, [re.compile(pattern) for pattern in ignore])
    filled = {match.path: match.variable.replace(_read(match, tensors)) for match in found}
    nnx.update(model, nnx.from_flat_state(filled))


def _check(found: Sequence[Match], tensors: Mapping[str, Any], skip: Sequence[re.Pattern[str]]) -> None:
    missing, misshapen, used = [], [], set()
    for match in found:
        used.update(match.names)
        missing += [name for name in match.names if name not in tensors]
        for name in (name for name in match.names if name in tensors):
            theirs = tensors.header(name)[0] if isinstance(tensors, Tensors) else np.shape(tensors[name])
            if _moved_shape(theirs, match.rule) != match.one:
                misshapen.append(f"{name} {theirs} for {_dotted(match.path)} {match.one}")
    unexpected = [name for name in tensors if name not in used and not any(p.fullmatch(name) for p in skip)]
    problems = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
    if any(names for _, names in problems):
        raise CheckpointError("weights do not fit the model: " + "; ".join(_listed(*p) for p in problems if p[1]))


def _moved_shape(shape: tuple[int, ...], rule: Rule) -> tuple[int, ...] | None:
    """What ``rearrange`` would make of a shape; None if the rule does not fit it."""
    try:
        return rearrange(np.broadcast_to(np.int8(0), shape), rule.axes, dict(rule.sizes)).shape
    except ValueError:
        return None


def _read(match: Match, tensors: Mapping[str, Any]) -> Any:
    """One parameter, on its devices. Layers of large ones go there one by one, and are rounded there."""
    want = match.variable.get_value()
    quantised = isinstance(want, Quantised)
    # A concrete array on one device is not tied to it; one spread over a mesh stays spread.
    spread = want.sharding if isinstance(want.sharding, jax.sharding.NamedSharding) else None

    def one(name: str) -> np.ndarray:
        array = rearrange(np.asarray(tensors[name]), match.rule.axes, dict(match.rule.sizes))
        return array if quantised else array.astype(want.dtype, copy=False)

    def put(array: np.ndarray, where: jax.sharding.Sharding | None) -> jax.Array:
        return jnp.asarray(array) if where is None else place(array, where)

    if not match.stacked or (want.size * want.dtype.itemsize <= SMALL and not quantised):
        whole = put(np.stack([one(name) for name in match.names]) if match.stacked else one(match.names[0]), spread)
        return jax.jit(quantise, static_argnums=1)(whole, want.both) if quantised else whole
    layer = None if spread is None else jax.sharding.NamedSharding(spread.mesh, PartitionSpec(*spread.spec[1:]))
    where = jax.tree.map(lambda leaf: leaf.sharding, want) if spread else None
    whole = jax.jit(lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), want), out_shardings=where)()
    for i, name in enumerate(match.names):
        whole = _set_layer(whole, put(one(name), layer), np.int32(i))
    return whole


@partial(jax.jit, donate_argnums=0)
def _set_layer(whole: Any, layer: jax.Array, i: jax.Array) -> Any:
    new = quantise(layer, whole.both) if isinstance(whole, Quantised) else layer
    return jax.tree.map(lambda old, one: jax.lax.dynamic_update_index_in_dim(old, one, i, 0), whole, new)


def extract(model: nnx.Module, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """The parameters of ``model`` under the names and shapes of the foreign checkpoint."""
    tensors = {}
    for match in matches(model, rules):
        ours = np.asarray(match.variable.get_value())
        left, arrow, right = match.rule.axes.partition("->")
        backward = f"{right} {arrow} {left}" if arrow else SAME
        for name, array in zip(match.names, ours if match.stacked else ours[None], strict=True):
            tensors[name] = np.ascontiguousarray(rearrange(array, backward, dict(match.rule.sizes)))
    return tensors


def rearrange(array: np.ndarray, axes: str, sizes: Mapping[str, int] | None = None) -> np.ndarray:
    """Move the axes of ``array`` as ``axes`` says, for example ``"o i h w -> h w i o"`` or ``"c 1 1 -> c"``.

    Raises ValueError if the array does not have the shape of the left side.
    """
    if not axes:
        return array
    left, right = (_groups(side) for side in axes.split("->"))
    known = {"1": 1, **(sizes or {})}
    if len(left) != array.ndim:
        raise ValueError(f"{axes!r} does not fit an array of shape {array.shape}")
    for group, size in zip(left, array.shape, strict=True):
        unknown = [name for name in group if name not in known]
        rest = math.prod(known[name] for name in group if name in known)
        if len(unknown) == 1 and size % rest == 0:
            known[unknown[0]] = size // rest
        elif unknown or rest != size:
            raise ValueError(f"{axes!r} does not fit an array of shape {array.shape}")
    names = [name for group in left for name in group if name != "1"]
    array = array.reshape([known[name] for name in names])
    array = array.transpose([names.index(name) for group in right for name in group if name != "1"])
    return array.reshape([math.prod(known[name] for name in group) for group in right])


def _groups(side: str) -> list[list[str]]:
    return [(grouped or single).split() for grouped, single in re.findall(r"\(([^)]*)\)|(\S+)", side)]


def matches(model: nnx.Module, rules: Sequence[Rule]) -> list[Match]:
    """The rule of each parameter. Raises CheckpointError, naming them, if some have none."""
    compiled = [(rule, _pattern(rule.ours)) for rule in rules]
    fitting, orphans = [], []
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        dotted = _dotted(path)
        found = ((rule, pattern.fullmatch(dotted)) for rule, pattern in compiled)
        rule, fields = next(((r, f) for r, f in found if f), (None, None))
        if rule is None or fields is None:
            orphans.append(dotted)
            continue
        parts = {name: fields[name] for name in fields.re.groupindex}
        layers = [name for name in _fields(rule.theirs) if name not in parts]
        count = variable.get_value().shape[0] if layers else 1
        names = tuple(_format(rule.theirs, parts | {name: str(i) for name in layers}) for i in range(count))
        fitting.append(Match(rule, path, variable, names, bool(layers)))
    if orphans:
        raise CheckpointError(f"no rule for the {_listed('parameters', orphans)}")
    return fitting


def _fields(template: str) -> list[str]:
    return re.findall(r"\{(\w+)\*?\}", template)


def _pattern(template: str) -> re.Pattern[str]:
    def group(part: str) -> str:
        field = re.fullmatch(r"\{(\w+)(\*?)\}", part)
        return f"(?P<{field[1]}>{'.+' if field[2] else '[^.]+'})" if field else re.escape(part)

    return re.compile("".join(group(part) for part in re.split(r"(\{\w+\*?\})", template)))


def _format(template: str, parts: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\*?\}", lambda field: parts[field[1]], template)


def _dotted(path: Iterable[Any]) -> str:
    return ".".join(map(str, path))


def _listed(label: str, names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {label}: {', '.join(names[:most])}{more}"
