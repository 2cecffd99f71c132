"""Write vae.npz: moments and frames of tiny random AutoencoderKLWan models of diffusers, in both layouts.

Weights and inputs are drawn from a frozen generator, so only results are stored.
Made with diffusers 0.42.1, torch 2.13.0 (CPU). Run: ``python -m tests.golden.make_vae``.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("vae.npz")
FRAMES = 13
CONFIGS: dict[str, dict[str, Any]] = {
    "wan21": {
        "base_dim": 8,
        "z_dim": 4,
        "dim_mult": (1, 2, 2, 2),
        "num_res_blocks": 1,
        "temperal_downsample": (False, True, True),
    },
    "wan22": {
        "base_dim": 4,
        "decoder_base_dim": 6,
        "z_dim": 4,
        "dim_mult": (1, 2, 4, 4),
        "num_res_blocks": 1,
        "temperal_downsample": (True, False, True),
        "is_residual": True,
        "patch_size": 2,
    },
}


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """A random tensor for every name, none at its usual start value: gammas about 1, kernels that keep variance."""
    rng, drawn = np.random.RandomState(seed), {}
    for name in sorted(shapes):
        noise = rng.standard_normal(shapes[name])
        if name.endswith("gamma"):
            noise = 1 + 0.3 * noise
        elif name.endswith("bias"):
            noise = 0.1 * noise
        else:
            noise = noise / math.sqrt(math.prod(shapes[name][1:]))
        drawn[name] = noise.astype(np.float32)
    return drawn


def inputs(config: Mapping[str, Any], frames: int = FRAMES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """video [1, frames, H, W, 3] in [-1, 1], latents [1, t, 2, 3, z]."""
    rng = np.random.RandomState(seed)
    cell = 2 ** (len(config["dim_mult"]) - 1) * config.get("patch_size", 1)
    video = rng.uniform(-1, 1, (1, frames, 2 * cell, 3 * cell, 3)).astype(np.float32)
    latents = rng.standard_normal((1, 1 + (frames - 1) // 4, 2, 3, config["z_dim"])).astype(np.float32)
    return video, latents


def reference(config: Mapping[str, Any], video: np.ndarray, latents: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """diffusers' weights by name, the mean and log variance of ``video``, and the frames of ``latents``."""
    import torch
    from diffusers import AutoencoderKLWan

    channels, z_dim = 3 * config.get("patch_size", 1) ** 2, config["z_dim"]
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
    model = AutoencoderKLWan(
        **lists,
        in_channels=channels,
        out_channels=channels,
        latents_mean=[0.0] * z_dim,
        latents_std=[1.0] * z_dim,
    ).eval()
    drawn = weights({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, seed)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in drawn.items()})
    with torch.no_grad():
        moments = model.encode(torch.from_numpy(video).permute(0, 4, 1, 2, 3)).latent_dist
        frames = model.decode(torch.from_numpy(latents).permute(0, 4, 1, 2, 3)).sample
    results = {"mean": moments.mean, "logvar": moments.logvar, "frames": frames}
    return {"weights": drawn} | {name: tensor.permute(0, 2, 3, 4, 1).numpy() for name, tensor in results.items()}


def main() -> None:
    arrays = {}
    for layout, config in CONFIGS.items():
        result = reference(config, *inputs(config))
        arrays |= {f"{layout}/{name}": result[name] for name in ("mean", "logvar", "frames")}
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
