"""A small Pallas kernel for tests of what is found in traced programs."""

import jax
from jax.experimental import pallas as pl


def squared(blocks, cost=None, name="squared"):
    """What gives x @ x.T of each so many rows of x, f32 [n, 32]."""

    def kernel(x_ref, out_ref):
        out_ref[...] = x_ref[...] @ x_ref[...].T

    def function(x):
        return pl.pallas_call(
            kernel,
            grid=(x.shape[0] // blocks,),
            in_specs=[pl.BlockSpec((blocks, 32), lambda i: (i, 0))],
            out_specs=pl.BlockSpec((blocks, blocks), lambda i: (i, 0)),
            out_shape=jax.ShapeDtypeStruct((x.shape[0], blocks), x.dtype),
            cost_estimate=cost,
            name=name,
        )(x)

    return function
