"""What the instructions of a compiled program cost, apart from time: FLOPs, bytes of HBM, collectives.

Counted as they run: a loop's body as often as the loop, a conditional by its dearest branch.
"""

import functools
import math
import re

from sorajax.plan.hlo import Array, Computation, Instruction, Module
from sorajax.plan.network import KINDS

FREE = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "partition-id", "replica-id"),
        *("after-all", "opt-barrier", "add-dependency", "domain"),
    )
)
"""Opcodes that take no time."""
START, DONE = "AsyncCollectiveStart", "AsyncCollectiveDone"
"""Custom calls inside the first and last of the fusions that a collective is spread over."""


def kind_of(opcode: str) -> str | None:
    """The collective that an opcode is, or is the start of."""
    base = opcode.removesuffix("-start")
    if base == "ragged-all-to-all":
        return "all-to-all"
    return base if base in KINDS else None


def collective_in(module: Module, computation: str) -> tuple[Computation, Instruction] | None:
    """The first collective inside a called computation."""
    inside = module.computations[computation]
    for one in inside.instructions.values():
        if kind_of(one.opcode):
            return inside, one
        for name in one.called.values():
            if one.opcode in ("fusion", "call", "async-start") and (found := collective_in(module, name)):
                return found
    return None


def collective_bytes(kind: str, inside: Computation, one: Instruction, members: int) -> int:
    """The whole array of an all-gather or reduce-scatter, what a device holds of the others."""
    held = sum(a.bytes for a in inside.operand_arrays(one) if a.dtype != "u32" or a.dims)
    return held * members if kind == "all-gather" else held


def flops(module: Module) -> float:
    """Multiply-adds of dots and convolutions times two, of one device; Pallas kernels are not in it."""

    @functools.cache
    def inside(name: str) -> float:
        return sum(of(module.computations[name], one) for one in module.computations[name].instructions.values())

    def of(where: Computation, one: Instruction) -> float:
        if one.opcode == "while":
            return module.trips(one) * inside(one.called["body"])
        if one.opcode == "conditional":
            return max(map(inside, one.branches), default=0.0)
        if one.opcode in ("fusion", "call", "async-start"):
            return inside(one.called.get("calls") or one.called["to_apply"])
        return product(where, one)

    return inside(module.entry)


def has_product(module: Module, one: Instruction) -> bool:
    """Whether an instruction is a dot or convolution, or a fusion around one."""
    if one.opcode in ("dot", "convolution"):
        return True
    inside = module.computations.get(one.called.get("calls", ""))
    return inside is not None and any(has_product(module, inner) for inner in inside.instructions.values())


def product(where: Computation, one: Instruction) -> float:
    """FLOPs of a dot or convolution, 0 for others.

    The TPU compiler writes batched products as convolutions with dilated inputs, so only the positions of the kernel
    that meet an element count.
    """
    if one.opcode not in ("dot", "convolution"):
        return 0.0
    left, right = (where.instructions[n].arrays[0] for n in one.operands[:2])
    out = one.arrays[0]
    if one.opcode == "dot":
        summed = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.attributes)
        sizes = [left.dims[int(d)] for d in summed[1].split(",") if d] if summed else []
        return 2.0 * math.prod(out.dims) * math.prod(sizes)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.attributes)
    assert labels is not None, one.attributes  # HLO's grammar asks for it
    left_labels, right_labels, out_labels = labels.groups()
    window = _window(one.attributes, sum(c.isdecimal() for c in left_labels))
    meeting = 1
    for d, fields in enumerate(window):
        meeting *= _meetings(left.dims[left_labels.index(str(d))], out.dims[out_labels.index(str(d))], fields)
    batch, features = out.dims[out_labels.index("b")], out.dims[out_labels.index("f")]
    batches = re.search(r"batch_group_count=(\d+)", one.attributes)
    return 2.0 * batch * features * right.dims[right_labels.index("i")] * meeting / (int(batches[1]) if batches else 1)


def _window(attributes: str, dimensions: int) -> list[dict[str, tuple[int, ...]]]:
    """Each spatial dimension's size, stride, (low, high) padding, and dilations."""
    found = re.search(r"window=\{([^}]*)\}", attributes)
    fields = dict(part.split("=") for part in found[1].split()) if found else {}
    defaults = {"size": "1", "stride": "1", "pad": "0_0", "lhs_dilate": "1", "rhs_dilate": "1"}
    split = {k: fields[k].split("x") if k in fields else [v] * dimensions for k, v in defaults.items()}
    return [{k: tuple(map(int, v[d].split("_"))) for k, v in split.items()} for d in range(dimensions)]


def _meetings(size: int, out: int, window: dict[str, tuple[int, ...]]) -> int:
    """Pairs of an output and a kernel position that meet an input element rather than padding or dilation."""
    (kernel,), (stride,), (low, _) = window["size"], window["stride"], window["pad"]
    (dilate,), (spread,) = window["lhs_dilate"], window["rhs_dilate"]
    if kernel == 1 and low == 0 and dilate == 1:
        return out
    if kernel > 64 and out > 64 and dilate == 1 == stride:  # large windows over as large an input: a closed form
        return sum(max(0, min(size, o - low + kernel) - max(0, o - low)) for o in range(out))
    count = 0
    for k in range(kernel):
        for o in range(out):
            place = o * stride + k * spread - low
            count += place % dilate == 0 and 0 <= place // dilate < size
    return count


def hbm_bytes(module: Module, where: Computation, one: Instruction) -> int:
    """Bytes that an instruction reads from and writes to HBM; slices of a stacked array count as slices."""
    if one.opcode in FREE or one.opcode in ("while", "conditional", "call") or one.opcode.endswith("-done"):
        return 0
    if one.opcode.endswith("-start"):
        moved = [a for a in one.arrays if a.dims]
        return min((a.bytes for a in moved), default=0) if any(a.space == 0 for a in moved) else 0
    inside = module.computations.get(one.called.get("calls", "")) if one.opcode == "fusion" else None
    read = 0
    for number, name in enumerate(one.operands):
        arrays = where.instructions[name].arrays if name in where.instructions else ()
        if len(arrays) == 1 and arrays[0].space == 0:
            read += _read(arrays[0], inside, number) if inside else arrays[0].bytes
    written = sum(a.bytes for a in one.arrays if a.space == 0)
    update = _updated(inside) if inside else None
    return read + (written if update is None or len(one.arrays) > 1 else update.bytes)


def _read(array: Array, inside: Computation, number: int) -> int:
    """What a fusion reads of an operand: all of it, unless it is only sliced or only updated in place."""
    parameter = next((i.name for i in inside.instructions.values() if i.number == number), "")
    uses = [i for i in inside.instructions.values() if parameter in i.operands]
    if uses and all(u.opcode == "dynamic-slice" for u in uses):
        return sum(u.bytes for u in uses)
    if uses and all(u.opcode == "dynamic-update-slice" and u.operands[0] == parameter for u in uses):
        return 0
    return array.bytes


def _updated(inside: Computation) -> Array | None:
    """The piece that a fusion writes into an array, if that is all it does."""
    root = list(inside.instructions.values())[-1]
    while root.opcode == "bitcast" and root.operands[0] in inside.instructions:
        root = inside.instructions[root.operands[0]]
    if root.opcode != "dynamic-update-slice":
        return None
    return inside.instructions[root.operands[1]].arrays[0]
