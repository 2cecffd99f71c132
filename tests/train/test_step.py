"""The training step: which numbers are of which type, and what it may not send."""

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sorajax.errors import ConfigError
from sorajax.mesh import make_mesh
from sorajax.models.layers import Linear
from sorajax.train.config import OptimizerConfig, TrainConfig
from sorajax.train.loop import _check_parts
from sorajax.train.step import TrainState, init_state, make_optimizer, make_step
from tests import tiny


class Line:
    """y = W x is to be zero."""

    frozen = ()

    def init(self, rngs: nnx.Rngs) -> Linear:
        return Linear(8, 8, rngs=rngs)

    def loss(self, model, frozen, batch, key):
        assert model.kernel[...].dtype == jnp.dtype(self.expected)
        assert model.bias[...].dtype == jnp.float32
        return jnp.mean((batch["x"] @ model.kernel[...] + model.bias[...]) ** 2), {
            "frozen": jnp.sum(jnp.asarray(frozen))
        }


def run(parameters: str, frozen=(), steps: int = 3, **options) -> tuple[TrainState, TrainState]:
    objective, mesh = Line(), make_mesh(devices=jax.devices()[:1])
    objective.expected = parameters
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-6, warmup_steps=1, weight_decay=0.0), 10)
    state = init_state(objective, optimizer, 0, mesh)
    first = jax.device_get(state)
    step = make_step(objective, optimizer, mesh, ema=0.5, seed=0, parameters=parameters, **options)
    batch = {"x": np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)}
    for _ in range(steps):
        state, _ = step(state, frozen, batch)
    return first, jax.device_get(state)


@pytest.mark.parametrize("parameters", ["float32", "bfloat16"])
def test_weights_move_by_less_than_the_type_they_are_used_in_can_tell(parameters):
    first, last = run(parameters)
    assert {str(x.dtype) for x in jax.tree.leaves((last.model, last.ema))} == {"float32"}
    before, after = first.model.kernel[...], last.model.kernel[...]
    moved = np.abs(after - before)
    assert 1e-7 < moved.max() < 1e-5
    same = before.astype(jnp.bfloat16) == after.astype(jnp.bfloat16)
    assert same.mean() > 0.9  # and yet all of them moved
    assert (moved > 0).mean() > 0.9


def test_nothing_is_sent_from_the_host_within_a_step():
    with pytest.raises(Exception, match="[Dd]isallowed host-to-device transfer"):
        run("float32", frozen=np.ones(3, np.float32))


@pytest.mark.parametrize("parameters", ["float32", "bfloat16"])
def test_a_batch_in_parts_moves_weights_as_the_whole_does(parameters):
    (first, whole), (_, parts) = run(parameters), run(parameters, accumulate=2)
    moved, apart = (
        np.abs(x - whole.model.kernel[...]).max() for x in (first.model.kernel[...], parts.model.kernel[...])
    )
    assert apart < 1e-3 * moved if parameters == "float32" else apart < 0.1 * moved


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accumulate": 3}, "accumulate: 3 parts of a batch of 32; give a divisor of it"),
        ({"accumulate": 0}, "accumulate: 0 is too small; at least 1"),
        ({"accumulate": 2, "objective": "vae"}, "accumulate: 2, of objective 'vae'; it is for \"video\""),
    ],
)
def test_parts_that_no_batch_has_are_refused(changes, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        TrainConfig(**{"objective": "video", "model": tiny.CONFIG, **changes})


def test_parts_that_do_not_divide_among_devices_are_refused():
    config = TrainConfig(objective="video", model=tiny.CONFIG, batch=16, accumulate=4)
    mesh: Any = SimpleNamespace(shape={"data": 2, "fsdp": 4})
    with pytest.raises(ConfigError, match="have 4 clips each, which do not divide among 8 devices"):
        _check_parts(config, mesh)
    _check_parts(dataclasses.replace(config, accumulate=2), mesh)


def test_parts_of_a_batch_are_of_all_its_rows_and_have_keys_of_their_own():
    class Told(Line):
        def loss(self, model, frozen, batch, key):
            loss, _ = super().loss(model, frozen, batch, key)
            return loss, {"rows": jnp.sum(batch["x"]), "drawn": jax.random.uniform(key)}

    objective, mesh = Told(), make_mesh(devices=jax.devices()[:1])
    objective.expected = "float32"
    optimizer = make_optimizer(OptimizerConfig(), 10)
    state, key = init_state(objective, optimizer, 0, mesh), jax.random.fold_in(jax.random.key(3), 0)
    step = make_step(objective, optimizer, mesh, ema=0.5, seed=3, accumulate=3)
    x = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    _, metrics = step(state, (), {"x": x})
    assert float(metrics["rows"]) == pytest.approx(x.sum() / 3, rel=1e-5)
    drawn = [float(jax.random.uniform(jax.random.fold_in(key, i))) for i in range(3)]
    assert len(set(drawn)) == 3 and float(metrics["drawn"]) == pytest.approx(np.mean(drawn))
