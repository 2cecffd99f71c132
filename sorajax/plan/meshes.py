"""Which meshes are worth trying for a task on so many devices, the likeliest first."""

import math
from collections.abc import Iterator
from types import SimpleNamespace

from sorajax.errors import InputError
from sorajax.mesh import AXES, spec
from sorajax.plan.chips import Topology
from sorajax.plan.request import Request

WEIGHTS_SHARE = 0.9
"""Of a device's memory that weights may take if anything is to run."""


def candidates(request: Request, slice_: Topology, resting: int) -> list[dict[str, int]]:
    """Sizes of data, fsdp, seq and tensor that multiply to the slice's devices and divide what they split.

    ``resting`` counts bytes of weights and what is kept for each of them. Those whose share of it does not fit are
    last, the thriftiest of them first. The others are ordered by what usually is fastest: tokens that divide, weights
    over few axes, little tensor parallelism, as it sends activations in every layer, and sequences split only as far
    as the batch does not fill the devices. Raises InputError if no mesh divides.
    """
    devices, room = slice_.devices, WEIGHTS_SHARE * slice_.chip.hbm_usable
    found = [sizes for sizes in _factorisations(devices) if not problem(request, sizes)]
    if not found:
        raise InputError(
            f"no mesh of {devices} devices divides batch {request.batch}, {request.tokens} tokens and "
            f"{request.model.dit.num_attention_heads} heads; change the batch or the topology"
        )

    def order(sizes: dict[str, int]) -> tuple[float, ...]:
        own = resting / (sizes["fsdp"] * sizes["seq"] * sizes["tensor"])
        return (0.0 if own <= room else own, *_order(request, sizes))

    return sorted(found, key=order)


def thriftiest(found: list[dict[str, int]]) -> dict[str, int]:
    """The mesh that keeps least on each device: weights split most, and then tokens."""
    return max(found, key=lambda sizes: (sizes["fsdp"] * sizes["seq"] * sizes["tensor"], sizes["seq"]))


def check(request: Request, sizes: dict[str, int], slice_: Topology) -> dict[str, int]:
    """A mesh that the user names, missing axes set to 1. Raises InputError if it does not divide."""
    devices = slice_.devices
    unknown = [axis for axis in sizes if axis not in AXES]
    if unknown:
        raise InputError(f"mesh axis {unknown[0]!r} is unknown; known: {', '.join(AXES)}")
    whole = {axis: sizes.get(axis, 1) for axis in AXES}
    product = math.prod(whole.values())
    if product != devices:
        named = " x ".join(f"{axis} {size}" for axis, size in whole.items() if size > 1) or "of 1"
        raise InputError(
            f"mesh {named} has {product} devices, {slice_.name} has {devices}; sizes must multiply to that"
        )
    wrong = problem(request, whole)
    if wrong:
        raise InputError(wrong)
    return whole


def problem(request: Request, sizes: dict[str, int]) -> str:
    """Why a mesh does not suit a request, in one line; empty if it does."""
    data, seq, tensor = (sizes[axis] for axis in ("data", "seq", "tensor"))
    # Guidance runs each clip twice, and the two may lie on different devices.
    rows = _rows(request)
    heads = request.model.text.num_heads if request.task == "text" else request.model.dit.num_attention_heads
    if request.task == "decode":
        return ""  # columns of frames take whatever axes divide them
    if request.task == "text" and seq > 1:
        return f"mesh axis seq is {seq}, but the text stage has no sequence to split; use seq=1"
    if rows % data:
        return f"mesh axis data is {data}, which does not divide a batch of {rows}; use a divisor of {rows}"
    if heads % tensor:
        return f"mesh axis tensor is {tensor}, which does not divide {heads} heads; use a divisor of {heads}"
    if request.tokens < seq:
        return f"mesh axis seq is {seq}, more than the {request.tokens} tokens of a clip; use fewer"
    return ""


def _factorisations(devices: int) -> Iterator[dict[str, int]]:
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    for data in divisors:
        for fsdp in (n for n in divisors if (devices // data) % n == 0):
            rest = devices // data // fsdp
            for seq in (n for n in divisors if rest % n == 0):
                yield {"data": data, "fsdp": fsdp, "seq": seq, "tensor": rest // seq}


def _rows(request: Request) -> int:
    """Clips at once."""
    return 2 * request.batch if request.task == "sample" else request.batch // request.accumulate


def _order(request: Request, sizes: dict[str, int]) -> tuple[float, ...]:
    data, fsdp, seq, tensor = (sizes[axis] for axis in AXES)
    if request.task == "decode":
        where = spec(("batch", "columns"), (request.batch, request.latent_shape[3]), SimpleNamespace(shape=sizes))
        used = [name for part in where if part for name in ((part,) if isinstance(part, str) else part)]
        return math.prod(sizes.values()) / math.prod(sizes[name] for name in used), tensor, fsdp, data, seq
    rows = _rows(request)
    idle = max(1, data * fsdp // math.gcd(rows, data * fsdp))  # devices that repeat each other's work
    spare = -request.tokens % seq / request.tokens  # tokens are padded to as many for every device
    if request.task == "train":  # states of the optimiser are large: data alone repeats them everywhere
        return idle, spare, tensor, data, seq, fsdp
    return idle, spare, tensor > 8, fsdp, tensor, seq
