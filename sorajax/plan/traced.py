"""The Pallas kernels in a traced program (a jaxpr), before it is compiled.

The compiled text says when a kernel runs, but not how its grid looks; the jaxpr does.
"""

import collections
import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from sorajax.cost.flops import equations, inside_kernel, of_equation


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
        flops=of_equation(equation),
        code=_code(params["jaxpr"]),
    )


def _code(jaxpr: Any) -> str:
    shapes = collections.Counter(
        f"{one.primitive.name} {[str(getattr(v.aval, 'shape', '')) for v in one.outvars]}"
        for one, _, _ in inside_kernel(jaxpr)
    )
    return hashlib.sha256(repr(sorted(shapes.items())).encode()).hexdigest()[:12]


def _block(mapping: Any) -> str:
    sizes = [str(getattr(size, "block_size", 1)) for size in mapping.block_shape]  # a squeezed axis has no size
    return f"{mapping.array_aval.dtype}[{','.join(sizes)}]"


def type_name(aval: Any) -> str:
    """As in "bfloat16[2,4096,128]"."""
    return f"{aval.dtype}[{','.join(map(str, aval.shape))}]"
