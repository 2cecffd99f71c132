"""Programs before they are compiled: which kernels they call."""

import jax
import jax.numpy as jnp

from sorajax.plan import traced
from tests.pallas import squared

X = jax.ShapeDtypeStruct((64, 32), jnp.float32)


def test_a_kernel_is_described_by_its_grid_blocks_and_arithmetic():
    ((kernel, _),) = traced.kernels(jax.make_jaxpr(squared(16))(X).jaxpr)
    assert (kernel.name, kernel.grid, kernel.operands) == ("squared", (4,), ("float32[64,32]",))
    assert kernel.blocks == ("float32[16,32]", "float32[16,16]")
    longer = jax.ShapeDtypeStruct((640, 32), jnp.float32)
    ((other, _),) = traced.kernels(jax.make_jaxpr(squared(16))(longer).jaxpr)
    assert other.grid == (40,) and other.code == kernel.code
    ((wider, _),) = traced.kernels(jax.make_jaxpr(squared(32))(X).jaxpr)
    assert wider.code != kernel.code
    assert traced.Kernel.from_dict(kernel.to_dict()) == kernel
