"""The causal video autoencoder of Wan 2.1 and 2.2 (AutoencoderKLWan): video to latents and back.

The first frame makes one latent frame; each later latent frame stands for ``config.temporal_factor`` frames.
Nothing looks ahead in time, so a video can be coded in pieces with memory that does not grow with its length. On a mesh
whose devices outnumber the clips, the columns of their frames are split (``columns``).
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from sorajax.config import VAEConfig
from sorajax.errors import ConfigError, InputError
from sorajax.models.columns import over_columns
from sorajax.models.layers import F32
from sorajax.models.vae_blocks import (
    Conv,
    DownBlock,
    Downsample,
    Memory,
    MidBlock,
    Norm,
    ResBlock,
    UpBlock,
    chain,
)


class Encoder(nnx.Module):
    """Frames [b, T, h, w, c] -> moments [b, t, h', w', 2 z]. Wan 2.1 lists its blocks flat, 2.2 in DownBlocks."""

    def __init__(self, config: VAEConfig, *, channels: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        dims = [config.base_dim * multiple for multiple in (1, *config.dim_mult)]
        last = len(config.dim_mult) - 1
        blocks: list[nnx.Module] = []
        for n, (din, dout) in enumerate(zip(dims[:-1], dims[1:], strict=True)):
            temporal, depth = n < last and config.temperal_downsample[n], config.num_res_blocks
            if config.is_residual:
                kwargs = {"depth": depth, "down": n < last, "temporal": temporal}
                blocks.append(DownBlock(din, dout, **kwargs, dtype=dtype, rngs=rngs))
                continue
            blocks += [ResBlock(dout if k else din, dout, dtype=dtype, rngs=rngs) for k in range(depth)]
            if n < last:
                blocks.append(Downsample(dout, temporal=temporal, dtype=dtype, rngs=rngs))
        self.conv_in = Conv(channels, dims[0], dtype=dtype, rngs=rngs)
        self.down_blocks = nnx.List(blocks)
        self.mid_block = MidBlock(dims[-1], dtype=dtype, rngs=rngs)
        self.norm_out = Norm(dims[-1], dtype=dtype)
        self.conv_out = Conv(dims[-1], 2 * config.z_dim, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        return chain([self.conv_in, *self.down_blocks, self.mid_block, self._head], x, memory)

    def _head(self, x: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        return self.conv_out(jax.nn.silu(self.norm_out(x)), memory)


class Decoder(nnx.Module):
    """Latents [b, t, h, w, z] -> frames [b, T, h', w', c]."""

    def __init__(self, config: VAEConfig, *, channels: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        base = config.decoder_base_dim or config.base_dim
        dims = [base * multiple for multiple in (config.dim_mult[-1], *config.dim_mult[::-1])]
        last = len(config.dim_mult) - 1
        blocks = []
        for n, (din, dout) in enumerate(zip(dims[:-1], dims[1:], strict=True)):
            block = UpBlock(
                din // 2 if n and not config.is_residual else din,  # in 2.1 the upsampling before has halved it
                dout,
                depth=config.num_res_blocks + 1,
                up=n < last,
                temporal=n < last and config.temperal_downsample[::-1][n],
                residual=config.is_residual,
                dtype=dtype,
                rngs=rngs,
            )
            blocks.append(block)
        self.conv_in = Conv(config.z_dim, dims[0], dtype=dtype, rngs=rngs)
        self.mid_block = MidBlock(dims[0], dtype=dtype, rngs=rngs)
        self.up_blocks = nnx.List(blocks)
        self.norm_out = Norm(dims[-1], dtype=dtype)
        self.conv_out = Conv(dims[-1], channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, memory: Memory = None) -> tuple[jax.Array, Memory]:
        return chain([self.conv_in, self.mid_block, *self.up_blocks, self.head], x, memory)

    def head(self, x: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        return self.conv_out(jax.nn.silu(self.norm_out(x)), memory)


class VAE(nnx.Module):
    """Video autoencoder. ``dtype`` is that of the products and activations; parameters and results are f32.

    ``stream=True`` codes latent frame by latent frame in a scan, with memory that does not grow with the length
    of the video; ``stream=False`` takes all frames at once, as training wants it. The results are equal.
    """

    def __init__(self, config: VAEConfig, *, dtype: jnp.dtype = F32, rngs: nnx.Rngs):
        _check_config(config)
        channels = 3 * (config.patch_size or 1) ** 2
        self.config = config
        self.encoder = Encoder(config, channels=channels, dtype=dtype, rngs=rngs)
        self.quant_conv = Conv(2 * config.z_dim, 2 * config.z_dim, (1, 1, 1), dtype=dtype, rngs=rngs)
        self.post_quant_conv = Conv(config.z_dim, config.z_dim, (1, 1, 1), dtype=dtype, rngs=rngs)
        self.decoder = Decoder(config, channels=channels, dtype=dtype, rngs=rngs)

    def encode(self, x: jax.Array, *, stream: bool = True) -> tuple[jax.Array, jax.Array]:
        """Video f32 [b, T, H, W, 3] in [-1, 1] -> mean and log variance, f32 [b, t, h, w, z] each, not normalised.

        T = 1 + temporal_factor * k, and H and W are multiples of spatial_factor; else InputError.
        The log variance is kept within [-30, 20].
        """
        factor, cell = self.config.temporal_factor, self.config.spatial_factor
        if x.ndim != 5 or x.shape[-1] != 3:
            raise InputError(f"video of shape {x.shape}: [batch, frames, height, width, 3] is expected")
        if (x.shape[1] - 1) % factor or not x.shape[1]:
            raise InputError(f"video of {x.shape[1]} frames: give 1 + {factor}k, for example {1 + 4 * factor}")
        if x.shape[2] % cell or x.shape[3] % cell:
            raise InputError(f"video of {x.shape[3]}x{x.shape[2]} pixels: give multiples of {cell}")
        x = patchify(x, self.config.patch_size or 1)
        run = partial(run_in_pieces, chunk=factor) if stream else lambda model, x: model(x)[0]
        moments = over_columns(run, self.encoder, x, narrowest=x.shape[3] * (self.config.patch_size or 1) // cell)
        moments = self.quant_conv.inside(moments).astype(jnp.float32)
        mean, logvar = jnp.split(moments, 2, -1)
        return mean, jnp.clip(logvar, -30.0, 20.0)

    def decode(self, z: jax.Array, *, stream: bool = True, clamp: bool = True) -> jax.Array:
        """Latents [b, t, h, w, z], not normalised -> video f32 [b, T, H, W, 3], within [-1, 1] if ``clamp``."""
        if z.ndim != 5 or z.shape[-1] != self.config.z_dim:
            raise InputError(f"latents of shape {z.shape}: [batch, t, h, w, {self.config.z_dim}] is expected")
        z = self.post_quant_conv.inside(z)
        finish = partial(unpatchify, size=self.config.patch_size or 1)
        run = partial(run_in_pieces, chunk=1, finish=finish) if stream else lambda model, x: finish(model(x)[0])
        x = over_columns(run, self.decoder, z, narrowest=z.shape[3]).astype(jnp.float32)
        return jnp.clip(x, -1.0, 1.0) if clamp else x

    def normalise(self, z: jax.Array) -> jax.Array:
        """Raw latents to the model's: (z - mean) / std by channel."""
        mean, std = self._statistics()
        return (z - mean) / std

    def denormalise(self, z: jax.Array) -> jax.Array:
        """The model's latents to raw ones: z * std + mean by channel."""
        mean, std = self._statistics()
        return z * std + mean

    def _statistics(self) -> tuple[jax.Array, jax.Array]:
        mean = self.config.latents_mean or (0.0,) * self.config.z_dim
        std = self.config.latents_std or (1.0,) * self.config.z_dim
        return jnp.array(mean, jnp.float32), jnp.array(std, jnp.float32)


def run_in_pieces(
    model: Callable[[jax.Array, Memory], tuple[jax.Array, Memory]],
    x: jax.Array,
    *,
    chunk: int,
    finish: Callable[[jax.Array], jax.Array] = lambda y: y,
) -> jax.Array:
    """The first frame of x [b, t, h, w, c] by itself, then ``chunk`` frames at a time with the memory carried on.

    ``finish`` makes [b, t', h', w', c'] of what comes out of the model.
    """
    y, memory = model(x[:, :1], None)
    y, (b, t, *rest) = finish(y), x.shape
    if t == 1:
        return y
    chunks = jnp.moveaxis(x[:, 1:].reshape(b, (t - 1) // chunk, chunk, *rest), 1, 0)

    def step(memory: Memory, piece: jax.Array) -> tuple[Memory, jax.Array]:
        out, memory = model(piece, memory)
        # Columns and channels as one axis: a TPU would pad an axis of three channels to 128.
        return memory, _merged(finish(out))

    _, later = jax.lax.scan(step, memory, chunks)
    later = jnp.moveaxis(later, 0, 1)
    whole = jnp.concatenate([_merged(y), later.reshape(b, -1, *later.shape[3:])], 1)
    return whole.reshape(*whole.shape[:3], *y.shape[3:])


def _merged(x: jax.Array) -> jax.Array:
    """[b, t, h, w, c] -> [b, t, h, w c]."""
    return x.reshape(*x.shape[:3], -1)


def patchify(x: jax.Array, size: int) -> jax.Array:
    """[b, t, h*p, w*p, c] -> [b, t, h, w, c*p*p]; channels in the order (c, column in patch, row in patch)."""
    b, t, h, w, c = x.shape
    x = x.reshape(b, t, h // size, size, w // size, size, c).transpose(0, 1, 2, 4, 6, 5, 3)
    return x.reshape(b, t, h // size, w // size, c * size * size)


def unpatchify(x: jax.Array, size: int) -> jax.Array:
    """The inverse of ``patchify``."""
    b, t, h, w, c = x.shape
    x = x.reshape(b, t, h, w, c // size**2, size, size).transpose(0, 1, 2, 6, 3, 5, 4)
    return x.reshape(b, t, h * size, w * size, c // size**2)


def _check_config(config: VAEConfig) -> None:
    wanted = len(config.dim_mult) - 1
    if len(config.temperal_downsample) != wanted:
        raise ConfigError(
            f"vae.temperal_downsample has {len(config.temperal_downsample)} values, dim_mult asks for {wanted}"
        )
    statistics: Sequence[tuple[str, tuple[float, ...]]] = (
        ("latents_mean", config.latents_mean),
        ("latents_std", config.latents_std),
    )
    for name, values in statistics:
        if len(values) not in (0, config.z_dim):
            raise ConfigError(f"vae.{name} has {len(values)} values, z_dim asks for {config.z_dim} or none")
