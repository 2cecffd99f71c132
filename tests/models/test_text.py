"""The text encoder equals transformers' UMT5EncoderModel, and padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sorajax.config import TextConfig
from sorajax.models.text import TextEncoder, relative_buckets
from sorajax.weights import text as table
from sorajax.weights.convert import apply, extract
from tests.golden.make_text import GOLDEN, LENGTHS, TINY, buckets, inputs, reference


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def weights(golden):
    return {name.removeprefix("weights/"): value for name, value in golden.items() if name.startswith("weights/")}


@pytest.fixture(scope="module")
def encoder(weights):
    return load(TINY, weights)


def load(config, weights, dtype=jnp.float32):
    model = TextEncoder(TextConfig(**config), dtype=dtype, rngs=nnx.Rngs(0))
    apply(model, weights, table.RULES, ignore=table.IGNORE)
    return model


def encode(model, ids, mask):
    return np.asarray(jax.jit(lambda m, i, k: m(i, k))(model, ids, mask))


def relative_error(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("length", LENGTHS)
def test_states_equal_the_reference(encoder, golden, length):
    states = encode(encoder, *inputs(length, TINY["vocab_size"]))
    assert states.dtype == np.float32
    assert relative_error(states, golden[f"states/{length}"]) < 1e-5


@pytest.mark.live("torch", "transformers")
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "change",
    [{}, {"d_model": 32, "num_heads": 8, "num_layers": 3}, {"relative_attention_num_buckets": 32, "d_kv": 12}],
    ids=["tiny", "deeper", "more buckets"],
)
def test_states_equal_the_reference_live(change, seed):
    config = TINY | change
    batches = [inputs(length, config["vocab_size"], seed) for length in (2, 7, 150)]
    weights, states = reference(config, batches, seed)
    model = load(config, weights)
    for (ids, mask), expected in zip(batches, states, strict=True):
        assert relative_error(encode(model, ids, mask), expected) < 1e-5


def test_position_buckets_equal_the_reference(golden):
    np.testing.assert_array_equal(relative_buckets(512, 32, 128), golden["buckets"])


@pytest.mark.live("transformers")
@pytest.mark.parametrize(("count", "max_distance"), [(32, 128), (8, 20), (16, 64)])
def test_position_buckets_equal_the_reference_live(count, max_distance):
    np.testing.assert_array_equal(relative_buckets(300, count, max_distance), buckets(300, count, max_distance))


def test_export_gives_the_reference_back(encoder, weights):
    exported = extract(encoder, table.RULES)
    assert exported.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(exported[name], value, err_msg=name)


def test_padding_is_zero_and_changes_no_state(encoder):
    ids, mask = inputs(9, TINY["vocab_size"])
    states = encode(encoder, ids, mask)
    assert (states[~mask] == 0).all() and (states[mask] != 0).any(-1).all()
    longer = encode(encoder, np.pad(ids, [(0, 0), (0, 7)]), np.pad(mask, [(0, 0), (0, 7)]))
    np.testing.assert_allclose(longer[:, :9], states, atol=1e-5)
    rubbish = encode(encoder, np.where(mask, ids, 5), mask)
    np.testing.assert_array_equal(rubbish, states)


def test_a_row_of_padding_alone_is_zero_and_has_finite_gradients(encoder):
    ids, mask = inputs(6, TINY["vocab_size"])
    mask[2] = False
    grads = jax.jit(jax.grad(lambda m: jnp.sum(m(ids, mask) ** 2)))(encoder)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))
    assert (encode(encoder, ids, mask)[2] == 0).all()


def test_bf16_operands_stay_near_f32(weights, golden):
    states = encode(load(TINY, weights, jnp.bfloat16), *inputs(48, TINY["vocab_size"]))
    error = relative_error(states, golden["states/48"])
    assert states.dtype == np.float32 and 1e-5 < error < 0.05


def test_the_large_parameters_name_the_axes_they_are_split_over(encoder):
    axes = {
        ".".join(map(str, path)): value.get_metadata()["logical"]
        for path, value in nnx.to_flat_state(nnx.state(encoder))
    }
    assert axes["embedding"] == ("vocab", "embed")
    assert {axes[f"blocks.attention.{name}.kernel"] for name in "qkv"} == {("embed", "heads")}
    assert axes["blocks.attention.o.kernel"] == ("heads", "embed")
    assert axes["blocks.gate.kernel"] == axes["blocks.value.kernel"] == ("embed", "mlp")
    assert axes["blocks.out.kernel"] == ("mlp", "embed")


def test_fresh_states_have_the_scale_of_the_norm():
    model = TextEncoder(TextConfig(**TINY | {"d_model": 64, "num_heads": 4, "d_kv": 16}), rngs=nnx.Rngs(0))
    states = encode(model, *inputs(48, TINY["vocab_size"]))
    assert np.mean(states[0] ** 2) == pytest.approx(1, abs=1e-3)
