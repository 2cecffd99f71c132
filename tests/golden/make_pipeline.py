"""Write pipeline.npz: what diffusers' WanPipeline makes of the folders that ``tests.tiny.write_wan`` writes.

Made with diffusers 0.42.1, transformers 5.24.0, torch 2.13.0 (CPU). Run: ``python -m tests.golden.make_pipeline``.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny

GOLDEN = Path(__file__).with_name("pipeline.npz")
PROMPT, NEGATIVE = "A dog&nbsp;and a cat run   on the beach, 一只狗", "blurry"
STEPS, GUIDANCE = 4, 5.0
SHAPES = {"2.1": (3, 4, 6), "2.2": (2, 2, 4), "a14b": (3, 4, 4)}
"""Latents' [t, h, w]: 9 frames of 48x32 and 5 of 64x32 pixels; and 9 of 32x32, by two transformers."""


def noise(family: str, seed: int) -> np.ndarray:
    """Starting noise f32 [1, t, h, w, c]."""
    shape = (1, *SHAPES[family], tiny.WAN[family].dit.in_channels)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(folder: Path, family: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Text states, one velocity, the solver's latents, frames in [-1, 1], and the latents of these; channels last."""
    import torch
    from diffusers import WanPipeline

    pipe: Any = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    last, first = (
        (lambda x: x.permute(0, 2, 3, 4, 1).numpy()),
        torch.from_numpy(noise(family, seed)).permute(0, 4, 1, 2, 3),
    )
    _, t, h, w, _ = noise(family, seed).shape
    cell = tiny.WAN[family].vae.spatial_factor
    size = {"height": h * cell, "width": w * cell, "num_frames": 1 + 4 * (t - 1)}
    with torch.no_grad():
        text, _ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False, max_sequence_length=512)
        model = pipe.transformer_2 or pipe.transformer  # timestep 500 is below the boundary
        velocity = model(first, torch.tensor([500.0]), text, return_dict=False)[0]
        options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **size}
        final = pipe(PROMPT, NEGATIVE, latents=first, output_type="latent", **options).frames
        video = pipe(PROMPT, NEGATIVE, latents=first, output_type="pt", **options).frames.permute(0, 2, 1, 3, 4)
        mean, std = (torch.tensor(getattr(pipe.vae.config, name)) for name in ("latents_mean", "latents_std"))
        moments = pipe.vae.encode(video * 2 - 1).latent_dist.mode()
        encoded = (moments - mean[:, None, None, None]) / std[:, None, None, None]
    return {
        "text": text.numpy(),
        "velocity": last(velocity),
        "latents": last(final),
        "frames": last(video * 2 - 1),
        "encoded": last(encoded),
    }


def stored(family: str) -> dict[str, np.ndarray]:
    """What diffusers gave for seed 0."""
    golden = np.load(GOLDEN)
    return {name.split("/")[1]: golden[name] for name in golden if name.startswith(family)}


def ours(pipe: Any, family: str, seed: int, frames: np.ndarray) -> dict[str, Any]:
    """The same of a pipeline of ours; the last is of the frames given."""
    first, prompts = noise(family, seed), [PROMPT]
    text = pipe.encode_text(prompts)
    options = {"steps": STEPS, "guidance": GUIDANCE, "negative": NEGATIVE}
    final = pipe.sample(prompts, noise=first, **options)
    return {
        "text": text,
        "velocity": pipe.velocity(first, np.full(1, 500.0, np.float32), text),
        "latents": final,
        "frames": pipe.decode(final),
        "encoded": pipe.encode_video(frames),
    }


if __name__ == "__main__":
    arrays = {}
    for name in tiny.WAN:
        with tempfile.TemporaryDirectory() as root:
            made = reference(tiny.write_wan(Path(root) / "model", name), name)
        made["text"] = made["text"][:, :32]  # the rest is padding
        arrays |= {f"{name}/{key}": value for key, value in made.items()}
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{len(arrays)} arrays, {GOLDEN.stat().st_size} bytes")
