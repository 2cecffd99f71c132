"""The UMT5 text encoder, in Flax NNX.

Letters: b batch, l tokens, s keys, n heads, h head channels, d model channels. As T5 v1.1 (Shazeer 2020,
arXiv 2002.05202; Raffel et al. 2020, arXiv 1910.10683) with one relative position table a layer (UMT5, Chung et
al. 2023, arXiv 2304.09151): RMS norms, no biases, gated tanh-GELU, and no 1/sqrt(h) in attention.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.config import TextConfig
from sorajax.mesh import constrain, param
from sorajax.models.layers import F32, Linear, RMSNorm


def relative_buckets(length: int, buckets: int, max_distance: int) -> np.ndarray:
    """Bucket of each key position minus query position from 1 - length to length - 1, int32 [2 length - 1].

    Half of the buckets are for keys after the query. Of each half, the first half holds one distance each, the
    rest grow as the logarithm of the distance up to ``max_distance``.
    """
    distance = np.arange(1 - length, length)
    half = buckets // 2
    exact = half // 2
    away = np.abs(distance)
    # float32 on purpose: in the reference the edges of the logarithmic buckets fall as they round there.
    ratio = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact))
    ratio = ratio / np.float32(np.log(max_distance / exact)) * np.float32(half - exact)
    far = np.minimum(exact + ratio.astype(np.int32), half - 1)
    return (np.where(away < exact, away, far) + half * (distance > 0)).astype(np.int32)


class Attention(nnx.Module):
    """Self-attention with a learned bias for each head and relative position."""

    def __init__(self, config: TextConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        d, inner = config.d_model, config.num_heads * config.d_kv

        def into(scale: float = 1.0) -> Linear:
            return Linear(d, inner, axes=("embed", "heads"), bias=False, scale=scale, dtype=dtype, rngs=rngs)

        self.q = into(1 / config.d_kv)  # the missing 1/sqrt(h) starts inside the weights
        self.k, self.v = into(), into()
        self.o = Linear(inner, d, axes=("heads", "embed"), bias=False, scale=0.0, dtype=dtype, rngs=rngs)
        shape = (config.relative_attention_num_buckets, config.num_heads)
        self.relative_bias = param(jax.random.normal(rngs.params(), shape) / d**0.5, None, "heads")
        self.config, self.dtype = config, dtype

    def bias(self, length: int) -> jax.Array:
        """What is added to the scores, f32 [n, l, s]."""
        config = self.config
        buckets = relative_buckets(
            length, config.relative_attention_num_buckets, config.relative_attention_max_distance
        )
        by_distance = self.relative_bias[...][buckets].T  # [n, 2 l - 1]
        return by_distance[:, jnp.arange(length) - jnp.arange(length)[:, None] + length - 1]

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """x [b, l, d], mask [b, l] (True: a token) -> f32 [b, l, d]."""

        def heads(y: jax.Array) -> jax.Array:
            y = y.reshape(*y.shape[:2], self.config.num_heads, self.config.d_kv).astype(self.dtype)
            return constrain(y, "batch", None, "heads", None)

        q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
        scores = jnp.einsum("blnh,bsnh->bnls", q, k, preferred_element_type=jnp.float32) + self.bias(x.shape[1])
        # The lowest finite number, not -inf: where a row has no token at all, the softmax stays finite.
        scores = jnp.where(mask[:, None, None], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        y = jnp.einsum("bnls,bsnh->blnh", weights, v, preferred_element_type=jnp.float32)
        return self.o(y.reshape(*x.shape[:2], -1))


class Block(nnx.Module):
    """Self-attention, then a gated feed-forward; each on the normed stream and added to it.

    A new block adds nothing, so that training starts from the words themselves.
    """

    def __init__(self, config: TextConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        d, ff, eps = config.d_model, config.d_ff, config.layer_norm_epsilon
        self.attention_norm, self.ffn_norm = RMSNorm(d, eps=eps), RMSNorm(d, eps=eps)
        self.attention = Attention(config, dtype=dtype, rngs=rngs)
        self.gate, self.value = (
            Linear(d, ff, axes=("embed", "mlp"), bias=False, dtype=dtype, rngs=rngs) for _ in range(2)
        )
        self.out = Linear(ff, d, axes=("mlp", "embed"), bias=False, scale=0.0, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """x f32 [b, l, d], mask [b, l] -> f32 [b, l, d]."""
        x = x + self.attention(self.attention_norm(x), mask)
        y = self.ffn_norm(x)
        y = constrain(jax.nn.gelu(self.gate(y), approximate=True) * self.value(y), "batch", None, "mlp")
        return constrain(x + self.out(y), "batch", None, None)


class TextEncoder(nnx.Module):
    """Token ids to one state a token. Products take operands of ``dtype``; the rest is f32."""

    def __init__(self, config: TextConfig, *, dtype: jnp.dtype = F32, rngs: nnx.Rngs):
        # Smaller than T5's 1: what steps of a given rate learn of a word is then far from its random start.
        embedding = jax.random.normal(rngs.params(), (config.vocab_size, config.d_model)) / config.d_model**0.5
        self.embedding = param(embedding, "vocab", "embed")
        self.blocks = jax.vmap(lambda r: Block(config, dtype=dtype, rngs=r))(rngs.split(config.num_layers))
        self.norm = RMSNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.config = config

    def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """States f32 [b, l, d] of ids int32 [b, l]; mask bool [b, l] is True at tokens, and padding comes out zero.

        l may be any length. Padding is not attended to, so it does not change a token's state.
        """
        x = constrain(self.embedding[...][ids].astype(jnp.float32), "batch", None, None)

        def block(x: jax.Array, block: Block) -> tuple[jax.Array, None]:
            return block(x, mask), None

        x, _ = jax.lax.scan(jax.checkpoint(block), x, self.blocks)
        return jnp.where(mask[..., None], self.norm(x), 0.0)
