"""The autoencoder's objective: frames that come back as they were, objects and edges before all."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.data.world import EVALUATION, World
from sorajax.errors import ConfigError
from sorajax.hosts.arrays import gather, is_primary
from sorajax.media.sheet import contact_sheet
from sorajax.models.vae import VAE
from sorajax.train.config import TrainConfig
from sorajax.train.step import Metrics
from sorajax.weights import folder as folders
from sorajax.weights.vae import export_vae, load_vae

PIXELS = 2**22
"""That are judged and measured at once, unless one clip has more."""


class VaeObjective:
    """Squared and absolute errors, weighted towards the objects, those of edges, and a small KL term.

    With ``decoder_only`` the encoder stays as it was exported, so that latents made before still hold.
    """

    def __init__(self, config: TrainConfig, folder: Path, longest: int | None = None):
        """Raises ConfigError if a stretch is not one that the autoencoder and the clips have, whose ``longest`` may be
        longer than the world's."""
        self.config, self.folder, self.result = config, folder, folder
        lengths, factor = config.vae_loss.frames, config.model.vae.temporal_factor
        longest = longest or config.world.frames
        if not lengths or any(t < 1 or (t - 1) % factor or t > longest for t in lengths):
            raise ConfigError(
                f"vae_loss.frames: {list(lengths)}; name one or more of 1 + {factor}k frames, at most {longest}, which "
                "the clips have"
            )
        self.world = World(config.world)
        self.frozen: Any = ()

    def init(self, rngs: nnx.Rngs) -> VAE:
        """A new autoencoder, without latent statistics: they are measured when it is exported."""
        config = dataclasses.replace(self.config.model.vae, latents_mean=(), latents_std=())
        model = VAE(config, dtype=jnp.dtype(self.config.dtype), rngs=rngs)
        bias = model.quant_conv.bias  # start with little noise in the latents, or nothing gets through
        bias[...] = bias[...].at[config.z_dim :].set(-6.0)
        return model

    def warm_start(self, model: VAE) -> None:
        """Fill a new model with the weights exported before."""
        load_vae(model, folders.load_part(self.folder, "vae"))

    def sources(self) -> Mapping[str, str]:
        """Its config says it all."""
        return {}

    def learned_from(self) -> list[str]:
        """The drawn world."""
        return [f"sorajax's drawn world, {self.config.world.size}x{self.config.world.size}, a new clip each time"]

    def size(self, index: int) -> int:
        """Clips of a batch: ``batch`` with the first of ``vae_loss.frames``, fewer with a longer stretch."""
        return max(1, self.config.batch * self.config.vae_loss.frames[0] // self.stretch(index))

    def stretch(self, index: int) -> int:
        """Frames of each clip of a batch."""
        lengths = self.config.vae_loss.frames
        return lengths[index % len(lengths)]

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """frames uint8 [b, t, h, w, 3] and alpha uint8 [b, t, h, w]: a stretch of each clip."""
        first, stretch = index * self.config.batch, self.stretch(index)
        clips = []
        for row in range(self.size(index)) if rows is None else rows:
            i = first + int(row)
            clip = self.world.render(self.world.spec(i))
            start = np.random.default_rng((self.config.seed, i)).integers(len(clip.frames) - stretch + 1)
            clips.append((clip.frames[start : start + stretch], clip.alpha[start : start + stretch]))
        frames, alpha = (np.stack(arrays) for arrays in zip(*clips, strict=True))
        return {"frames": frames, "alpha": alpha}

    def names(self, index: int) -> list[str]:
        """The clips of a batch."""
        first = index * self.config.batch
        return [f"clip {i}" for i in range(first, first + self.size(index))]

    def tokens(self, batch: Mapping[str, Any]) -> int:
        """Cells of latent frames."""
        b, t, h, w, _ = batch["frames"].shape
        vae = self.config.model.vae
        return b * (1 + (t - 1) // vae.temporal_factor) * (h // vae.spatial_factor) * (w // vae.spatial_factor)

    def loss(
        self, model: VAE, frozen: Any, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Weighted reconstruction loss; also the PSNR over all pixels."""
        options = self.config.vae_loss
        x = to_signed(batch["frames"])
        weight = jnp.ones((*x.shape[:-1], 1))
        if "alpha" in batch:
            weight += options.foreground * batch["alpha"].astype(jnp.float32)[..., None] / 255
        mean, logvar = model.encode(x, stream=False)
        if options.decoder_only:
            mean, logvar = jax.lax.stop_gradient((mean, logvar))
        z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key, mean.shape)
        y = model.decode(z, stream=False, clamp=False)
        kl = 0.5 * jnp.mean(mean**2 + jnp.exp(logvar) - 1 - logvar)
        # Squares carry the start: absolute errors alone settle on grey, the median of all scenes.
        squares, absolutes = (jnp.mean(e * weight) / jnp.mean(weight) for e in ((y - x) ** 2, jnp.abs(y - x)))
        edges = sum(jnp.mean(jnp.abs(jnp.diff(y - x, axis=axis))) for axis in (2, 3))
        loss = squares + options.absolute * absolutes + options.edges * edges + options.kl * kl
        psnr = -10 * jnp.log10(jnp.mean((y - x) ** 2) / 4)
        return loss, {"psnr": psnr, "kl": kl, "l1": absolutes}

    def held_out(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Clips that are not trained on, uint8 [b, t, h, w, 3], and where objects are, bool [b, t, h, w]."""
        samples = [self.world.sample(EVALUATION + i) for i in range(16)]
        return np.stack([s.frames for s in samples]), np.stack([s.alpha for s in samples]) > 127

    def measured(self) -> Iterator[np.ndarray]:
        """Clips uint8 [b, t, h, w, 3] of which the latents' mean and deviation are, some at a time."""
        for first in range(0, 256, 32):
            yield np.stack([self.world.sample(EVALUATION + i).frames for i in range(first, first + 32)])

    def evaluate(self, model: VAE, step: int, folder: Path, *, signed: bool = True) -> dict[str, float]:
        """PSNR over whole clips, and over their objects; a sheet of originals above their reconstructions."""
        frames, objects = self.held_out()
        size = at_once(frames.shape[1:])
        parts = [frames[i : i + size] for i in range(0, len(frames), size)]
        back = np.concatenate([np.asarray(gather(_back(model, part)), np.uint8) for part in parts])
        error = (back.astype(np.float32) - frames) ** 2
        rows = [clip for pair in zip(frames[:8], back[:8], strict=True) for clip in pair]
        if is_primary():
            contact_sheet(rows, folder / f"vae-{step:07d}.png")
        db = {"psnr": error.mean()} | ({} if objects is None else {"psnr_objects": error[objects].mean()})
        return {name: float(10 * np.log10(255**2 / mse)) for name, mse in db.items()}

    def export(self, model: VAE, folder: Path) -> None:
        """Write the weights, and the latents' mean and deviation by channel into the model's config."""
        latents = np.concatenate([np.asarray(_latents(model, clips)) for clips in self.measured()])
        flat = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
        vae = self.config.model.vae
        if not self.config.vae_loss.decoder_only:
            mean, std = (tuple(round(float(v), 4) for v in f(flat, 0)) for f in (np.mean, np.std))
            vae = dataclasses.replace(vae, latents_mean=mean, latents_std=std)
            folders.save_config(folder, dataclasses.replace(self.config.model, vae=vae))
        folders.save_part(folder, "vae", export_vae(model))


@jax.jit
def _latents(model: VAE, frames: jax.Array) -> jax.Array:
    return model.encode(to_signed(frames))[0]


@jax.jit
def _back(model: VAE, frames: jax.Array) -> jax.Array:
    return jnp.round((model.decode(model.encode(to_signed(frames))[0]) + 1) * 127.5)


def at_once(shape: tuple[int, ...]) -> int:
    """How many clips [t, h, w, 3] are judged or measured at once."""
    return max(1, PIXELS // math.prod(shape[:3]))


def to_signed(frames: jax.Array) -> jax.Array:
    """uint8 [0, 255] -> f32 [-1, 1]."""
    return frames.astype(jnp.float32) / 127.5 - 1
