"""Names of diffusers' WanTransformer3DModel, and where they go in ``sorajax.models.dit.DiT``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sorajax.models.dit import DiT
from sorajax.weights.convert import CONV3D, LINEAR, SAME, Rule, apply, extract

_EMBED = {
    "time_in": "time_embedder.linear_1",
    "time_out": "time_embedder.linear_2",
    "time_proj": "time_proj",
    "text_in": "text_embedder.linear_1",
    "text_out": "text_embedder.linear_2",
    "text_pool": "text_pool",  # ours: absent from the Wan weights
}
_BLOCK = {
    **{f"{a}.{p}": f"{a}.{p}" for a in ("attn1", "attn2") for p in ("to_q", "to_k", "to_v")},
    **{f"{a}.to_out": f"{a}.to_out.0" for a in ("attn1", "attn2")},
    "ffn_in": "ffn.net.0.proj",
    "ffn_out": "ffn.net.2",
}


def _linear(theirs: str, ours: str) -> tuple[Rule, Rule]:
    return Rule(f"{theirs}.weight", f"{ours}.kernel", LINEAR), Rule(f"{theirs}.bias", f"{ours}.bias")


RULES = (
    Rule("patch_embedding.weight", "patch_kernel", CONV3D),
    Rule("patch_embedding.bias", "patch_bias"),
    Rule("position_table", "position", SAME),  # ours
    *(rule for ours, theirs in _EMBED.items() for rule in _linear(f"condition_embedder.{theirs}", ours)),
    *(rule for ours, theirs in _BLOCK.items() for rule in _linear(f"blocks.{{layer}}.{theirs}", f"blocks.{ours}")),
    Rule("blocks.{layer}.{a}.norm_{x}.weight", "blocks.{a}.norm_{x}.scale"),
    Rule("blocks.{layer}.norm2.weight", "blocks.norm2.scale"),
    Rule("blocks.{layer}.norm2.bias", "blocks.norm2.bias"),
    Rule("blocks.{layer}.scale_shift_table", "blocks.scale_shift_table", "1 six d -> six d"),
    Rule("scale_shift_table", "scale_shift_table", "1 two d -> two d"),
    *_linear("proj_out", "proj_out"),
)


def load_dit(model: DiT, tensors: Mapping[str, Any]) -> None:
    """Fill ``model`` from diffusers tensors; raises CheckpointError naming all that do not fit."""
    apply(model, tensors, RULES)


def export_dit(model: DiT) -> dict[str, np.ndarray]:
    """The tensors of ``model`` under diffusers' names and shapes."""
    return extract(model, RULES)
