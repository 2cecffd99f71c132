"""Key table of transformers' UMT5EncoderModel for ``sorajax.models.text.TextEncoder``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sorajax.models.text import TextEncoder
from sorajax.weights.convert import LINEAR, Rule, apply, extract

_SELF = "encoder.block.{layer}.layer.0"
_FFN = "encoder.block.{layer}.layer.1"

RULES = (
    Rule("shared.weight", "embedding"),
    Rule(f"{_SELF}.layer_norm.weight", "blocks.attention_norm.scale"),
    Rule(f"{_SELF}.SelfAttention.relative_attention_bias.weight", "blocks.attention.relative_bias"),
    Rule(_SELF + ".SelfAttention.{part}.weight", "blocks.attention.{part}.kernel", LINEAR),
    Rule(f"{_FFN}.layer_norm.weight", "blocks.ffn_norm.scale"),
    Rule(f"{_FFN}.DenseReluDense.wi_0.weight", "blocks.gate.kernel", LINEAR),
    Rule(f"{_FFN}.DenseReluDense.wi_1.weight", "blocks.value.kernel", LINEAR),
    Rule(f"{_FFN}.DenseReluDense.wo.weight", "blocks.out.kernel", LINEAR),
    Rule("encoder.final_layer_norm.weight", "norm.scale"),
)

IGNORE = (r"encoder\.embed_tokens\.weight",)
"""Written by some versions of transformers: the embedding once more."""


def load_text(model: TextEncoder, tensors: Mapping[str, Any]) -> None:
    """Fill ``model`` from transformers' tensors by name. Raises CheckpointError naming all that does not fit."""
    apply(model, tensors, RULES, ignore=IGNORE)


def export_text(model: TextEncoder) -> dict[str, np.ndarray]:
    """The weights of ``model`` under transformers' names and in its shapes."""
    return extract(model, RULES)
