"""WanTransformer3DModel: a diffusion transformer over spacetime patches, in Flax NNX.

Letters: b batch, l = t h w video tokens, s text tokens, d model channels. Norms, modulation and the residual
stream are f32; products take operands of ``dtype``. Wan technical report: arXiv 2503.20314, section 4.2.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sorajax.attention import rope_table, tile
from sorajax.config import DiTConfig
from sorajax.mesh import constrain, param, parts
from sorajax.models.attention import Attention
from sorajax.models.layers import F32, LayerNorm, Linear, layer_norm
from sorajax.models.remat import remat


def patchify(x: jax.Array, patch: tuple[int, int, int]) -> jax.Array:
    """[b, t, h, w, c] -> [b, l, p_t p_h p_w c], tokens in (t, h, w) order."""
    b, t, h, w, c = x.shape
    pt, ph, pw = patch
    x = x.reshape(b, t // pt, pt, h // ph, ph, w // pw, pw, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, -1, pt * ph * pw * c)


def unpatchify(x: jax.Array, patch: tuple[int, int, int], grid: tuple[int, int, int]) -> jax.Array:
    """[b, l, p_t p_h p_w c] -> [b, t, h, w, c]; ``grid`` is the token grid (t, h, w)."""
    (gt, gh, gw), (pt, ph, pw) = grid, patch
    x = x.reshape(x.shape[0], gt, gh, gw, pt, ph, pw, -1).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(x.shape[0], gt * pt, gh * ph, gw * pw, -1)


def sinusoid(timestep: jax.Array, dim: int) -> jax.Array:
    """[b] -> [b, dim]: cosines, then sines, of geometric frequencies (DDPM, arXiv 2006.11239)."""
    frequencies = np.exp(-np.log(10000) * np.arange(dim // 2) / (dim // 2)).astype(np.float32)
    angles = timestep.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def over_tokens(values: jax.Array, x: jax.Array, length: int) -> jax.Array:
    """values [b, f, d] of f frames as [b, l, d], one for each of x's tokens; one frame is for all, as [b, 1, d]."""
    b, f, d = values.shape
    if f == 1:
        return values
    values = jnp.broadcast_to(values[:, :, None], (b, f, length // f, d)).reshape(b, length, d)
    return jnp.pad(values, ((0, 0), (0, x.shape[1] - length), (0, 0)))


class Block(nnx.Module):
    """Self-attention, cross-attention to the text, feed-forward; shift, scale and gate from the time."""

    def __init__(self, config: DiTConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        dim, heads, eps = config.dim, config.num_attention_heads, config.eps
        self.attn1 = Attention(dim, heads, eps=eps, dtype=dtype, rngs=rngs)
        self.attn2 = Attention(dim, heads, eps=eps, dtype=dtype, rngs=rngs)
        self.norm2 = LayerNorm(dim, eps=eps) if config.cross_attn_norm else None
        self.ffn_in = Linear(dim, config.ffn_dim, axes=("embed", "mlp"), dtype=dtype, rngs=rngs)
        self.ffn_out = Linear(config.ffn_dim, dim, axes=("mlp", "embed"), dtype=dtype, rngs=rngs)
        self.scale_shift_table = param(jax.random.normal(rngs.params(), (6, dim)) / dim**0.5, None, None)
        self.eps = eps

    def __call__(
        self, x: jax.Array, text: jax.Array, time: jax.Array, rope: tuple[jax.Array, jax.Array], length: int
    ) -> jax.Array:
        """x [b, l, d], text [b, s, d], time [b, f, 6, d] -> [b, l, d]; tokens past ``length`` are seen by no other.

        f is 1, or the frames of tokens, each of which has its own time.
        """
        table = self.scale_shift_table[...] + time
        shift1, scale1, gate1, shift2, scale2, gate2 = (over_tokens(table[:, :, i], x, length) for i in range(6))
        y = layer_norm(x, self.eps) * (1 + scale1) + shift1
        x = x + self.attn1(y, y, rope, length) * gate1
        x = x + self.attn2(x if self.norm2 is None else self.norm2(x), text, None)
        y = layer_norm(x, self.eps) * (1 + scale2) + shift2
        y = constrain(jax.nn.gelu(self.ffn_in(y), approximate=True), "batch", "tokens", "mlp")
        # A barrier, for XLA would take the GELU into the next product on a TPU and compute it again for each tile.
        y = jax.lax.optimization_barrier(y.astype(self.ffn_out.dtype))
        x = x + self.ffn_out(y) * gate2
        return constrain(x, "batch", "tokens", None)


class DiT(nnx.Module):
    """Predicts the velocity of noisy video latents."""

    def __init__(self, config: DiTConfig, *, dtype: jnp.dtype = F32, remat: str = "block", rngs: nnx.Rngs):
        """remat says what a training step keeps of each block (``remat.POLICIES``)."""
        dim, patch = config.dim, config.patch_size

        def linear(din: int, dout: int, scale: float = 1.0) -> Linear:
            return Linear(din, dout, axes=("embed", None), scale=scale, dtype=dtype, rngs=rngs)

        init = jax.nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1, 2, 3), out_axis=4)
        self.patch_kernel = param(init(rngs.params(), (*patch, config.in_channels, dim)), *(None,) * 4, "embed")
        self.patch_bias = param(jnp.zeros(dim), "embed")
        self.time_in, self.time_out = linear(config.freq_dim, dim), linear(dim, dim)
        self.time_proj = linear(dim, 6 * dim)
        self.text_in, self.text_out = linear(config.text_dim, dim), linear(dim, dim)
        self.text_pool = linear(config.text_dim, dim) if config.text_pool else None
        self.position = param(jnp.zeros((*config.position_table, dim)), *(None,) * 4) if config.position_table else None
        self.blocks = jax.vmap(lambda r: Block(config, dtype=dtype, rngs=r))(rngs.split(config.num_layers))
        self.scale_shift_table = param(jax.random.normal(rngs.params(), (2, dim)) / dim**0.5, None, None)
        self.proj_out = linear(dim, int(np.prod(patch)) * config.out_channels, scale=0.0)
        self.config, self.remat = config, remat

    def __call__(self, latents: jax.Array, timestep: jax.Array, text: jax.Array) -> jax.Array:
        """Velocity f32 [b, t, h, w, c] of latents [b, t, h, w, i] at timestep [b] in [0, 1000], for text [b, s, e].

        A timestep [b, t / p_t] is one for each frame of tokens. Rows of ``text`` past the prompt's end must be zero.
        t, h and w must be multiples of the patch size.
        """
        config = self.config
        t, h, w = (n // p for n, p in zip(latents.shape[1:4], config.patch_size, strict=True))
        grid = (t, h, w)
        kernel = self.patch_kernel[...]
        x = patchify(latents, config.patch_size).astype(jnp.float32) @ kernel.reshape(-1, kernel.shape[-1])
        x = x + self.patch_bias[...]
        if self.position is not None:
            x = x + self.position[...][:t, :h, :w].reshape(1, t * h * w, -1)
        length = t * h * w
        # So that every device has as many tokens as the others, and no block pads them for its kernel.
        spare = -length % math.lcm(parts("tokens"), tile(length))
        x = constrain(jnp.pad(x, ((0, 0), (0, spare), (0, 0))), "batch", "tokens", None)

        time = self.time_out(jax.nn.silu(self.time_in(sinusoid(timestep.reshape(-1), config.freq_dim))))
        time = time.reshape(x.shape[0], -1, config.dim)  # [b, f, d]: one time, or one for each frame
        if self.text_pool is not None:
            real = jnp.any(text != 0, -1, keepdims=True)
            time = time + self.text_pool(jnp.sum(text, 1) / jnp.maximum(jnp.sum(real, 1), 1))[:, None]
        modulation = self.time_proj(jax.nn.silu(time)).reshape(*time.shape[:2], 6, config.dim)
        text = self.text_out(jax.nn.gelu(self.text_in(text), approximate=True))
        cos, sin = (jnp.pad(table, ((0, spare), (0, 0))) for table in rope_table(grid, config.attention_head_dim))

        def block(x: jax.Array, block: Block) -> tuple[jax.Array, None]:
            return block(x, text, modulation, (cos, sin), length), None

        x, _ = jax.lax.scan(remat(block, self.remat), x, self.blocks)
        shift, scale = (over_tokens(self.scale_shift_table[...][i] + time, x, length) for i in range(2))
        x = self.proj_out(layer_norm(x, config.eps) * (1 + scale) + shift)
        return unpatchify(x[:, :length], config.patch_size, grid)
