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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.errors import CheckpointError
from sorajax.hosts.arrays import place

SAME = ""
LINEAR = "o i -> i o"
CONV1D = "o i w -> w i o"
CONV2D = "o i h w -> h w i o"
CONV3D = "o i t h w -> t h w i o"


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
class _Match:
    """One of our parameters, the tensors it is made of, and the rule that says so."""

    rule: Rule
    path: tuple[Any, ...]
    variable: nnx.Variable
    names: tuple[str, ...]
    stacked: bool


def apply(model: nnx.Module, tensors: Mapping[str, Any], rules: Sequence[Rule], *, ignore: Iterable[str] = ()) -> None:
    """Fill the parameters of ``model`` from ``tensors``, by name. Each tensor is read once.

    ``model`` may be abstract (``nnx.eval_shape``): then nothing is allocated twice. An array takes the dtype of
    the parameter, and its sharding where it has one. ``ignore`` holds regular expressions of tensors to leave.

    Raises CheckpointError, naming missing, unexpected and misshapen tensors together; the model is then as it was.
    """
    missing, misshapen, used, filled = [], [], set(), {}
    for match in _matches(model, rules):
        used.update(match.names)
        absent = [name for name in match.names if name not in tensors]
        missing += absent
        if absent:
            continue
        want = match.variable.get_value()
        one = want.shape[1:] if match.stacked else want.shape
        arrays = []
        for name in match.names:
            theirs = np.asarray(tensors[name])
            try:
                array = rearrange(theirs, match.rule.axes, dict(match.rule.sizes))
            except ValueError:
                array = None
            if array is None or array.shape != one:
                misshapen.append(f"{name} {theirs.shape} for {_dotted(match.path)} {one}")
            else:
                arrays.append(array)
        if len(arrays) == len(match.names):
            array = (np.stack(arrays) if match.stacked else arrays[0]).astype(want.dtype)
            # A concrete array on one device is not tied to it; one spread over a mesh stays spread.
            spread = isinstance(want.sharding, jax.sharding.NamedSharding)
            filled[match.path] = match.variable.replace(place(array, want.sharding) if spread else jnp.asarray(array))
    skip = [re.compile(pattern) for pattern in ignore]
    unexpected = [name for name in tensors if name not in used and not any(p.fullmatch(name) for p in skip)]
    problems = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
    if any(names for _, names in problems):
        raise CheckpointError("weights do not fit the model: " + "; ".join(_listed(*p) for p in problems if p[1]))
    nnx.update(model, nnx.from_flat_state(filled))


def extract(model: nnx.Module, rules: Sequence[Rule]) -> dict[str, np.ndarray]:
    """The parameters of ``model`` under the names and shapes of the foreign checkpoint."""
    tensors = {}
    for match in _matches(model, rules):
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


def _matches(model: nnx.Module, rules: Sequence[Rule]) -> list[_Match]:
    compiled = [(rule, _pattern(rule.ours)) for rule in rules]
    matches, orphans = [], []
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
        matches.append(_Match(rule, path, variable, names, bool(layers)))
    if orphans:
        raise CheckpointError(f"no rule for the {_listed('parameters', orphans)}")
    return matches


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
