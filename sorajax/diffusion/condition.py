"""What a picture tells a transformer: the clip's first frame, in one of the two ways in which Wan was trained.

``first`` (Wan 2.2 TI2V): the picture's latents stand in the place of the first latent frame, whose tokens are told
that they are at timestep 0. ``beside`` (Wan 2.2 I2V): channels beside the noisy latents hold a mask of which frames are
given, and the latents of a video that is the picture and then grey.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

KINDS = ("first", "beside")


class Condition(NamedTuple):
    """Latents of the given first frame [b, 1, h, w, c], or channels beside the latents [b, t, h, w, k]; or neither."""

    first: jax.Array | None = None
    beside: jax.Array | None = None


NONE = Condition()
"""A clip of text alone."""


def of_images(
    kind: str, images: jax.Array, encode: Callable[[jax.Array], jax.Array], frames: int, factor: int
) -> Condition:
    """The condition of a clip of so many frames that begins with images f32 [b, H, W, 3] in [-1, 1].

    encode makes normalised latents of a video; factor is how many frames a latent frame spans.
    """
    video = jnp.asarray(images)[:, None]
    if kind == "first":
        return Condition(first=encode(video))
    rest = jnp.zeros((video.shape[0], frames - 1, *video.shape[2:]), video.dtype)
    return Condition(beside=with_mask(encode(jnp.concatenate([video, rest], 1)), factor))


def with_mask(latents: jax.Array, factor: int) -> jax.Array:
    """Channels ``beside`` of the latents [b, t, h, w, c] of a picture and then grey: first which frames are
    given, in as many channels as a latent frame spans frames."""
    given = jnp.zeros((*latents.shape[:-1], factor), latents.dtype).at[:, 0].set(1)
    return jnp.concatenate([given, latents], -1)


def model_inputs(condition: Condition, x: jax.Array, timestep: jax.Array, patch: int) -> tuple[jax.Array, jax.Array]:
    """What the transformer sees of latents x [b, t, h, w, c]: its input, and its timestep [b], or [b, t / patch]."""
    timestep = jnp.broadcast_to(timestep, x.shape[:1])
    if condition.first is not None:
        later = jnp.arange(x.shape[1] // patch) > 0
        x, timestep = with_first(condition, x), timestep[:, None] * later
    if condition.beside is not None:
        x = jnp.concatenate([x, condition.beside], -1)
    return x, timestep


def with_first(condition: Condition, x: jax.Array) -> jax.Array:
    """Latents x with the given first frame in its place, if one is given so."""
    if condition.first is None:
        return x
    return jnp.concatenate([condition.first.astype(x.dtype), x[:, 1:]], 1)
