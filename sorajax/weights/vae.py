"""Names of AutoencoderKLWan in diffusers checkpoints, for both layouts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sorajax.config import VAEConfig
from sorajax.models.vae import VAE
from sorajax.weights.convert import CONV2D, CONV3D, Rule, apply, extract

POINTWISE = "o i 1 1 -> 1 1 1 i o"

RULES_22 = (
    Rule("{path*}.resample.1.weight", "{path*}.resample.kernel", CONV2D),
    Rule("{path*}.resample.1.bias", "{path*}.resample.bias"),
    Rule("{path*}.attentions.{n}.norm.gamma", "{path*}.attentions.{n}.norm.gamma", "c 1 1 -> c"),
    Rule("{path*}.to_qkv.weight", "{path*}.to_qkv.kernel", POINTWISE),
    Rule("{path*}.proj.weight", "{path*}.proj.kernel", POINTWISE),
    Rule("{path*}.gamma", "{path*}.gamma", "c 1 1 1 -> c"),
    Rule("{path*}.weight", "{path*}.kernel", CONV3D),
    Rule("{path*}.bias", "{path*}.bias"),
)
"""Wan 2.2; our modules carry their names."""

_UP, _UP_21 = "decoder.up_blocks.{n}.upsampler", "decoder.up_blocks.{n}.upsamplers.0"
RULES_21 = (
    Rule(f"{_UP_21}.resample.1.weight", f"{_UP}.resample.kernel", CONV2D),
    Rule(f"{_UP_21}.resample.1.bias", f"{_UP}.resample.bias"),
    Rule(f"{_UP_21}.time_conv.weight", f"{_UP}.time_conv.kernel", CONV3D),
    Rule(f"{_UP_21}.time_conv.bias", f"{_UP}.time_conv.bias"),
    *RULES_22,
)
"""Wan 2.1, where an upsampling sits in a list of one."""


def rules(config: VAEConfig) -> tuple[Rule, ...]:
    """The table for the layout that ``config`` describes."""
    return RULES_22 if config.is_residual else RULES_21


def load_vae(model: VAE, tensors: Mapping[str, Any]) -> None:
    """Fill ``model`` from diffusers' tensors by name. Raises CheckpointError naming all that does not fit."""
    apply(model, tensors, rules(model.config))


def export_vae(model: VAE) -> dict[str, np.ndarray]:
    """The weights of ``model`` under diffusers' names and in its shapes."""
    return extract(model, rules(model.config))
