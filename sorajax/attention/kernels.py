"""Which kernel computes attention on this device, and with which blocks: the two functions that ``sequence`` builds on.

Arrays are [b, l, n h], as in ``dense``, which says what they mean. The choice is made where the program is lowered,
so that a program compiled on one machine for another gets the other's kernel.
"""

import math
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sorajax.attention import dense, flash, flash_backward

Arrays = tuple[jax.Array, ...]

SMALL = 1 << 22
"""Scores of one head up to which XLA's own attention is used on a TPU: a kernel's blocks would be mostly padding."""
_QUERIES, _KEYS, _CHUNK = (1024, 896, 768, 640, 512), (2048, 1536, 1024, 512), 512
_QUERIES_BACK, _KEYS_BACK = (1024, 512), (1024, 512)


def forward(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, *, heads: int, whole: bool
) -> tuple[jax.Array, jax.Array]:
    """Output f32 [b, l, n h] and log2 of the denominator f32 [b, n, l], which is 0 on a GPU if ``whole``: these are
    all the keys there are."""
    reference = partial(dense.forward, heads=heads)
    if not _large(q, k, heads):
        return reference(q, k, v, lengths)
    gpu = {"cuda": partial(cudnn_forward, heads=heads)} if whole and _cudnn_takes(q) else {}
    ways = {"tpu": partial(flash_forward, heads=heads), **gpu, "default": reference}
    return lax.platform_dependent(q, k, v, lengths, **ways)


def backward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    do: jax.Array,
    *rest: jax.Array,
    heads: int,
    whole: bool,
) -> Arrays:
    """Gradients f32 of q, k and v; ``rest`` as in ``dense.backward``."""
    reference = partial(dense.backward, heads=heads)
    if not _large(q, k, heads):
        return reference(q, k, v, lengths, do, *rest)
    gpu = {"cuda": partial(cudnn_gradients, heads=heads)} if whole and _cudnn_takes(q) else {}
    ways = {"tpu": partial(flash_gradients, heads=heads), **gpu, "default": reference}
    return lax.platform_dependent(q, k, v, lengths, do, *rest, **ways)


def _large(q: jax.Array, k: jax.Array, heads: int) -> bool:
    """So much that a kernel is worth it, in heads that it has room for."""
    return q.shape[1] * k.shape[1] > SMALL and q.shape[2] // heads <= flash.LANES


def _cudnn_takes(q: jax.Array) -> bool:
    return q.dtype == jnp.bfloat16 and has_cudnn(jax.devices()[0])


def tile(tokens: int) -> int:
    """What the tokens are best a multiple of, for their own attention's kernel would pad them to it; 1 where none is
    used."""
    if tokens * tokens <= SMALL or jax.default_backend() != "tpu":
        return 1
    return block(tokens, _KEYS)


def has_cudnn(device: Any) -> bool:
    """cuDNN's attention needs an NVIDIA GPU of compute capability 8.0 (Ampere) or later; JAX cannot even trace it
    where cuDNN is not installed."""
    capability = str(getattr(device, "compute_capability", ""))  # "8.0"; of an AMD GPU "gfx90a"
    return bool(re.fullmatch(r"\d+\.\d+", capability)) and float(capability) >= 8


def cudnn_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, *, heads: int
) -> tuple[jax.Array, jax.Array]:
    """cuDNN's; it keeps no denominator, for ``cudnn_gradients`` needs none."""
    out = _cudnn(q, k, v, lengths, heads).astype(jnp.float32)
    return out, jnp.zeros((q.shape[0], heads, q.shape[1]), jnp.float32)


def cudnn_gradients(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, do: jax.Array, *rest: jax.Array, heads: int
) -> Arrays:
    """cuDNN's; the forward pass in it is one with the block's own, which is recomputed just before."""
    del rest
    _, pull = jax.vjp(lambda q, k, v: _cudnn(q, k, v, lengths, heads), q, k, v)
    return tuple(x.astype(jnp.float32) for x in pull(do.astype(q.dtype)))


def _cudnn(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, heads: int) -> jax.Array:
    # Scores come in units of log2, and cuDNN takes e^x.
    out = jax.nn.dot_product_attention(
        *(dense.split(x, heads) for x in (q, k, v)),
        scale=math.log(2),
        query_seq_lengths=jnp.full_like(lengths, q.shape[1]),
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return dense.join(out)


def flash_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, *, heads: int, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """``flash.forward`` for any number of queries, keys and head channels up to 128."""
    b, l, channels = q.shape
    queries, keys = block(l, _QUERIES), block(k.shape[1], _KEYS)
    q, k, v = _padded(q, heads, queries), _padded(k, heads, keys), _padded(v, heads, keys)
    options = {"heads": heads, "queries": queries, "keys": keys, "chunk": min(keys, _CHUNK), "interpret": interpret}
    out, denominator = flash.forward(q, k, v, lengths, **options)
    return _cut(out, heads, (b, l, channels)).astype(jnp.float32), denominator[:, :, 0, :l]


def flash_gradients(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    do: jax.Array,
    denominator: jax.Array,
    delta: jax.Array,
    *,
    heads: int,
    interpret: bool = False,
) -> Arrays:
    """``flash_backward.backward`` for any number of queries, keys and head channels up to 128."""
    shapes = q.shape, k.shape, k.shape
    queries, keys = block(q.shape[1], _QUERIES_BACK), block(k.shape[1], _KEYS_BACK)
    q, do = (_padded(x, heads, queries) for x in (q, do.astype(q.dtype)))
    k, v = (_padded(x, heads, keys) for x in (k, v))
    # A row of zeros that is padding gets weights of 1 with a denominator of 2^0, and adds nothing: do is zero there.
    rows = [jnp.pad(x, ((0, 0), (0, 0), (0, q.shape[1] - shapes[0][1])))[:, :, None] for x in (denominator, delta)]
    options = {"heads": heads, "queries": queries, "keys": keys, "chunk": _CHUNK, "interpret": interpret}
    grads = flash_backward.backward(q, k, v, lengths, do, *rows, **options)
    return tuple(_cut(x, heads, shape) for x, shape in zip(grads, shapes, strict=True))


def block(size: int, choices: tuple[int, ...]) -> int:
    """The block that pads ``size`` least; of equals the largest."""
    return min(choices, key=lambda choice: (-(-size // choice) * choice, -choice))


def _padded(x: jax.Array, heads: int, multiple: int) -> jax.Array:
    """[b, l, n h] -> [b, l', n 128], with zeros."""
    b, l, channels = x.shape
    if channels != heads * flash.LANES:
        x = dense.split(x, heads)
        x = dense.join(jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, flash.LANES - x.shape[3]))))
    return jnp.pad(x, ((0, 0), (0, -l % multiple), (0, 0)))


def _cut(x: jax.Array, heads: int, shape: tuple[int, ...]) -> jax.Array:
    """What ``_padded`` made of an array of this shape, without the padding."""
    x = x[:, : shape[1]]
    return x if x.shape == shape else dense.join(dense.split(x, heads)[..., : shape[2] // heads])
