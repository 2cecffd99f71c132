"""Read the text of a compiled XLA module: computations, instructions, shapes, and who is in a collective.

The text is what ``Compiled.as_text()`` gives for TPUs. Instructions stand in the order in which they run
(``is_scheduled=true``), and the backend's own estimate of a fusion's time stands in its ``backend_config``.
"""

import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property

from sorajax.errors import InputError

BITS = {"pred": 8, "bf16": 16, "token": 0, "opaque": 0}
NO_ESTIMATE = 2**63 - 1
"""What stands where the backend makes none, as for tpu7x's SparseCores."""
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"\b(calls|body|condition|to_apply|true_computation|false_computation)=%?([\w.\-]+)")


@dataclass(frozen=True)
class Array:
    """Type of an array: element type, dimensions, and the memory it lies in (0: HBM, 1: VMEM, others: scalar)."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"

    @property
    def bytes(self) -> int:
        """Without padding to tiles."""
        known = BITS.get(self.dtype)
        bits = int(re.findall(r"\d+", self.dtype)[0]) if known is None else known
        return math.prod(self.dims) * bits // 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    """The result's arrays; a tuple's are flattened."""
    operands: tuple[str, ...]
    attributes: str
    number: int | None = None
    """Of a parameter."""

    @cached_property
    def cycles(self) -> int | None:
        """The backend's estimate, in cycles of the core's clock; None where it makes none."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.attributes)
        return None if found is None or int(found[1]) == NO_ESTIMATE else int(found[1])

    @cached_property
    def called(self) -> dict[str, str]:
        """Computations it names, by role."""
        return dict(_CALLED.findall(self.attributes))

    @cached_property
    def branches(self) -> tuple[str, ...]:
        """Computations that a conditional chooses from."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        if listed:
            return tuple(re.findall(r"%?([\w.\-]+)", listed[1]))
        return tuple(self.called[k] for k in ("true_computation", "false_computation") if k in self.called)

    @cached_property
    def target(self) -> str:
        """What a custom call calls; empty for others."""
        found = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return "" if found is None else found[1]

    @cached_property
    def channel(self) -> str | None:
        """Id that the parts of one collective share."""
        found = re.search(r"channel_id=(\d+)", self.attributes)
        return None if found is None else found[1]

    @property
    def origin(self) -> str:
        """The traced operation that it comes from, as in "jit(f)/while/body/dot_general"; empty if not told."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return "" if found is None else found[1]

    @property
    def bytes(self) -> int:
        return sum(a.bytes for a in self.arrays)


@dataclass(frozen=True)
class Computation:
    """Instructions by name, in the order in which they run."""

    name: str
    instructions: dict[str, Instruction]

    def operand_arrays(self, instruction: Instruction) -> list[Array]:
        """What the operands are, tuples flattened."""
        known = (self.instructions[n] for n in instruction.operands if n in self.instructions)
        return [array for one in known for array in one.arrays]


@dataclass(frozen=True)
class Module:
    """A compiled program."""

    computations: dict[str, Computation]
    entry: str

    def trips(self, loop: Instruction) -> int:
        """How often a while loop runs: the bound in its condition, as loops of scans count from zero.

        Raises InputError if the condition compares with nothing constant.
        """
        condition = self.computations[loop.called["condition"]]
        reached = [condition, *(self.computations[n] for i in condition.instructions.values() for n in _inner(i))]
        bounds = [
            int(found[1])
            for one in reached
            for i in one.instructions.values()
            if i.opcode == "constant" and (found := re.match(r"constant\((\d+)\)", i.attributes))
        ]
        if not bounds:
            raise InputError(f"loop {loop.name!r} of the compiled program has no constant bound; it cannot be timed")
        return max(bounds)


def _inner(instruction: Instruction) -> list[str]:
    return [name for role, name in instruction.called.items() if role in ("calls", "to_apply")]


def parse(text: str) -> Module:
    """The module that ``Compiled.as_text()`` printed. Raises InputError for text that is no HLO module."""
    computations: dict[str, Computation] = {}
    entry, current = "", None
    for line in _whole_lines(text):
        if current is None:
            head = _COMPUTATION.match(line)
            if head:
                current = computations[head[2]] = Computation(head[2], {})
                entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif _INSTRUCTION.match(line):
            one = _instruction(line)
            current.instructions[one.name] = one
    if not entry:
        raise InputError("the text holds no ENTRY computation: it is not a compiled HLO module")
    return Module(computations, entry)


def _whole_lines(text: str):  # noqa: ANN202 - iterator of str
    """Lines, with those that a kernel's metadata broke put together again."""
    held = ""
    for line in text.splitlines():
        starts = _INSTRUCTION.match(line) or line == "}" or line.startswith("}, execution") or _COMPUTATION.match(line)
        if held and (starts or not line.strip()):
            yield held
            held = ""
        if starts:
            held = line
        elif held:
            held += line
    if held:
        yield held


def _instruction(line: str) -> Instruction:
    head = _INSTRUCTION.match(line)
    assert head is not None  # as the caller found
    rest = line[head.end() :]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    type_, rest = rest[:end], rest[end:].lstrip()
    opcode = rest[: rest.index("(")]
    close = _closing(rest, len(opcode))
    inside = rest[len(opcode) + 1 : close]
    # A constant's value stands where operands do; it is kept with the attributes.
    attributes = rest if opcode == "constant" else rest[close + 1 :]
    operands = () if opcode in ("constant", "parameter") else tuple(re.findall(r"%([\w.\-]+)", inside))
    number = int(inside) if opcode == "parameter" else None
    return Instruction(head[1], opcode, _arrays(type_), operands, attributes, number)


def _closing(text: str, start: int) -> int:
    """Index of the parenthesis that closes the one at ``start``."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise InputError(f"unbalanced parentheses in the compiled program near {text[start : start + 40]!r}")


def _arrays(text: str) -> tuple[Array, ...]:
    found = []
    for dtype, dims, layout in _ARRAY.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        found.append(Array(dtype, tuple(map(int, filter(None, dims.split(",")))), int(space[1]) if space else 0))
    return tuple(found)


def groups(attributes: str, devices: int) -> list[list[int]]:
    """Partitions that take part in a collective together; all of them if it names none.

    Reads the forms {{0,1},{2,3}}, [2,2]<=[4], [2,2]<=[2,2]T(1,0) and mesh['a'=2,'b'=2] {'b'}.
    """
    if listed := re.search(r"replica_groups=\{(\{[\d,{} ]*\})\}", attributes):
        return [list(map(int, g.split(","))) for g in re.findall(r"\{([\d, ]+)\}", listed[1])]
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes):
        shape, source, order = ([int(n) for n in (part or "").split(",") if n] for part in iota.groups())
        return _rows(_transposed(tuple(source), tuple(order or range(len(source)))), shape[-1])
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", attributes):
        return _mesh_groups(mesh[1], mesh[2])
    return [list(range(devices))]


def _mesh_groups(mesh: str, chosen: str) -> list[list[int]]:
    """Groups along some axes of a mesh; 'a':(2)4 is the part of axis a of size 4 that has size 2 before it."""
    axes = [(name, int(size)) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh)]
    wanted = [(n, int(a or 0), int(b or 0)) for n, a, b in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen)]
    shape, along = [], []
    for name, size in axes:
        parts = sorted((before, part) for n, before, part in wanted if n == name)
        if parts == [(0, 0)]:
            parts = [(1, size)]
        done = 1
        for before, part in parts:
            if before > done:
                shape.append(before // done)
            along.append(len(shape))
            shape.append(part)
            done = before * part
        if size > done:
            shape.append(size // done)
    others = [i for i in range(len(shape)) if i not in along]
    return _rows(_transposed(tuple(shape), (*others, *along)), math.prod(shape[i] for i in along))


def _transposed(shape: tuple[int, ...], order: tuple[int, ...]) -> list[int]:
    """0, 1, ... in ``shape``, with its dimensions in another order, flattened."""
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    steps = [range(0, shape[i] * strides[i], strides[i]) if shape[i] else range(0) for i in order]
    return [sum(index) for index in itertools.product(*steps)]


def _rows(flat: list[int], width: int) -> list[list[int]]:
    return [flat[i : i + width] for i in range(0, len(flat), width)]


def pairs(attributes: str) -> list[tuple[int, int]]:
    """(from, to) of a collective-permute."""
    listed = re.search(r"source_target_pairs=\{(.*?)\}\}", attributes)
    return [(int(a), int(b)) for a, b in re.findall(r"\{(\d+),(\d+)", listed[0])] if listed else []
