"""Decoding in tiles without seams, for frames too large for a device's memory.

The decoder's first part looks at whole frames, but at the latents' resolution, and is run on them. What follows sees
only so far around a pixel, so it is run on windows that are wider than the tile by that much, and the tile is cut out:
the pixels are those of the whole frame. Windows end where frames end: the network's own padding is in its place.
"""

import math
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from sorajax.config import VAEConfig
from sorajax.cost.flops import counted
from sorajax.hosts import arrays
from sorajax.models.vae import VAE, run_in_pieces, unpatchify
from sorajax.models.vae_blocks import chain


def reach(config: VAEConfig) -> int:
    """How many latent cells away a pixel's value may come from, in the part of the decoder that is run in tiles."""
    levels, convolutions = len(config.dim_mult), 2 * (config.num_res_blocks + 1)
    radius = 1  # the head's
    for level in range(levels):
        radius += convolutions
        if level < levels - 1:
            radius = math.ceil((radius + 1) / 2)  # the upsampling's convolution, and the pixels it repeats
    return radius


def window(size: int, tile: int, around: int) -> int:
    """Cells of the widest window that tiles of a frame of ``size`` cells need."""
    return max(min(start + tile + around, size) - max(start - around, 0) for start in starts(size, tile))


def starts(size: int, tile: int) -> list[int]:
    """Where tiles begin; the last ends where the frame does."""
    return [min(start, size - tile) for start in range(0, size, tile)]


def decode_in_tiles(vae: VAE, z: jax.Array, tile: tuple[int, int]) -> np.ndarray:
    """Latents [b, t, h, w, z], not normalised -> video f32 [b, T, H, W, 3] in [-1, 1], in this process's memory.

    tile is (rows, columns) of latent cells, of which one is decoded at a time. The result is that of ``vae.decode``.
    """
    b, t, h, w, _ = z.shape
    rows, columns = (max(1, min(size, own)) for size, own in zip((h, w), tile, strict=True))
    around, cell = reach(vae.config), vae.config.spatial_factor
    sizes = window(h, rows, around), window(w, columns, around)
    features = _features(vae, z)
    out = np.empty((b, 1 + (t - 1) * vae.config.temporal_factor, h * cell, w * cell, 3), np.float32)
    for top, left in _places(h, w, rows, columns):
        corner = np.clip((top - around, left - around), 0, np.subtract((h, w), sizes)).astype(np.int32)
        offset = np.array((top, left), np.int32) - corner
        piece = decode_window(vae, features, corner, offset, sizes=sizes, tile=(rows, columns))
        out[:, :, top * cell : (top + rows) * cell, left * cell : (left + columns) * cell] = arrays.gather(piece)
    return out


def _places(h: int, w: int, rows: int, columns: int) -> Iterator[tuple[int, int]]:
    for top in starts(h, rows):
        for left in starts(w, columns):
            yield top, left


@counted
@jax.jit
def _features(vae: VAE, z: jax.Array) -> jax.Array:
    """What the part that looks at whole frames makes of latents [b, t, h, w, z]: [b, t, h, w, c]."""
    decoder = vae.decoder
    return run_in_pieces(partial(chain, [decoder.conv_in, decoder.mid_block]), vae.post_quant_conv.inside(z), chunk=1)


@counted
@partial(jax.jit, static_argnames=("sizes", "tile"))
def decode_window(
    vae: VAE,
    features: jax.Array,
    corner: jax.Array | np.ndarray,
    offset: jax.Array | np.ndarray,
    *,
    sizes: tuple[int, int],
    tile: tuple[int, int],
) -> jax.Array:
    """Frames [b, T, rows, columns, 3] of the tile at ``offset`` in the window of that size at ``corner``, in cells."""
    decoder, cell = vae.decoder, vae.config.spatial_factor
    b, t, _, _, c = features.shape
    x = jax.lax.dynamic_slice(features, (0, 0, corner[0], corner[1], 0), (b, t, *sizes, c))

    def finish(y: jax.Array) -> jax.Array:
        y = unpatchify(y, vae.config.patch_size or 1)
        size = (*y.shape[:2], tile[0] * cell, tile[1] * cell, y.shape[-1])
        return jax.lax.dynamic_slice(y, (0, 0, offset[0] * cell, offset[1] * cell, 0), size)

    frames = run_in_pieces(partial(chain, [*decoder.up_blocks, decoder.head]), x, chunk=1, finish=finish)
    return jnp.clip(frames.astype(jnp.float32), -1.0, 1.0)
