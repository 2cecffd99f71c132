import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorajax.diffusion import solvers
from sorajax.errors import ConfigError
from tests.golden.make_solvers import GOLDEN, SHIFTS, STEPS, problem, reference

RUNS = [(solver, steps, shift) for solver in solvers.SOLVERS for steps in STEPS for shift in SHIFTS]


def solve(solver, table, noise, velocity):
    """The whole run as one compiled scan; velocity(x, t)."""

    def body(state, i):
        return solvers.step(solver, table, i, state, velocity(state.x, jnp.asarray(table.timesteps)[i])), None

    run = jax.jit(lambda z: jax.lax.scan(body, solvers.init_state(solver, z), jnp.arange(len(table.timesteps)))[0].x)
    return np.asarray(run(noise))


def ours(solver, steps, shift):
    a, noise = problem()
    table = solvers.tables(solver, steps, shift)
    latents = solve(solver, table, noise, lambda x, t: jnp.matmul(x, a, precision="highest") + jnp.sin(t / 100))
    return {"sigmas": table.sigmas, "timesteps": table.timesteps, "latents": latents}


def agree(result, expected):
    np.testing.assert_allclose(result["sigmas"], expected["sigmas"], rtol=3e-7, atol=0)
    np.testing.assert_allclose(result["timesteps"], expected["timesteps"], rtol=3e-7, atol=0)
    error = np.abs(result["latents"] - expected["latents"]).max() / np.abs(expected["latents"]).max()
    assert error < 1e-5


@pytest.mark.parametrize(("solver", "steps", "shift"), RUNS)
def test_a_run_equals_diffusers(solver, steps, shift):
    with np.load(GOLDEN) as golden:
        expected = {name: golden[f"{solver}/{steps}/{shift}/{name}"] for name in ("sigmas", "timesteps", "latents")}
    agree(ours(solver, steps, shift), expected)


@pytest.mark.live("torch", "diffusers")
@pytest.mark.parametrize(
    ("solver", "steps", "shift"), [*RUNS, ("unipc", 3, 3.0), ("unipc", 50, 5.0), ("euler", 7, 2.5)]
)
def test_a_run_equals_diffusers_live(solver, steps, shift):
    agree(ours(solver, steps, shift), reference(solver, steps, shift))


def test_unipc_timesteps_are_cut_to_whole_numbers():
    assert solvers.timesteps("unipc", 4, 3.0).tolist() == [999, 900, 750, 500]


@pytest.mark.parametrize("solver", solvers.SOLVERS)
@given(steps=st.integers(1, 60), shift=st.floats(0.5, 12))
def test_sigmas_fall_from_noise_to_data(solver, steps, shift):
    s = solvers.sigmas(solver, steps, shift)
    assert s.dtype == np.float32 and s.shape == (steps + 1,)
    assert (np.diff(s) < 0).all()
    assert s[0] == pytest.approx(1, abs=2e-6) and s[-1] == 0
    t = solvers.timesteps(solver, steps, shift)
    assert (np.diff(t) <= 0).all() and np.allclose(t, 1000 * s[:-1], atol=1)


@settings(max_examples=10)
@given(steps=st.integers(1, 12), shift=st.floats(0.5, 8), c=st.floats(-3, 3))
def test_euler_is_exact_where_the_velocity_is_constant(steps, shift, c):
    noise = np.linspace(-2, 2, 8, dtype=np.float32).reshape(1, 8)
    table = solvers.tables("euler", steps, shift)
    np.testing.assert_allclose(solve("euler", table, noise, lambda x, t: jnp.full_like(x, c)), noise - c, atol=1e-5)


@pytest.mark.parametrize("solver", solvers.SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_a_straight_path_to_one_point_ends_there(solver, steps):
    # v = (x - x0) / s is the exact velocity of data that is the single point x0: every solver must hit it.
    x0 = np.float32([[0.3, -1.2, 2.0]])
    table = solvers.tables(solver, steps, 3.0)
    state = solvers.init_state(solver, jnp.ones((1, 3)))
    for i in range(steps):
        state = solvers.step(solver, table, i, state, (state.x - x0) / table.sigmas[i])
    np.testing.assert_allclose(state.x, x0, atol=2e-5)


def test_unipc_needs_far_fewer_steps_than_euler_on_gaussian_data():
    # Data N(0, d^2): v = (s - (1 - s) d^2) x / (s^2 + (1 - s)^2 d^2), and noise z flows to d z exactly.
    d, noise = 0.5, np.float32([[1.0, -0.7]])

    def velocity(x, s):
        return (s - (1 - s) * d**2) / (s**2 + (1 - s) ** 2 * d**2) * x

    def error(solver, steps):
        table = solvers.tables(solver, steps, 1.0)
        state = solvers.init_state(solver, noise)
        for i in range(steps):
            state = solvers.step(solver, table, i, state, velocity(state.x, table.sigmas[i]))
        return np.abs(np.asarray(state.x) - d * noise).max()

    assert error("unipc", 10) < error("euler", 40) / 2
    assert error("euler", 40) < error("euler", 10) / 2


@pytest.mark.parametrize(
    ("solver", "steps", "shift", "part"),
    [("heun", 4, 1.0, "euler, unipc"), ("euler", 0, 1.0, "steps is 0"), ("unipc", 4, -1.0, "shift is -1.0")],
)
def test_values_that_do_not_fit_are_named(solver, steps, shift, part):
    with pytest.raises(ConfigError, match=part):
        solvers.tables(solver, steps, shift)
