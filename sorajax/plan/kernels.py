"""How long a Pallas kernel takes: the length of the program that the compiler makes of it.

The compiler puts no estimate on a Pallas call. It can write down the VLIW bundles, though, and a core issues one
bundle a cycle. A kernel's grid is a loop around its body. Counted are the bundles of that loop which a step usually
runs, and of these, the regions that run only at the first or the last step of the innermost grid axis (starting and
finishing a row of blocks). With n steps along that axis

    step = max(usual - (1 - 1/n) (first + last), products x cycles of a product)
    cycles = outside + steps x step.

The second bound is the matrix units': an instruction that feeds one is one bundle, and keeps it busy for longer. Units
of 256 x 256 are busy as long with half as wide a product, as with heads of 128 channels. Waiting for memory is in
neither: it holds for kernels that are bound by arithmetic, as attention is.

Which regions a step runs is read off the branches: one behind a test for the first or the last step; of several that
have as many products, which are the same work under different masks, the first; of two behind a test and its
opposite, the first. So a kernel's usual path stands first in it.

``bundles.json`` holds what ``benchmarks/kernel_bundles.py`` measured; kernels that are not there are measured when
they are met, and kept in the cache. A grid whose outer axes are parallel runs on both cores of a v5p: steps are
then half of the grid, and the table says so by ``cores``.
"""

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sorajax.errors import InputError
from sorajax.plan.chips import Chip
from sorajax.plan.hlo import Array
from sorajax.plan.traced import Kernel

TABLE = Path(__file__).parent / "bundles.json"
ALIKE = 0.9
"""Regions with this share of the most products are the same work under another mask."""


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """Length of a kernel's program, in bundles."""

    usual: int
    """One pass through the grid's loop, first and last step's regions in it."""
    first: int
    """Of these, what runs at the first step of a row only."""
    last: int
    outside: int
    """Before and after the loop."""
    cores: int
    """Among which the grid is divided."""
    products: int
    """Instructions of a step, neither first nor last, that feed 16 rows to a matrix unit."""

    def cycles(self, grid: tuple[int, ...], chip: Chip) -> float:
        """Of one core, for the whole grid."""
        row = grid[-1] if grid else 1
        issue = self.usual - (1 - 1 / row) * (self.first + self.last)
        return self.outside + math.prod(grid) / self.cores * max(issue, self.products * chip.product_cycles)


def key(chip: str, kernel: Kernel) -> str:
    """What a kernel's length depends on: chip, name, options, and the blocks that a step sees.

    Sequence lengths and head counts change the grid and not the program, unless a row has one block alone.
    """
    parts = [kernel.options, kernel.code, kernel.blocks, kernel.grid[-1:] == (1,)]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    return f"{chip} {kernel.name} {digest}"


@functools.cache
def table() -> Mapping[str, Bundles]:
    """What was measured beforehand, by ``key``."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))
    return {name: Bundles(**row["bundles"]) for name, row in rows.items()}


@dataclass(frozen=True)
class _Region:
    """What a branch may leap over: addresses from ``start`` on and before ``end``, and the test it is behind."""

    start: int
    end: int
    predicate: str = ""
    literal: int | None = None
    """What a grid position is compared with."""
    inside: "list[_Region]" = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.end - self.start


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
    products = {at: n for at, line in bundles if (n := len(re.findall(r"\bvmatmul\b", line)))}
    ends = [(at, int(m[1])) for at, line in bundles if (m := re.search(r", (\d+) /\* loop exit test \*/", line))]
    begins = [at for at, line in bundles if re.match(r"\s*>", line)]
    if not ends or not begins:
        if math.prod(grid) != 1:
            raise InputError(
                f"the compiler's listing has no loop over the grid {grid}; it may come from another libtpu"
            )
        return Bundles(usual=total, first=0, last=0, outside=0, cores=1, products=sum(products.values()))
    start, (end, bound) = begins[0], ends[-1]
    jump = next((at for at, line in bundles if at >= end and "sbr.rel" in line), end)
    steps = bound - 2  # the loop is pipelined over two stages more than the grid has steps
    loop = _Region(start, jump + 1, inside=_nested(_regions([b for b in bundles if start <= b[0] < jump])))
    skipped, first, last = _paths(loop, products, grid[-1])
    step = _products(loop, products) - sum(_products(region, products) for region in (*skipped, *first, *last))
    return Bundles(
        usual=loop.size - sum(region.size for region in skipped),
        first=sum(region.size for region in first),
        last=sum(region.size for region in last),
        outside=total - loop.size,
        cores=max(1, round(math.prod(grid) / steps)) if steps > 0 else 1,
        products=step,
    )


def _regions(bundles: list[tuple[int, str]]) -> Iterator[_Region]:
    """What each forward branch of the listing may leap over, in order."""
    labels: dict[str, int] = {}  # a region begins where it is first named
    literals: dict[str, int] = {}
    for at, line in bundles:
        for named in re.findall(r"(?:Start|End)(?:/End empty)? region (\d+)", line):
            labels.setdefault(named, at)
        for predicate, literal in re.findall(r"%(p\w+) = scmp\.ne\.s32\.totalorder %s\w+, (\d+)", line):
            literals[predicate] = int(literal)
    for at, line in bundles:
        branch = re.search(r"sbr\.rel \((!?)%(p\w+)\) target = \$region(\d+)", line)
        if branch and labels.get(branch[3], 0) > at:
            literal = None if branch[1] else literals.get(branch[2])
            yield _Region(at + 1, labels[branch[3]], branch[1] + branch[2], literal)


def _nested(regions: Iterator[_Region]) -> list[_Region]:
    """Regions that lie in no other, with those that lie in them inside."""
    top: list[_Region] = []
    around: list[_Region] = []
    for region in regions:
        while around and around[-1].end <= region.start:
            around.pop()
        (around[-1].inside if around else top).append(region)
        around.append(region)
    return top


def _products(region: _Region, products: Mapping[int, int]) -> int:
    return sum(count for at, count in products.items() if region.start <= at < region.end)


def _paths(
    around: _Region, products: Mapping[int, int], row: int
) -> tuple[list[_Region], list[_Region], list[_Region]]:
    """Regions that a step does not usually run; those of a row's first step, and of its last."""
    skipped, first, last = [], [], []
    most = max((_products(region, products) for region in around.inside), default=0)
    worked, tested = False, set()
    for region in around.inside:
        works = most > 0 and _products(region, products) >= ALIKE * most
        opposite = region.predicate[1:] if region.predicate.startswith("!") else f"!{region.predicate}"
        if (works and worked) or opposite in tested:
            skipped.append(region)
        elif not works and row > 1 and region.literal in (0, row - 1):
            (first if region.literal == 0 else last).append(region)
        else:
            parts = _paths(region, products, row)
            for mine, theirs in zip((skipped, first, last), parts, strict=True):
                mine += theirs
        worked |= works
        tested.add(region.predicate)
    return skipped, first, last


@dataclass
class Calls:
    """Pallas calls of one kernel: how many, and their seconds and FLOPs in all."""

    count: float = 0
    seconds: float = 0
    flops: float = 0

    def add(self, other: "Calls", times: float) -> None:
        self.count += times * other.count
        self.seconds += times * other.seconds
        self.flops += times * other.flops


class Clock:
    """Times of Pallas calls, found by their names and the dimensions of their operands."""

    def __init__(self, chip: Chip, found: list[Kernel], lengths: dict[str, Bundles]):
        self.chip, self.found, self.lengths = chip, found, lengths
        self.assumed: set[str] = set()
        """Kernels whose length is not known, taken to run at the peak rate."""

    def time(self, name: str, operands: list[Array], moved: float) -> tuple[str, Calls]:
        """What to list a call as, and its time; ``moved`` bytes are its operands' and results'."""
        dims = [list(a.dims) for a in operands]
        same = [k for k in self.found if k.name == name and [_dims(t) for t in k.operands] == dims]
        if not same:
            raise InputError(f"kernel {name!r} of the compiled program was not in the traced one; report this")
        kernel = same[0]
        bundles = self.lengths.get(key(self.chip.name, kernel))
        if bundles is None:
            self.assumed.add(name)
            took = kernel.flops / self.chip.peak
        else:
            took = max(bundles.cycles(kernel.grid, self.chip) / self.chip.clock, moved / self.chip.hbm_rate)
        return f"{name} {'x'.join(map(str, kernel.grid))}", Calls(1, took, kernel.flops)


def _dims(type_: str) -> list[int]:
    return [int(n) for n in type_[type_.index("[") + 1 : -1].split(",") if n]


def to_row(kernel: Kernel, bundles: Bundles, libtpu: str) -> dict[str, Any]:
    """A row of the table, with what the key stands for."""
    return {
        "options": kernel.options,
        "code": kernel.code,
        "blocks": list(kernel.blocks),
        "bundles": asdict(bundles),
        "libtpu": libtpu,
    }
