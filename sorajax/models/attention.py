"""Wan's attention: the projections around ``sorajax.attention``.

Letters: b batch, l queries, s keys, n heads, h head channels, d = n h.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from sorajax.attention import attention
from sorajax.models.layers import Linear, RMSNorm


class Attention(nnx.Module):
    """Wan's attention: projections, RMS norm of queries and keys over all channels, rotary positions, output."""

    def __init__(self, dim: int, heads: int, *, eps: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        def into() -> Linear:
            return Linear(dim, dim, axes=("embed", "heads"), dtype=dtype, rngs=rngs)

        self.to_q, self.to_k, self.to_v = into(), into(), into()
        self.to_out = Linear(dim, dim, axes=("heads", "embed"), dtype=dtype, rngs=rngs)
        self.norm_q, self.norm_k = (RMSNorm(dim, eps=eps, axis="heads") for _ in range(2))
        self.heads, self.dtype = heads, dtype

    def __call__(
        self,
        x: jax.Array,
        context: jax.Array,
        rope: tuple[jax.Array, jax.Array] | None,
        length: int | None = None,
    ) -> jax.Array:
        """x [b, l, d] attends to context [b, s, d], or to the first ``length`` of it -> [b, l, d]; the same array for
        both is self-attention. ``rope`` turns queries and keys if given."""

        q, k, v = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(context)), self.to_v(context)
        out = attention(q, k, v, self.heads, self.dtype, rope=rope, length=length, same=context is x)
        return self.to_out(out)
