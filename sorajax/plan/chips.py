"""What the planner knows of each TPU generation, and the names of its slices. A table of published figures.

A *device* is what JAX calls one: a chip, or one of tpu7x's two halves. Every figure is that of one device.

Peak and power are those of ``sorajax.cost.devices``. Sources of the others: HBM and interconnect from Google's
"System architecture" pages (docs.cloud.google.com/tpu/docs/v5e, /v5p, /v6e, /tpu7x). The clock is the peak divided by
the multiply-adds of a cycle (MXUs x 128 x 128, from v6e on x 256 x 256). ``hbm_usable`` is what the compiler says a
program may have when it refuses one that is too large (libtpu 0.0.50). A link's rate is 0.9 of its share of the chip's
interconnect bandwidth, one way, which is what "How to Scale Your Model" (jax-ml.github.io/scaling-book/tpus) reports
as measured on v5e and v5p.
"""

import difflib
import math
from dataclasses import dataclass

from sorajax.cost.devices import TPUS
from sorajax.errors import InputError

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One TPU generation. Rates are a second and a device."""

    name: str
    """As in a topology's name, before the colon."""
    kind: str
    """What JAX calls its devices."""
    clock: float
    """Hz."""
    mxu: int
    """Rows and columns of a matrix unit."""
    hbm: int
    """Bytes as advertised."""
    hbm_usable: int
    """Bytes the compiler lets a program have."""
    hbm_rate: float
    """Bytes/s between HBM and the core."""
    link_rate: float
    """Bytes/s over one link, one way."""
    dimensions: int
    """Of the torus."""
    wraps_at: int
    """A torus dimension closes to a ring if it is a multiple of this."""
    largest: int
    """Chips in the largest slice."""
    devices_per_chip: int = 1
    cores: int = 1
    """TensorCores of a device."""

    @property
    def peak(self) -> float:
        """bf16 FLOP/s."""
        return TPUS[self.kind].peak

    @property
    def watts(self) -> float | None:
        """Of a device under load; None: not published."""
        return TPUS[self.kind].watts

    @property
    def product_cycles(self) -> float:
        """Cycles of all a core's matrix units for one product of 16 rows with a unit's columns."""
        return 2 * 16 * self.mxu**2 * self.cores * self.clock / self.peak


CHIPS = {
    chip.name: chip
    for chip in (
        Chip(
            name="v5e",
            kind="TPU v5 lite",
            clock=1.5e9,
            mxu=128,
            hbm=16 * GIB,
            hbm_usable=int(15.75 * GIB),
            hbm_rate=819e9,
            link_rate=45e9,
            dimensions=2,
            wraps_at=16,
            largest=256,
        ),
        Chip(
            name="v5p",
            kind="TPU v5",
            clock=1.75e9,
            mxu=128,
            hbm=95 * GIB,
            hbm_usable=int(95.73 * GIB),
            hbm_rate=2765e9,
            link_rate=90e9,
            dimensions=3,
            wraps_at=4,
            largest=6144,
            cores=2,
        ),
        Chip(
            name="v6e",
            kind="TPU v6 lite",
            clock=1.75e9,
            mxu=256,
            hbm=32 * GIB,
            hbm_usable=int(31.24 * GIB),
            hbm_rate=1638e9,
            link_rate=90e9,
            dimensions=2,
            wraps_at=16,
            largest=256,
        ),
        Chip(
            name="tpu7x",
            kind="TPU7x",
            clock=2.2e9,
            mxu=256,
            hbm=96 * GIB,
            hbm_usable=int(94.74 * GIB),
            hbm_rate=7380e9 / 2,
            link_rate=90e9,
            dimensions=3,
            wraps_at=4,
            largest=9216,
            devices_per_chip=2,
        ),
    )
}
"""Generation -> its figures."""

FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
"""Slices of the two-dimensional generations (v5e and v6e configuration tables)."""
CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
"""Slices of the three-dimensional ones; larger ones are whole cubes of 4x4x4 too."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A slice: so many chips of one generation along each dimension of its torus."""

    chip: Chip
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def devices(self) -> int:
        """What JAX counts as devices."""
        return self.chips * self.chip.devices_per_chip

    def wraps(self, dimension: int) -> bool:
        """Whether the slice closes to a ring along a dimension: whole pods, and whole cubes.

        JAX gives flat slices a third coordinate too, which is always 0.
        """
        if dimension >= len(self.shape):
            return False
        whole = self.chip.dimensions == 2 or all(n % self.chip.wraps_at == 0 for n in self.shape)
        return whole and self.shape[dimension] % self.chip.wraps_at == 0


def names() -> list[str]:
    """The slices that the table knows, as in "v5e:2x4"."""
    return [f"{chip.name}:{shape}" for chip in CHIPS.values() for shape in _shapes(chip)]


def _shapes(chip: Chip) -> tuple[str, ...]:
    return FLAT if chip.dimensions == 2 else CUBES


ACCELERATORS = {"v5litepod": "v5e", "v5e": "v5e", "v5p": "v5p", "v6e": "v6e", "tpu7x": "tpu7x", "v7x": "tpu7x"}
"""How Google names slices by their size, as in "v5litepod-8", and the generation meant."""


def _accelerator(name: str) -> str:
    """The usual slice of an accelerator type such as "v5p-8", which counts cores on v5p and tpu7x, and chips on
    others; the name itself if it is none."""
    kind, dash, count = name.partition("-")
    if kind not in ACCELERATORS or not dash or not count.isdecimal():
        return name
    chip = CHIPS[ACCELERATORS[kind]]
    chips = int(count) // (chip.cores * chip.devices_per_chip)
    fitting = (shape for shape in _shapes(chip) if math.prod(map(int, shape.split("x"))) == chips)
    return f"{chip.name}:{next(fitting, count)}"


def parse(name: str) -> Topology:
    """The slice that a name such as "v5p:2x2x2" stands for, or an accelerator type such as "v5p-16".

    Raises InputError with the nearest names for an unknown generation or a shape that Google does not offer.
    """
    kind, _, shape = _accelerator(name).partition(":")
    chip = CHIPS.get(kind)
    sizes = shape.split("x")
    if chip is not None and all(size.isdecimal() for size in sizes):
        topology = Topology(chip=chip, shape=tuple(map(int, sizes)))
        cubes = chip.dimensions == len(sizes) == 3 and all(n and n % 4 == 0 for n in topology.shape)
        if topology.name in names() or (cubes and topology.chips <= chip.largest):
            return topology
    raise InputError(f"topology {name!r} does not exist; nearest: {', '.join(_nearest(kind, shape))}")


def _nearest(kind: str, shape: str, count: int = 3) -> list[str]:
    """Names of the same generation, or of that spelt alike, with about as many chips."""
    kind = next(iter(difflib.get_close_matches(kind, CHIPS, 1, 0.0)))
    own = [n for n in names() if n.startswith(f"{kind}:")]
    sizes = [int(n) for n in shape.split("x") if n.isdecimal() and int(n)]
    if not sizes:
        return own[:count]
    wanted = math.log(math.prod(sizes))
    return sorted(own, key=lambda n: abs(math.log(parse(n).chips) - wanted))[:count]
