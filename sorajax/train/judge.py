"""How a transformer in training is judged: its loss by noise level on fixed clips with fixed noise, and its samples."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sorajax.config import SampleConfig
from sorajax.diffusion.condition import Condition
from sorajax.diffusion.sample import sample
from sorajax.errors import SorajaxError
from sorajax.hosts.arrays import gather, is_primary, place
from sorajax.media.samples import save_samples
from sorajax.media.sheet import contact_sheet
from sorajax.mesh import batch_sharding
from sorajax.models.dit import DiT
from sorajax.models.vae import VAE

LEVELS = (0.3, 0.6, 0.85, 0.97)
"""Noise levels at which the validation loss, and what the text is worth, are reported."""
SHOWN = 8
"""Samples on a sheet."""
AT_ONCE = 2**17
"""Latent cells that a device works on at once, of more than one clip: a clip of 832x480 and 81 frames has as many."""
Errors = Callable[..., tuple[jax.Array, jax.Array]]
"""(which count, model, latents, text, noise levels, noise, which are given their first frame, beside) -> sum of squared
errors, and of their weights, f32 []; compiled."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Clips that are not trained on, whole in every process."""

    latents: np.ndarray
    """f32 [b, t, h, w, c]."""
    text: np.ndarray
    """States f32 [b, l, d]."""
    captions: list[str]
    prompts: list[str]
    """Of the sheet of samples, and"""
    shown: np.ndarray
    """their states f32 [k, l, d]."""
    beside: np.ndarray | None = None
    """Channels beside the latents, of models that take a picture so."""


def figures(
    errors: Errors,
    model: DiT,
    clips: HeldOut,
    mesh: Mesh,
    *,
    within: tuple[float, float] = (0.0, 1.0),
    images: bool = False,
) -> dict[str, float]:
    """Loss, and what it rises by when captions are exchanged between clips, by noise level: ``LEVELS`` of the range.

    With ``images`` also the loss of clips that are given their first frame.
    """
    put, count, found = partial(_placed, mesh), len(clips.latents), {}
    size = _at_once(mesh, clips.latents.shape[1:], count)

    def loss(level: float, text: np.ndarray, given: bool) -> float:
        noise = np.asarray(jax.random.normal(jax.random.key(int(1000 * level)), clips.latents.shape))
        s, first, total = np.full(size, level, np.float32), np.full(size, given), np.zeros(2)
        for rows, counts in _groups(count, size):
            beside = None if clips.beside is None else put(clips.beside[rows])
            arguments = (put(x) for x in (clips.latents[rows], text[rows], s, noise[rows], first))
            total += [float(x) for x in errors(put(counts), model, *arguments, beside)]
        return float(total[0] / total[1])

    others = np.roll(clips.text, 1, 0)
    with jax.set_mesh(mesh):
        for level in (round(within[0] + share * (within[1] - within[0]), 3) for share in LEVELS):
            right, wrong = (loss(level, text, False) for text in (clips.text, others))
            found |= {f"loss_{level}": right, f"text_gap_{level}": wrong - right}
            if images:
                found[f"image_loss_{level}"] = loss(level, clips.text, True)
    return found


def _at_once(mesh: Mesh, shape: tuple[int, ...], count: int) -> int:
    """Of so many clips of latents [t, h, w, c], those that the mesh works on at once: as many on each device."""
    devices = mesh.shape["data"] * mesh.shape["fsdp"]
    return devices * min(max(1, AT_ONCE // math.prod(shape[:-1])), -(-count // devices))


def _groups(count: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers of clips, ``size`` at once, so that one shape is compiled; and f32 which of them count: the last clip is
    repeated to fill the last group."""
    for first in range(0, count, size):
        numbers = np.arange(first, first + size)
        yield np.minimum(numbers, count - 1), (numbers < count).astype(np.float32)


def _placed(mesh: Mesh, x: np.ndarray) -> jax.Array:
    return place(x, batch_sharding(mesh, x.shape))


def samples(
    model: DiT,
    vae: VAE,
    options: SampleConfig,
    text: np.ndarray,
    empty: np.ndarray,
    shape: tuple[int, ...],
    mesh: Mesh,
    *,
    low: Callable[[], DiT] | None = None,
    condition: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """What the model makes of text states [b, l, d], uint8 [b, T, H, W, 3], with latents of shape [t, h, w, c].

    empty is the state of no prompt, [1, l, d]; low gives the transformer of low noise levels, of models of two;
    condition has the fields of a ``Condition``.
    """
    put, noise = partial(_placed, mesh), np.asarray(jax.random.normal(jax.random.key(seed), (len(text), *shape)))
    made = []
    for rows, _ in _groups(len(text), _at_once(mesh, shape, len(text))):
        with jax.set_mesh(mesh):
            latents = sample(
                model,
                put(noise[rows]),
                put(text[rows]),
                put(np.broadcast_to(empty, text[rows].shape)),
                steps=options.steps,
                guidance=options.guidance,
                shift=options.shift,
                solver=options.solver,
                low=low,
                boundary=options.boundary or 0.0,
                guidance_low=options.guidance_low,
                condition=Condition(**{name: put(x[rows]) for name, x in (condition or {}).items()}),
            )
            made.append(np.asarray(gather(_pixels(vae, latents)), np.uint8))
    return np.concatenate(made)[: len(text)]


@jax.jit
def _pixels(vae: VAE, latents: jax.Array) -> jax.Array:
    return jnp.round((vae.decode(vae.denormalise(latents)) + 1) * 127.5)


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
    try:
        contact_sheet(list(clips), folder / f"{name}.png", columns=2, labels=prompts)
    except (SorajaxError, OSError) as error:  # training goes on
        warnings.warn(f"no sheet {name}.png: {error}", stacklevel=2)
    if not signed:
        return
    settings = {"steps": options.steps, "guidance": options.guidance, "shift": options.shift, "solver": options.solver}
    settings |= {"frames": len(clips[0]), "batch": len(clips), **facts}
    if options.boundary:
        low = options.guidance if options.guidance_low is None else options.guidance_low
        settings |= {"boundary": options.boundary, "guidance_low": low}
    chosen = list(clips[:signed])
    save_samples(
        chosen, folder, name, prompts=prompts[:signed], fps=options.fps, model=model(), seed=0, settings=settings
    )
