import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorajax.diffusion import flow

KEY = jax.random.key(0)
X0 = jax.random.normal(jax.random.key(1), (3, 2, 4, 4, 2))
NOISE = jax.random.normal(jax.random.key(2), (3, 2, 4, 4, 2))


def test_the_path_runs_from_data_to_noise_at_constant_velocity():
    s = jnp.array([0.0, 0.25, 1.0])
    x = flow.interpolate(X0, NOISE, s)
    np.testing.assert_allclose(x[0], X0[0])
    np.testing.assert_allclose(x[2], NOISE[2])
    np.testing.assert_allclose(x[1], 0.75 * X0[1] + 0.25 * NOISE[1], rtol=1e-6)
    _, slope = jax.jvp(lambda s: flow.interpolate(X0, NOISE, s), (s,), (jnp.ones(3),))
    np.testing.assert_allclose(slope, flow.velocity(X0, NOISE), atol=1e-6)
    np.testing.assert_allclose(flow.denoised(x, flow.velocity(X0, NOISE), s), X0, atol=1e-6)
    np.testing.assert_allclose(flow.timestep(s), [0, 250, 1000])


@given(s=st.floats(0, 1), shift=st.floats(0.2, 12))
def test_shift_keeps_the_ends_and_is_undone_by_its_inverse(s, shift):
    assert flow.shift_sigma(0.0, shift) == 0
    assert flow.shift_sigma(1.0, shift) == pytest.approx(1)
    assert flow.shift_sigma(flow.shift_sigma(s, shift), 1 / shift) == pytest.approx(s, abs=1e-9)
    if 0 < s < 1 and shift > 1:
        assert flow.shift_sigma(s, shift) >= s


def test_training_noise_levels_have_the_stated_distribution():
    s = flow.logit_normal_sigma(KEY, 20_000, mean=0.5, std=1.5, shift=3.0)
    assert s.dtype == jnp.float32 and s.min() >= 0 and s.max() <= 1
    # The shift multiplies the odds s / (1 - s) by 3, so it adds log 3 to the logit.
    logit = jnp.log(s) - jnp.log1p(-s)
    assert float(jnp.median(logit)) == pytest.approx(0.5 + np.log(3), abs=0.05)
    low, high = np.percentile(logit, [15.865, 84.135])
    assert (high - low) / 2 == pytest.approx(1.5, abs=0.05)

    u = np.asarray(flow.uniform_sigma(KEY, 20_000))
    np.testing.assert_allclose(np.histogram(u, 10, (0, 1))[0] / 20_000, 0.1, atol=0.012)
    few = flow.uniform_sigma(KEY, 9)
    np.testing.assert_allclose(flow.uniform_sigma(KEY, 9, shift=5.0), flow.shift_sigma(few, 5.0))
    assert not np.array_equal(few, flow.uniform_sigma(jax.random.key(9), 9))


def test_the_loss_is_zero_at_the_target_and_weighs_samples():
    v = flow.velocity(X0, NOISE)
    assert flow.loss(v, X0, NOISE) == 0
    off = v + jnp.array([1.0, 2.0, 3.0])[:, None, None, None, None]
    assert float(flow.loss(off, X0, NOISE)) == pytest.approx((1 + 4 + 9) / 3, rel=1e-5)
    assert float(flow.loss(off, X0, NOISE, jnp.array([0.0, 1.0, 2.0]))) == pytest.approx((4 + 18) / 3, rel=1e-5)
    assert flow.loss(off.astype(jnp.bfloat16), X0, NOISE).dtype == jnp.float32


@pytest.mark.parametrize("within", [(0.875, 1.0), (0.0, 0.875), (0.3, 0.6)])
def test_levels_within_a_range_are_those_of_all_that_fall_into_it(within):
    options = {"mean": 0.5, "std": 1.5, "shift": 3.0}
    whole = np.asarray(flow.logit_normal_sigma(KEY, 200_000, **options))
    wanted = whole[(whole >= within[0]) & (whole <= within[1])]
    found = np.asarray(flow.logit_normal_sigma(KEY, 200_000, **options, within=within))
    assert found.min() >= within[0] and found.max() <= within[1]
    quantiles = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(np.quantile(found, quantiles), np.quantile(wanted, quantiles), atol=0.01)
