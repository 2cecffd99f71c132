"""Frames whose columns are split over devices: each computes its own, and sees its neighbours' edges.

``over_columns`` runs a function that way on the devices that the batch leaves idle. Inside, what looks beyond a pixel's
own column asks: ``beside`` for a convolution's padding, ``whole_rows`` for what looks at all.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from sorajax import mesh as meshes

Model = TypeVar("Model")
WIDTH = -2
"""The axis of columns in [..., h, w, c]."""


def over_columns(
    function: Callable[[Model, jax.Array], jax.Array], model: Model, x: jax.Array, narrowest: int
) -> jax.Array:
    """``function(model, x)`` of x [b, t, h, w, c], a result likewise; columns go over the mesh by the rules.

    ``narrowest`` is the fewest columns that frames have on their way: they are split into parts that divide it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function(model, x)
    where = meshes.spec(("batch", None, None, "columns", None), (x.shape[0], 1, 1, narrowest, 1), mesh)
    if where[3] is None:
        return function(model, x)
    names = (where[3],) if isinstance(where[3], str) else where[3]
    where = PartitionSpec(None, None, None, names, None)
    run = jax.shard_map(
        function, in_specs=(PartitionSpec(), where), out_specs=where, axis_names=set(names), check_vma=False
    )
    return run(model, x)


def beside(x: jax.Array, left: int, right: int) -> jax.Array:
    """x [..., w, c] with that many columns of its neighbours before and after it, and zeros beyond the picture."""
    axes = _axes()
    size = lax.axis_size(axes) if axes else 1
    before, after = [(i, i + 1) for i in range(size - 1)], [(i + 1, i) for i in range(size - 1)]

    def edge(part: jax.Array, pairs: list[tuple[int, int]]) -> list[jax.Array]:
        if not part.shape[WIDTH]:
            return []
        return [lax.ppermute(part, axes, pairs) if pairs else jnp.zeros_like(part)]  # zeros to whom none sends

    w = x.shape[WIDTH]
    last, first = lax.slice_in_dim(x, w - left, w, axis=WIDTH), lax.slice_in_dim(x, 0, right, axis=WIDTH)
    return jnp.concatenate([*edge(last, before), x, *edge(first, after)], WIDTH)


def split() -> bool:
    """Whether columns are split where this is called."""
    return bool(_axes())


def whole_rows(x: jax.Array) -> jax.Array:
    """x [..., w, c] with the columns of all devices."""
    return lax.all_gather(x, _axes(), axis=x.ndim + WIDTH, tiled=True) if split() else x


def _axes() -> tuple[str, ...]:
    """Mesh axes over which columns are split where this is called: those that ``over_columns`` took."""
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return tuple(name for name in meshes.RULES["columns"] if name in manual)
