"""Rotary positions in three dimensions (arXiv 2104.09864, as Wan shares them between time, height and width).

Letters: b batch, l tokens, n heads, h head channels; heads lie side by side in the channels.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from sorajax.attention.flash import LANES

Table = tuple[jax.Array, jax.Array]
_ROWS, _HEADS = (256, 128), 8
"""Tokens of a block, and heads of one at most."""


def rope_table(grid: tuple[int, int, int], head_dim: int, theta: float = 10000.0) -> Table:
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


def rotate(x: jax.Array, rope: Table, scale: float, dtype: jnp.dtype) -> jax.Array:
    """Neighbouring channel pairs of each head of x f32 [b, l, n h] turned by ``rope``, f32 [l, h] each; times
    ``scale``, as ``dtype``."""
    tokens, h = rope[0].shape
    if h != LANES or tokens % min(_ROWS):
        return _by_xla(x, rope, scale, dtype)
    return _rotate(x, rope, scale, dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _rotate(x: jax.Array, rope: Table, scale: float, dtype: jnp.dtype) -> jax.Array:
    options = {"scale": scale, "dtype": dtype}
    return lax.platform_dependent(x, rope, tpu=partial(by_kernel, **options), default=partial(_by_xla, **options))


def _forward(x: jax.Array, rope: Table, scale: float, dtype: jnp.dtype) -> tuple[jax.Array, tuple[Table, jax.Array]]:
    return _rotate(x, rope, scale, dtype), (rope, jnp.zeros((), x.dtype))


def _backward(scale: float, dtype: jnp.dtype, kept: tuple[Table, jax.Array], dy: jax.Array) -> tuple[jax.Array, Table]:
    (cos, sin), like = kept  # the gradient turns the other way
    return _rotate(dy, (cos, -sin), scale, like.dtype), (jnp.zeros_like(cos), jnp.zeros_like(sin))


_rotate.defvjp(_forward, _backward)


def _by_xla(x: jax.Array, rope: Table, scale: float, dtype: jnp.dtype) -> jax.Array:
    b, l, channels = x.shape
    cos, sin = (table[:, None] * scale for table in rope)
    x = x.astype(jnp.float32).reshape(b, l, -1, rope[0].shape[-1])
    even = jnp.arange(x.shape[-1]) % 2 == 0
    swapped = jnp.where(even, jnp.roll(x, -1, -1), jnp.roll(x, 1, -1))
    return (x * cos + swapped * sin).astype(dtype).reshape(b, l, channels)


def by_kernel(x: jax.Array, rope: Table, *, scale: float, dtype: jnp.dtype, interpret: bool = False) -> jax.Array:
    """The same by a Pallas kernel, for l a multiple of 128 and heads of 128 channels: XLA would move the heads to an
    axis of their own in memory, and back."""
    b, l, channels = x.shape
    rows = next(size for size in _ROWS if l % size == 0)
    heads = next(size for size in range(_HEADS, 0, -1) if channels // LANES % size == 0)
    block = pl.BlockSpec((1, rows, heads * LANES), lambda b, i, n: (b, i, n))
    table = pl.BlockSpec((rows, LANES), lambda b, i, n: (i, 0))
    return pl.pallas_call(
        partial(_kernel, scale=scale, heads=heads),
        grid=(b, l // rows, channels // LANES // heads),
        in_specs=[block, table, table],
        out_specs=block,
        out_shape=jax.ShapeDtypeStruct(x.shape, dtype),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",) * 3),
        cost_estimate=pl.CostEstimate(flops=0, transcendentals=0, bytes_accessed=x.size * (x.dtype.itemsize + 2)),
        interpret=interpret,
        name="rotate",
    )(x, *rope)


def _kernel(x_ref, cos_ref, sin_ref, out_ref, *, scale, heads):
    cos, sin = cos_ref[...] * scale, sin_ref[...] * scale
    even = lax.broadcasted_iota(jnp.int32, cos.shape, 1) % 2 == 0
    for n in range(heads):
        lanes = pl.ds(n * LANES, LANES)
        x = x_ref[0, :, lanes].astype(jnp.float32)
        swapped = jnp.where(even, pltpu.roll(x, LANES - 1, 1), pltpu.roll(x, 1, 1))
        out_ref[0, :, lanes] = (x * cos + swapped * sin).astype(out_ref.dtype)
