"""The abstract programs: what runs, what it is worth, and that it is what training and sampling run."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from sorajax.cost import flops
from sorajax.mesh import make_mesh
from sorajax.plan.program import build, resting_bytes
from sorajax.plan.request import TASKS, Request
from tests import tiny


def request(task: str, **changes: object) -> Request:
    return Request(**{"task": task, "model": tiny.CONFIG, "width": 32, "height": 32, "frames": 9, **changes})


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(devices=jax.devices()[:1])


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_traced_without_making_an_array(task, mesh):
    with jax.set_mesh(mesh):
        program = build(request(task), mesh)
        assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(program.arguments))
        out = jax.eval_shape(program.function, *program.arguments)
    finite = {"sample": (1, 3, 2, 2, 8), "decode": (1, 9, 32, 32, 3), "text": (1, 48, 16)}
    if task in finite:
        assert out.shape == finite[task]
    else:
        state, metrics = out
        assert jax.tree.structure(state) == jax.tree.structure(program.arguments[0])
        assert {"loss", "grad_norm"} <= set(metrics)


@pytest.mark.parametrize("task", ["train", "sample"])
def test_a_transformer_that_sees_a_picture_beside_the_latents_is_given_one(task, mesh):
    model = tiny.WAN["i2v-a14b"]
    beside = model.dit.in_channels - model.vae.z_dim
    assert beside > 0
    with jax.set_mesh(mesh):
        program = build(request(task, model=model), mesh)
        jax.eval_shape(program.function, *program.arguments)
        function, arguments, _ = program.useful
        jax.eval_shape(function, *arguments)
    assert any(leaf.shape[-1:] == (beside,) for leaf in jax.tree.leaves(program.arguments[1:]))


def worth(task, mesh, **changes):
    with jax.set_mesh(mesh):
        function, arguments, times = build(request(task, **changes), mesh).useful
        return times * flops.flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_a_training_step_is_worth_three_forward_passes_and_a_guided_one_two(mesh):
    # What does not depend on the batch, such as the timestep's, is little.
    assert worth("train", mesh) == pytest.approx(3 / 2 * worth("sample", mesh), rel=0.05)


def test_work_grows_with_the_batch(mesh):
    assert worth("decode", mesh, batch=3) == pytest.approx(3 * worth("decode", mesh), rel=0.01)


def test_weights_at_rest_are_of_the_type_asked_for(mesh):
    def sizes(weights):
        with jax.set_mesh(mesh):
            dit = build(request("sample", weights=weights), mesh).arguments[0]
        return {str(leaf.dtype): leaf.size for leaf in jax.tree.leaves(dit) if leaf.dtype == jnp.dtype(weights)}

    assert set(sizes("bfloat16")) == {"bfloat16"}
    assert resting_bytes(request("sample", weights="bfloat16")) * 2 == resting_bytes(request("sample"))


def test_training_keeps_five_numbers_of_each_weight():
    assert resting_bytes(request("train")) == 5 * resting_bytes(request("sample"))
    assert resting_bytes(dataclasses.replace(request("train"), batch=8)) == resting_bytes(request("train"))
