"""Attention by XLA alone: the reference for every other way, and what runs where there is no kernel.

Letters: b batch, l queries, s keys, n heads, h head channels; heads lie side by side in the channels. Scores are in
units of log2, as in ``flash``. A part of the queries is taken at a time, so that the scores in memory stay within
``LARGEST``.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

F32 = jnp.float32
LARGEST = 1 << 28
"""Scores in memory at a time."""
NEVER = -1e30


def forward(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, *, heads: int) -> tuple[jax.Array, jax.Array]:
    """softmax2(q k^T) v in f32 [b, l, n h], and log2 of the softmax's denominator, f32 [b, n, l].

    q [b, l, n h] is scaled by log2(e) / sqrt(h); k and v are [b, s, n h]; lengths int32 [b] says how many keys
    count, from the first on. Products take operands of the arrays' type and sum in f32.
    """
    q, k, v = (split(x, heads) for x in (q, k, v))

    def part(q: jax.Array) -> tuple[jax.Array, jax.Array]:
        s = _scores(q, k, lengths)
        m = jnp.max(s, -1, keepdims=True)
        p = jnp.exp2(s - m)
        total = jnp.sum(p, -1)
        out = jnp.einsum("bnls,bsnh->blnh", p.astype(v.dtype), v, preferred_element_type=F32)
        return out / total.transpose(0, 2, 1)[..., None], m[..., 0] + jnp.log2(total)

    parts = _parts(q, k.shape[1])
    if parts == 1:
        out, denominator = part(q)
        return join(out), denominator
    out, denominator = lax.map(part, _cut(q, 1, parts))
    return join(_uncut(out, 1)), _uncut(denominator, 2)


def backward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    do: jax.Array,
    denominator: jax.Array,
    delta: jax.Array,
    *,
    heads: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients f32 of q, k and v; equations in ``flash_backward``.

    do [b, l, n h] is the gradient of the output, denominator f32 [b, n, l] that of all keys wherever they are, and
    delta f32 [b, n, l] the sum over h of do and the output.
    """
    q, k, v, do = (split(x, heads) for x in (q, k, v, do.astype(q.dtype)))
    zero = jnp.zeros(k.shape, F32)

    def part(sums: tuple[jax.Array, jax.Array], rows: tuple[jax.Array, ...]) -> tuple:
        q, do, denominator, delta = rows
        p = jnp.exp2(_scores(q, k, lengths) - denominator[..., None])
        dp = jnp.einsum("blnh,bsnh->bnls", do, v, preferred_element_type=F32)
        ds = (math.log(2) * p * (dp - delta[..., None])).astype(q.dtype)
        dv = jnp.einsum("bnls,blnh->bsnh", p.astype(do.dtype), do, preferred_element_type=F32)
        dk = jnp.einsum("bnls,blnh->bsnh", ds, q, preferred_element_type=F32)
        dq = jnp.einsum("bnls,bsnh->blnh", ds, k, preferred_element_type=F32)
        return (sums[0] + dk, sums[1] + dv), dq

    parts = _parts(q, k.shape[1])
    rows = tuple(_cut(x, axis, parts) for x, axis in ((q, 1), (do, 1), (denominator, 2), (delta, 2)))
    (dk, dv), dq = lax.scan(part, (zero, zero), rows)
    return join(_uncut(dq, 1)), join(dk), join(dv)


def split(x: jax.Array, heads: int) -> jax.Array:
    """[b, l, n h] -> [b, l, n, h]."""
    return x.reshape(*x.shape[:2], heads, -1)


def join(x: jax.Array) -> jax.Array:
    """[b, l, n, h] -> [b, l, n h]."""
    return x.reshape(*x.shape[:2], -1)


def _scores(q: jax.Array, k: jax.Array, lengths: jax.Array) -> jax.Array:
    s = jnp.einsum("blnh,bsnh->bnls", q, k, preferred_element_type=F32)
    return jnp.where(jnp.arange(k.shape[1]) < lengths[:, None, None, None], s, NEVER)


def _parts(q: jax.Array, keys: int) -> int:
    """Into how many equal parts to cut the queries."""
    b, l, n, _ = q.shape
    wanted = -(-b * n * l * keys // LARGEST)
    return next(parts for parts in range(max(1, min(wanted, l)), l + 1) if l % parts == 0)


def _cut(x: jax.Array, axis: int, parts: int) -> jax.Array:
    shape = (*x.shape[:axis], parts, x.shape[axis] // parts, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)


def _uncut(x: jax.Array, axis: int) -> jax.Array:
    x = jnp.moveaxis(x, 0, axis)
    return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
