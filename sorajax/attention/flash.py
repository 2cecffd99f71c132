"""FlashAttention without a causal mask on a TPU, the forward pass, as a Pallas kernel (arXiv 2205.14135).

Letters: b batch, l queries, s keys, n heads, h = 128 head channels. Scores are in units of log2, for the chip has an
instruction for 2^x and none for e^x: the caller scales the queries by log2(e) / sqrt(h).

The usual kernel finds each block's row maximum before it may take the exponential, and rescales its sums after every
block. Here the maximum of a row's first keys stays the reference for the whole row: p = 2^(s - m) need not be below 1,
for bf16 has the exponents of f32. Products and exponentials of neighbouring blocks then overlap, as neither waits for
a maximum. Should a score rise above the reference by more than ``HIGHEST``, which takes inputs made for it, the
reference is raised and the block is computed anew, so the result is right for all inputs.

Heads lie side by side in the channels, [b, l, n h], as the projections leave them: nothing is transposed in memory.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES = 128
NEVER = -1e30
"""A score that no key has; 2^(NEVER - m) is 0."""
HIGHEST = 64.0
"""How far above its row's reference a score may be: 2^64 times a million keys is far from the largest f32."""
ROWS_BY_COLUMNS = (((1,), (0,)), ((), ()))
ROWS_BY_ROWS = (((1,), (1,)), ((), ()))

F32 = jnp.float32


def forward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    lengths: jax.Array,
    *,
    heads: int,
    queries: int,
    keys: int,
    chunk: int,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """softmax2(q k^T) v, and log2 of the softmax's denominator.

    Args:
        q: [b, l, n h], scaled; l a multiple of ``queries``.
        k: [b, s, n h]; s a multiple of ``keys``. v: the same.
        lengths: int32 [b], how many keys count, from the first on.
        heads: n.
        queries: rows of a block.
        keys: keys of a block, a multiple of ``chunk``.
        chunk: keys of one product.
        interpret: run on any device, slowly.

    Returns:
        [b, l, n h] in the type of q, and f32 [b, n, 1, l]. Where no key counts, both are without meaning.
    """
    b, l, channels = q.shape
    h, blocks = channels // heads, k.shape[1] // keys
    rows = pl.BlockSpec((1, queries, h), lambda b, n, i, j, _: (b, i, n))
    columns = pl.BlockSpec((1, keys, h), lambda b, n, i, j, _: (b, j, n))
    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1,
        grid=(b, heads, l // queries, blocks),
        in_specs=[rows, columns, columns],
        out_specs=[rows, pl.BlockSpec((1, 1, 1, queries), lambda b, n, i, j, _: (b, n, 0, i))],
        scratch_shapes=[
            pltpu.VMEM((queries, LANES), F32),
            pltpu.VMEM((queries, LANES), F32),
            pltpu.VMEM((queries, h), F32),
            pltpu.SMEM((1,), jnp.int32),
        ],
    )
    call = pl.pallas_call(
        partial(_kernel, chunk=chunk, blocks=blocks),
        grid_spec=grid,
        out_shape=[jax.ShapeDtypeStruct(q.shape, q.dtype), jax.ShapeDtypeStruct((b, heads, 1, l), F32)],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",) * 3 + ("arbitrary",)),
        cost_estimate=estimate(q, k, heads, products=2),
        interpret=interpret,
        name="flash_forward",
    )
    out, denominator = call(lengths, q, k, v)
    return out, denominator


def estimate(q: jax.Array, k: jax.Array, heads: int, *, products: int) -> pl.CostEstimate:
    """What the compiler is told of a kernel's cost, for ``products`` products of the size of q k^T."""
    (b, l, channels), s = q.shape, k.shape[1]
    moved = b * channels * (l + s) * q.dtype.itemsize * products
    return pl.CostEstimate(
        flops=2 * products * b * l * s * channels, transcendentals=b * heads * l * s, bytes_accessed=moved
    )


def scores(q_ref, k_ref, chunk: int, c: int, valid: jax.Array | None) -> jax.Array:
    """f32 [queries, chunk] for chunk c of the keys; ``valid`` counts those of the block that count, None is all."""
    s = lax.dot_general(q_ref[0], k_ref[0, pl.ds(c * chunk, chunk), :], ROWS_BY_ROWS, preferred_element_type=F32)
    if valid is None:
        return s
    return jnp.where(lax.broadcasted_iota(jnp.int32, s.shape, 1) + c * chunk < valid, s, NEVER)


def _kernel(
    lengths_ref, q_ref, k_ref, v_ref, out_ref, denominator_ref, m_ref, sum_ref, acc_ref, again_ref, *, chunk, blocks
):
    # Sums are kept lane by lane, [queries, 128], and added up once at the end.
    j, size = pl.program_id(3), k_ref.shape[1]
    valid = lengths_ref[pl.program_id(0)] - j * size
    again_ref[0] = 0

    @pl.when(j == 0)
    def _first() -> None:
        m_ref[...] = jnp.broadcast_to(jnp.max(scores(q_ref, k_ref, chunk, 0, valid), 1, keepdims=True), m_ref.shape)
        sum_ref[...] = jnp.zeros_like(sum_ref)
        acc_ref[...] = jnp.zeros_like(acc_ref)

    def block(valid: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What the block adds to acc [queries, h] and to sum, and its highest scores less m [queries, 128]."""
        m, parts = m_ref[...], []
        for c in range(size // chunk):
            s, weights = scores(q_ref, k_ref, chunk, c, valid), []
            total = highest = None
            for at in range(0, chunk, LANES):
                x = s[:, at : at + LANES] - m
                p = jnp.exp2(x)
                highest = x if highest is None else jnp.maximum(highest, x)
                total = p if total is None else total + p
                weights.append(p.astype(v_ref.dtype))
            values = v_ref[0, pl.ds(c * chunk, chunk), :]
            out = lax.dot_general(jnp.concatenate(weights, 1), values, ROWS_BY_COLUMNS, preferred_element_type=F32)
            parts.append((out, total, highest))
        outs, totals, tops = zip(*parts, strict=True)
        return reduce(jnp.add, outs), reduce(jnp.add, totals), reduce(jnp.maximum, tops)

    def add(valid: jax.Array | None) -> None:
        out, total, highest = block(valid)
        fits = jnp.max(highest) <= HIGHEST

        @pl.when(fits)
        def _as_usual() -> None:
            acc_ref[...] += out
            sum_ref[...] += total

        @pl.when(~fits)
        def _raise_the_reference() -> None:
            up = jnp.maximum(jnp.max(highest, 1, keepdims=True), 0.0)
            m_ref[...] += up
            sum_ref[...] *= jnp.exp2(-up)
            acc_ref[...] *= jnp.exp2(-up)
            again_ref[0] = 1

    @pl.when(valid >= size)
    def _all() -> None:
        add(None)

    @pl.when((valid > 0) & (valid < size))
    def _some() -> None:
        add(valid)

    @pl.when(again_ref[0] == 1)
    def _again() -> None:
        out, total, _ = block(valid)
        acc_ref[...] += out
        sum_ref[...] += total

    @pl.when(j == blocks - 1)
    def _last() -> None:
        total = jnp.broadcast_to(jnp.sum(sum_ref[...], 1, keepdims=True), sum_ref.shape)
        out_ref[0] = (acc_ref[...] / total).astype(out_ref.dtype)
        denominator_ref[0, 0] = jnp.transpose(m_ref[...] + jnp.log2(total))[:1]
