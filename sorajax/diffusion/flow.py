"""Rectified flow: the straight path from data to noise, its velocity, and the loss.

Noise level ``s`` runs from 0 (data) to 1 (noise); a model is told the timestep 1000 s. Liu et al. 2022,
"Flow Straight and Fast", equation 1, with the direction of time that Wan and diffusers use.
"""

from typing import Any

import jax
import jax.numpy as jnp

TIMESTEPS = 1000.0
"""Timestep of pure noise: timestep = TIMESTEPS * s."""


def _like(s: jax.Array, x: jax.Array) -> jax.Array:
    """s [b] with as many trailing axes as x [b, ...]."""
    return jnp.reshape(s, jnp.shape(s) + (1,) * (x.ndim - jnp.ndim(s)))


def interpolate(x0: jax.Array, noise: jax.Array, s: jax.Array) -> jax.Array:
    """x_s = (1 - s) x0 + s noise, for x0 and noise [b, ...] and s [b] in [0, 1]."""
    s = _like(s, x0)
    return (1 - s) * x0 + s * noise


def velocity(x0: jax.Array, noise: jax.Array) -> jax.Array:
    """What a model learns to predict: dx_s / ds = noise - x0."""
    return noise - x0


def denoised(x: jax.Array, v: jax.Array, s: jax.Array) -> jax.Array:
    """The x0 that a velocity v [b, ...] at x [b, ...] and noise level s [b] points to: x - s v."""
    return x - _like(s, x) * v


def timestep(s: jax.Array) -> jax.Array:
    """Timestep in [0, 1000] of a noise level in [0, 1]."""
    return TIMESTEPS * s


def shift_sigma(s: Any, shift: Any) -> Any:
    """Move noise levels in [0, 1] towards noise for shift > 1; 0 and 1 stay.

    shift s / (1 + (shift - 1) s): Esser et al. 2024, "Scaling Rectified Flow Transformers", equation 23. Works
    on NumPy arrays and floats too.
    """
    return shift * s / (1 + (shift - 1) * s)


def uniform_sigma(key: jax.Array, n: int, *, shift: float = 1.0) -> jax.Array:
    """n noise levels for training, f32 [n] in [0, 1): uniform, then shifted."""
    return shift_sigma(jax.random.uniform(key, (n,)), shift)


def logit_normal_sigma(
    key: jax.Array,
    n: int,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    shift: float = 1.0,
    within: tuple[float, float] = (0.0, 1.0),
) -> jax.Array:
    """n noise levels for training, f32 [n] in [0, 1]: sigmoid of Normal(mean, std), then shifted.

    Esser et al. 2024, equation 19. Of levels ``within`` a range alone, they are as likely to each other as they were.
    """
    if within == (0.0, 1.0):
        return shift_sigma(jax.nn.sigmoid(mean + std * jax.random.normal(key, (n,))), shift)
    unshifted = jnp.clip(shift_sigma(jnp.asarray(within), 1 / shift), 0.0, 1.0)  # 1 may come out a little higher
    low, high = jax.scipy.special.ndtr((jax.scipy.special.logit(unshifted) - mean) / std)
    drawn = jax.scipy.special.ndtri(jax.random.uniform(key, (n,), minval=low, maxval=high))
    return jnp.clip(shift_sigma(jax.nn.sigmoid(mean + std * drawn), shift), *within)


def loss(v_pred: jax.Array, x0: jax.Array, noise: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Mean squared error of a predicted velocity, f32 [].

    v_pred, x0 and noise are [b, ...]; weight [b] multiplies each sample's mean (it is not normalised).
    """
    error = v_pred.astype(jnp.float32) - velocity(x0, noise).astype(jnp.float32)
    each = jnp.mean(error * error, axis=tuple(range(1, error.ndim)))
    return jnp.mean(each if weight is None else each * weight)
