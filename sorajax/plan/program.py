"""The abstract program of each task: what would run, on arrays that have shapes and shardings but no values.

- ``train``: one step of training the transformer on cached latents and text states: loss, gradients, optimiser,
  average of the weights, by ``sorajax.train.step``, with text states computed beforehand in the encoder's
  place (an encoder of 5.7 B parameters would be planned, and paid for, at every step).
- ``sample``: one guided step of the solver, the transformer called on the batch and its unguided copy.
- ``text``: the text encoder on the batch of prompts. ``decode``: the autoencoder's decoder.

Only the top of each part is relied on: a model called as ``dit(latents, timestep, text)``, the objective's loss,
``make_optimizer`` and ``make_update``, ``mesh.shardings``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from sorajax.config import SampleConfig
from sorajax.diffusion.condition import NONE, Condition
from sorajax.diffusion.sample import sample
from sorajax.mesh import batch_sharding, shardings
from sorajax.models import quantised
from sorajax.models.dit import DiT
from sorajax.models.text import TextEncoder
from sorajax.models.vae import VAE
from sorajax.plan.request import Request
from sorajax.train.config import OptimizerConfig, TrainConfig
from sorajax.train.step import KERNELS, Metrics, TrainState, make_optimizer, make_update
from sorajax.train.video import VideoObjective


@dataclass(frozen=True)
class Program:
    """A function to compile and its abstract arguments, whose shardings are set; ``donated`` may be overwritten.

    ``useful`` has the FLOPs that the task is worth, counted without recomputation: a traced function and how often
    its FLOPs count (a training step is worth three forward passes).
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donated: tuple[int, ...]
    useful: tuple[Callable[..., Any], tuple[Any, ...], float]


def build(request: Request, mesh: Mesh) -> Program:
    """The program of a request on a mesh. Call it, and trace it, under ``jax.set_mesh(mesh)``."""
    return {"train": _train, "sample": _sample, "text": _text, "decode": _decode}[request.task](request, mesh)


TRAINED = 5
"""Numbers kept of a parameter that is trained: itself, its gradient, its average and two moments."""


def _placed(make: Callable[[], Any], mesh: Mesh, weights: str = "float32") -> Any:
    """The abstract result of ``make`` with its parameters' shardings; its large ones are of type ``weights``.

    Of ``quantised.KINDS`` are the kernels of blocks; the other large ones are bfloat16 then.
    """
    tree = jax.eval_shape(make)

    def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct, where: Any) -> Any:
        if weights in quantised.KINDS and quantised.is_quantisable(path):
            return quantised.lay_out(leaf, where, weights)
        large = any(getattr(part, "name", "") in KERNELS for part in path)
        kind = "bfloat16" if weights in quantised.KINDS else weights
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(kind) if large else leaf.dtype, sharding=where)

    return jax.tree_util.tree_map_with_path(place, tree, shardings(tree, mesh))


def resting_bytes(request: Request) -> int:
    """Bytes that lie on all devices together between steps: weights, and when training their average and moments."""
    tree = jax.eval_shape(_parts(request)[request.task])
    count = sum(leaf.size for leaf in jax.tree.leaves(tree))
    kept = "int8" if request.weights in quantised.KINDS else request.weights
    return count * jnp.dtype(kept).itemsize * (TRAINED if request.task == "train" else 1)


def _array(mesh: Mesh, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh, shape))


def _parts(request: Request) -> dict[str, Callable[[], Any]]:
    """What makes the model of each task; only ever run abstractly."""
    model, dtype = request.model, jnp.dtype(request.dtype)

    def dit() -> DiT:
        return DiT(model.dit, dtype=dtype, remat=request.remat, rngs=nnx.Rngs(0))

    return {
        "train": dit,
        "sample": dit,
        "text": lambda: TextEncoder(model.text, dtype=dtype, rngs=nnx.Rngs(0)),
        "decode": lambda: VAE(model.vae, dtype=dtype, rngs=nnx.Rngs(0)),
    }


def _model(request: Request, mesh: Mesh) -> Any:
    return _placed(_parts(request)[request.task], mesh, request.weights)


def _states(request: Request, mesh: Mesh, batch: int) -> jax.ShapeDtypeStruct:
    return _array(mesh, (batch, request.model.text.length, request.model.dit.text_dim))


def _seen(request: Request) -> tuple[int, ...]:
    """The shape of what the transformer sees: latents, and the picture beside them of models that take one so."""
    return *request.latent_shape[:-1], request.model.dit.in_channels


def _condition(request: Request, mesh: Mesh) -> Condition:
    beside = request.model.dit.in_channels - request.latent_shape[-1]
    array = _array(mesh, (*request.latent_shape[:-1], beside))
    return Condition(beside=array) if beside else NONE


class _Objective(VideoObjective):
    """The transformer's objective without what it reads from disk: only its loss is used."""

    def __init__(self, request: Request):
        self.config = TrainConfig(
            objective="video",
            model=request.model,
            batch=request.batch,
            accumulate=request.accumulate,
            dtype=request.dtype,
            parameters=request.parameters,
            remat=request.remat,
            steps=10**6,
        )


def _train(request: Request, mesh: Mesh) -> Program:
    objective, options = _Objective(request), OptimizerConfig()
    optimizer = make_optimizer(options, objective.config.steps)

    def make() -> TrainState:
        model: Any = _parts(request)[request.task]()
        ema = jax.tree.map(jnp.copy, model)
        return TrainState(step=jnp.int32(0), model=model, ema=ema, opt_state=optimizer.init(model))

    state, shape = _placed(make, mesh, request.weights), request.latent_shape
    text = _states(request, mesh, request.batch)
    batch = {"latents": _array(mesh, shape), "cover": _array(mesh, shape[:-1]), "text": text}
    condition = _condition(request, mesh)
    if condition.beside is not None:
        batch["beside"] = condition.beside
    forward = state.model, _array(mesh, _seen(request)), _array(mesh, (request.batch,)), text
    config = objective.config
    update = make_update(
        objective,
        optimizer,
        mesh,
        ema=options.ema,
        seed=config.seed,
        parameters=config.parameters,
        accumulate=config.accumulate,
    )

    def step(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
        new, metrics = update(state, (), batch)
        return jax.tree.map(lambda x, old: x.astype(old.dtype), new, state), metrics

    return Program(step, (state, batch), (0,), (_velocity, forward, 3.0))


def _velocity(dit: DiT, latents: jax.Array, timestep: jax.Array, text: jax.Array) -> jax.Array:
    return dit(latents, timestep, text)


def _sample(request: Request, mesh: Mesh) -> Program:
    options: SampleConfig = request.model.sample
    one_step = partial(sample, steps=1, guidance=max(options.guidance, 1.5), shift=options.shift, solver=options.solver)
    dit = _model(request, mesh)
    text = _states(request, mesh, request.batch)
    arguments = dit, _array(mesh, request.latent_shape), text, text, _condition(request, mesh)

    def step(dit: DiT, noise: jax.Array, text: jax.Array, negative: jax.Array, condition: Condition) -> jax.Array:
        return one_step(dit, noise, text, negative, condition=condition)

    return Program(step, arguments, (), (step, arguments, 1.0))


def _text(request: Request, mesh: Mesh) -> Program:
    config = request.model.text
    encoder = _model(request, mesh)
    shape = request.batch, config.length
    arguments = encoder, _array(mesh, shape, jnp.int32), _array(mesh, shape, jnp.bool_)
    function = _encode
    return Program(function, arguments, (), (function, arguments, 1.0))


def _encode(encoder: TextEncoder, ids: jax.Array, mask: jax.Array) -> jax.Array:
    return encoder(ids, mask)


def _decode(request: Request, mesh: Mesh) -> Program:
    vae = _model(request, mesh)
    arguments = vae, _array(mesh, request.latent_shape)
    return Program(_frames, arguments, (), (_frames, arguments, 1.0))


def _frames(vae: VAE, latents: jax.Array) -> jax.Array:
    return vae.decode(vae.denormalise(latents))
