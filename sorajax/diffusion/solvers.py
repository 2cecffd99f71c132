"""Solvers of the sampling equation dx/ds = v(x, 1000 s) from noise (s = 1) to data (s = 0).

One contract for all of them, made for ``jax.lax.scan`` and ``fori_loop`` (``i`` may be traced)::

    table = tables("unipc", steps=20, shift=3.0)        # on the host, once
    state = init_state("unipc", noise)                  # noise [b, t, h, w, c]
    for i in range(20):
        v = model(state.x, table.timesteps[i])
        state = step("unipc", table, i, state, v)
    latents = state.x

- ``state.x`` is where the model is asked next, and after the last step it is the result.
- The model is asked once a step, at ``table.timesteps[i]``.
- A step is linear in the arrays of the state and in ``v``: its coefficients are worked out on the host in
  float64 and rounded to float32 once.

Numbers agree with diffusers 0.42 (FlowMatchEulerDiscreteScheduler, and UniPCMultistepScheduler with
flow_prediction and flow sigmas). Its UniPC grid was another one before 0.37: 0.999 (1 - i/n) in place of
1 - 0.999 i/n.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from sorajax.diffusion.flow import TIMESTEPS, shift_sigma
from sorajax.errors import ConfigError

SOLVERS = ("euler", "unipc")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a solver knows of every step before it starts.

    sigmas f32 [steps + 1] falls to 0; timesteps f32 [steps] is what the model is told;
    correct f32 [steps, 5] weighs (x, last, m, m0, m1) and predict f32 [steps, 3] weighs (x, m, m0), see
    ``step``; Euler has neither.
    """

    sigmas: jax.Array | np.ndarray
    timesteps: jax.Array | np.ndarray
    correct: jax.Array | np.ndarray | None = None
    predict: jax.Array | np.ndarray | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class State:
    """x: the sample, f32 [b, ...]. UniPC also keeps the sample of the step before, after its correction
    (last), and the denoised estimates of the last two steps (m0, then m1)."""

    x: jax.Array
    last: jax.Array | None = None
    m0: jax.Array | None = None
    m1: jax.Array | None = None


def sigmas(solver: str, steps: int, shift: float) -> np.ndarray:
    """Noise levels of a run, f32 [steps + 1], from (nearly) 1 down to 0.

    Raises ConfigError for an unknown solver, steps < 1 or shift <= 0.
    """
    return np.append(_sigmas64(solver, steps, shift), 0.0).astype(np.float32)


def timesteps(solver: str, steps: int, shift: float) -> np.ndarray:
    """What the model is told at each step, f32 [steps] in [0, 1000]; whole numbers, cut off, for UniPC."""
    if solver == "euler":
        return sigmas(solver, steps, shift)[:-1] * np.float32(TIMESTEPS)
    # diffusers keeps UniPC's timesteps as int64, and the cast from float truncates: 999.999 becomes 999.
    return np.trunc(_sigmas64(solver, steps, shift) * TIMESTEPS).astype(np.float32)


def tables(solver: str, steps: int, shift: float) -> Tables:
    """The constants of a run. Raises ConfigError as ``sigmas`` does."""
    s = sigmas(solver, steps, shift)
    t = timesteps(solver, steps, shift)
    if solver == "euler":
        return Tables(sigmas=s, timesteps=t)
    correct, predict = _unipc_coefficients(s.astype(np.float64))
    return Tables(sigmas=s, timesteps=t, correct=correct.astype(np.float32), predict=predict.astype(np.float32))


def init_state(solver: str, latents: jax.Array) -> State:
    """The state before the first step, from noise [b, ...]."""
    _check(solver)
    x = jnp.asarray(latents, jnp.float32)
    if solver == "euler":
        return State(x=x)
    zero = jnp.zeros_like(x)
    return State(x=x, last=zero, m0=zero, m1=zero)


def step(solver: str, table: Tables, i: jax.Array | int, state: State, velocity: jax.Array) -> State:
    """One step from sigmas[i] to sigmas[i + 1], given the velocity [b, ...] at ``state.x``.

    Euler: x + (s' - s) v. UniPC (Zhao et al. 2023, "UniPC", algorithms 1 and 2; order 2, B_2(h), data
    prediction): with the denoised estimate m = x - s v, the corrector improves x from what the step before
    knew, then the predictor takes the step.
    """
    _check(solver)
    s = jnp.asarray(table.sigmas)
    v = velocity.astype(jnp.float32)
    if solver == "euler":
        return State(x=state.x + (s[i + 1] - s[i]) * v)
    assert state.last is not None and state.m0 is not None and state.m1 is not None  # as `init_state` makes them
    m = state.x - s[i] * v
    c, p = jnp.asarray(table.correct)[i], jnp.asarray(table.predict)[i]
    x = c[0] * state.x + c[1] * state.last + c[2] * m + c[3] * state.m0 + c[4] * state.m1
    return State(x=p[0] * x + p[1] * m + p[2] * state.m0, last=x, m0=m, m1=state.m0)


def _check(solver: str) -> None:
    if solver not in SOLVERS:
        raise ConfigError(f"unknown solver {solver!r}; known solvers: {', '.join(SOLVERS)}")


def _sigmas64(solver: str, steps: int, shift: float) -> np.ndarray:
    """Noise levels without the final 0, float64 [steps]."""
    _check(solver)
    if steps < 1:
        raise ConfigError(f"steps is {steps}; at least 1 step is needed")
    if not shift > 0:
        raise ConfigError(f"shift is {shift}; it must be above 0 (1 leaves the noise levels as they are)")
    if solver == "euler":
        # diffusers ends the grid at the shifted 1/1000 and then shifts the whole grid once more.
        end = float(np.float32(shift_sigma(np.float32(1 / TIMESTEPS), np.float32(shift))))
        return shift_sigma(np.linspace(TIMESTEPS, end * TIMESTEPS, steps) / TIMESTEPS, shift)
    s = shift_sigma(np.linspace(1, 1 / TIMESTEPS, steps + 1)[:-1], shift)
    s[0] -= 1e-6  # log(1 - s) must be finite
    return s


def _unipc_coefficients(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """UniPC's corrector [steps, 5] and predictor [steps, 3] weights, float64, for sigmas [steps + 1]."""
    steps = len(s) - 1
    alpha = 1 - s
    with np.errstate(divide="ignore"):
        lam = np.log(alpha) - np.log(s)  # +inf at the end
    # Order 2 needs one step behind it; the last step is of order 1 (lower_order_final).
    order = [1 if i in (0, steps - 1) else 2 for i in range(steps)]
    correct, predict = np.zeros((steps, 5)), np.zeros((steps, 3))
    correct[0, 0] = 1
    for i in range(steps):
        h = lam[i + 1] - lam[i]
        b = alpha[i + 1] * np.expm1(-h)  # alpha_t B(h), which for B_2 is alpha_t h phi_1(h) as well
        predict[i] = s[i + 1] / s[i], -b, 0
        if order[i] == 2:
            r = (lam[i - 1] - lam[i]) / h
            predict[i] += 0, b * 0.5 / r, -b * 0.5 / r  # UniP-2 fixes rho at 1/2

    for i in range(1, steps):
        h = lam[i] - lam[i - 1]
        b = alpha[i] * np.expm1(-h)
        correct[i, 1] = s[i] / s[i - 1]
        correct[i, 3] = -b
        if order[i - 1] == 1:
            correct[i] += 0, 0, -b * 0.5, b * 0.5, 0  # UniC-1 fixes rho at 1/2
            continue
        r = (lam[i - 2] - lam[i - 1]) / h
        rho = np.linalg.solve([[1.0, 1.0], [r, 1.0]], _phi(-h))
        correct[i] += 0, 0, -b * rho[1], b * (rho[0] / r + rho[1]), -b * rho[0] / r
    return correct, predict


def _phi(h: float) -> list[float]:
    """Right-hand side of the order conditions for B_2: k! h^k phi_{k+1}(h) / (e^h - 1), k = 1, 2.

    phi_1(h) = (e^h - 1) / h and phi_{k+1}(h) = (phi_k(h) - 1/k!) / h.
    """
    b = np.expm1(h)
    first = b / h - 1
    second = first / h - 0.5
    return [first / b, 2 * second / b]
