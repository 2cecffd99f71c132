"""FlashAttention on a TPU, the backward pass: two Pallas kernels, one for the keys and values, one for the queries.

As in ``sorajax.attention.flash``: scores are s = q k^T in units of log2, D is log2 of the softmax's denominator, so the
weights are p = 2^(s - D) and need no maximum. With o the output and do its gradient (arXiv 2205.14135, appendix B.2),

    dv = p^T do,   ds = ln 2 * p (do v^T - delta),   delta = sum_h(do o),   dq = ds k,   dk = ds^T q.

Each kernel sums over its innermost grid axis alone, so the chip's two cores can share the others.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from sorajax.attention.flash import F32, LANES, NEVER, ROWS_BY_COLUMNS, ROWS_BY_ROWS, estimate

_LN2 = float(np.log(2))


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
    queries: int,
    keys: int,
    chunk: int,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients f32 of q, k and v.

    Args:
        q, k, v, lengths, heads, queries, keys, chunk, interpret: as in ``flash.forward``; ``chunk`` divides both.
        do: gradient of the output, [b, l, n h].
        denominator: log2 of it, f32 [b, n, 1, l], over all keys wherever they are.
        delta: sum over the head's channels of do * o, f32 [b, n, 1, l].
    """
    b, l, channels = q.shape
    s, h = k.shape[1], channels // heads
    options = {
        "compiler_params": pltpu.CompilerParams(dimension_semantics=("parallel",) * 3 + ("arbitrary",)),
        "interpret": interpret,
    }

    def specs(rows, columns):  # noqa: ANN001, ANN202 - which grid axis counts blocks of queries, and which of keys
        row = pl.BlockSpec((1, queries, h), lambda b, n, i, j, _: (b, rows(i, j), n))
        column = pl.BlockSpec((1, keys, h), lambda b, n, i, j, _: (b, columns(i, j), n))
        vector = pl.BlockSpec((1, 1, 1, queries), lambda b, n, i, j, _: (b, n, 0, rows(i, j)))
        return row, column, vector

    row, column, vector = specs(lambda i, j: j, lambda i, j: i)
    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1,
        grid=(b, heads, s // keys, l // queries),
        in_specs=[row, column, column, row, vector, vector],
        out_specs=[column, column],
        scratch_shapes=[pltpu.VMEM((keys, h), F32)] * 2,
    )
    dk, dv = pl.pallas_call(
        partial(_keys_kernel, chunk=chunk, blocks=l // queries),
        grid_spec=grid,
        out_shape=[jax.ShapeDtypeStruct(k.shape, F32)] * 2,
        cost_estimate=estimate(q, k, heads, products=4),
        name="flash_backward_keys",
        **options,
    )(lengths, q, k, v, do, denominator, delta)

    row, column, vector = specs(lambda i, j: i, lambda i, j: j)
    grid = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=1,
        grid=(b, heads, l // queries, s // keys),
        in_specs=[row, column, column, row, vector, vector],
        out_specs=row,
        scratch_shapes=[pltpu.VMEM((queries, LANES), F32)] * 2 + [pltpu.VMEM((queries, h), F32)],
    )
    dq = pl.pallas_call(
        partial(_queries_kernel, chunk=chunk, blocks=s // keys),
        grid_spec=grid,
        out_shape=jax.ShapeDtypeStruct(q.shape, F32),
        cost_estimate=estimate(q, k, heads, products=3),
        name="flash_backward_queries",
        **options,
    )(lengths, q, k, v, do, denominator, delta)
    return dq, dk, dv


def _keys_kernel(
    lengths_ref,
    q_ref,
    k_ref,
    v_ref,
    do_ref,
    denominator_ref,
    delta_ref,
    dk_ref,
    dv_ref,
    dk_acc,
    dv_acc,
    *,
    chunk,
    blocks,
):
    # Transposed scores, [keys, queries]: what is known of a query is then a row, and both sums are plain products.
    j, size = pl.program_id(3), k_ref.shape[1]
    valid = lengths_ref[pl.program_id(0)] - pl.program_id(2) * size

    @pl.when(j == 0)
    def _first() -> None:
        dk_acc[...] = jnp.zeros_like(dk_acc)
        dv_acc[...] = jnp.zeros_like(dv_acc)

    def add(masked: bool) -> None:
        dk = dv = None
        for at in range(0, q_ref.shape[1], chunk):
            some = pl.ds(at, chunk)
            q, do = q_ref[0, some, :], do_ref[0, some, :]
            s = lax.dot_general(k_ref[0], q, ROWS_BY_ROWS, preferred_element_type=F32)
            if masked:
                s = jnp.where(lax.broadcasted_iota(jnp.int32, s.shape, 0) < valid, s, NEVER)
            p = jnp.exp2(s - denominator_ref[0, 0, :, some])
            dp = lax.dot_general(v_ref[0], do, ROWS_BY_ROWS, preferred_element_type=F32)
            ds = (p * (dp - delta_ref[0, 0, :, some])).astype(q.dtype)
            into_v = lax.dot_general(p.astype(do.dtype), do, ROWS_BY_COLUMNS, preferred_element_type=F32)
            into_k = lax.dot_general(ds, q, ROWS_BY_COLUMNS, preferred_element_type=F32)
            dv = into_v if dv is None else dv + into_v
            dk = into_k if dk is None else dk + into_k
        dk_acc[...] += dk
        dv_acc[...] += dv

    @pl.when(valid >= size)
    def _all() -> None:
        add(False)

    @pl.when((valid > 0) & (valid < size))
    def _some() -> None:
        add(True)

    @pl.when(j == blocks - 1)
    def _last() -> None:
        dk_ref[0] = _LN2 * dk_acc[...]
        dv_ref[0] = dv_acc[...]


def _queries_kernel(
    lengths_ref,
    q_ref,
    k_ref,
    v_ref,
    do_ref,
    denominator_ref,
    delta_ref,
    dq_ref,
    denominator,
    delta,
    acc,
    *,
    chunk,
    blocks,
):
    j, size = pl.program_id(3), k_ref.shape[1]
    valid = lengths_ref[pl.program_id(0)] - j * size

    @pl.when(j == 0)
    def _first() -> None:
        for row, column in ((denominator_ref, denominator), (delta_ref, delta)):
            column[...] = jnp.transpose(jnp.broadcast_to(row[0, 0], (LANES, row.shape[3])))
        acc[...] = jnp.zeros_like(acc)

    def add(masked: bool) -> None:
        total = None
        for at in range(0, size, chunk):
            some = pl.ds(at, chunk)
            k, v = k_ref[0, some, :], v_ref[0, some, :]
            s = lax.dot_general(q_ref[0], k, ROWS_BY_ROWS, preferred_element_type=F32)
            if masked:
                s = jnp.where(lax.broadcasted_iota(jnp.int32, s.shape, 1) + at < valid, s, NEVER)
            dp = lax.dot_general(do_ref[0], v, ROWS_BY_ROWS, preferred_element_type=F32)
            wide = (1, chunk // LANES)
            p = jnp.exp2(s - jnp.tile(denominator[...], wide))
            ds = (p * (dp - jnp.tile(delta[...], wide))).astype(k.dtype)
            part = lax.dot_general(ds, k, ROWS_BY_COLUMNS, preferred_element_type=F32)
            total = part if total is None else total + part
        acc[...] += total

    @pl.when(valid >= size)
    def _all() -> None:
        add(False)

    @pl.when((valid > 0) & (valid < size))
    def _some() -> None:
        add(True)

    @pl.when(j == blocks - 1)
    def _last() -> None:
        dq_ref[0] = _LN2 * acc[...]
