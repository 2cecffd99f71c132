"""Which kernel computes attention on this device, and with which blocks: the two functions that ``sequence`` builds on.

Arrays are [b, l, n, h], as in ``dense``, which says what they mean. The choice is made where the program is lowered,
so that a program compiled on one machine for another gets the other's kernel.
"""

import math
import re
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
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, *, whole: bool
) -> tuple[jax.Array, jax.Array]:
    """Output f32 [b, l, n, h] and log2 of the denominator f32 [b, n, l], which is 0 on a GPU if ``whole``: these are
    all the keys there are."""
    if q.shape[1] * k.shape[1] <= SMALL or q.shape[3] > flash.LANES:
        return dense.forward(q, k, v, lengths)
    gpu = {"cuda": cudnn_forward} if whole and q.dtype == jnp.bfloat16 and has_cudnn(jax.devices()[0]) else {}
    return lax.platform_dependent(q, k, v, lengths, tpu=flash_forward, **gpu, default=dense.forward)


def backward(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, do: jax.Array, *rest: jax.Array, whole: bool
) -> Arrays:
    """Gradients f32 of q, k and v; ``rest`` as in ``dense.backward``."""
    if q.shape[1] * k.shape[1] <= SMALL or q.shape[3] > flash.LANES:
        return dense.backward(q, k, v, lengths, do, *rest)
    gpu = {"cuda": cudnn_gradients} if whole and q.dtype == jnp.bfloat16 and has_cudnn(jax.devices()[0]) else {}
    return lax.platform_dependent(q, k, v, lengths, do, *rest, tpu=flash_gradients, **gpu, default=dense.backward)


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


def cudnn_forward(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """cuDNN's; it keeps no denominator, for ``cudnn_gradients`` needs none."""
    out = _cudnn(q, k, v, lengths).astype(jnp.float32)
    return out, jnp.zeros((q.shape[0], q.shape[2], q.shape[1]), jnp.float32)


def cudnn_gradients(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, do: jax.Array, *rest: jax.Array
) -> Arrays:
    """cuDNN's; the forward pass in it is one with the block's own, which is recomputed just before."""
    del rest
    _, pull = jax.vjp(lambda q, k, v: _cudnn(q, k, v, lengths), q, k, v)
    return tuple(x.astype(jnp.float32) for x in pull(do.astype(q.dtype)))


def _cudnn(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    # Scores come in units of log2, and cuDNN takes e^x.
    return jax.nn.dot_product_attention(
        q,
        k,
        v,
        scale=math.log(2),
        query_seq_lengths=jnp.full_like(lengths, q.shape[1]),
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )


def flash_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, *, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """``flash.forward`` for any number of queries, keys and head channels up to 128."""
    b, l, n, h = q.shape
    queries, keys = block(l, _QUERIES), block(k.shape[1], _KEYS)
    q, k, v = _flat(q, queries), _flat(k, keys), _flat(v, keys)
    options = {"heads": n, "queries": queries, "keys": keys, "chunk": min(keys, _CHUNK), "interpret": interpret}
    out, denominator = flash.forward(q, k, v, lengths, **options)
    return _heads(out, n)[:, :l, :, :h].astype(jnp.float32), denominator[:, :, 0, :l]


def flash_gradients(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    do: jax.Array,
    denominator: jax.Array,
    delta: jax.Array,
    *,
    interpret: bool = False,
) -> Arrays:
    """``flash_backward.backward`` for any number of queries, keys and head channels up to 128."""
    n, h = q.shape[2:]
    sizes = q.shape[1], k.shape[1], k.shape[1]
    queries, keys = block(sizes[0], _QUERIES_BACK), block(sizes[1], _KEYS_BACK)
    do = _flat(do.astype(q.dtype), queries)
    q, k, v = _flat(q, queries), _flat(k, keys), _flat(v, keys)
    # A row of zeros that is padding gets weights of 1 with a denominator of 2^0, and adds nothing: do is zero there.
    rows = [jnp.pad(x, ((0, 0), (0, 0), (0, q.shape[1] - sizes[0])))[:, :, None] for x in (denominator, delta)]
    options = {"heads": n, "queries": queries, "keys": keys, "chunk": _CHUNK, "interpret": interpret}
    grads = flash_backward.backward(q, k, v, lengths, do, *rows, **options)
    return tuple(_heads(x, n)[:, :size, :, :h] for x, size in zip(grads, sizes, strict=True))


def block(size: int, choices: tuple[int, ...]) -> int:
    """The block that pads ``size`` least; of equals the largest."""
    return min(choices, key=lambda choice: (-(-size // choice) * choice, -choice))


def _flat(x: jax.Array, multiple: int) -> jax.Array:
    """[b, l, n, h] -> [b, l', n 128], padded with zeros."""
    b, l, n, h = x.shape
    x = jnp.pad(x, ((0, 0), (0, -l % multiple), (0, 0), (0, flash.LANES - h)))
    return x.reshape(b, -1, n * flash.LANES)


def _heads(x: jax.Array, n: int) -> jax.Array:
    return x.reshape(*x.shape[:2], n, -1)
