"""What the parts of a model need of each device's memory, and what there is: known before anything is loaded.

Weights are counted exactly, by their shapes, types and shardings. What a part needs to work is estimated from its
widths; the factors fit what XLA's compiler for TPUs says (``sorajax plan``) of the published sizes.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sorajax import mesh as meshes
from sorajax.config import ModelConfig, VAEConfig
from sorajax.errors import InputError
from sorajax.models import tiles

SLACK = 1.1
"""By how much an estimate may be too high: a request is only refused when it needs that much more than there is."""


def resting(abstract: Any) -> int:
    """Bytes of a part's weights on one device, from ``folders.abstract_model``."""
    leaves = jax.tree.leaves(abstract)
    return sum(int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize for leaf in leaves)


def working(
    part: str, config: ModelConfig, mesh: Mesh, dtype: str, shape: tuple[int, ...], prompts: int, guided: bool
) -> int:
    """Bytes that one device needs beside the weights to run a part, for latents [t, h, w, c] of so many clips."""
    width = np.dtype(dtype if dtype == "float32" else np.float16).itemsize
    t, h, w, _ = shape
    clips = _share(mesh, "batch", prompts)
    if part == "text_encoder":
        text = config.text
        scores = 3 * 4 * text.num_heads * text.length // _parts(mesh, "heads", text.num_heads)
        return clips * text.length * (scores + (4 + width) * text.d_ff + 16 * text.d_model)
    if part == "vae":  # in the smallest tiles, as what does not fit is decoded in tiles
        return clips * decoding(config.vae, dtype, (t, h, w), (min(h, SMALLEST), min(w, SMALLEST)))
    dit = config.dit
    tokens = t * h * w // int(np.prod(dit.patch_size)) // _parts(mesh, "tokens", 0)
    rows = _share(mesh, "batch", prompts * (2 if guided else 1))
    ffn = dit.ffn_dim // _parts(mesh, "mlp", dit.ffn_dim)
    return int(rows * tokens * (STREAMS * 4 * dit.dim + width * ffn))


STREAMS = 2.5
"""Arrays of tokens by channels, f32, that a transformer's block holds at once."""
FRAMES = 2
"""Copies of all frames that a decoder holds."""
FEATURES = 13
"""Arrays of one latent frame's pixels by channels that a decoder's widest level holds at once."""
SMALLEST = 8
"""Latent cells of the smallest tile's side."""


def decoding(vae: VAEConfig, dtype: str, shape: tuple[int, int, int], cells: tuple[int, int] | None) -> int:
    """Bytes to decode latents [t, h, w] of one clip, whole or in tiles of so many cells."""
    width = 4 if dtype == "float32" else 2
    (t, h, w), features = shape, 0
    tile = (h, w)
    if cells is not None:
        around, tile = tiles.reach(vae), cells
        features = width * t * h * w * (vae.decoder_base_dim or vae.base_dim) * vae.dim_mult[-1]
        h, w = (tiles.window(size, own, around) for size, own in zip((h, w), cells, strict=True))
    latent_frame = h * w * (vae.spatial_factor // (vae.patch_size or 1)) ** 2 * vae.temporal_factor
    pixels = t * tile[0] * tile[1] * vae.spatial_factor**2 * vae.temporal_factor
    base = vae.decoder_base_dim or vae.base_dim
    widest = base * (vae.dim_mult[1] if vae.is_residual else 1)  # in 2.2 the upsampling before keeps its channels
    return features + FRAMES * 12 * pixels + FEATURES * width * latent_frame * widest


def tile(vae: VAEConfig, dtype: str, shape: tuple[int, ...], budget: int) -> tuple[int, int] | None:
    """Rows and columns of latent cells that fit, of latents [b, t, h, w, z] on one device; None for whole frames.

    The smallest where none fits.
    """
    b, t, h, w, _ = shape
    if b * decoding(vae, dtype, (t, h, w), None) <= budget:
        return None
    rows, columns = h, w
    while max(rows, columns) > SMALLEST and b * decoding(vae, dtype, (t, h, w), (rows, columns)) > budget:
        rows, columns = (rows, -(-columns // 2)) if columns >= rows else (-(-rows // 2), columns)
    return rows, columns


def share(mesh: Mesh, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one device's part of a batch [b, ...]."""
    return _share(mesh, "batch", shape[0]), *shape[1:]


def free(mesh: Mesh) -> int | None:
    """Bytes that are free on the fullest of this process's devices; None if the machine does not tell."""
    found = [device.memory_stats() for device in mesh.local_devices]
    told = [s["bytes_limit"] - s["bytes_in_use"] for s in found if s and "bytes_limit" in s and "bytes_in_use" in s]
    if told:
        return min(told)
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024 // len(mesh.local_devices)
    except (OSError, KeyError, ValueError):
        return None


def fits(needs: Mapping[str, int], budget: int | None) -> bool:
    """Whether there is memory for every part as it works."""
    return budget is None or max(needs.values()) <= budget


def check(needs: Mapping[str, int], budget: int | None, what: str, remedies: str) -> None:
    """Raises InputError if a part needs more than there is, with what it needs and what to try."""
    part = max(needs, key=lambda name: needs[name])
    if budget is not None and needs[part] > budget * SLACK:
        raise InputError(
            f"{what} needs about {_gib(needs[part])} on each device for its {part.replace('_', ' ')}, and "
            f"{_gib(budget)} are free; {remedies}"
        )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _parts(mesh: Mesh, axis: str, size: int) -> int:
    """Into how many parts a dimension of that size is split (0: of any size)."""
    count = int(np.prod([mesh.shape[name] for name in meshes.RULES[axis]]))
    return count if not size or size % count == 0 else 1


def _share(mesh: Mesh, axis: str, size: int) -> int:
    return -(-size // _parts(mesh, axis, size))
