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
SHAPES = {"2.1": (3, 4, 6), "2.2": (2, 2, 4), "a14b": (3, 4, 4), "ti2v": (3, 4, 2), "i2v-a14b": (3, 4, 6)}
"""Latents' [t, h, w]: 9 frames of 48x32 and 5 of 64x32 pixels; 9 of 32x32, by two transformers; and two that begin with
a picture, 9 of 32x64 and 9 of 48x32."""


def noise(family: str, seed: int) -> np.ndarray:
    """Starting noise f32 [1, t, h, w, c]."""
    shape = (1, *SHAPES[family], tiny.WAN[family].dit.out_channels)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inputs(family: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the transformer is given for its one velocity, and its timesteps, [1] or one for each latent frame."""
    x, config, timestep = noise(family, seed), tiny.WAN[family], np.full(1, 500.0, np.float32)
    if config.sample.image == "first":
        return x, np.where(np.arange(x.shape[1]) == 0, np.float32(0), timestep)[None]
    extra = config.dit.in_channels - x.shape[-1]
    beside = np.random.default_rng(seed + 7).standard_normal((*x.shape[:-1], extra)).astype(np.float32)
    return np.concatenate([x, beside], -1), timestep


def picture(family: str, seed: int) -> np.ndarray | None:
    """The first frame uint8 [h, w, 3], of models that take one."""
    config, (_, h, w) = tiny.WAN[family], SHAPES[family]
    cell = config.vae.spatial_factor
    rng = np.random.default_rng(seed + 5)
    return rng.integers(0, 256, (h * cell, w * cell, 3), np.uint8) if config.sample.image else None


def reference(folder: Path, family: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Text states, one velocity, the solver's latents, frames in [-1, 1], and the latents of these; channels last."""
    import torch
    from diffusers import WanImageToVideoPipeline, WanPipeline
    from PIL import Image

    first_frame = picture(family, seed)
    kind = WanPipeline if first_frame is None else WanImageToVideoPipeline
    pipe: Any = kind.from_pretrained(folder, dtype=torch.float32)
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
        x, timestep = inputs(family, seed)
        if timestep.ndim == 2:  # diffusers takes one for each token
            patch = tiny.WAN[family].dit.patch_size
            timestep = np.repeat(timestep, h * w // (patch[1] * patch[2]), axis=1)
        x, timestep = torch.from_numpy(x).permute(0, 4, 1, 2, 3), torch.from_numpy(timestep)
        velocity = model(x, timestep, text, return_dict=False)[0]
        options = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "latents": first}
        options |= {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **size}
        options |= {} if first_frame is None else {"image": Image.fromarray(first_frame)}
        final = pipe(output_type="latent", **options).frames
        video = pipe(output_type="pt", **options).frames.permute(0, 2, 1, 3, 4)
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
    return {name.split("/")[1]: golden[name] for name in golden if name.startswith(f"{family}/")}


def ours(pipe: Any, family: str, seed: int, frames: np.ndarray) -> dict[str, Any]:
    """The same of a pipeline of ours; the last is of the frames given."""
    first, prompts = noise(family, seed), [PROMPT]
    text = pipe.encode_text(prompts)
    options = {"steps": STEPS, "guidance": GUIDANCE, "negative": NEGATIVE, "image": picture(family, seed)}
    x, timestep = inputs(family, seed)
    final = pipe.sample(prompts, noise=first, **options)
    return {
        "text": text,
        "velocity": pipe.velocity(x, timestep, text),
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
