"""What a user asks for, checked: every error is one line with the thing, the value and the remedy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from sorajax.config import ModelConfig
from sorajax.errors import InputError
from sorajax.models.quantised import KINDS


@dataclass(frozen=True, kw_only=True)
class Request:
    """A clip's size in pixels, its frames, and how it is sampled; ``latent_shape`` is [t, h, w, c]."""

    size: tuple[int, int]
    frames: int
    steps: int
    guidance: float
    shift: float
    solver: str
    latent_shape: tuple[int, int, int, int]
    boundary: float | None = None
    guidance_low: float | None = None

    def settings(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        second = {"boundary": self.boundary, "guidance_low": self.guidance_low} if self.boundary else {}
        return {
            "size": f"{self.size[0]}x{self.size[1]}",
            "frames": self.frames,
            "steps": self.steps,
            "guidance": self.guidance,
            "shift": self.shift,
            "solver": self.solver,
            **second,
        }


def resolve(
    config: ModelConfig,
    *,
    size: tuple[int, int] | None,
    frames: int | None,
    steps: int | None,
    guidance: float | None,
) -> Request:
    """Fill in the model's defaults. Raises InputError, with what is possible, for what the model cannot make."""
    own, vae, patch = config.sample, config.vae, config.dit.patch_size
    width, height = size or (own.width, own.height)
    frames = own.frames if frames is None else frames
    steps = own.steps if steps is None else steps
    low = own.guidance_low if guidance is None else None
    guidance = own.guidance if guidance is None else guidance
    cell = (vae.spatial_factor * patch[2], vae.spatial_factor * patch[1])
    if own.sizes and (width, height) not in own.sizes:
        possible = ", ".join(f"{w}x{h}" for w, h in own.sizes)
        raise InputError(f"size {width}x{height} is not one that {config.name} makes; possible: {possible}")
    if width < 1 or height < 1 or width % cell[0] or height % cell[1]:
        raise InputError(f"size {width}x{height}: {config.name} needs multiples of {cell[0]}x{cell[1]}")
    step = vae.temporal_factor
    depth = 1 + (frames - 1) // step
    most = own.max_frames
    if frames < 1 or (frames - 1) % step or depth % patch[0] or (most is not None and frames > most):
        examples = range(1, (most or 1 + 20 * step) + 1, step)
        listed = ", ".join(str(n) for n in examples) + ("" if most else ", ...")
        raise InputError(f"{frames} frames: {config.name} makes {listed}")
    if not isinstance(steps, int) or not 1 <= steps <= 1000:
        raise InputError(f"steps is {steps}; give a whole number from 1 to 1000")
    if not 0 <= guidance <= 100:
        raise InputError(f"guidance is {guidance}; give a number from 0 to 100 (1 turns it off)")
    shape = (depth, height // vae.spatial_factor, width // vae.spatial_factor, vae.z_dim)
    return Request(
        size=(width, height),
        frames=frames,
        steps=steps,
        guidance=float(guidance),
        shift=own.shift,
        solver=own.solver,
        latent_shape=shape,
        boundary=own.boundary,
        guidance_low=None if own.boundary is None else float(guidance if low is None else low),
    )


def check_image(config: ModelConfig) -> None:
    """Raises InputError for a model that takes no picture as the first frame."""
    if config.sample.image is None:
        raise InputError(f"{config.name} makes clips of text alone; use a model for image to video, as wan2.2-ti2v-5b")


def size_like(config: ModelConfig, image: tuple[int, int]) -> tuple[int, int]:
    """(width, height) in the proportions of a picture, with about as many pixels as the model's own size."""
    own, vae, patch = config.sample, config.vae, config.dit.patch_size
    if own.sizes:
        return min(own.sizes, key=lambda size: abs(math.log(size[0] / size[1] * image[1] / image[0])))
    scale = math.sqrt(own.width * own.height / (image[0] * image[1]))
    cells = vae.spatial_factor * patch[2], vae.spatial_factor * patch[1]
    width, height = (max(1, round(n * scale / cell)) * cell for n, cell in zip(image, cells, strict=True))
    return width, height


def check_tile(config: ModelConfig, tile: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of latent cells in a tile of (width, height) pixels; raises InputError for a size below one."""
    cell = config.vae.spatial_factor
    if min(tile) < cell:
        raise InputError(f"tile {tile[0]}x{tile[1]} is smaller than {cell}x{cell} pixels; give at least that")
    return tile[1] // cell, tile[0] // cell


def check_prompts(prompt: str | Sequence[str]) -> list[str]:
    """One prompt or several as a list. Raises InputError for an empty one."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not prompts:
        raise InputError("no prompt was given; describe the clip in a sentence")
    for text in prompts:
        if not isinstance(text, str):
            raise InputError(f"prompt {text!r} is not a string; describe the clip in a sentence")
        if not text.strip():
            raise InputError(f"prompt {text!r} is empty; describe the clip in a sentence")
    return prompts


def check_seed(seed: int) -> int:
    """Raises InputError unless the seed is a whole number in [0, 2^32)."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed!r}; give a whole number from 0 to {2**32 - 1}")
    return seed


def check_scale(scale: float) -> float:
    """Raises InputError unless the scale of a LoRA is a finite number."""
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not math.isfinite(scale):
        raise InputError(f"scale is {scale!r}; give a number, as in 0.8")
    return float(scale)


def check_dtypes(dtype: str | Mapping[str, str] | None, parts: Sequence[str]) -> dict[str, str]:
    """The dtype of each part's products: float32 on CPU unless said otherwise, bfloat16 elsewhere."""
    own = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return {part: found or own for part, found in _by_part("dtype", dtype, parts, ("float32", "bfloat16")).items()}


def check_weights(weights: str | Mapping[str, str] | None, parts: Sequence[str]) -> dict[str, str | None]:
    """What each part's kernels are kept in: "int8" or "w8a8", or None for the dtype of its products."""
    return _by_part("weights", weights, parts, KINDS)


def _by_part(
    name: str, value: str | Mapping[str, str] | None, parts: Sequence[str], known: Sequence[str]
) -> dict[str, str | None]:
    given = dict(value) if isinstance(value, Mapping) else dict.fromkeys(parts, value)
    for part, one in given.items():
        if part not in parts:
            raise InputError(f"{name} is given for {part!r}; parts of this model: {', '.join(parts)}")
        if one is not None and one not in known:
            raise InputError(f"{name} {one!r} is unknown; known: {', '.join(known)}")
    return {part: given.get(part) for part in parts}


def check_language(config: ModelConfig, language: str | None) -> None:
    """Raises InputError for a language that the model was not trained on."""
    if language is not None and config.languages and language not in config.languages:
        raise InputError(f"language {language!r} is not one that {config.name} reads: {', '.join(config.languages)}")


def check_fps(fps: int | None, own: int) -> int:
    """Frames a second; the model's own unless said otherwise."""
    if fps is None:
        return own
    if not isinstance(fps, int) or not 1 <= fps <= 120:
        raise InputError(f"fps is {fps!r}; give a whole number from 1 to 120")
    return fps
