"""Kernels in eight bits: whole numbers, and one scale for each output channel.

"int8" rounds weights alone: products take operands of the layer's dtype, in which numbers up to 127 are exact, and the
scale is applied to their sums. So an int8 kernel takes half the memory of a bfloat16 one, and a weight errs by at most
half a step: 1/254 of the largest of its channel. "w8a8" rounds what is multiplied too, each row as it comes, by its
own largest: the products are those of whole numbers, which a chip makes up to twice as fast as those of bfloat16.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

KINDS = ("int8", "w8a8")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantised:
    """A kernel [..., i, o] as ``values`` int8 [..., i, o] times ``scale`` f32 [..., o]."""

    values: Any
    scale: Any
    both: bool = field(default=False, metadata={"static": True})
    """Whether a product rounds its other operand too."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    @property
    def size(self) -> int:
        return self.values.size

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.scale.nbytes

    @property
    def sharding(self) -> Any:
        return self.values.sharding

    def __getitem__(self, index: Any) -> "Quantised":
        """A variable asks for ``[...]``; nothing else is given."""
        if index is not Ellipsis:
            raise IndexError("a quantised kernel is only given whole")
        return self

    def astype(self, dtype: Any) -> jax.Array:
        """The kernel that this stands for."""
        return (self.values.astype(jnp.float32) * self.scale[..., None, :]).astype(dtype)

    def product(self, x: jax.Array) -> jax.Array:
        """x [n, i], its rows rounded, times this kernel [i, o] -> f32 [n, o]."""
        values, scale = rounded(x, -1)
        sums = jnp.matmul(values, self.values, preferred_element_type=jnp.int32)
        return sums.astype(jnp.float32) * scale * self.scale


def quantise(kernel: jax.Array, both: bool = False) -> Quantised:
    """A kernel [..., i, o], rounded to the nearest of 255 values in each output channel."""
    values, scale = rounded(kernel, -2)
    return Quantised(values, scale[..., 0, :], both)


def rounded(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """x as int8 times a scale f32, one for each line along ``axis``, of whose largest it is 1/127."""
    x = x.astype(jnp.float32)
    scale = jnp.max(jnp.abs(x), axis, keepdims=True) / 127
    return jnp.round(x / jnp.where(scale == 0, 1, scale)).astype(jnp.int8), scale


def is_quantisable(path: tuple[Any, ...]) -> bool:
    """Whether the leaf at this path of a module is a kernel of a stack of blocks: nearly all of a large model."""
    names = [str(getattr(key, "name", "") or getattr(key, "key", "")) for key in path]
    return "blocks" in names and "kernel" in names


def lay_out(kernel: jax.ShapeDtypeStruct, where: NamedSharding, kind: str) -> Quantised:
    """What stands for an abstract stack of kernels [layers, i, o] that would be laid out so; one of ``KINDS``."""
    layers, _, out = (*where.spec, *(None,) * 3)[:3]
    scale = jax.ShapeDtypeStruct(
        (kernel.shape[0], kernel.shape[2]), jnp.float32, sharding=NamedSharding(where.mesh, PartitionSpec(layers, out))
    )
    return Quantised(jax.ShapeDtypeStruct(kernel.shape, jnp.int8, sharding=where), scale, kind == "w8a8")
