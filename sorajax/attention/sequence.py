"""Attention whose tokens are split over devices: by Ulysses, by a ring, or by both. Called inside ``jax.shard_map``.

*Ulysses* (arXiv 2309.14509): an all-to-all gives each device all tokens of some heads, and another one undoes it.
*Ring* (arXiv 2310.01889): keys and values travel round the devices, and each adds what it sees to its own queries. By
both (arXiv 2405.07719), Ulysses runs in groups of ``heads_split`` neighbours, and a ring joins the groups, so that the
number of heads need not be a multiple of the number of devices.

Arrays are [b, l, n h], l being the device's own tokens, of which the first ``length`` in all count.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from sorajax.attention import dense, kernels

Arrays = tuple[jax.Array, ...]
NEVER = -1e30
KEPT = "attention"
"""Name of attention's output, for policies that keep it for the backward pass (``jax.checkpoint``)."""


@dataclass(frozen=True)
class Split:
    """How a mesh axis shares the tokens: ``size`` = ``heads_split`` x ``ring``."""

    axis: str = ""
    size: int = 1
    heads_split: int = 1
    """Devices that share the heads among them by Ulysses."""

    @property
    def ring(self) -> int:
        return self.size // self.heads_split


def split(axis: str, size: int, heads: int) -> Split:
    """As much by Ulysses as ``heads`` allow, for it moves less; the rest by a ring."""
    return Split(axis, size, math.gcd(size, heads))


def attend(q: jax.Array, k: jax.Array, v: jax.Array, heads: int, how: Split, length: int) -> jax.Array:
    """Self-attention over all tokens of the axis: f32 [b, l, n h]. q is scaled as in ``dense``; ``heads``, n, is a
    multiple of ``how.heads_split``."""
    n = how.heads_split
    groups = [list(range(at, at + n)) for at in range(0, how.size, n)]
    b, l, channels = q.shape

    def swap(x: jax.Array) -> jax.Array:
        """Part i of x [n, ...] goes to device i of the group, and from it comes part i of the result."""
        return lax.all_to_all(x, how.axis, 0, 0, axis_index_groups=groups, tiled=True)

    # The parts are the first axis before they are sent: XLA splits an inner axis by far slower means on a TPU.
    if n > 1:
        q, k, v = (swap(x.reshape(b, l, n, -1).transpose(2, 0, 1, 3)) for x in (q, k, v))
        q, k, v = (x.transpose(1, 0, 2, 3).reshape(b, n * l, -1) for x in (q, k, v))
    out = _ring(q, k, v, heads // n, how, length)
    out = out.astype(v.dtype)  # half the bytes, and the products that follow take it so
    if n > 1:
        out = swap(out.reshape(b, n, l, -1).transpose(1, 0, 2, 3)).transpose(1, 2, 0, 3).reshape(b, l, channels)
    return out.astype(jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _ring(q: jax.Array, k: jax.Array, v: jax.Array, heads: int, how: Split, length: int) -> jax.Array:
    return _ring_forward(q, k, v, heads, how, length)[0]


def _ring_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, heads: int, how: Split, length: int
) -> tuple[jax.Array, Arrays]:
    out = denominator = None
    kv = (k, v)
    for step in range(how.ring):
        following = _pass_on(kv, how) if step + 1 < how.ring else kv  # under way while this part is computed
        counted = _counted(how, step, k.shape[1], length, len(k))
        part, d = kernels.forward(q, kv[0], kv[1], counted, heads=heads, whole=how.ring == 1)
        d = jnp.where(counted[:, None, None] > 0, d, NEVER)
        if out is None or denominator is None:
            out, denominator = part, d
        else:
            joint = jnp.logaddexp2(denominator, d)
            out = _times(out, jnp.exp2(denominator - joint)) + _times(part, jnp.exp2(d - joint))
            denominator = joint
        kv = following
    assert out is not None and denominator is not None  # a ring has a device at least
    low, denominator = checkpoint_name(out.astype(v.dtype), KEPT), checkpoint_name(denominator, KEPT)
    return low.astype(jnp.float32), (q, k, v, low, denominator)


def _ring_backward(heads: int, how: Split, length: int, kept: Arrays, do: jax.Array) -> Arrays:
    q, k, v, out, denominator = kept
    delta = jnp.sum(dense.split(do * out.astype(jnp.float32), heads), 3).transpose(0, 2, 1)
    dq = jnp.zeros(q.shape, jnp.float32)
    kv = (k, v)
    sums = tuple(jnp.zeros(x.shape, jnp.float32) for x in kv)
    for step in range(how.ring):
        following = _pass_on(kv, how) if step + 1 < how.ring else kv
        counted = _counted(how, step, k.shape[1], length, len(k))
        part, *parts = kernels.backward(q, *kv, counted, do, denominator, delta, heads=heads, whole=how.ring == 1)
        dq = dq + part
        # The gradients travel with their keys, and are home after the last step.
        sums = tuple(x + y for x, y in zip(sums, parts, strict=True))
        sums = _pass_on(sums, how) if how.ring > 1 else sums
        kv = following
    return tuple(x.astype(like.dtype) for x, like in zip((dq, *sums), (q, k, v), strict=True))


_ring.defvjp(_ring_forward, _ring_backward)


def _pass_on(x: Arrays, how: Split) -> Arrays:
    pairs = [(i, (i + how.heads_split) % how.size) for i in range(how.size)]
    return tuple(lax.ppermute(y, how.axis, pairs) for y in x)


def _counted(how: Split, step: int, keys: int, length: int, batch: int) -> jax.Array:
    """How many of the keys at hand count, int32 [b]."""
    if how.ring == 1:
        return jnp.full(batch, min(keys, length), jnp.int32)
    group = (lax.axis_index(how.axis) // how.heads_split - step) % how.ring
    return jnp.full(batch, jnp.clip(length - group * keys, 0, keys), jnp.int32)


def _times(x: jax.Array, rows: jax.Array) -> jax.Array:
    """x [b, l, n h] times rows [b, n, l]."""
    return dense.join(dense.split(x, rows.shape[1]) * rows.transpose(0, 2, 1)[..., None])
