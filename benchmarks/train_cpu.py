"""A training step on this CPU, ours beside PyTorch's: the same transformer, weights, inputs and work, taken in turn.

    PYTHONPATH=. python benchmarks/train_cpu.py --torch-python ENV/bin/python [--rounds 9] [--compile]

ENV has ``torch==2.13.0 diffusers`` (the CPU build, Python 3.11). The transformer is mini's, as diffusers'
WanTransformer3DModel can have it: without the table of positions and the pooled text. A step is the forward pass, the
squared error of the velocity, the backward pass, clipping by the global norm, AdamW and an average of the weights.
Ours keeps of each block its input and what attention gave; PyTorch keeps everything.
Prints the median of alternating steps for each type that a side can compute in, and the ratio of the best ones.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH, GRID, TEXT = 24, (9, 8, 8), 48
RATE, CLIP, AVERAGE, DECAY = 1e-3, 1.0, 0.999, 0.01
OURS = ("float32", "bfloat16")
THEIRS = ("float32", "autocast", "bfloat16")
"""With weights in float32 and products in bfloat16, and with all in bfloat16."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="an interpreter that has torch and diffusers")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="torch.compile too (needs a C++ compiler, and minutes)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.compile)
    elif not arguments.torch_python:
        parser.error("--torch-python is needed: what to compare with")
    else:
        compare(arguments.torch_python, arguments.rounds, arguments.compile)


def compare(python: str, rounds: int, compiled: bool) -> None:
    """Take steps in turn and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config()))
        np.savez(folder / "batch.npz", **batch())
        command = [python, __file__, "--serve", name, *(["--compile"] if compiled else [])]
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # so that it does not spin while it waits
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        theirs = json.loads(_answer(peer))
        steps = {f"ours, {dtype}": our_step(folder, dtype) for dtype in OURS}
        steps |= {f"PyTorch, {kind}": lambda kind=kind: float(_answer(peer, kind)) for kind in theirs}
        losses = {name: [step()] for name, step in steps.items()}  # and compiles
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(rounds):
            for name, step in steps.items():
                began = time.perf_counter()
                losses[name].append(step())
                times[name].append(time.perf_counter() - began)
        peer.kill()
    medians = {name: statistics.median(some) for name, some in times.items()}
    print("| | s a step | loss of the first, of the last step |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.3f} | {losses[name][0]:.4f}, {losses[name][-1]:.4f} |")
    best = [min((n for n in medians if n.startswith(side)), key=lambda n: medians[n]) for side in ("ours", "PyTorch")]
    print(f"\n{best[0]} is {medians[best[1]] / medians[best[0]]:.2f} times as fast as {best[1]}")


def _answer(peer: subprocess.Popen[str], question: str = "") -> str:
    assert peer.stdin is not None and peer.stdout is not None
    if question:
        print(question, file=peer.stdin, flush=True)
    answer = peer.stdout.readline()
    if not answer:
        sys.exit("the process with PyTorch has ended; its error is above")
    return answer


def config() -> dict[str, Any]:
    """mini's transformer, by diffusers' names."""
    from sorajax.plan.request import find_model

    values = dataclasses.asdict(find_model("mini").dit)
    return {name: value for name, value in values.items() if name not in ("position_table", "text_pool")}


def batch() -> dict[str, np.ndarray]:
    """Noisy latents and the velocity to be found [b, t, h, w, c], timesteps [b], text states [b, s, e]."""
    values, rng = config(), np.random.default_rng(0)
    noisy, target = (rng.standard_normal((BATCH, *GRID, values["in_channels"]), dtype=np.float32) for _ in range(2))
    text = rng.standard_normal((BATCH, TEXT, values["text_dim"]), dtype=np.float32)
    return {"noisy": noisy, "target": target, "timestep": rng.uniform(0, 1000, BATCH).astype(np.float32), "text": text}


def our_step(folder: Path, dtype: str) -> Callable[[], float]:
    """A function that takes a step and gives its loss."""
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from safetensors.numpy import load_file

    from sorajax.config import DiTConfig, from_dict
    from sorajax.mesh import make_mesh
    from sorajax.models.dit import DiT
    from sorajax.train.config import OptimizerConfig
    from sorajax.train.step import init_state, make_optimizer, make_step
    from sorajax.weights.dit import load_dit

    class Velocity:
        def init(self, rngs: nnx.Rngs) -> DiT:
            values = json.loads((folder / "config.json").read_text())
            return DiT(from_dict(DiTConfig, values), dtype=jnp.dtype(dtype), remat="attention", rngs=rngs)

        def loss(self, model: DiT, frozen: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            velocity = model(batch["noisy"], batch["timestep"], batch["text"])
            return jnp.mean((velocity - batch["target"]) ** 2), {}

    objective: Any = Velocity()
    mesh = make_mesh(data=1, devices=jax.devices()[:1])
    options = OptimizerConfig(learning_rate=RATE, warmup_steps=0, weight_decay=DECAY, b2=0.999, clip_norm=CLIP)
    optimizer = make_optimizer(options, 10**6)
    state = init_state(objective, optimizer, 0, mesh)
    load_dit(state.model, load_file(folder / "weights.safetensors"))
    load_dit(state.ema, load_file(folder / "weights.safetensors"))
    step = make_step(objective, optimizer, mesh, ema=AVERAGE, seed=0)
    inputs = dict(np.load(folder / "batch.npz"))

    def take() -> float:
        nonlocal state
        state, metrics = step(state, (), inputs)
        return float(jax.block_until_ready((state, metrics))[1]["loss"])

    return take


def serve(folder: Path, compiled: bool) -> None:
    """PyTorch's side: writes the weights, then takes a step of the kind that each line of input names."""
    import torch
    from diffusers import WanTransformer3DModel
    from safetensors.torch import save_file

    torch.set_num_threads(os.cpu_count() or 1)
    values = json.loads((folder / "config.json").read_text())
    inputs = {name: torch.from_numpy(x) for name, x in np.load(folder / "batch.npz").items()}
    noisy, target = (inputs[name].permute(0, 4, 1, 2, 3).contiguous() for name in ("noisy", "target"))

    def make() -> Any:
        torch.manual_seed(0)
        return WanTransformer3DModel(**values, qk_norm="rms_norm_across_heads").train()

    save_file(make().state_dict(), folder / "weights.safetensors")

    def step_of(kind: str, compiled: bool) -> Callable[[], float]:
        dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
        model = make().to(dtype)
        weights = list(model.parameters())
        average = [w.detach().clone() for w in weights]
        optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.999), weight_decay=DECAY, fused=True)
        forward = torch.compile(model) if compiled else model
        x, text, timestep = noisy.to(dtype), inputs["text"].to(dtype), inputs["timestep"]

        def take() -> float:
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
                velocity = forward(x, timestep, text, return_dict=False)[0]
            loss = torch.nn.functional.mse_loss(velocity.float(), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch._foreach_lerp_(average, [w.detach() for w in weights], 1 - AVERAGE)
            return loss.item()

        return take

    steps = {kind: step_of(kind, False) for kind in THEIRS}
    steps |= {f"{kind}, compiled": step_of(kind, True) for kind in THEIRS} if compiled else {}
    print(json.dumps(list(steps)), flush=True)
    for line in sys.stdin:
        print(steps[line.strip()](), flush=True)


if __name__ == "__main__":
    main()
