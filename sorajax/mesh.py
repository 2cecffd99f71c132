"""The mesh, and the one table of rules that maps logical axes to it.

Parameters and activations name *logical* axes ("embed", "heads", "batch", ...). ``RULES`` says which *mesh*
axes each one is split over. A mesh axis that does not divide a dimension is left out for that dimension, so
the same code runs on one device and on a pod.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from jax.experimental.mesh_utils import create_device_mesh, create_hybrid_device_mesh
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sorajax.errors import ConfigError

AXES = ("data", "fsdp", "seq", "tensor")
SEQUENCE = "seq"

RULES: Mapping[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "tokens": ("seq",),  # video tokens, [b, l, d]
    "columns": ("data", "fsdp", "seq", "tensor"),  # of frames in the autoencoder: whatever the batch leaves idle
    "heads": ("tensor",),  # attention heads, of parameters and activations
    "mlp": ("tensor",),
    "vocab": ("tensor",),
    "embed": ("fsdp", "seq"),  # the model dimension of parameters
    "conv_out": ("fsdp",),
    "layers": (),
}
"""Logical axis -> mesh axes. An axis that is not listed is not split."""


def make_mesh(
    *, data: int = -1, fsdp: int = 1, seq: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh over ``devices`` (default: all). One axis may be -1: it takes what the others leave.

    Over several slices of TPUs, joined by the data centre's network, ``data`` goes from slice to slice and then
    ``fsdp``; what sends more stays within a slice. Raises ConfigError if the sizes do not multiply to the number of
    devices, or if data x fsdp does not divide among the slices.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes: dict[str, int] = dict(zip(AXES, (data, fsdp, seq, tensor), strict=True))
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and len(devices) % fixed == 0:
        sizes[free[0]] = len(devices) // fixed
    if math.prod(sizes.values()) != len(devices) or min(sizes.values()) < 1:
        wanted = " x ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError(f"mesh {wanted} does not fit {len(devices)} devices; sizes must multiply to that number")
    axis_types = (AxisType.Auto,) * len(AXES)
    slices = len({getattr(device, "slice_index", 0) for device in devices if device.platform == "tpu"})
    if slices <= 1:
        try:
            return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=axis_types, devices=devices)
        except NotImplementedError:  # no axis takes whole dimensions of the torus: they share them
            laid_out = create_device_mesh(tuple(sizes.values()), devices, allow_split_physical_axes=True)
            return Mesh(laid_out, AXES, axis_types=axis_types)
    data = math.gcd(slices, sizes["data"])
    across = {"data": data, "fsdp": slices // data}
    if sizes["fsdp"] % across["fsdp"]:
        raise ConfigError(
            f"mesh data {sizes['data']} x fsdp {sizes['fsdp']} does not divide among {slices} slices; "
            f"make data a multiple of {slices}"
        )
    within = [sizes[axis] // across.get(axis, 1) for axis in AXES]
    over = [across.get(axis, 1) for axis in AXES]
    laid_out = create_hybrid_device_mesh(within, over, devices, allow_split_physical_axes=True)
    return Mesh(laid_out, AXES, axis_types=axis_types)


def spec(axes: Sequence[str | None], shape: Sequence[int], mesh: Any) -> P:
    """PartitionSpec of an array whose dimensions carry the logical ``axes``."""
    parts, taken = [], set()
    for axis, size in zip(axes, shape, strict=True):
        names = tuple(n for n in RULES.get(axis or "", ()) if mesh.shape[n] > 1 and n not in taken)
        while names and size % math.prod(mesh.shape[n] for n in names):
            names = names[:-1]
        taken.update(names)
        parts.append(names[0] if len(names) == 1 else names or None)
    return P(*parts)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Ask the compiler to lay ``x`` out by its logical axes, on the mesh that ``jax.set_mesh`` has set."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, spec(axes, x.shape, mesh))


def parts(axis: str) -> int:
    """Into how many parts the mesh that ``jax.set_mesh`` has set splits the logical ``axis``, if its size allows."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else math.prod(mesh.shape[name] for name in RULES[axis])


def param(value: jax.Array, *axes: str | None) -> nnx.Param:
    """A parameter that names its logical axes."""
    if len(axes) != value.ndim:
        raise ValueError(f"{len(axes)} logical axes {axes} for an array of shape {value.shape}")
    return nnx.Param(value, logical=axes)


def shardings(tree: Any, mesh: Mesh) -> Any:
    """The same tree with a NamedSharding in place of each array, by the logical axes of its parameters.

    Blocks stacked by ``vmap`` have one dimension more than their axes: it is the "layers" axis. Anything
    without logical axes is replicated.
    """

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return NamedSharding(mesh, P())
        value = leaf.get_value()
        if not hasattr(value, "ndim"):  # an optimiser's mark for "not mine": it holds no array
            return leaf
        axes = leaf.get_metadata().get("logical", (None,) * value.ndim)
        axes = ("layers",) * (value.ndim - len(axes)) + tuple(axes)
        return leaf.replace(NamedSharding(mesh, spec(axes, value.shape, mesh)))

    return jax.tree.map(one, tree, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


def batch_sharding(mesh: Mesh, shape: Sequence[int]) -> NamedSharding:
    """Sharding of an array [b, ...] split over its batch."""
    return NamedSharding(mesh, spec(("batch", *(None,) * (len(shape) - 1)), shape, mesh))
