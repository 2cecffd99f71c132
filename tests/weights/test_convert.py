"""Foreign names and shapes to our parameters and back, by a table of rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sorajax.errors import CheckpointError
from sorajax.mesh import param
from sorajax.weights.convert import CONV2D, CONV3D, LINEAR, Rule, apply, extract, rearrange

LAYERS = 3


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.query = param(jax.random.normal(rngs.params(), (4, 6)), "embed", "heads")
        self.scale = param(jnp.ones(4), None)


class Model(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.patch = param(jax.random.normal(rngs.params(), (1 * 2 * 2 * 3, 4)), None, "embed")
        self.blocks = jax.vmap(lambda rng: Block(rng))(rngs.split(LAYERS))
        self.heads = nnx.List([Block(rngs), Block(rngs)])


RULES = (
    Rule("patch_embedding.weight", "patch", "o i t h w -> (t h w i) o", (("t", 1), ("h", 2), ("w", 2))),
    Rule("blocks.{layer}.attn1.to_q.weight", "blocks.query", LINEAR),
    Rule("blocks.{layer}.norm.gamma", "blocks.scale", "c 1 1 -> c"),
    Rule("{path*}.q.weight", "{path*}.query", LINEAR),
    Rule("{path*}.norm.gamma", "{path*}.scale", "c 1 1 -> c"),
)


def foreign_tensors() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0).standard_normal
    tensors = {"patch_embedding.weight": draw((4, 3, 1, 2, 2))}
    for n in range(LAYERS):
        tensors |= {f"blocks.{n}.attn1.to_q.weight": draw((6, 4)), f"blocks.{n}.norm.gamma": draw((4, 1, 1))}
    for n in range(2):
        tensors |= {f"heads.{n}.q.weight": draw((6, 4)), f"heads.{n}.norm.gamma": draw((4, 1, 1))}
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


@pytest.mark.parametrize("abstract", [False, True], ids=["allocated", "abstract"])
def test_layers_of_the_checkpoint_are_stacked_and_axes_moved(abstract):
    model = nnx.eval_shape(lambda: Model(nnx.Rngs(0))) if abstract else Model(nnx.Rngs(0))
    tensors = foreign_tensors()
    apply(model, tensors, RULES)
    for n in range(LAYERS):
        np.testing.assert_array_equal(model.blocks.query[...][n], tensors[f"blocks.{n}.attn1.to_q.weight"].T)
        np.testing.assert_array_equal(model.blocks.scale[...][n], tensors[f"blocks.{n}.norm.gamma"][:, 0, 0])
    np.testing.assert_array_equal(model.heads[1].query[...], tensors["heads.1.q.weight"].T)
    kernel = tensors["patch_embedding.weight"]
    np.testing.assert_array_equal(model.patch[...][3 * (2 * 1 + 0) + 2], kernel[:, 2, 0, 1, 0])


def test_export_is_the_inverse_of_import():
    model, tensors = Model(nnx.Rngs(0)), foreign_tensors()
    apply(model, tensors, RULES)
    exported = extract(model, RULES)
    assert exported.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(exported[name], tensor, err_msg=name)


def test_a_parameter_keeps_its_dtype_and_its_logical_axes():
    model = Model(nnx.Rngs(0))
    tensors = {name: tensor.astype(jnp.bfloat16) for name, tensor in foreign_tensors().items()}
    apply(model, tensors, RULES)
    assert model.blocks.query[...].dtype == jnp.float32
    assert model.blocks.query.get_metadata()["logical"] == ("embed", "heads")


def test_every_misfit_is_reported_at_once_and_the_model_is_untouched():
    model, tensors = Model(nnx.Rngs(0)), foreign_tensors()
    before = np.asarray(model.patch[...])
    del tensors["blocks.1.norm.gamma"]
    tensors["lm_head.weight"] = np.zeros(3)
    tensors["heads.0.q.weight"] = np.zeros((4, 6))
    with pytest.raises(CheckpointError) as error:
        apply(model, tensors, RULES)
    line = str(error.value)
    assert "1 missing: blocks.1.norm.gamma" in line
    assert "1 unexpected: lm_head.weight" in line
    assert "1 of another shape: heads.0.q.weight (4, 6) for heads.0.query (4, 6)" in line
    assert "\n" not in line
    np.testing.assert_array_equal(model.patch[...], before)


def test_tensors_without_a_place_can_be_ignored_by_pattern():
    model = Model(nnx.Rngs(0))
    apply(model, foreign_tensors() | {"lm_head.weight": np.zeros(3)}, RULES, ignore=[r"lm_head\..*"])


def test_a_parameter_without_a_rule_is_named():
    with pytest.raises(CheckpointError, match="no rule for the 1 parameters: patch"):
        extract(Model(nnx.Rngs(0)), RULES[1:])


@pytest.mark.parametrize(
    ("axes", "shape", "moved"),
    [
        (LINEAR, (2, 3), (3, 2)),
        (CONV2D, (2, 3, 4, 5), (4, 5, 3, 2)),
        (CONV3D, (2, 3, 1, 4, 5), (1, 4, 5, 3, 2)),
        ("1 n c -> n c", (1, 6, 4), (6, 4)),
        ("(n o) i -> n i o", (6, 4), (3, 4, 2)),
    ],
)
def test_axes_move_as_written(axes, shape, moved):
    assert rearrange(np.zeros(shape), axes, {"n": 3} if "(" in axes else None).shape == moved


def test_axes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        rearrange(np.zeros((2, 3)), "c 1 -> c")
