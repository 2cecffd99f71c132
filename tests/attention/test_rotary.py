"""Rotary positions against complex numbers, and the TPU's kernel, interpreted, against XLA's way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sorajax.attention import rope_table, rotary


def by_complex_numbers(x, grid, h):
    """Each pair of channels as one complex number, times e^(i position frequency): x [b, l, n, h]."""
    space = 2 * (h // 6)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), -1).reshape(-1, 3)
    angles = [
        places[:, axis, None] * 10000.0 ** -(np.arange(0, dim, 2) / dim)
        for axis, dim in enumerate((h - 2 * space, space, space))
    ]
    turned = x.astype(np.float64).view(np.complex128) * np.exp(1j * np.concatenate(angles, -1))[:, None]
    return turned.view(np.float64)


@pytest.mark.parametrize(("grid", "pairs", "heads"), [((3, 4, 5), 12, 3), ((1, 2, 7), 8, 1), ((5, 1, 1), 32, 2)])
def test_pairs_of_channels_turn_as_complex_numbers_do(grid, pairs, heads):
    h, tokens = 2 * pairs, int(np.prod(grid))
    x = np.random.default_rng(0).standard_normal((2, tokens, heads, h), np.float32)
    got = rotary.rotate(jnp.asarray(x).reshape(2, tokens, -1), rope_table(grid, h), 0.5, jnp.float32)
    np.testing.assert_allclose(got.reshape(x.shape), 0.5 * by_complex_numbers(x, grid, h), atol=2e-5)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("bfloat16", 8e-3)])
@pytest.mark.parametrize("heads", [1, 3, 40])
def test_the_kernel_is_xla_s_way(heads, dtype, error):
    grid = (2, 8, 24)
    x = jax.random.normal(jax.random.key(heads), (2, 384, heads * 128))
    rope = rope_table(grid, 128)
    got = rotary.by_kernel(x, rope, scale=0.3, dtype=dtype, interpret=True)
    assert got.dtype == dtype
    wanted = 0.3 * by_complex_numbers(np.asarray(x).reshape(2, 384, heads, 128), grid, 128)
    np.testing.assert_allclose(np.asarray(got, np.float64), wanted.reshape(x.shape), atol=error * 5)


@pytest.mark.parametrize("grid", [(2, 8, 24), (1, 5, 7)], ids=["the kernel's length", "another"])
def test_the_gradient_turns_back(grid):
    tokens = int(np.prod(grid))
    x, dy = jax.random.normal(jax.random.key(0), (2, 1, tokens, 256))
    rope = rope_table(grid, 128)
    _, pull = jax.vjp(lambda x: rotary.rotate(x, rope, 2.0, jnp.float32), x)
    np.testing.assert_allclose(rotary.rotate(pull(dy)[0] / 4, rope, 2.0, jnp.float32), dy, atol=1e-5)


def test_a_program_lowered_for_a_tpu_holds_the_kernel():
    rope = rope_table((2, 8, 24), 128)

    def text(platform):
        program = jax.jit(lambda x: rotary.rotate(x, rope, 1.0, jnp.bfloat16))
        x = jax.ShapeDtypeStruct((1, 384, 256), jnp.float32)
        return jax.export.export(program, platforms=[platform])(x).mlir_module()

    assert "tpu_custom_call" in text("tpu") and "tpu_custom_call" not in text("cpu")
