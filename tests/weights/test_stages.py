"""Small memory: parts in turn, kernels in eight bits, and what is said before there is too little."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sorajax
from sorajax import request
from sorajax.errors import CheckpointError, InputError
from sorajax.models.layers import matmul
from sorajax.models.quantised import Quantised, quantise
from sorajax.weights import folder, memory
from tests import tiny
from tests.weights.test_lora import factors, write

GIB = 2**30


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("wan")
    return {family: tiny.write_wan(root / family, family) for family in ("2.1", "a14b")}


SIZE = {"size": (32, 32), "frames": 5, "steps": 4, "seed": 3}


@pytest.mark.parametrize("family", ["2.1", "a14b"])
def test_parts_in_turn_give_the_same_clip_and_only_one_is_there_at_a_time(models, family):
    pipe, together = sorajax.load(models[family], keep=False), sorajax.load(models[family])
    assert together.stages.keep and all(part in together.stages for part in together.stages.names)
    held: list[list[str]] = []

    def watch(step: int, steps: int, latents: object) -> None:
        held.append([part for part in pipe.stages.names if part in pipe.stages])

    assert not any(part in pipe.stages for part in pipe.stages.names)
    one, other = pipe("a dog", callback=watch, **SIZE), together("a dog", **SIZE)
    np.testing.assert_array_equal(one.frames, other.frames)
    assert all(len(parts) == 1 for parts in held)
    assert {parts[0] for parts in held} == {name for name in pipe.stages.names if name.startswith("transformer")}
    assert [part for part in pipe.stages.names if part in pipe.stages] == ["vae"]


def test_what_a_part_held_is_deleted_when_another_takes_its_place(models):
    pipe = sorajax.load(models["2.1"], keep=False)
    kernel = pipe.dit.blocks.ffn_in.kernel.get_value()
    assert pipe.vae is pipe.vae and kernel.is_deleted()


def test_loras_come_back_with_their_transformer(models, tmp_path):
    pipe, together = sorajax.load(models["a14b"], keep=False), sorajax.load(models["a14b"])
    path = write(tmp_path / "dog.safetensors", "wan", factors(folder.load_part(models["a14b"], "transformer")))
    for one in (pipe, together):
        one.load_lora(path, scale=0.7)
    np.testing.assert_array_equal(pipe("a dog", **SIZE).frames, together("a dog", **SIZE).frames)
    pipe.unload_lora()
    together.unload_lora()
    np.testing.assert_array_equal(pipe("a dog", **SIZE).frames, together("a dog", **SIZE).frames)


def test_a_damaged_part_is_found_before_any_is_loaded(models, tmp_path):
    model = shutil.copytree(models["2.1"], tmp_path / "model")
    path = model / "vae" / folder.FILES["vae"]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="vae"):
        sorajax.load(model, keep=False)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9), st.floats(1e-6, 1e6))
def test_a_rounded_kernel_errs_by_half_a_step_of_its_channel(seed, i, o, scale):
    kernel = (np.random.default_rng(seed).standard_normal((3, i, o)) * scale).astype(np.float32)
    kernel[:, :, 0] = 0
    rounded = quantise(jnp.asarray(kernel))
    step = np.abs(kernel).max(-2, keepdims=True) / 127
    assert rounded.values.dtype == jnp.int8 and rounded.shape == kernel.shape
    assert np.all(np.abs(np.asarray(rounded.astype(jnp.float32)) - kernel) <= 0.501 * step)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_with_a_rounded_kernel_are_those_of_the_kernel_it_stands_for(dtype):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((5, 16), (16, 8)))
    x = x.astype(dtype).astype(jnp.float32)
    rounded = quantise(kernel)
    want = np.asarray(x) @ np.asarray(rounded.astype(jnp.float32))
    np.testing.assert_allclose(matmul(x, rounded, jnp.dtype(dtype)), want, rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(1e-6, 1e6))
def test_products_of_eight_bits_err_by_what_rounding_of_both_sides_explains(seed, i, scale):
    rng = np.random.default_rng(seed)
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, i), (i, 8)))
    x *= scale
    x[0, 0] = 0
    got = np.asarray(matmul(jnp.asarray(x), quantise(jnp.asarray(kernel), both=True), jnp.dtype(jnp.bfloat16)))
    steps = np.abs(x).max(-1, keepdims=True) / 127, np.abs(kernel).max(0) / 127
    a, b = np.abs(x).sum(-1, keepdims=True), np.abs(kernel).sum(0)
    assert np.all(np.abs(got - x @ kernel) <= 0.51 * (steps[0] * b + steps[1] * a + i * steps[0] * steps[1]))
    assert not got[0, 0].any()


@pytest.mark.parametrize("weights", ["int8", "w8a8"])
def test_kernels_in_eight_bits_take_a_quarter_and_change_little(models, weights):
    exact, rounded = sorajax.load(models["2.1"]), sorajax.load(models["2.1"], weights=weights)
    kernel = rounded.dit.blocks.ffn_in.kernel.get_value()
    assert isinstance(kernel, Quantised) and kernel.nbytes < exact.dit.blocks.ffn_in.kernel.get_value().nbytes / 3
    for part, model in rounded.stages.abstract.items():
        assert memory.resting(model) == sum(leaf.nbytes for leaf in jax.tree.leaves(rounded.stages[part])), part
    text = exact.encode_text(["a dog runs"])
    assert 0 < tiny.relative(rounded.encode_text(["a dog runs"]), text) < 0.03
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4, 4)).astype(np.float32)
    time = np.float32([500])
    assert 0 < tiny.relative(rounded.velocity(x, time, text), exact.velocity(x, time, text)) < 0.03
    mixed = sorajax.load(models["2.1"], weights={"text_encoder": "int8"}, dtype={"transformer": "bfloat16"})
    assert isinstance(mixed.text.blocks.gate.kernel.get_value(), Quantised)
    assert mixed.dit.blocks.ffn_in.kernel.dtype == jnp.bfloat16 and mixed.vae.decoder.conv_in.kernel.dtype == "float32"


def test_a_lora_on_kernels_in_eight_bits_adds_nearly_what_it_adds_elsewhere(models, tmp_path):
    exact, rounded = sorajax.load(models["2.1"]), sorajax.load(models["2.1"], weights="w8a8")
    path = write(tmp_path / "dog.safetensors", "wan", factors(folder.load_part(models["2.1"], "transformer")))
    before = rounded.dit.blocks.attn1.to_q.kernel.get_value()
    for pipe in (exact, rounded):
        pipe.load_lora(path)
    ours, theirs = (pipe.dit.blocks.attn1.to_q.kernel.get_value().astype(jnp.float32) for pipe in (rounded, exact))
    assert tiny.relative(ours, theirs) < 0.02 < tiny.relative(before.astype(jnp.float32), theirs)
    rounded.unload_lora()
    assert np.array_equal(rounded.dit.blocks.attn1.to_q.kernel.get_value().values, before.values)


def test_too_little_memory_is_said_before_anything_is_loaded_with_what_to_try(models, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda mesh: 20_000)
    with pytest.raises(InputError, match=r'on each device for its .*GiB are free; try weights="int8", more devices'):
        sorajax.load(models["2.1"])


def test_parts_stay_where_they_fit_and_take_turns_where_they_do_not(models, monkeypatch):
    pipe = sorajax.load(models["2.1"])
    whole = pipe.needs(request.resolve(pipe.config, size=None, frames=None, steps=None, guidance=None), 1)
    monkeypatch.setattr(memory, "free", lambda mesh: max(whole.values()))
    assert sorajax.load(models["2.1"]).stages.keep
    monkeypatch.setattr(memory, "free", lambda mesh: max(whole.values()) - 1)
    small = sorajax.load(models["2.1"])
    assert not small.stages.keep
    with pytest.raises(InputError, match="2.1, 8 x 832x480, 81 frames, needs about"):
        small(["a dog"] * 8)
    small.budget = 64 * GIB
    assert small("a dog", **SIZE).frames.shape == (5, 256, 256, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "int4"}, "weights 'int4' is unknown; known: int8"),
        ({"weights": {"text": "int8"}}, "weights is given for 'text'; parts of this model: text_encoder"),
        ({"dtype": {"vae": "float16"}}, "dtype 'float16' is unknown; known: float32, bfloat16"),
    ],
)
def test_kinds_of_numbers_that_there_are_not(models, options, message):
    with pytest.raises(InputError, match=message):
        sorajax.load(models["2.1"], **options)
