"""Run with eight forced CPU devices: prints, as JSON, how far sharded results are from those of one device.

A program of its own, because the number of devices is fixed when JAX starts. ``tests/test_sharding.py`` reads it.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from flax import nnx

import sorajax
from sorajax.data.world import WorldConfig
from sorajax.hosts import arrays
from sorajax.mesh import make_mesh, shardings
from sorajax.models.layers import Linear
from sorajax.train.config import OptimizerConfig, TrainConfig, VideoConfig
from sorajax.train.step import init_state, make_optimizer, make_step
from sorajax.train.video import VideoObjective
from tests import tiny

DEVICES = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
"""XLA_FLAGS that this needs; most of its time is the compiler's."""

MESHES = {
    "data": (8, 1, 1, 1),
    "fsdp": (1, 8, 1, 1),
    "tensor": (4, 1, 1, 2),
    "seq": (1, 1, 8, 1),  # 12 tokens and 2 heads: padding, Ulysses and a ring
    "mixed": (2, 2, 1, 2),
    "all": (1, 2, 2, 2),
}
KEYS = ("loss", "weights", "text", "latents", "encoded", "decoded")


def main(folder: Path) -> dict[str, dict[str, float]]:
    """Differences by mesh: loss and weights after two training steps, states of the text, sampled latents, and a clip's
    latents and frames, whose columns are split."""
    tiny.write(folder / "model")
    config = TrainConfig(
        objective="video",
        model=tiny.CONFIG,
        world=WorldConfig(size=32, frames=9),
        video=VideoConfig(clips=32, foreground=1.0),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
        batch=8,
        dtype="float32",
    )
    objective = VideoObjective(config, folder / "model")
    optimizer = make_optimizer(config.optimizer, config.steps)
    prompts = [f"a dog number {i}" for i in range(8)]
    cell = tiny.CONFIG.vae.spatial_factor
    video = np.random.default_rng(0).uniform(-1, 1, (1, 9, cell, 8 * cell, 3)).astype(np.float32)

    def run(mesh: jax.sharding.Mesh) -> dict[str, np.ndarray]:
        state = init_state(objective, optimizer, 0, mesh)
        step = make_step(objective, optimizer, mesh, ema=0.9, seed=0)
        frozen = jax.tree.map(arrays.place, objective.frozen, shardings(objective.frozen, mesh))
        for index in range(2):
            state, metrics = step(state, frozen, objective.batch(index))
        pipe = sorajax.load(folder / "model", mesh=mesh)
        warm = nnx.clone(state.model)
        objective.warm_start(warm)
        moments = pipe.encode_video(video)
        return {
            "loss": np.asarray(metrics["loss"]),
            "weights": np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.device_get(state.ema))]),
            "text": np.asarray(pipe.encode_text(prompts)),
            "latents": np.asarray(pipe.sample(prompts, seed=3)),
            "encoded": np.asarray(moments),
            "decoded": np.asarray(pipe.decode(moments)),
            "shards": np.asarray(shards(state.model.blocks.ffn_in)),
            "warm": np.asarray(shards(warm.blocks.ffn_in)),
            "text_shards": np.asarray(shards(pipe.text.blocks.gate)),
        }

    one = run(make_mesh(devices=jax.devices()[:1]))
    out = {}
    for name, sizes in MESHES.items():
        many = run(make_mesh(**dict(zip(("data", "fsdp", "seq", "tensor"), sizes, strict=True))))
        out[name] = {key: tiny.relative(many[key], one[key]) for key in KEYS}
        out[name] |= {key: float(many[key]) for key in ("shards", "warm", "text_shards")}
    return out


def shards(linear: Linear) -> float:
    """In how many parts a layer's kernel lies on the mesh."""
    kernel = linear.kernel.get_value()
    return kernel.size / kernel.addressable_shards[0].data.size


if __name__ == "__main__":
    assert len(jax.devices()) == 8
    print(json.dumps(main(Path(sys.argv[1]))))
