"""One process of several: joins the others, does what its first argument says, and tells as JSON what came out.

``tests/test_distributed.py`` starts it, as the number of processes and devices is fixed when JAX starts.
"""

import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

import sorajax
from sorajax.checkpoint import Checkpoints
from sorajax.data.world import WorldConfig
from sorajax.errors import InputError
from sorajax.hosts import arrays
from sorajax.hosts.start import join
from sorajax.mesh import make_mesh
from sorajax.train.config import MeshConfig, OptimizerConfig, TrainConfig, VideoConfig
from sorajax.train.loop import train
from sorajax.train.step import TrainState, init_state, make_optimizer, make_step
from sorajax.train.text import TextObjective
from sorajax.train.video import VideoObjective
from tests import tiny

VIDEO = TrainConfig(
    objective="video",
    model=tiny.CONFIG,
    world=WorldConfig(size=32, frames=9),
    video=VideoConfig(clips=32, foreground=1.0),
    optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
    batch=8,
    dtype="float32",
)
TEXT = dataclasses.replace(
    VIDEO,
    objective="text",
    world=WorldConfig(size=32, frames=9, languages=("en",)),
    steps=3,
    batch=4,
    log_every=1,
    evaluate_every=3,
)
PROMPTS = [f"a dog number {i}" for i in range(4)]
Sizes = dict[str, int]


def steps(runs: Path, sizes: Sizes) -> dict[str, Any]:
    """Three steps of the transformer, each process with its own rows; a checkpoint; a sampled clip."""
    mesh = make_mesh(**sizes)
    objective, optimizer = VideoObjective(VIDEO, runs / "tiny" / "model"), make_optimizer(VIDEO.optimizer, VIDEO.steps)
    state = init_state(objective, optimizer, 0, mesh)
    step = make_step(objective, optimizer, 0.9, 0, mesh)
    mine, losses = arrays.rows(mesh, VIDEO.batch), []
    for index in range(3):
        batch = arrays.place_rows(objective.batch(index, mine), mesh, VIDEO.batch)
        state, metrics = step(state, objective.frozen, batch)
        losses.append(float(metrics["loss"]))
    folder = runs / f"checkpoints-{jax.process_count()}"
    checkpoints = Checkpoints(folder)
    checkpoints.save(3, state, {"losses": losses})
    checkpoints.close()
    _write_down(state, runs / f"saved-{jax.process_count()}.npz")
    pipe = sorajax.load(runs / "tiny" / "model", mesh=mesh)
    latents = pipe.sample(PROMPTS, seed=3)
    frames = np.asarray(pipe.decode(latents))
    return {
        "losses": losses,
        "rows": list(range(VIDEO.batch)) if mine is None else mine.tolist(),
        "latents": np.ravel(np.asarray(latents)).tolist(),
        "frames": frames.mean((1, 2, 3)).ravel().tolist(),
        "seed": arrays.agreed(100 + jax.process_index()),
    }


def restore(runs: Path, sizes: Sizes) -> dict[str, Any]:
    """The checkpoint of two processes, on this mesh; one of its kernels lies there in parts."""
    objective = VideoObjective(VIDEO, runs / "tiny" / "model")
    like = init_state(objective, make_optimizer(VIDEO.optimizer, VIDEO.steps), 1, make_mesh(**sizes))
    checkpoints = Checkpoints(runs / "checkpoints-2")
    state = checkpoints.restore(3, like)
    losses = checkpoints.about(3)["losses"]
    checkpoints.close()
    _write_down(state, runs / f"restored-{jax.process_count()}.npz")
    kernel = state.model.blocks.ffn_in.kernel.get_value()
    return {"losses": losses, "parts": kernel.size // kernel.addressable_shards[0].data.size}


def _write_down(state: TrainState, path: Path) -> None:
    leaves = jax.tree.leaves(arrays.collect(state))
    if arrays.primary():
        np.savez(path, *[np.asarray(leaf) for leaf in leaves])


def loop(runs: Path, sizes: Sizes) -> dict[str, Any]:
    """The whole of training, on captions; which rows this process has made."""
    made, batch = set(), TextObjective.batch

    def told(self: TextObjective, index: int, rows: np.ndarray | None = None) -> Any:
        made.update(range(TEXT.batch) if rows is None else rows.tolist())
        return batch(self, index, rows)

    TextObjective.batch = told
    train(dataclasses.replace(TEXT, mesh=MeshConfig(**sizes)), runs=runs, progress=False)
    return {"rows": sorted(made)}


def endless(runs: Path, sizes: Sizes) -> dict[str, Any]:
    """Training that only a signal ends; stdout says when it is under way."""
    batch = TextObjective.batch

    def told(self: TextObjective, index: int, rows: np.ndarray | None = None) -> Any:
        if index == 10:
            print("under way", flush=True)
        return batch(self, index, rows)

    TextObjective.batch = told
    never = {"steps": 10**6, "evaluate_every": 10**6, "checkpoint_every": 10**6}
    train(dataclasses.replace(TEXT, mesh=MeshConfig(**sizes), **never), runs=runs, progress=False)
    return {"default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL}


def failure(runs: Path, sizes: Sizes) -> dict[str, Any]:
    """Process 1 alone fails, and the others wait for it."""
    if jax.process_index() == 1:
        raise InputError("disk /scratch is full; make room")
    return {"sum": float(np.sum(multihost_utils.process_allgather(np.ones(1))))}


def apart(runs: Path, sizes: Sizes) -> dict[str, Any]:
    """Each process has a folder of its own."""
    train(TEXT, runs=runs / str(jax.process_index()), progress=False)
    return {}


def main() -> None:
    """Arguments: what to do, the folder of runs, the mesh's sizes as JSON. The environment tells of the processes."""
    name, runs, sizes = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    try:
        with join() as links:
            told = globals()[name](runs, sizes) | {"processes": jax.process_count(), "joined": links is not None}
    except sorajax.errors.SorajaxError as error:
        sys.exit(f"sorajax: {error}")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
