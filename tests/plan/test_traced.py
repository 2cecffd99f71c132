"""Programs before they are compiled: which kernels they call."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from sorajax.plan import traced

X = jax.ShapeDtypeStruct((64, 32), jnp.float32)


def call(blocks, cost=None, name="twice"):
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


def test_a_kernel_is_described_by_its_grid_blocks_and_arithmetic():
    ((kernel, _),) = traced.kernels(jax.make_jaxpr(call(16))(X).jaxpr)
    assert (kernel.name, kernel.grid, kernel.operands) == ("twice", (4,), ("float32[64,32]",))
    assert kernel.blocks == ("float32[16,32]", "float32[16,16]")
    longer = jax.ShapeDtypeStruct((640, 32), jnp.float32)
    ((other, _),) = traced.kernels(jax.make_jaxpr(call(16))(longer).jaxpr)
    assert other.grid == (40,) and other.code == kernel.code
    ((wider, _),) = traced.kernels(jax.make_jaxpr(call(32))(X).jaxpr)
    assert wider.code != kernel.code
    assert traced.Kernel.from_dict(kernel.to_dict()) == kernel
