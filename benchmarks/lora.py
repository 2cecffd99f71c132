"""A training step of mini: the whole transformer, an adapter beside it, and one beside kernels in eight bits.

Time (the best of some steps, taken in turn), FLOPs, and memory by the compiler's analysis; ratios are to the whole.

    python benchmarks/lora.py [--repeats 8]
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from sorajax.config import digest
from sorajax.data import shards
from sorajax.data.shards import Sample
from sorajax.mesh import make_mesh
from sorajax.train import config as configs
from sorajax.train import start
from sorajax.train.config import LoraConfig, VideoConfig
from sorajax.train.loop import make_objective
from sorajax.train.step import init_state, make_optimizer, make_step, make_update, step_flops
from sorajax.weights import folder as folders

SHAPE = (9, 8, 8)
"""Of mini's latents."""


def write(folder: Path, model: configs.ModelConfig) -> Path:
    """Shards of random clips."""
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((8, *SHAPE, model.vae.z_dim)).astype(np.float16)
    text = rng.standard_normal((12, model.text.d_model)).astype(np.float16)
    samples = [Sample(x, (text,), {"source": f"{i}", "start": 0.0, "captions": ["-"]}) for i, x in enumerate(latents)]
    path = shards.file(SHAPE, 0)
    size = shards.write(folder / path, samples)
    about = {"model": model.name, "vae": digest(model.vae), "text": digest(model.text)}
    about |= {"sources": {"x".join(map(str, SHAPE)): [str(i) for i in range(len(samples))]}}
    shards.finish(folder, {SHAPE: {path.name: size}}, about)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=8)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start.begin("mini", folder / "model")
        base, mesh = configs.load("mini"), make_mesh()
        base = dataclasses.replace(base, batch=8, start="mini")
        made = write(folder / "shards", folders.load_config(folder / "model"))
        base = dataclasses.replace(base, video=VideoConfig(data=(str(made),)))
        rows = {
            "whole": base,
            "LoRA of rank 16": dataclasses.replace(base, lora=LoraConfig(rank=16)),
            "the same, int8": dataclasses.replace(base, lora=LoraConfig(rank=16, weights="int8")),
        }
        steps, figures = {}, {}
        for row, config in rows.items():
            objective = make_objective(config, folder / "model", mesh)
            optimizer = make_optimizer(config.optimizer, config.steps)
            state, batch = init_state(objective, optimizer, 0, mesh), objective.batch(0)
            update = make_update(objective, optimizer, mesh, ema=0.99, seed=0)
            with jax.set_mesh(mesh):
                lowered = jax.jit(update, donate_argnums=0).lower(
                    state, objective.frozen, jax.tree.map(jax.numpy.asarray, batch)
                )
                memory = lowered.compile().memory_analysis()
            flops = step_flops(objective, mesh)(state.model, objective.frozen, batch)
            figures[row] = flops, memory.temp_size_in_bytes + memory.argument_size_in_bytes
            step = make_step(objective, optimizer, mesh, ema=0.99, seed=0)
            steps[row] = [state, lambda s, step=step, f=objective.frozen, b=batch: step(s, f, b)[0], []]
        for _ in range(repeats + 1):
            for one in steps.values():
                began = time.perf_counter()
                one[0] = jax.block_until_ready(one[1](one[0]))
                one[2].append(time.perf_counter() - began)
    print("| step of mini, 8 clips | s | ratio | GFLOP | ratio | MB | ratio |")
    print("|---|---|---|---|---|---|---|")
    whole = (min(steps["whole"][2][1:]), *figures["whole"])
    for row, one in steps.items():
        found = (min(one[2][1:]), *figures[row])
        s, flops, size = (f"{x / y:.2f}" for x, y in zip(found, whole, strict=True))
        print(f"| {row} | {found[0]:.3f} | {s} | {found[1] / 1e9:.1f} | {flops} | {found[2] / 1e6:.0f} | {size} |")


if __name__ == "__main__":
    main()
