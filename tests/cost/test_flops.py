"""FLOPs of programs, counted before they are compiled."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from sorajax.cost import flops as flops_of
from tests.pallas import squared

X = jax.ShapeDtypeStruct((64, 32), jnp.float32)


def flops(function, *arguments):
    return flops_of.flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_a_loop_counts_as_often_as_it_runs():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, weights)[0]

    assert flops(layers, X, jax.ShapeDtypeStruct((5, 32, 32), jnp.float32)) == 5 * 2 * 64 * 32 * 32


def test_a_convolution_counts_its_window():
    def convolve(x, w):
        return jax.lax.conv_general_dilated(x, w, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))

    x, w = jax.ShapeDtypeStruct((1, 10, 4), jnp.float32), jax.ShapeDtypeStruct((3, 4, 8), jnp.float32)
    assert flops(convolve, x, w) == 2 * (8 * 8) * (3 * 4)


def test_a_derivative_s_rule_does_not_run_with_the_function():
    assert flops(jax.checkpoint(lambda x: jax.nn.relu(x @ x.T)), X) == 2 * 64 * 64 * 32


def test_where_platforms_differ_a_tpu_s_branch_counts():
    def choose(x):
        return jax.lax.platform_dependent(x, tpu=lambda x: x @ x.T, default=lambda x: (x @ x.T) @ (x @ x.T))

    assert flops(choose, X) == 2 * 64 * 64 * 32


def test_a_kernel_counts_its_grid_or_what_its_author_says():
    assert flops(squared(16), X) == 4 * 2 * 16 * 16 * 32
    said = pl.CostEstimate(flops=123, transcendentals=0, bytes_accessed=0)
    assert flops(squared(16, said), X) == 123


def test_a_frozen_weight_is_worth_two_passes_also_in_a_loop():
    def loss(adapters, kernels, x):
        def block(x, layer):
            kernel, adapter = layer
            return jnp.tanh(x @ kernel + (x @ adapter) @ adapter.T), None

        return jnp.sum(jax.lax.scan(jax.checkpoint(block), x, (kernels, adapters))[0])

    adapters, kernels = jax.ShapeDtypeStruct((5, 32, 4), jnp.float32), jax.ShapeDtypeStruct((5, 32, 32), jnp.float32)
    jaxpr = jax.make_jaxpr(loss)(adapters, kernels, X).jaxpr
    # The clip depends on an adapter from the first block's output on, so the whole loop is taken to.
    assert flops_of.of_training(jaxpr, 1) == 5 * (2 * 2 * 64 * 32 * 32 + 3 * 2 * (2 * 64 * 32 * 4))


def test_a_kernel_s_lengths_are_none_of_its_factors():
    def kernel(length_ref, x_ref, y_ref, out_ref):
        out_ref[...] = length_ref[0] * (x_ref[...] @ y_ref[...])

    def loss(weights, length, x):
        product = pl.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct((64, 64), jnp.float32))
        return jnp.sum(product(length, x * weights, x.T * weights))

    length = jax.ShapeDtypeStruct((1,), jnp.int32)
    jaxpr = jax.make_jaxpr(loss)(jax.ShapeDtypeStruct((), jnp.float32), length, X).jaxpr
    assert flops_of.of_training(jaxpr, 1) == 3 * 2 * 64 * 64 * 32


def test_a_product_is_made_again_for_each_operand_that_is_trained():
    def loss(weights, frozen, x):
        features = jnp.tanh(x @ frozen)  # once: nothing of it is trained
        return jnp.sum((features @ weights) ** 2)

    weights, frozen = jax.ShapeDtypeStruct((32, 8), jnp.float32), jax.ShapeDtypeStruct((32, 32), jnp.float32)
    jaxpr = jax.make_jaxpr(loss)(weights, frozen, X).jaxpr
    # The features depend on nothing that is trained: they get no gradient, and the weights do.
    assert flops_of.of_training(jaxpr, 1) == 2 * 64 * 32 * 32 + 2 * 2 * 64 * 32 * 8


def test_a_tally_counts_each_call_while_it_is_open():
    product = flops_of.counted(jax.jit(lambda x: x @ x.T))
    small, large = jnp.ones((4, 8)), jnp.ones((16, 8))
    product(small)
    with flops_of.tally() as tally:
        product(small)
        product(large)
        product(large)
    product(large)
    assert tally.flops == 2 * 8 * (4 * 4 + 2 * 16 * 16)


def test_a_tally_inside_another_is_its_own():
    product = flops_of.counted(jax.jit(lambda x: x @ x))
    with flops_of.tally() as outer:
        with flops_of.tally() as inner:
            product(jnp.ones((4, 4)))
        product(jnp.ones((4, 4)))
    assert inner.flops == outer.flops == 2 * 4**3
