"""How a transformer in training is judged: its loss by noise level on fixed clips with fixed noise, and its samples."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sorajax.config import SampleConfig
from sorajax.diffusion.condition import NONE, Condition
from sorajax.diffusion.sample import sample
from sorajax.hosts.arrays import gather, is_primary
from sorajax.media.samples import save_samples
from sorajax.media.sheet import contact_sheet
from sorajax.models.dit import DiT
from sorajax.models.vae import VAE

LEVELS = (0.3, 0.6, 0.85, 0.97)
"""Noise levels at which the validation loss, and what the text is worth, are reported."""
SHOWN = 8
"""Samples on a sheet."""
Errors = Callable[..., tuple[jax.Array, jax.Array]]
"""(model, latents, text, noise levels, noise, which are given their first frame, beside) -> squared errors, weights."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Clips that are not trained on."""

    latents: jax.Array
    """f32 [b, t, h, w, c]."""
    text: jax.Array
    """States f32 [b, l, d]."""
    captions: list[str]
    prompts: list[str]
    """Of the sheet of samples, and"""
    shown: jax.Array
    """their states f32 [k, l, d]."""
    beside: jax.Array | None = None
    """Channels beside the latents, of models that take a picture so."""


def figures(
    errors: Errors, model: DiT, clips: HeldOut, *, within: tuple[float, float] = (0.0, 1.0), images: bool = False
) -> dict[str, float]:
    """Loss, and what it rises by when captions are exchanged between clips, by noise level: ``LEVELS`` of the range.

    With ``images`` also the loss of clips that are given their first frame.
    """

    @jax.jit
    def mean(*args: Any) -> jax.Array:
        error, weight = errors(*args)
        return jnp.sum(error * weight) / jnp.sum(weight)

    found: dict[str, float] = {}
    x, none = clips.latents, jnp.zeros(len(clips.latents), bool)
    for level in (round(within[0] + share * (within[1] - within[0]), 3) for share in LEVELS):
        s = jnp.full(len(x), level)
        noise = jax.random.normal(jax.random.key(int(1000 * level)), x.shape)
        right = float(mean(model, x, clips.text, s, noise, none, clips.beside))
        wrong = float(mean(model, x, jnp.roll(clips.text, 1, 0), s, noise, none, clips.beside))
        found |= {f"loss_{level}": right, f"text_gap_{level}": wrong - right}
        if images:
            found[f"image_loss_{level}"] = float(mean(model, x, clips.text, s, noise, ~none, clips.beside))
    return found


def samples(
    model: DiT,
    vae: VAE,
    options: SampleConfig,
    text: jax.Array,
    negative: jax.Array,
    shape: tuple[int, ...],
    *,
    condition: Condition = NONE,
    seed: int = 0,
) -> np.ndarray:
    """What the model makes of text states [b, l, d], uint8 [b, T, H, W, 3], with latents of shape [t, h, w, c].

    negative is the state of no prompt, [1, l, d].
    """
    noise = jax.random.normal(jax.random.key(seed), (len(text), *shape))
    latents = sample(
        model,
        noise,
        text,
        jnp.broadcast_to(negative, text.shape),
        steps=options.steps,
        guidance=options.guidance,
        shift=options.shift,
        solver=options.solver,
        condition=condition,
    )
    decoded = jax.jit(lambda m, z: m.decode(m.denormalise(z)))(vae, latents)
    return np.asarray(gather(jnp.round((decoded + 1) * 127.5)), np.uint8)


def show(
    clips: np.ndarray,
    prompts: list[str],
    folder: Path,
    name: str,
    *,
    options: SampleConfig,
    model: Callable[[], tuple[str, str]],
    signed: int,
    facts: dict[str, Any],
) -> None:
    """Process 0 writes a sheet of the clips, and the first ``signed`` of them as files, signed.

    model gives its name and digest; facts are of its training, for the manifest.
    """
    if not is_primary():
        return
    contact_sheet(list(clips), folder / f"{name}.png", columns=2, labels=prompts)
    if not signed:
        return
    settings = {"steps": options.steps, "guidance": options.guidance, "shift": options.shift, "solver": options.solver}
    settings |= {"frames": len(clips[0]), "batch": len(clips), **facts}
    chosen = list(clips[:signed])
    save_samples(
        chosen, folder, name, prompts=prompts[:signed], fps=options.fps, model=model(), seed=0, settings=settings
    )
