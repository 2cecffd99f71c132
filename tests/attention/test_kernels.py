"""The TPU's kernels, interpreted on the CPU, against the formula; and which kernel a device gets."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorajax.attention import attention, dense, flash, kernels
from tests.attention import reference

SIZES = [(1, 300, 700, 2, 128), (2, 513, 129, 1, 64)]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(kernels, "_QUERIES", (256,))
    monkeypatch.setattr(kernels, "_KEYS", (256,))
    monkeypatch.setattr(kernels, "_QUERIES_BACK", (256,))
    monkeypatch.setattr(kernels, "_KEYS_BACK", (256,))
    monkeypatch.setattr(kernels, "_CHUNK", 128)


def scaled(q):
    """As the kernels take queries: scores in units of log2."""
    return jnp.asarray(q * (np.log2(np.e) / np.sqrt(q.shape[-1])))


def flat(*arrays, dtype="float32"):
    """[b, l, n, h] -> [b, l, n h]."""
    return tuple(jnp.asarray(x, dtype).reshape(*x.shape[:2], -1) for x in arrays)


def apart(x, heads):
    """[b, l, n h] -> [b, l, n, h]."""
    return x.reshape(*x.shape[:2], heads, -1)


def rows(q, k, v, do, length):
    """The denominator and delta that a backward pass takes, by the reference."""
    s = np.einsum("blnh,bsnh->bnls", np.asarray(q, np.float64), k) / np.sqrt(q.shape[-1])
    s = np.where(np.arange(k.shape[1]) < np.asarray(length)[:, None, None, None], s, -np.inf)
    denominator = np.log2(np.exp(s).sum(-1))
    delta = np.einsum("blnh,blnh->bnl", do, reference.attention(q, k, v, length))
    return jnp.asarray(denominator, jnp.float32), jnp.asarray(delta, jnp.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "error"), [("float32", 2e-6), ("bfloat16", 1e-2)])
def test_forward_is_the_formula(small_blocks, size, dtype, error):
    q, k, v, _ = reference.inputs(*size)
    length = jnp.asarray([k.shape[1] - 77] * len(q), jnp.int32)
    arrays = flat(scaled(q), k, v, dtype=dtype)
    out, denominator = kernels.flash_forward(*arrays, length, heads=size[3], interpret=True)
    assert reference.relative(apart(out, size[3]), reference.attention(q, k, v, length)) < error
    assert reference.relative(denominator, np.asarray(rows(q, k, v, q, length)[0])) < error


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "error"), [("float32", 5e-6), ("bfloat16", 3e-2)])
def test_backward_is_the_formula(small_blocks, size, dtype, error):
    q, k, v, do = reference.inputs(*size)
    length = jnp.asarray([k.shape[1] - 77] * len(q), jnp.int32)
    arrays, more = flat(scaled(q), k, v, dtype=dtype), rows(q, k, v, do, length)
    got = kernels.flash_gradients(*arrays, length, *flat(do), *more, heads=size[3], interpret=True)
    got = [apart(x, size[3]) for x in got]
    got = (got[0] * (np.log2(np.e) / np.sqrt(q.shape[-1])), *got[1:])
    for mine, wanted in zip(got, reference.gradients(q, k, v, do, length), strict=True):
        assert reference.relative(mine, wanted) < error


def test_rows_of_a_batch_may_have_keys_of_their_own(small_blocks):
    q, k, v, _ = reference.inputs(3, 256, 600, 1, 128)
    length = np.asarray([1, 256, 600], np.int32)
    out, _ = kernels.flash_forward(*flat(scaled(q), k, v), jnp.asarray(length), heads=1, interpret=True)
    out = apart(out, 1)
    assert reference.relative(out, reference.attention(q, k, v, length)) < 2e-6


@pytest.mark.parametrize("place", [3, 300, 599])
def test_scores_far_above_the_first_ones_do_not_overflow(small_blocks, place):
    """Keys made to score 2^2000 times the first: the reference of the exponentials has to follow."""
    q, k, v, _ = reference.inputs(1, 256, 600, 1, 128)
    k[:, place] = 200 * q[:, 7]
    length = jnp.asarray([600], jnp.int32)
    out, _ = kernels.flash_forward(*flat(scaled(q), k, v), length, heads=1, interpret=True)
    out = apart(out, 1)
    assert np.isfinite(out).all()
    assert reference.relative(out, reference.attention(q, k, v)) < 1e-4  # f32 products of scores in the thousands


def test_scores_far_below_the_first_ones_add_nothing(small_blocks):
    q, k, v, _ = reference.inputs(1, 256, 600, 1, 128)
    k[:, 0] = 200 * q[:, 7]
    length = jnp.asarray([600], jnp.int32)
    out, _ = kernels.flash_forward(*flat(scaled(q), k, v), length, heads=1, interpret=True)
    out = apart(out, 1)
    assert reference.relative(out[:, 7], v[:, 0]) < 1e-6
    assert np.isfinite(out).all()


@given(size=st.integers(1, 100_000))
def test_the_block_pads_least(size):
    choices = (1024, 896, 768, 640, 512)
    waste = {choice: -size % choice for choice in choices}
    block = kernels.block(size, choices)
    assert waste[block] == min(waste.values())
    assert block == max(choice for choice in choices if waste[choice] == waste[block])


def test_queries_taken_in_parts_give_the_same(monkeypatch):
    q, k, v, do = reference.inputs(2, 96, 50, 3, 16)
    length = jnp.asarray([50, 50], jnp.int32)
    monkeypatch.setattr(dense, "LARGEST", 2 * 3 * 50 * 7)
    out, _ = dense.forward(*flat(scaled(q), k, v), length, heads=3)
    assert reference.relative(apart(out, 3), reference.attention(q, k, v)) < 1e-6
    more = rows(q, k, v, do, length)
    got = [apart(x, 3) for x in dense.backward(*flat(scaled(q), k, v), length, *flat(do), *more, heads=3)]
    for mine, wanted in zip(got[1:], reference.gradients(q, k, v, do)[1:], strict=True):
        assert reference.relative(mine, wanted) < 3e-6


def test_a_program_lowered_for_a_tpu_holds_the_kernels():
    q = jax.ShapeDtypeStruct((1, 4096, 256), jnp.bfloat16)
    gradients = jax.jit(jax.grad(lambda q, k, v: attention(q, k, v, 2, jnp.bfloat16).sum(), (0, 1, 2)))

    def text(platform):
        return jax.export.export(gradients, platforms=[platform])(q, q, q).mlir_module()

    tpu, cpu = text("tpu"), text("cpu")
    assert all(name in tpu for name in ("flash_forward", "flash_backward_keys", "flash_backward_queries"))
    assert "tpu_custom_call" not in cpu


@pytest.mark.parametrize(
    ("capability", "has"), [("9.0", True), ("8.0", True), ("7.5", False), ("gfx90a", False), ("gfx1100", False)]
)
def test_cudnn_is_for_nvidia_s_ampere_and_later(capability, has):
    assert kernels.has_cudnn(SimpleNamespace(compute_capability=capability)) is has
    assert not kernels.has_cudnn(jax.devices("cpu")[0])


def test_head_channels_that_the_kernel_has_no_room_for_go_to_xla():
    q = jax.ShapeDtypeStruct((1, 4096, flash.LANES + 1), jnp.bfloat16)
    program = jax.export.export(jax.jit(lambda q: attention(q, q, q, 1, jnp.bfloat16)), platforms=["tpu"])(q)
    assert "flash_forward" not in program.mlir_module()
