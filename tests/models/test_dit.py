"""The diffusion transformer against diffusers' WanTransformer3DModel, and what our own options do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sorajax.config import DiTConfig, from_dict
from sorajax.errors import CheckpointError, ConfigError
from sorajax.models.dit import DiT, patchify, unpatchify
from sorajax.models.remat import POLICIES, check
from sorajax.weights.dit import export_dit, load_dit
from tests.golden import make_dit

TINY = from_dict(DiTConfig, make_dit.CONFIGS["a"])


def build(config: DiTConfig, weights: dict[str, np.ndarray]) -> DiT:
    model = DiT(config, rngs=nnx.Rngs(0))
    load_dit(model, weights)
    return model


def relative(ours: jax.Array, theirs: np.ndarray) -> float:
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def test_velocity_equals_the_stored_reference():
    golden = np.load(make_dit.GOLDEN)
    for name, values in make_dit.CONFIGS.items():
        prefix = f"{name}/weights/"
        model = build(
            from_dict(DiTConfig, values), {k.removeprefix(prefix): golden[k] for k in golden if k.startswith(prefix)}
        )
        for i, grid in enumerate(make_dit.GRIDS[name]):
            velocity = jax.jit(DiT.__call__)(model, *make_dit.inputs(values, grid))
            assert relative(velocity, golden[f"{name}/velocity/{i}"]) < 1e-5


@pytest.mark.live("torch", "diffusers")
@pytest.mark.parametrize("seed", [1, 2])
def test_velocity_equals_diffusers_run_live(seed):
    for values in make_dit.CONFIGS.values():
        batch = make_dit.inputs(values, (2, 8, 6), seed)
        weights, (velocity,) = make_dit.reference(values, [batch], seed)
        model = build(from_dict(DiTConfig, values), weights)
        assert relative(model(*batch), velocity) < 1e-5
        back = export_dit(model)
        assert back.keys() == weights.keys()
        assert all(np.array_equal(back[k], weights[k]) for k in weights)


def test_patches_come_back_as_they_were():
    x = jnp.arange(2 * 4 * 6 * 8 * 3.0).reshape(2, 4, 6, 8, 3)
    assert np.array_equal(unpatchify(patchify(x, (2, 3, 4)), (2, 3, 4), (2, 2, 2)), x)


def test_a_new_model_predicts_zero_velocity():
    model = DiT(TINY, rngs=nnx.Rngs(0))
    assert not np.any(model(*make_dit.inputs(make_dit.CONFIGS["a"], (1, 4, 4))))


def test_padding_rows_of_the_pooled_text_do_not_count():
    config = dataclasses.replace(TINY, text_pool=True, position_table=(1, 2, 2))
    model = DiT(config, rngs=nnx.Rngs(0))
    model.proj_out.kernel[...] = jax.random.normal(jax.random.key(0), model.proj_out.kernel.shape)
    model.blocks.attn2.to_out.kernel[...] *= 0  # leave the pooled text as the only way in
    latents, timestep, text = make_dit.inputs(make_dit.CONFIGS["a"], (1, 4, 4))
    padded = np.concatenate([text, np.zeros_like(text)], 1)
    base = model(latents, timestep, text)
    np.testing.assert_allclose(model(latents, timestep, padded), base, atol=1e-5)
    assert np.abs(model(latents, timestep, text[::-1]) - base).max() > 1e-3


def test_the_position_table_tells_where_a_token_is():
    config = dataclasses.replace(TINY, position_table=(1, 2, 2))
    model = DiT(config, rngs=nnx.Rngs(0))
    model.proj_out.kernel[...] = jax.random.normal(jax.random.key(0), model.proj_out.kernel.shape)
    model.position[...] = jax.random.normal(jax.random.key(1), model.position.shape)
    _, timestep, text = make_dit.inputs(make_dit.CONFIGS["a"], (1, 4, 4))
    tokens = patchify(model(jnp.zeros((2, 1, 4, 4, 4)), timestep, text), (1, 2, 2))
    assert np.ptp(np.asarray(tokens), axis=1).max() > 1e-2


@pytest.mark.parametrize("dtype", [jnp.bfloat16])
def test_low_precision_stays_close_forward_and_backward(dtype):
    golden = np.load(make_dit.GOLDEN)
    weights = {k.removeprefix("a/weights/"): golden[k] for k in golden if k.startswith("a/weights/")}
    batch = make_dit.inputs(make_dit.CONFIGS["a"], (3, 6, 10))

    def loss(model: DiT) -> jax.Array:
        return jnp.mean(model(*batch) ** 2)

    results = []
    for d in (jnp.float32, dtype):
        model = DiT(TINY, dtype=d, rngs=nnx.Rngs(0))
        load_dit(model, weights)
        results.append((model(*batch), jax.tree.leaves(jax.grad(loss)(model))))
    (exact, exact_grads), (low, low_grads) = results
    assert relative(low, np.asarray(exact)) < 0.05
    scale = max(float(jnp.abs(g).max()) for g in exact_grads)
    assert max(float(jnp.abs(a - b).max()) for a, b in zip(exact_grads, low_grads, strict=True)) < 0.05 * scale


def test_weights_that_do_not_fit_are_named():
    golden = np.load(make_dit.GOLDEN)
    weights = {k.removeprefix("a/weights/"): golden[k] for k in golden if k.startswith("a/weights/")}
    weights["extra"] = weights.pop("proj_out.bias")
    with pytest.raises(CheckpointError, match="missing: proj_out.bias.*unexpected: extra"):
        build(TINY, weights)


def gradient(policy: str):
    config = dataclasses.replace(TINY, num_layers=4)
    model = DiT(config, remat=policy, rngs=nnx.Rngs(0))
    model.proj_out.kernel[...] = jax.random.normal(jax.random.key(1), model.proj_out.kernel.shape)
    batch = make_dit.inputs(make_dit.CONFIGS["a"], (2, 8, 6))
    loss = lambda model, *batch: jnp.mean(model(*batch) ** 2)  # noqa: E731
    return jax.jit(jax.grad(loss)).lower(model, *batch).compile(), (model, *batch)


def test_what_is_kept_of_a_block_costs_memory_and_changes_no_gradient():
    compiled = {policy: gradient(policy) for policy in POLICIES}
    whole = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(f(*args))]) for f, args in compiled.values()]
    for other in whole[1:]:
        assert relative(other, whole[0]) < 1e-5
    kept = [f.memory_analysis().temp_size_in_bytes for f, _ in compiled.values()]
    assert kept == sorted(kept) and kept[0] < kept[-1] / 1.5
    work = [f.cost_analysis()["flops"] for f, _ in compiled.values()]
    assert work == sorted(work, reverse=True) and work[0] > work[1] > work[-1]


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError, match="remat: 'all' is unknown; known: block, attention, products, none"):
        check("all")
