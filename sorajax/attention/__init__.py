"""Attention over video and text tokens, on one device or many, by the best kernel there is for them.

    dense       XLA alone: the reference
    flash       Pallas kernels for TPUs, with ``flash_backward``
    kernels     which of them, or cuDNN on a GPU
    sequence    tokens split over devices: Ulysses, ring, or both
    rotary      rotary positions

``attention`` is the door; ``rope_table`` makes its positions, ``tile`` says how many tokens suit it, and ``KEPT`` is
the name under which a training step can keep its output.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from sorajax import mesh as meshes
from sorajax.attention import kernels, sequence
from sorajax.attention.kernels import tile
from sorajax.attention.rotary import Table, rope_table, rotate
from sorajax.attention.sequence import KEPT

__all__ = ["KEPT", "attention", "rope_table", "tile"]


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    heads: int,
    dtype: jnp.dtype,
    *,
    rope: Table | None = None,
    length: int | None = None,
    same: bool = True,
) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v of each head: q [b, l, n h], k and v [b, s, n h] -> f32 [b, l, n h].

    Products take ``dtype`` operands and sum in f32; the softmax is in f32. On the mesh that ``jax.set_mesh`` has set,
    batch and heads are split by the rules, and tokens over its axis ``seq``. Heads stay side by side in the channels
    as the projections leave them: an axis of their own is another layout in a TPU's memory, and costs a copy.

    Args:
        heads: n.
        rope: positions by which queries and keys are turned first, from ``rope_table``; l and s are then the same.
        length: how many keys count, from the first on; default all.
        same: queries and keys are of the same tokens, so both are split. Else keys are whole on every device.
    """
    (b, l, channels), s = q.shape, k.shape[1]
    length = s if length is None else length
    mesh = jax.sharding.get_abstract_mesh()
    split_tokens = same and not mesh.empty and mesh.shape[meshes.SEQUENCE] > 1 and l % mesh.shape[meshes.SEQUENCE] == 0
    if not split_tokens and length == s and l * s <= kernels.SMALL:
        return _plain(q, k, v, heads, dtype, rope, same)
    scale = float(np.log2(np.e) / np.sqrt(channels // heads))
    if mesh.empty or mesh.size == 1:
        return _local(q, k, v, rope, heads=heads, dtype=dtype, scale=scale, how=sequence.Split(), length=length)
    queries = meshes.spec(("batch", "tokens", "heads"), (b, l, heads), mesh)
    keys = queries if split_tokens else meshes.spec(("batch", None, "heads"), (b, s, heads), mesh)
    own = heads // (mesh.shape[queries[2]] if isinstance(queries[2], str) else 1)
    how = sequence.split(meshes.SEQUENCE, mesh.shape[meshes.SEQUENCE], own) if split_tokens else sequence.Split()
    local = partial(_local, heads=own, dtype=dtype, scale=scale, how=how, length=length)
    tables = PartitionSpec(keys[1], None)
    return jax.shard_map(local, in_specs=(queries, keys, keys, tables), out_specs=queries, check_vma=False)(
        q, k, v, rope
    )


def _local(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    rope: Table | None,
    *,
    heads: int,
    dtype: jnp.dtype,
    scale: float,
    how: sequence.Split,
    length: int,
) -> jax.Array:
    """What one device does with its part."""
    if rope is None:
        q, k = (q * scale).astype(dtype), k.astype(dtype)
    else:
        q, k = rotate(q, rope, scale, dtype), rotate(k, rope, 1.0, dtype)
    return sequence.attend(q, k, v.astype(dtype), heads, how, length)


def _plain(
    q: jax.Array, k: jax.Array, v: jax.Array, heads: int, dtype: jnp.dtype, rope: Table | None, same: bool
) -> jax.Array:
    """Where the scores are small; XLA splits this by itself."""
    scale = float(np.sqrt(heads / q.shape[2]))
    if rope is None:
        q, k = q * scale, k
    else:
        q, k = rotate(q, rope, scale, dtype), rotate(k, rope, 1.0, dtype)

    def split(x: jax.Array, tokens: str | None) -> jax.Array:
        return meshes.constrain(x.reshape(*x.shape[:2], heads, -1), "batch", tokens, "heads", None).astype(dtype)

    keys = "tokens" if same else None
    q, k, v = split(q, "tokens"), split(k, keys), split(v, keys)
    weights = jax.nn.softmax(jnp.einsum("blnh,bsnh->bnls", q, k, preferred_element_type=jnp.float32), axis=-1)
    out = jnp.einsum("bnls,bsnh->blnh", weights.astype(dtype), v, preferred_element_type=jnp.float32)
    return checkpoint_name(out.reshape(*out.shape[:2], -1), KEPT)
