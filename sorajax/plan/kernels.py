"""How long a Pallas kernel takes: the length of the program that the compiler makes of it.

The compiler puts no estimate on a Pallas call. It can write down the VLIW bundles, though, and a core issues one
bundle a cycle. A kernel's grid is a loop around its body; the planner counts the bundles in that loop, those of the
regions that run only at the first or the last step of the innermost grid axis (starting and finishing a row of
blocks), and reads how many steps the loop makes. With n steps along that axis

    cycles = steps x (bundles - (1 - 1/n) (first + last)) + outside.

Waiting for memory is not in it: it holds for kernels that are bound by arithmetic, as attention is.

``bundles.json`` holds what ``benchmarks/splash_bundles.py`` measured; kernels that are not there are measured when
they are met, and kept in the cache. A grid whose outer axis is parallel runs on both cores of a v5p: steps are
then half of the grid, and the table says so by ``cores``.
"""

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sorajax.errors import InputError
from sorajax.plan.traced import Kernel

TABLE = Path(__file__).parent / "bundles.json"


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """Length of a kernel's program, in bundles."""

    body: int
    """One pass through the grid's loop, every region in it."""
    first: int
    """Of these, what runs at the first step of a row only."""
    last: int
    outside: int
    """Before and after the loop."""
    cores: int
    """Among which the grid is divided."""

    def cycles(self, grid: tuple[int, ...]) -> float:
        """Of one core, for the whole grid."""
        row = grid[-1] if grid else 1
        step = self.body - (1 - 1 / row) * (self.first + self.last)
        return self.outside + math.prod(grid) / self.cores * step


def key(chip: str, kernel: Kernel) -> str:
    """What a kernel's length depends on: chip, name, options, and the blocks that a step sees.

    Sequence lengths and head counts change the grid and not the program.
    """
    digest = hashlib.sha256(json.dumps([kernel.options, kernel.blocks]).encode()).hexdigest()[:12]
    return f"{chip} {kernel.name} {digest}"


@functools.cache
def table() -> Mapping[str, Bundles]:
    """What was measured beforehand, by ``key``."""
    rows = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.is_file() else {}
    return {name: Bundles(**row["bundles"]) for name, row in rows.items()}


def read(text: str, grid: tuple[int, ...]) -> Bundles:
    """Count the bundles of a kernel in the compiler's ``*-final_bundles.txt``.

    Raises InputError if it has no grid loop, as a kernel of one step has none.
    """
    bundles = [
        (int(m[1], 16), m[2]) for m in re.finditer(r"^\s*(0x[0-9a-f]+|0)\s.*?:([^\n]*(?:\n(?!\s*0).*)*)", text, re.M)
    ]
    if not bundles:
        raise InputError("the compiler's listing holds no bundles; it may come from another version of libtpu")
    total = bundles[-1][0] + 1
    ends = [(at, int(m[1])) for at, line in bundles if (m := re.search(r", (\d+) /\* loop exit test \*/", line))]
    begins = [at for at, line in bundles if re.match(r"\s*>", line)]
    if not ends or not begins:
        return Bundles(body=total, first=0, last=0, outside=0, cores=1) if math.prod(grid) == 1 else _no_loop(grid)
    start, (end, bound) = begins[0], ends[-1]
    jump = next((at for at, line in bundles if at >= end and "sbr.rel" in line), end)
    steps = bound - 2  # the loop is pipelined over two stages more than the grid has steps
    cores = max(1, round(math.prod(grid) / steps)) if steps > 0 else 1
    first, last = _guarded(bundles, grid[-1])
    return Bundles(body=jump - start + 1, first=first, last=last, outside=total - (jump - start + 1), cores=cores)


def _no_loop(grid: tuple[int, ...]) -> Bundles:
    raise InputError(f"the compiler's listing has no loop over the grid {grid}; it may come from another libtpu")


def _guarded(bundles: list[tuple[int, str]], row: int) -> tuple[int, int]:
    """Bundles of the regions behind a test for step 0, and for step ``row - 1``, of the innermost axis."""
    lengths = {0: 0, row - 1: 0}
    if row == 1:
        return 0, 0
    pending: dict[str, int] = {}
    inside_until = -1
    labels: dict[int, int] = {}  # a region begins where it is first named
    for at, line in bundles:
        for named in re.findall(r"(?:Start|End)(?:/End empty)? region (\d+)", line):
            labels.setdefault(int(named), at)
    for at, line in bundles:
        for predicate, literal in re.findall(r"%(p\w+) = scmp\.ne\.s32\.totalorder %s\w+, (\d+)", line):
            pending[predicate] = int(literal)
        branch = re.search(r"sbr\.rel \(%(p\w+)\) target = \$region(\d+)", line)
        if branch and pending.get(branch[1]) in lengths and at > inside_until:
            there = labels.get(int(branch[2]), at)  # the branch leaps over what lies between
            if any(at < where < there and "vmat" in line for where, line in bundles):
                continue  # products: the step's own work, behind a test of the mask
            lengths[pending[branch[1]]] += max(0, there - at - 1)
            inside_until = there
    return lengths[0], lengths[row - 1]


def to_row(kernel: Kernel, bundles: Bundles) -> dict[str, Any]:
    """A row of the table, with what the key stands for."""
    return {"options": kernel.options, "blocks": list(kernel.blocks), "bundles": asdict(bundles)}
