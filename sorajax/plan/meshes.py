"""Which meshes are worth trying for a task on so many devices, the likeliest first."""

import itertools
import math
from collections.abc import Iterator

from sorajax.errors import InputError
from sorajax.mesh import AXES
from sorajax.plan.chips import Topology
from sorajax.plan.request import Request

WEIGHTS_SHARE = 0.9
"""Of a device's memory that weights may take if anything is to run."""


def candidates(request: Request, slice_: Topology, resting: int) -> list[dict[str, int]]:
    """Sizes of data, fsdp, seq and tensor that multiply to the slice's devices and divide what they split.

    ``resting`` counts bytes of weights and what is kept for each of them. Those whose share of it does not fit are
    last, the thriftiest of them first. Before all others are those that lie on the torus with whole dimensions to
    each axis, as ``jax.make_mesh`` wants it; and these are ordered by what usually is fastest: weights over few axes,
    little tensor parallelism, as it sends activations in every layer, and sequences split only as far as the batch
    does not fill the devices. Raises InputError if no mesh divides.
    """
    devices, room = slice_.devices, WEIGHTS_SHARE * slice_.chip.hbm_usable
    found = [sizes for sizes in _factorisations(devices) if not problem(request, sizes)]
    if not found:
        raise InputError(
            f"no mesh of {devices} devices divides batch {request.batch}, {request.tokens} tokens and "
            f"{request.model.dit.num_attention_heads} heads; change the batch or the topology"
        )

    def order(sizes: dict[str, int]) -> tuple[float, ...]:
        own = resting / (sizes["fsdp"] * sizes["tensor"])
        return (0.0 if own <= room else own, not _lies_on(sizes, slice_), *_order(request, sizes))

    return sorted(found, key=order)


def thriftiest(found: list[dict[str, int]]) -> dict[str, int]:
    """The mesh that keeps least on each device: weights split most, and then tokens."""
    return max(found, key=lambda sizes: (sizes["fsdp"] * sizes["tensor"], sizes["seq"], sizes["fsdp"]))


def check(request: Request, sizes: dict[str, int], devices: int) -> dict[str, int]:
    """A mesh that the user names, missing axes set to 1. Raises InputError if it does not divide."""
    unknown = [axis for axis in sizes if axis not in AXES]
    if unknown:
        raise InputError(f"mesh axis {unknown[0]!r} is unknown; known: {', '.join(AXES)}")
    whole = {axis: sizes.get(axis, 1) for axis in AXES}
    product = math.prod(whole.values())
    if product != devices:
        named = " x ".join(f"{axis} {size}" for axis, size in whole.items() if size > 1) or "of 1"
        raise InputError(f"mesh {named} has {product} devices, the topology {devices}; sizes must multiply to that")
    wrong = problem(request, whole)
    if wrong:
        raise InputError(wrong)
    return whole


def problem(request: Request, sizes: dict[str, int]) -> str:
    """Why a mesh does not suit a request, in one line; empty if it does."""
    data, seq, tensor = (sizes[axis] for axis in ("data", "seq", "tensor"))
    # Guidance runs each clip twice, and the two may lie on different devices.
    rows = request.batch * (2 if request.task == "sample" else 1)
    heads = request.model.text.num_heads if request.task == "text" else request.model.dit.num_attention_heads
    if request.task in ("text", "decode") and seq > 1:
        return f"mesh axis seq is {seq}, but the {request.task} stage has no sequence to split; use seq=1"
    if request.task == "decode" and tensor > 1:
        return f"mesh axis tensor is {tensor}, but the decoder has no heads to split; use tensor=1"
    if rows % data:
        return f"mesh axis data is {data}, which does not divide a batch of {rows}; use a divisor of {rows}"
    if heads % tensor:
        return f"mesh axis tensor is {tensor}, which does not divide {heads} heads; use a divisor of {heads}"
    if request.tokens % seq:
        return f"mesh axis seq is {seq}, which does not divide {request.tokens} tokens; use a divisor"
    return ""


def _factorisations(devices: int) -> Iterator[dict[str, int]]:
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    for data in divisors:
        for fsdp in (n for n in divisors if (devices // data) % n == 0):
            rest = devices // data // fsdp
            for seq in (n for n in divisors if rest % n == 0):
                yield {"data": data, "fsdp": fsdp, "seq": seq, "tensor": rest // seq}


def _lies_on(sizes: dict[str, int], slice_: Topology) -> bool:
    """Whether each axis is as large as some dimensions of the torus together, none of which serves two."""
    dimensions = [*slice_.shape, slice_.chip.devices_per_chip]

    def assign(wanted: list[int], left: list[int]) -> bool:
        if not wanted:
            return True
        for count in range(1, len(left) + 1):
            for chosen in itertools.combinations(range(len(left)), count):
                if math.prod(left[i] for i in chosen) == wanted[0]:
                    rest = [n for i, n in enumerate(left) if i not in chosen]
                    if assign(wanted[1:], rest):
                        return True
        return False

    return assign([n for n in sizes.values() if n > 1], [n for n in dimensions if n > 1])


def _order(request: Request, sizes: dict[str, int]) -> tuple[float, ...]:
    data, fsdp, seq, tensor = (sizes[axis] for axis in AXES)
    rows = request.batch * (2 if request.task == "sample" else 1)
    idle = max(1, data * fsdp // math.gcd(rows, data * fsdp))  # devices that repeat each other's work
    if request.task == "train":  # states of the optimiser are large: data alone repeats them everywhere
        return idle, tensor, data, seq, fsdp
    return idle, tensor > 8, fsdp, tensor, seq
