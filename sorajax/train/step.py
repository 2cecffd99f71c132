"""The pure training step, and what an objective must offer to be trained by it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from flax import nnx
from jax.sharding import Mesh

from sorajax.cost import flops
from sorajax.hosts.arrays import place
from sorajax.mesh import batch_sharding, shardings
from sorajax.train.config import OptimizerConfig

Metrics = dict[str, jax.Array]
KERNELS = ("kernel", "patch_kernel", "embedding")
"""Names of the parameters that are large: matrices, and what is looked up in."""


class Objective(Protocol):
    """What is trained, on what, and how it is judged."""

    result: Path
    """The folder or file that ``export`` writes, for whoever samples."""

    @property
    def frozen(self) -> Any:
        """Pytree of models that the loss uses but does not train, on the mesh."""
        ...

    def init(self, rngs: nnx.Rngs) -> nnx.Module:
        """A new model."""
        ...

    def size(self, index: int) -> int:
        """Rows of batch ``index``."""
        ...

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """Host arrays [b, ...] of batch ``index``, a function of the seed and the index alone; or only its ``rows``."""
        ...

    def names(self, index: int) -> list[str]:
        """What each row of batch ``index`` was made of, for a person to find it again."""
        ...

    def sources(self) -> Mapping[str, str]:
        """Digests of what the run is made of beside its config, by the key of the config that names it."""
        ...

    def learned_from(self) -> list[str]:
        """What it learns from, in lines for a person."""
        ...

    def tokens(self, batch: Mapping[str, Any]) -> int:
        """Tokens of a batch, as the model that is trained counts them."""
        ...

    def loss(
        self, model: Any, frozen: Any, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Loss f32 [] and further metrics f32 []; pure."""
        ...

    def evaluate(self, model: Any, step: int, folder: Path, *, signed: bool = True) -> dict[str, float]:
        """Figures of the averaged model; pictures go to ``folder``, and clips if they can be signed as those of the
        model that was exported."""
        ...

    def export(self, model: Any, folder: Path) -> None:
        """Write the averaged model's part into the model folder."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that a step changes; ``ema`` is the average of the model's weights over steps."""

    step: jax.Array
    model: Any
    ema: Any
    opt_state: Any


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101), or Muon (arXiv 2502.16982) for the kernels, after clipping by global norm.

    Kernels decay, vectors do not. Muon's updates are scaled to the size of AdamW's, so rates carry over.
    """
    parts = [optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)]
    parts.append(optax.constant_schedule(config.learning_rate))
    borders = [config.warmup_steps]
    if config.decay_steps:
        parts.append(optax.linear_schedule(config.learning_rate, 0.0, config.decay_steps))
        borders.append(max(steps - config.decay_steps, config.warmup_steps))
    schedule = optax.join_schedules(parts, borders)
    clip = optax.clip_by_global_norm(config.clip_norm)
    if config.name == "muon":
        return optax.chain(
            clip,
            optax.contrib.muon(
                schedule,
                weight_decay=config.weight_decay,
                adam_b1=config.b1,
                adam_b2=config.b2,
                muon_weight_dimension_numbers=_kernels,
                consistent_rms=0.2,
            ),
        )
    decays = partial(jax.tree.map, lambda x: x.ndim > 1)
    return optax.chain(
        clip, optax.adamw(schedule, b1=config.b1, b2=config.b2, weight_decay=config.weight_decay, mask=decays)
    )


def _kernels(params: Any) -> Any:
    """Which axes of each kernel make its matrix: [in, out], stacked [layer, in, out], or a convolution's."""

    def one(path: Any, leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        if "kernel" not in jax.tree_util.keystr(path) or leaf.ndim < 2:
            return None
        inputs = (leaf.ndim - 2,) if leaf.ndim < 4 else tuple(range(leaf.ndim - 1))
        return optax.contrib.MuonDimensionNumbers(reduction_axis=inputs, output_axis=(leaf.ndim - 1,))

    return jax.tree_util.tree_map_with_path(one, params)


def init_state(objective: Objective, optimizer: optax.GradientTransformation, seed: int, mesh: Mesh) -> TrainState:
    """A new state, made in place on the mesh."""
    make = partial(_new_state, objective, optimizer, seed)
    with jax.set_mesh(mesh):
        return jax.jit(make, out_shardings=shardings(jax.eval_shape(make), mesh))()


def state_shapes(objective: Objective, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """What ``init_state`` gives, as shapes with shardings: a checkpoint is read into them."""
    shapes = jax.eval_shape(partial(_new_state, objective, optimizer, 0))
    laid_out = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)  # noqa: E731
    return jax.tree.map(laid_out, shapes, shardings(shapes, mesh))


def _new_state(objective: Objective, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
    model = objective.init(nnx.Rngs(seed))
    ema = jax.tree.map(jnp.copy, model)
    params: Any = model  # a module is a pytree of its parameters
    return TrainState(step=jnp.int32(0), model=model, ema=ema, opt_state=optimizer.init(params))


def make_update(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    ema: float,
    seed: int,
    parameters: str = "float32",
    accumulate: int = 1,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The step (state, frozen, batch, limit) -> (state, metrics) as a pure function.

    Its random key is a function of the seed and the step, so a resumed run repeats an uninterrupted one. ``parameters``
    is the type in which kernels are used and gradients summed over devices; the state's own are what they are. A batch
    is taken in ``accumulate`` parts, one after the other; loss, metrics and gradients are the means of theirs. Where
    the loss is above ``limit`` (f32 []; none if it is not given), or it or the gradient is not finite, nothing but the
    step's number changes, and the metric ``skipped`` is 1.
    """

    def update(
        state: TrainState, frozen: Any, batch: Mapping[str, jax.Array], limit: jax.Array | float = jnp.inf
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        grad = jax.value_and_grad(objective.loss, has_aux=True)
        model = _used(state.model, jnp.dtype(parameters))
        if accumulate == 1:
            (loss, metrics), grads = grad(model, frozen, batch, key)
        else:
            (loss, metrics), grads = _mean_of_parts(grad, model, frozen, batch, key, accumulate, mesh)
        grads = jax.tree.map(lambda g, w: g.astype(w.dtype), grads, state.model)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.model)
        model = optax.apply_updates(state.model, updates)
        decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), state.ema, model)
        norm = optax.global_norm(grads)
        good = jnp.isfinite(loss) & jnp.isfinite(norm) & (loss <= limit)
        metrics = {"loss": loss, "grad_norm": norm, "skipped": 1.0 - good, **metrics}
        new = TrainState(step=state.step, model=model, ema=average, opt_state=opt_state)
        new = jax.tree.map(partial(jnp.where, good), new, state)
        new = dataclasses.replace(new, step=state.step + 1)
        return jax.lax.with_sharding_constraint(new, shardings(new, mesh)), metrics  # as it came: compiled once

    return update


def _mean_of_parts(
    grad: Callable[..., Any],
    model: Any,
    frozen: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    parts: int,
    mesh: Mesh,
) -> Any:
    """The mean of what ``grad`` gives of each part of a batch, summed in float32; memory is that of one part."""
    # Rows of a part are those at every parts-th place: of each device's own, if there are enough.
    split = {name: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0) for name, x in batch.items()}

    def one(i: jax.Array, rows: Mapping[str, jax.Array]) -> Any:
        rows = {k: jax.lax.with_sharding_constraint(x, batch_sharding(mesh, x.shape)) for k, x in rows.items()}
        values, grads = grad(model, frozen, rows, jax.random.fold_in(key, i))
        values, grads = jax.tree.map(lambda x: x.astype(jnp.float32), (values, grads))
        return values, jax.lax.with_sharding_constraint(grads, shardings(grads, mesh))

    def add(total: Any, part: tuple[jax.Array, Mapping[str, jax.Array]]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, one(*part)), None

    shapes = jax.eval_shape(one, jnp.int32(0), {name: x[0] for name, x in split.items()})
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(parts), split))
    return jax.tree.map(lambda x: x / parts, total)


def _used(model: Any, dtype: jnp.dtype) -> Any:
    """The model with its kernels in ``dtype``, lying as they lay: what is sent to other devices is of that type."""

    def one(path: Any, leaf: jax.Array) -> jax.Array:
        large = any(getattr(part, "name", "") in KERNELS for part in path)
        return leaf.astype(dtype) if large and leaf.dtype == jnp.float32 else leaf

    return jax.tree_util.tree_map_with_path(one, model)


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation, mesh: Mesh, **options: Any
) -> Callable[..., tuple[TrainState, Metrics]]:
    """``make_update`` compiled, with its options. The old state's memory is given up; the batch is one of host arrays,
    the same in every process, or is on the mesh already, as ``frozen`` must be: nothing else is moved in a step."""
    compiled = jax.jit(make_update(objective, optimizer, mesh, **options), donate_argnums=0)

    def step(
        state: TrainState, frozen: Any, batch: Mapping[str, np.ndarray], *limit: jax.Array
    ) -> tuple[TrainState, Metrics]:
        placed = {k: place(v, batch_sharding(mesh, np.shape(v))) for k, v in batch.items()}
        with jax.set_mesh(mesh), jax.transfer_guard("disallow"):
            return compiled(state, frozen, placed, *limit)

    return step


def step_flops(objective: Objective, mesh: Mesh) -> Callable[[Any, Any, Mapping[str, Any]], float]:
    """How many FLOPs a step on a batch is worth (``flops.of_training``), by (model, frozen, batch); traced once for
    batches of one shape."""
    known: dict[Any, float] = {}

    def of(model: Any, frozen: Any, batch: Mapping[str, Any]) -> float:
        shapes = {name: jax.ShapeDtypeStruct(np.shape(x), x.dtype) for name, x in batch.items()}
        key = tuple(sorted((name, x.shape) for name, x in shapes.items()))
        if key not in known:
            loss = lambda model, frozen, batch: objective.loss(model, frozen, batch, jax.random.key(0))[0]  # noqa: E731
            with jax.set_mesh(mesh):
                jaxpr = jax.make_jaxpr(loss)(model, frozen, shapes).jaxpr
            known[key] = flops.of_training(jaxpr, len(jax.tree.leaves(model)))
        return known[key]

    return of
