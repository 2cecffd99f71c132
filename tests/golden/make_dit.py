"""Write dit.npz: tiny random WanTransformer3DModels of diffusers, their inputs and velocities.

Made with diffusers 0.42.1, torch 2.13.0 (CPU). Run: ``python tests/golden/make_dit.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("dit.npz")
CONFIGS: dict[str, dict[str, Any]] = {
    "a": {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 16,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
        "cross_attn_norm": True,
    },
    "b": {
        "patch_size": (2, 1, 2),
        "num_attention_heads": 3,
        "attention_head_dim": 8,
        "in_channels": 3,
        "out_channels": 3,
        "text_dim": 8,
        "freq_dim": 16,
        "ffn_dim": 40,
        "num_layers": 3,
        "cross_attn_norm": False,
    },
}
GRIDS = {"a": ((1, 4, 4), (3, 6, 10)), "b": ((2, 3, 4), (4, 5, 6))}


def inputs(config: dict[str, Any], grid: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, ...]:
    """latents f32 [2, t, h, w, c], timestep f32 [2], text f32 [2, 7, e] with its last rows zero."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((2, *grid, config["in_channels"])).astype(np.float32)
    text = rng.standard_normal((2, 7, config["text_dim"])).astype(np.float32)
    text[0, 5:] = 0
    return latents, np.array([937.5, 12.0], np.float32), text


def reference(
    config: dict[str, Any], batches: list[tuple[np.ndarray, ...]], seed: int = 0
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Weights by diffusers' names, and the velocity [2, t, h, w, c] of each batch."""
    import torch
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    with torch.no_grad():
        model = WanTransformer3DModel(**config, qk_norm="rms_norm_across_heads", eps=1e-6).eval()
        for name, weight in model.named_parameters():  # norms and modulation away from their start values
            near_one = "norm" in name and name.endswith("weight")
            weight.copy_(torch.randn_like(weight) * 0.2 + near_one)
        out = []
        for latents, timestep, text in batches:
            x = torch.from_numpy(latents).permute(0, 4, 1, 2, 3)
            v = model(x, torch.from_numpy(timestep), torch.from_numpy(text), return_dict=False)[0]
            out.append(v.permute(0, 2, 3, 4, 1).contiguous().numpy())
    return {name: weight.numpy() for name, weight in model.state_dict().items()}, out


if __name__ == "__main__":
    arrays = {}
    for name, config in CONFIGS.items():
        weights, velocities = reference(config, [inputs(config, grid) for grid in GRIDS[name]])
        arrays |= {f"{name}/weights/{key}": value for key, value in weights.items()}
        arrays |= {f"{name}/velocity/{i}": value for i, value in enumerate(velocities)}
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{len(arrays)} arrays, {GOLDEN.stat().st_size} bytes")
