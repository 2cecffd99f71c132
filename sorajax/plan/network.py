"""How long a collective takes on a slice's torus, from where its devices lie.

Two bounds hold for every algorithm, and the larger is taken: what a device in a corner of the group's box can take in
over its links, and what can cross the box's middle. On rings and small grids the compiler's algorithms reach them;
start-up times are left out.

With B bytes a device contributes or ends up with, n devices, k links into a corner, W bytes/s a link:

- all-gather, reduce-scatter: B (n - 1) / n / (k W), B being the whole array; all-reduce: twice that;
- all-to-all: the larger of that, B being what a device holds, and B e / (4 w W) for the box's longest side e, where
  w is 2 if that side closes to a ring and 1 if it does not: half of everything crosses the middle;
- collective-permute: B h / W for the longest way h that a pair is apart, as hops share links when all shift alike.

Devices of one chip share its links and pass data on among themselves for free.
"""

from collections.abc import Sequence

from sorajax.plan.chips import Topology

Coordinates = Sequence[Sequence[int]]
"""Of each device, in the order of the program's partitions: its chip's place on the torus."""

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")


def seconds(
    kind: str, size: float, group: Sequence[int], pairs: Sequence[tuple[int, int]], where: Coordinates, slice_: Topology
) -> float:
    """Time of a collective of ``size`` bytes (see above) among the devices of ``group``, or along ``pairs``."""
    rate = slice_.chip.link_rate
    if kind == "collective-permute":
        return size * max((_distance(where[a], where[b], slice_) for a, b in pairs), default=0) / rate
    sides = _sides([where[i] for i in group])
    long = [d for d, side in enumerate(sides) if side > 1]
    if not long:
        return 0.0  # one device, or the halves of one chip
    wraps = {d: slice_.wraps(d) and sides[d] == slice_.shape[d] for d in long}
    links = sum(2 if wraps[d] else 1 for d in long)
    members = len({tuple(where[i]) for i in group})
    gather = size * (members - 1) / members / (links * rate)
    if kind == "all-reduce":
        return 2 * gather
    if kind == "all-to-all":
        return max(gather, max(size * sides[d] / (8 if wraps[d] else 4) / rate for d in long))
    return gather


def sent(kind: str, members: int) -> float:
    """Bytes that a device sends for each of a collective's (see above), whatever lies between it and the others."""
    return {"collective-permute": 1.0, "all-reduce": 2 * (members - 1) / members}.get(kind, (members - 1) / members)


def _sides(places: Coordinates) -> list[int]:
    """How many different places the group takes along each dimension."""
    return [len(set(values)) for values in zip(*places, strict=True)]


def _distance(a: Sequence[int], b: Sequence[int], slice_: Topology) -> int:
    total = 0
    for d, (x, y) in enumerate(zip(a, b, strict=True)):
        apart = abs(x - y)
        total += min(apart, slice_.shape[d] - apart) if slice_.wraps(d) else apart
    return total
