"""Walk a traced program (a jaxpr) before it is compiled: its useful FLOPs, and the Pallas kernels in it.

The compiled text says when a kernel runs, but not how its grid looks; the jaxpr does.
"""

import collections
import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One Pallas call, as every device runs it."""

    name: str
    options: str
    """Block sizes and what else the kernel's author put into its metadata, as text."""
    grid: tuple[int, ...]
    operands: tuple[str, ...]
    """Type of each operand, as in "bfloat16[2,4096,128]"."""
    blocks: tuple[str, ...]
    """Type and shape of the piece of each blocked operand and result that one step sees."""
    flops: float
    code: str = ""
    """Digest of the kernel's arithmetic: how often each operation of each shape stands in it."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Kernel":
        """As ``to_dict`` gave it, or as JSON made it."""
        return cls(**{**values, "grid": tuple(values["grid"]), **{k: tuple(values[k]) for k in ("operands", "blocks")}})


def equations(jaxpr: Any, times: int = 1, devices: int = 1) -> Iterator[tuple[Any, int, int]]:
    """Every equation that is not a container, with how often it runs and on how many devices a local one does.

    Of a ``cond`` that chooses by platform a TPU's branch is taken, of others the longest; a ``while`` is taken to run
    once, as its count is not known.
    """
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "pallas_call":
            yield equation, times, devices
        elif name == "scan":
            yield from equations(params["jaxpr"].jaxpr, times * params["length"], devices)
        elif name == "cond":
            yield from equations(_branch(params), times, devices)
        elif name == "shard_map":
            sizes = dict(params["mesh"].shape)
            manual = math.prod(sizes[axis] for axis in params.get("manual_axes", sizes))
            yield from equations(params["jaxpr"], times, devices * manual)
        else:
            inner = [j for value in params.values() for j in _jaxprs(value)]
            # A rule for derivatives travels along as a second program that does not run.
            if inner and name in ("custom_vjp_call", "custom_jvp_call"):
                inner = inner[:1]
            for one in inner:
                yield from equations(one, times, devices)
            if not inner:
                yield equation, times, devices


def _branch(params: dict[str, Any]) -> Any:
    branches = [closed.jaxpr for closed in params["branches"]]
    for platforms, jaxpr in zip(params.get("branches_platforms") or (), branches, strict=False):
        if platforms is None or "tpu" in platforms:  # None: the default, which is the last
            return jaxpr
    return max(branches, key=lambda jaxpr: len(jaxpr.eqns))


def _jaxprs(value: Any) -> Iterator[Any]:
    for one in value if isinstance(value, (tuple, list)) else (value,):
        inner = getattr(one, "jaxpr", one)
        if hasattr(inner, "eqns"):
            yield inner


def flops(jaxpr: Any) -> float:
    """FLOPs of dots, convolutions and the dots inside Pallas kernels, of all devices together."""
    return sum(_flops(equation) * times * devices for equation, times, devices in equations(jaxpr))


def _flops(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (summed, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[d] for d in summed)
    if name == "conv_general_dilated":
        kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
        features = params["dimension_numbers"].rhs_spec[0]
        return 2.0 * math.prod(out) * math.prod(kernel) / kernel[features]
    if name == "pallas_call":
        if params.get("cost_estimate") is not None:  # its author's word; parts may be alternatives
            return float(params["cost_estimate"].flops)
        inner = sum(_flops(e) * times for e, times, _ in _kernel_equations(params["jaxpr"]))
        return inner * math.prod(params["grid_mapping"].grid)
    return 0.0


def _kernel_equations(jaxpr: Any) -> Iterator[tuple[Any, int, int]]:
    """As ``equations``, but every conditional part counts: blocks that a mask empties are taken for full ones."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond":
            for branch in equation.params["branches"]:
                yield from _kernel_equations(branch.jaxpr)
        elif equation.primitive.name == "scan":
            length = equation.params["length"]
            for one, times, devices in _kernel_equations(equation.params["jaxpr"].jaxpr):
                yield one, times * length, devices
        else:
            inner = [j for value in equation.params.values() for j in _jaxprs(value)]
            for one in inner:
                yield from _kernel_equations(one)
            if not inner:
                yield equation, 1, 1


def kernels(jaxpr: Any) -> list[tuple[Kernel, Any]]:
    """The different Pallas kernels of a program, each with an equation that calls it."""
    found: dict[Kernel, Any] = {}
    for equation, _, _ in equations(jaxpr):
        if equation.primitive.name == "pallas_call":
            found.setdefault(describe(equation), equation)
    return list(found.items())


def describe(equation: Any) -> Kernel:
    """What tells a Pallas call from others."""
    params = equation.params
    metadata = dict(params.get("metadata") or {})
    named = params.get("name") or getattr(params.get("name_and_src_info"), "name", "kernel")
    return Kernel(
        name=named,
        options=" ".join(f"{k}={v}" for k, v in sorted(metadata.items())),
        grid=tuple(int(n) for n in params["grid_mapping"].grid),
        operands=tuple(type_name(v.aval) for v in equation.invars),
        blocks=tuple(_block(mapping) for mapping in params["grid_mapping"].block_mappings),
        flops=_flops(equation),
        code=_code(params["jaxpr"]),
    )


def _code(jaxpr: Any) -> str:
    shapes = collections.Counter(
        f"{one.primitive.name} {[str(getattr(v.aval, 'shape', '')) for v in one.outvars]}"
        for one, _, _ in _kernel_equations(jaxpr)
    )
    return hashlib.sha256(repr(sorted(shapes.items())).encode()).hexdigest()[:12]


def _block(mapping: Any) -> str:
    sizes = [str(getattr(size, "block_size", 1)) for size in mapping.block_shape]  # a squeezed axis has no size
    return f"{mapping.array_aval.dtype}[{','.join(sizes)}]"


def type_name(aval: Any) -> str:
    """As in "bfloat16[2,4096,128]"."""
    return f"{aval.dtype}[{','.join(map(str, aval.shape))}]"
