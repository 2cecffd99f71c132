"""Key table of transformers' UMT5EncoderModel for ``sorajax.models.text.TextEncoder``."""

from sorajax.weights.convert import LINEAR, Rule

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
