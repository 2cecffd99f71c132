"""Attention over video and text tokens, on one device or many, by the best kernel there is for them.

    dense       XLA alone: the reference
    flash       Pallas kernels for TPUs, with ``flash_backward``
    kernels     which of them, or cuDNN on a GPU
    sequence    tokens split over devices: Ulysses, ring, or both

``attention`` is the door; ``tile`` says how many tokens suit it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sorajax import mesh as meshes
from sorajax.attention import kernels, sequence
from sorajax.attention.kernels import tile

__all__ = ["attention", "tile"]


def attention(
    q: jax.Array, k: jax.Array, v: jax.Array, dtype: jnp.dtype, *, length: int | None = None, same: bool = True
) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v for q [b, l, n, h], k and v [b, s, n, h] -> f32 [b, l, n, h].

    Products take ``dtype`` operands and sum in f32; the softmax is in f32. On the mesh that ``jax.set_mesh`` has set,
    batch and heads are split by the rules, and tokens over its axis ``seq``.

    Args:
        length: how many keys count, from the first on; default all.
        same: queries and keys are of the same tokens, so both are split. Else keys are whole on every device.
    """
    l, s, (n, h) = q.shape[1], k.shape[1], q.shape[2:]
    length = s if length is None else length
    mesh = jax.sharding.get_abstract_mesh()
    split_tokens = same and not mesh.empty and mesh.shape[meshes.SEQUENCE] > 1 and l % mesh.shape[meshes.SEQUENCE] == 0
    if not split_tokens and length == s and l * s <= kernels.SMALL:
        return _plain(q, k, v, dtype)
    q, k, v = (q * (np.log2(np.e) / np.sqrt(h))).astype(dtype), k.astype(dtype), v.astype(dtype)
    if mesh.empty or mesh.size == 1:
        return sequence.attend(q, k, v, sequence.Split(), length)
    queries = meshes.spec(("batch", "tokens", "heads", None), q.shape, mesh)
    keys = queries if split_tokens else meshes.spec(("batch", None, "heads", None), k.shape, mesh)
    how = sequence.Split()
    if split_tokens:
        own = n // (mesh.shape[queries[2]] if isinstance(queries[2], str) else 1)
        how = sequence.split(meshes.SEQUENCE, mesh.shape[meshes.SEQUENCE], own)
    local = partial(sequence.attend, how=how, length=length)
    return jax.shard_map(local, in_specs=(queries, keys, keys), out_specs=queries, check_vma=False)(q, k, v)


def _plain(q: jax.Array, k: jax.Array, v: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Where the scores are small; XLA splits this by itself."""
    scale = 1 / np.sqrt(q.shape[-1])
    q, k, v = ((x * factor).astype(dtype) for x, factor in ((q, scale), (k, 1), (v, 1)))
    weights = jax.nn.softmax(jnp.einsum("blnh,bsnh->bnls", q, k, preferred_element_type=jnp.float32), axis=-1)
    return jnp.einsum("bnls,bsnh->blnh", weights.astype(dtype), v, preferred_element_type=jnp.float32)
