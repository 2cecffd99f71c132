"""Wan's attention: the projections around ``sorajax.attention``, and rotary positions.

Letters: b batch, l queries, s keys, n heads, h head channels, d = n h.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.attention import attention
from sorajax.mesh import constrain
from sorajax.models.layers import Linear, RMSNorm


def rope_table(grid: tuple[int, int, int], head_dim: int, theta: float = 10000.0) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of 3-D rotary positions, each f32 [t h w, head_dim]: what ``rotate`` multiplies with.

    The head's channel pairs are shared between time, height and width as Wan does: 2 (head_dim // 6) channels
    each for height and width, the rest for time. Angles are computed in float64. Both channels of a pair have its
    angle; the sine of the first is negative.
    """
    space = 2 * (head_dim // 6)
    angles = []
    for axis, (size, dim) in enumerate(zip(grid, (head_dim - 2 * space, space, space), strict=True)):
        frequencies = theta ** -(np.arange(0, dim, 2, dtype=np.float64) / dim)
        angle = np.repeat(np.arange(size, dtype=np.float64)[:, None] * frequencies, 2, -1)
        angles.append(angle.reshape([size if i == axis else 1 for i in range(3)] + [dim]))

    def join(parts: list[np.ndarray]) -> jax.Array:  # broadcast in the program, so that no large constant is kept
        full = [jnp.broadcast_to(jnp.asarray(p, jnp.float32), (*grid, p.shape[-1])) for p in parts]
        return jnp.concatenate(full, -1).reshape(-1, head_dim)

    return join([np.cos(a) for a in angles]), join([np.sin(a) * ((-1.0, 1.0) * (a.shape[-1] // 2)) for a in angles])


def rotate(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotate neighbouring channel pairs of x [b, l, n h] by the angles of ``rope_table`` (arXiv 2104.09864)."""
    cos, sin = (jnp.tile(table, x.shape[-1] // table.shape[-1]) for table in rope)
    # Shifted rather than reshaped to pairs: an axis of two channels is laid out 64 times as large on a TPU.
    swapped = jnp.where(jnp.arange(x.shape[-1]) % 2 == 0, _shifted(x, -1), _shifted(x, 1))
    return x * cos + swapped * sin


def _shifted(x: jax.Array, by: int) -> jax.Array:
    """The last axis shifted, with a zero at the end that is free."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - 1) + [(by, -by, 0)])


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

        def split(y: jax.Array) -> jax.Array:
            return y.reshape(*y.shape[:2], self.heads, -1)

        q, k = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(context))
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        q, k, v = split(q), split(k), split(self.to_v(context))
        keys = "tokens" if context is x else None
        q = constrain(q, "batch", "tokens", "heads", None)
        k, v = (constrain(y, "batch", keys, "heads", None) for y in (k, v))
        out = attention(q, k, v, self.dtype, length=length, same=context is x)
        return self.to_out(out.reshape(x.shape))
