"""Write text.npz: a tiny random UMT5EncoderModel of transformers, its inputs and its states.

Made with transformers 5.23.0, torch 2.13.0 (CPU). Run: ``python tests/golden/make_text.py``.
"""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("text.npz")
TINY = {
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "layer_norm_epsilon": 1e-6,
}
LENGTHS = (1, 9, 48)


def inputs(length: int, vocab: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """ids int32 [3, l] and mask bool [3, l]: one full row, one of half the length, one of a single token."""
    ids = np.random.default_rng(seed).integers(2, vocab, (3, length)).astype(np.int32)
    mask = np.arange(length) < np.array([[length], [(length + 1) // 2], [1]])
    return np.where(mask, ids, 0), mask


def reference(
    config: dict[str, int | float], batches: list[tuple[np.ndarray, np.ndarray]], seed: int = 0
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Weights, by transformers' names, and states [3, l, d] for each batch, with padding zeroed as Wan does."""
    import torch
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    with torch.no_grad():
        model = UMT5EncoderModel(UMT5Config(feed_forward_proj="gated-gelu", **config)).eval()
        for name, weight in model.named_parameters():  # the start values leave norms at 1 and attention flat
            scale = 0.2 if weight.ndim == 1 else weight.shape[1] ** -0.5
            weight.copy_(torch.randn_like(weight) * scale + ("norm" in name))
        states = []
        for ids, mask in batches:
            out = model(torch.from_numpy(ids).long(), torch.from_numpy(mask).long()).last_hidden_state
            states.append(out.numpy() * mask[..., None])
    return {name: weight.numpy() for name, weight in model.state_dict().items()}, states


def buckets(length: int, count: int, max_distance: int) -> np.ndarray:
    """Bucket of each relative position from 1 - length to length - 1 in transformers."""
    import torch
    from transformers import UMT5Config
    from transformers.models.umt5.modeling_umt5 import UMT5Attention

    layer = UMT5Attention(
        UMT5Config(relative_attention_num_buckets=count, relative_attention_max_distance=max_distance), True, 0
    )
    return layer._relative_position_bucket(torch.arange(1 - length, length)).numpy().astype(np.int32)


if __name__ == "__main__":
    weights, states = reference(TINY, [inputs(length, TINY["vocab_size"]) for length in LENGTHS])
    weights.pop("encoder.embed_tokens.weight", None)
    arrays = {f"weights/{name}": value for name, value in weights.items()}
    arrays |= {f"states/{length}": value for length, value in zip(LENGTHS, states, strict=True)}
    arrays["buckets"] = buckets(512, 32, 128)
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{len(arrays)} arrays, {GOLDEN.stat().st_size} bytes")
