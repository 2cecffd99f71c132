"""From noise to latents: one compiled step of the solver with classifier-free guidance, called step by step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sorajax.cost.flops import counted
from sorajax.diffusion import solvers
from sorajax.diffusion.caching import Caching
from sorajax.diffusion.condition import NONE, Condition, model_inputs, with_first
from sorajax.diffusion.flow import TIMESTEPS
from sorajax.mesh import constrain
from sorajax.models.dit import DiT

Callback = Callable[[int, int, jax.Array], None]
"""Called after each step with (steps done, all steps, the solver's current latents [b, t, h, w, c])."""


def sample(
    dit: DiT,
    noise: jax.Array,
    text: jax.Array,
    negative: jax.Array | None,
    *,
    steps: int,
    guidance: float,
    shift: float,
    solver: str = "unipc",
    callback: Callback | None = None,
    low: Callable[[], DiT] | None = None,
    boundary: float = 0.0,
    guidance_low: float | None = None,
    condition: Condition = NONE,
    cache: Caching | None = None,
) -> jax.Array:
    """Latents f32 [b, t, h, w, c] that the solver reaches from ``noise`` of that shape.

    text and negative are states [b, s, e]. Guidance is v_neg + g (v_text - v_neg) (Ho and Salimans 2022, equation
    6 with w = g - 1); without negative states, or at guidance 1, the model runs once a step instead of twice.
    Below the noise level ``boundary``, the transformer that ``low`` gives takes over, with its own guidance.
    condition says how the clip begins, of one for each of the batch. cache says which steps keep the velocity of the
    one before.
    """
    table = solvers.tables(solver, steps, shift)
    state = solvers.init_state(solver, noise)
    both = text if negative is None else jnp.concatenate([negative, text])
    weight, velocity = guidance, None
    switch = int(np.sum(table.timesteps >= boundary * TIMESTEPS)) if low is not None else steps
    computed = [True] * steps if cache is None else cache.computed(steps, [switch])
    for i in range(steps):
        if low is not None and i == switch:
            dit, low = low(), None
            weight = guidance if guidance_low is None else guidance_low
        states = text if weight == 1.0 else both
        inputs = _row(table, i), state, states, jnp.float32(weight), condition
        if cache is None:
            state = _step(dit, solver, *inputs)
        else:
            velocity = _velocity(dit, *inputs) if computed[i] else velocity
            state = _advance(solver, _row(table, i), state, velocity)
        if callback is not None:
            callback(i + 1, steps, with_first(condition, state.x))
    return with_first(condition, state.x)


def _row(table: solvers.Tables, i: int) -> solvers.Tables:
    """Step ``i`` of the tables as tables of one step, so that one compiled program serves any number of steps."""
    return jax.tree.map(
        np.asarray,
        solvers.Tables(
            sigmas=table.sigmas[i : i + 2],
            timesteps=table.timesteps[i : i + 1],
            correct=None if table.correct is None else table.correct[i : i + 1],
            predict=None if table.predict is None else table.predict[i : i + 1],
        ),
    )


def _guided(
    dit: DiT,
    row: solvers.Tables,
    state: solvers.State,
    text: jax.Array,
    guidance: jax.Array,
    condition: Condition,
) -> jax.Array:
    """The velocity [b, t, h, w, c] of a step."""
    x = constrain(state.x, "batch", None, None, None, None)
    copies = text.shape[0] // x.shape[0]
    x, timestep = model_inputs(condition, x, jnp.asarray(row.timesteps)[0], dit.config.patch_size[0])
    v: Any = dit(jnp.concatenate([x] * copies), jnp.concatenate([timestep] * copies), text)
    if copies == 2:
        negative, positive = jnp.split(v, 2)
        v = negative + guidance * (positive - negative)
    return v


@counted
@partial(jax.jit, static_argnums=1)
def _step(dit: DiT, solver: str, row: solvers.Tables, state: solvers.State, *rest: Any) -> solvers.State:
    return solvers.step(solver, row, 0, state, _guided(dit, row, state, *rest))


_velocity = counted(jax.jit(_guided))


@partial(jax.jit, static_argnums=0)
def _advance(solver: str, row: solvers.Tables, state: solvers.State, velocity: jax.Array) -> solvers.State:
    return solvers.step(solver, row, 0, state, velocity)
