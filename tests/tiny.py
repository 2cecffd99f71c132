"""A whole model of a few thousand random weights, in a folder as ``sorajax.load`` reads it."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from sorajax.config import DiTConfig, ModelConfig, SampleConfig, TextConfig, VAEConfig, digest
from sorajax.data import shards
from sorajax.data.shards import Sample
from sorajax.models.dit import DiT
from sorajax.models.text import TextEncoder
from sorajax.models.vae import VAE
from sorajax.weights import folder as folders
from sorajax.weights.dit import export_dit
from sorajax.weights.export import export
from sorajax.weights.text import export_text
from sorajax.weights.vae import export_vae

TOKENIZER = Path(__file__).parent.parent / "sorajax" / "weights_data" / "mini" / "tokenizer" / "spiece.model"

CONFIG = ModelConfig(
    name="tiny",
    text=TextConfig(vocab_size=2600, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=4, length=48),
    dit=DiTConfig(
        patch_size=(1, 1, 1),
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=8,
        out_channels=8,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        position_table=(3, 2, 2),
        text_pool=True,
    ),
    vae=VAEConfig(
        base_dim=8,
        z_dim=8,
        dim_mult=(1, 1, 1),
        num_res_blocks=1,
        temperal_downsample=(True, True),
        is_residual=True,
        patch_size=4,
    ),
    sample=SampleConfig(
        width=32, height=32, frames=9, fps=8, steps=2, guidance=2.0, shift=1.0, sizes=((32, 32),), max_frames=9
    ),
    languages=("en", "zh"),
)


WAN = {
    "2.1": ModelConfig(
        name="wan-2.1",
        text=TextConfig(vocab_size=2600, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4),
        dit=DiTConfig(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=16,
            freq_dim=16,
            ffn_dim=32,
            num_layers=2,
        ),
        vae=VAEConfig(
            base_dim=8,
            z_dim=4,
            dim_mult=(1, 2, 2, 2),
            num_res_blocks=1,
            latents_mean=(0.1, -0.2, 0.3, 0.0),
            latents_std=(1.5, 0.7, 1.0, 2.0),
        ),
        sample=SampleConfig(shift=3.0),
    )
}
WAN["2.2"] = dataclasses.replace(
    WAN["2.1"],
    name="wan-2.2",
    dit=dataclasses.replace(WAN["2.1"].dit, in_channels=6, out_channels=6),
    vae=dataclasses.replace(
        WAN["2.1"].vae,
        decoder_base_dim=12,
        z_dim=6,
        is_residual=True,
        patch_size=2,
        latents_mean=(0.1, -0.2, 0.3, 0.0, 0.2, -0.1),
        latents_std=(1.5, 0.7, 1.0, 2.0, 0.9, 1.1),
    ),
    sample=dataclasses.replace(WAN["2.1"].sample, solver="euler", shift=5.0),
)
WAN["a14b"] = dataclasses.replace(
    WAN["2.1"], name="wan-a14b", sample=dataclasses.replace(WAN["2.1"].sample, boundary=0.75)
)
WAN["ti2v"] = dataclasses.replace(
    WAN["2.2"], name="wan-ti2v", sample=dataclasses.replace(WAN["2.2"].sample, image="first")
)
WAN["i2v-a14b"] = dataclasses.replace(
    WAN["a14b"],
    name="wan-i2v-a14b",
    dit=dataclasses.replace(WAN["a14b"].dit, in_channels=12),
    sample=dataclasses.replace(WAN["a14b"].sample, image="beside"),
)
"""The published families in a few thousand weights."""


def write_wan(folder: Path, family: str = "2.1", seed: int = 0) -> Path:
    """Write a model folder in diffusers layout, which diffusers loads too."""
    with tempfile.TemporaryDirectory() as name:
        return export(write(Path(name), WAN[family], seed), folder)


def write(folder: Path, config: ModelConfig = CONFIG, seed: int = 0) -> Path:
    """Write the model folder; velocities are random rather than the zero of a new transformer."""
    dit, text, vae = models(config, seed)
    if config.sample.boundary is not None:
        folders.save_part(folder, "transformer_2", export_dit(models(config, seed + 100)[0]), dtype="float32")
    folders.save_config(folder, config)
    folders.save_part(folder, "transformer", export_dit(dit), dtype="float32")
    folders.save_part(folder, "text_encoder", export_text(text), dtype="float32")
    folders.save_part(folder, "vae", export_vae(vae), dtype="float32")
    (folder / folders.TOKENIZER).parent.mkdir(exist_ok=True)
    shutil.copy(TOKENIZER, folder / folders.TOKENIZER)
    return folder


def write_shards(folder: Path, count: int, seed: int = 0) -> Path:
    """Write shards of so many random clips for the tiny model."""
    rng, shape = np.random.default_rng(seed), (3, 2, 2)
    samples = [
        Sample(
            rng.standard_normal((*shape, 8)).astype(np.float16),
            (rng.standard_normal((5, 16)).astype(np.float16),),
            {"source": f"{i}.mp4", "start": 0.0, "captions": ["a dog"]},
        )
        for i in range(count)
    ]
    path = shards.file(shape, 0)
    size = shards.write(folder / path, samples)
    about = {"model": "tiny", "vae": digest(CONFIG.vae), "text": digest(CONFIG.text), "fps": 8, "left_out": []}
    about |= {"sources": {"3x2x2": [sample.about["source"] for sample in samples]}}
    shards.finish(folder, {shape: {path.name: size}}, about)
    return folder


def models(config: ModelConfig, seed: int) -> tuple[DiT, TextEncoder, VAE]:
    """Filled by NumPy, as compiling the random start of three models takes longer than the tests."""
    rng = np.random.default_rng(seed)

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = jax.tree_util.keystr(path)
        if "scale'" in name or ".scale." in name or "gamma" in name:
            return np.ones(leaf.shape, np.float32)
        fan_in = max(int(np.prod(leaf.shape[:-1])), 1)
        return (rng.standard_normal(leaf.shape) / fan_in**0.5).astype(np.float32)

    makers = (
        lambda: DiT(config.dit, rngs=nnx.Rngs(0)),
        lambda: TextEncoder(config.text, rngs=nnx.Rngs(0)),
        lambda: VAE(config.vae, rngs=nnx.Rngs(0)),
    )
    return tuple(jax.tree_util.tree_map_with_path(fill, nnx.eval_shape(make)) for make in makers)


def other(**changes: object) -> ModelConfig:
    """The tiny config with another transformer."""
    return dataclasses.replace(CONFIG, dit=dataclasses.replace(CONFIG.dit, **changes))


def relative(ours: object, theirs: object) -> float:
    """Largest difference, relative to the largest value."""
    a, b = np.asarray(ours), np.asarray(theirs)
    return float(np.abs(a - b).max() / np.abs(b).max())
