"""One process of several: joins the others, does what its first argument says, and leaves what came out in files.

``tests/test_distributed.py`` starts it, as the number of processes and devices is fixed when JAX starts.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

import sorajax
from sorajax.data.shards import Shards
from sorajax.data.world import WorldConfig
from sorajax.errors import SorajaxError, TrainingError
from sorajax.hosts import arrays
from sorajax.hosts.links import exit_now
from sorajax.hosts.start import join
from sorajax.mesh import make_mesh
from sorajax.train.config import MeshConfig, OptimizerConfig, TrainConfig, VideoConfig
from sorajax.train.footage import FootageObjective
from sorajax.train.loop import train
from sorajax.train.video import VideoObjective
from tests import tiny

DEVICES = "--xla_force_host_platform_device_count={} --xla_backend_optimization_level=0"
"""XLA_FLAGS that this needs; most of its time is the compiler's."""

VIDEO = TrainConfig(
    objective="video",
    model=tiny.CONFIG,
    world=WorldConfig(size=32, frames=9),
    video=VideoConfig(clips=32, foreground=1.0),
    optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
    steps=10**6,
    batch=8,
    dtype="float32",
    log_every=1,
    evaluate_every=10**6,
    checkpoint_every=10**6,
)
PROMPTS = [f"a dog number {i}" for i in range(4)]


def work(runs: Path, sizes: dict[str, int], until: int) -> None:
    """A few steps of the transformer from where the run in ``runs`` is, a checkpoint, a sampled clip.

    Once batch ``until`` is being made, the last process gets a SIGTERM, which has to end training in all.
    """
    made, batch = set(), VideoObjective.batch

    def told(self: VideoObjective, index: int, rows: np.ndarray | None = None) -> Any:
        made.update(range(VIDEO.batch) if rows is None else rows.tolist())
        if index == until and jax.process_index() == jax.process_count() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, index, rows)

    VideoObjective.batch = told  # pyright: ignore[reportAttributeAccessIssue]
    train(dataclasses.replace(VIDEO, mesh=MeshConfig(**sizes)), runs=runs, progress=False)
    read = footage(runs, sizes)
    pipe = sorajax.load(runs.parent / "tiny", mesh=make_mesh(**sizes))
    kernel = pipe.dit.blocks.ffn_in.kernel.get_value()
    latents = pipe.sample(PROMPTS, seed=3)
    frames = pipe.decode(latents[:1]) if jax.process_count() < 4 else latents[:0]
    np.savez(
        runs / f"work-{jax.process_index()}.npz",
        rows=sorted(made),
        read=read,
        parts=kernel.size // kernel.addressable_shards[0].data.size,
        latents=latents,
        frames=frames,
        seed=arrays.broadcast(100 + jax.process_index()),
        processes=jax.process_count(),
    )


def footage(runs: Path, sizes: dict[str, int]) -> list[int]:
    """Three steps on shards; how many clips this process read for each batch."""
    counts, read = [], Shards.read

    def told(self: Shards, shape: Any, numbers: Any) -> Any:
        counts.append(len(numbers))
        return read(self, shape, numbers)

    Shards.read = told  # pyright: ignore[reportAttributeAccessIssue]
    if jax.process_count() == 4:  # judging takes long to compile; one and two do it
        FootageObjective.evaluate = lambda *_, **__: {}  # pyright: ignore[reportAttributeAccessIssue]
    video = VideoConfig(data=(str(runs.parent / "shards"),))
    model = dataclasses.replace(tiny.CONFIG, name="real")
    config = dataclasses.replace(VIDEO, model=model, video=video, steps=3, sample_clips=1, mesh=MeshConfig(**sizes))
    train(dataclasses.replace(config, start=str(runs.parent / "tiny")), runs=runs, progress=False)
    return counts


def hold(latest: int) -> None:
    """Wait for each other again and again, as training does, until one is lost; process ``latest`` comes last."""
    while True:
        if jax.process_index() == latest:
            time.sleep(0.5)
        multihost_utils.sync_global_devices("hold")


def failure() -> None:
    """Process 1 alone fails, and the others wait for it."""
    if jax.process_index() == 1:
        raise TrainingError("step 7: loss is not finite")
    hold(latest=1)


def main() -> None:
    """Arguments: what to do, the folder of runs, the mesh's sizes as JSON, the last batch.

    The environment tells of the processes.
    """
    name, runs, sizes, until = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
    try:
        with join():
            if name == "failure":
                failure()
            work(runs, sizes, until)
            print("worked", flush=True)
            if name == "hold":
                hold(latest=1 if jax.process_count() == 2 else 0)
    except SorajaxError as error:
        print(f"sorajax: {error}", file=sys.stderr)
        exit_now(2)


if __name__ == "__main__":
    main()
