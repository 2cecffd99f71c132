"""The world's clips as latents on disk: rendered and encoded once, then read at random."""

import hashlib
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from sorajax.data.world import World
from sorajax.hosts.arrays import is_primary
from sorajax.models.vae import VAE
from sorajax.train.vae import to_signed

CHUNK = 32


def cached(world: World, vae: VAE, clips: int, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Normalised latents f16 [n, t, h, w, c] of clips 0 to n - 1, and the objects' coverage f16 [n, t, h, w].

    ``name`` tells one autoencoder and world from another: files of that name are read if they are there. An
    interrupted run goes on where it was.
    """
    config, size = vae.config, world.config.size
    side, depth = size // config.spatial_factor, 1 + (world.config.frames - 1) // config.temporal_factor
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / hashlib.sha256(f"{name} {clips}".encode()).hexdigest()[:16]
    paths = [stem.with_suffix(suffix) for suffix in (".latents.npy", ".cover.npy")]
    shapes = [(clips, depth, side, side, config.z_dim), (clips, depth, side, side)]
    while not (is_primary() or all(path.exists() for path in paths)):  # process 0 makes them
        time.sleep(0.2)
    if not all(path.exists() for path in paths):
        _encode(world, vae, clips, paths, shapes, stem.with_suffix(".count"))
    latents, cover = (np.load(path, mmap_mode="r") for path in paths)
    return latents, cover


def _encode(world: World, vae: VAE, clips: int, paths: list[Path], shapes: list[tuple[int, ...]], count: Path) -> None:
    encode = jax.jit(lambda m, x: m.normalise(m.encode(to_signed(x))[0]).astype(jnp.float16))
    drafts = [path.with_suffix(".part") for path in paths]
    done = int(count.read_text()) if count.exists() and all(draft.exists() for draft in drafts) else 0
    mode = "r+" if done else "w+"
    stores = [open_memmap(d, mode=mode, dtype=np.float16, shape=s) for d, s in zip(drafts, shapes, strict=True)]
    with tqdm(total=clips, initial=done, desc="latents", file=sys.stderr) as bar:
        for start in range(done, clips, CHUNK):
            drawn = [world.render(world.spec(i)) for i in range(start, start + CHUNK)]
            stop = min(start + CHUNK, clips)
            stores[0][start:stop] = np.asarray(encode(vae, np.stack([d.frames for d in drawn])))[: stop - start]
            stores[1][start:stop] = np.stack([_cover(d.alpha, shapes[1]) for d in drawn])[: stop - start]
            if start // CHUNK % 16 == 15:
                for store in stores:
                    store.flush()
                count.write_text(str(stop))
            bar.update(stop - start)
    count.unlink(missing_ok=True)
    for store, draft, path in zip(stores, drafts, paths, strict=True):
        store.flush()
        os.replace(draft, path)


def _cover(alpha: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean coverage in [0, 1] of each latent cell, f32 [t, h, w], from alpha uint8 [T, H, W]."""
    _, depth, side, _ = shape
    cell = alpha.shape[1] // side
    pooled = alpha.reshape(len(alpha), side, cell, side, cell).mean((2, 4)) / 255
    return np.concatenate([pooled[:1], pooled[1:].reshape(depth - 1, -1, side, side).mean(1)])
