"""Names of Wan's own releases, and of files made from them for ComfyUI, as diffusers names the same tensors."""

import re
from collections.abc import Iterable

_PARTS = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
    "modulation": "scale_shift_table",
    "self_attn": "attn1",
    "cross_attn": "attn2",
    "norm3": "norm2",  # theirs counts the norm before the feed-forward, which has no weights
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "o": "to_out.0",
}
_PREFIX = "model.diffusion_model."
_WORDS = re.compile(rf"(?<![^.])({'|'.join(map(re.escape, _PARTS))})(?![^.])")
_MODULES = {new: old for old, new in _PARTS.items() if new != "scale_shift_table"}
_BACK = re.compile(rf"(?<![^.])({'|'.join(map(re.escape, sorted(_MODULES, key=len, reverse=True)))})(?![^.])")


def is_original(names: Iterable[str]) -> bool:
    """Whether a transformer's tensors carry these names."""
    return any(name.removeprefix(_PREFIX).startswith("time_embedding.") for name in names)


def diffusers_name(name: str) -> str:
    """A transformer's tensor by the name that diffusers gives it."""
    return _WORDS.sub(lambda found: _PARTS[found[0]], name.removeprefix(_PREFIX))


def original_name(name: str) -> str:
    """A module of a block, or of the embeddings, by the name that Wan's own releases give it."""
    return _BACK.sub(lambda found: _MODULES[found[0]], name)
