"""Wan 2.1 1.3B's shapes on one NVIDIA GPU, random weights: ours, and diffusers beside it where it is installed.

    PYTHONPATH=. python benchmarks/gpu.py [--size 832x480] [--frames 81] [--peers] [--repeats 5]

First checks cuDNN's attention, forward and gradients, against XLA's own in float32. Then prints seconds of one guided
step (the transformer on the batch and its unguided copy) and of decoding the clip, medians, and the peak of the
GPU's memory, each side in a process of its own. Everything is in bfloat16 but where each side keeps float32.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wan2.1-t2v-1.3b")
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, help="of the transformer (default: the model's)")
    parser.add_argument("--peers", action="store_true", help="diffusers too")
    parser.add_argument("--side", choices=("ours", "int8", "theirs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"ours": ours, "int8": ours, "theirs": theirs}[arguments.side](arguments)))
        return
    print("| side | guided step, s | decode, s | first step, s | weights, GiB | peak, GiB |\n|---|---|---|---|---|---|")
    for side in ("ours", "int8", *(("theirs",) if arguments.peers else ())):
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        if done.returncode:
            print(f"| {side} | failed: exit {done.returncode} |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"| {side} | " + " | ".join(f"{value:.3g}" for value in found.pop("row")) + " |", flush=True)
        if found:
            print(json.dumps(found), file=sys.stderr, flush=True)


def shape(arguments: argparse.Namespace) -> tuple[int, int, int]:
    """[t, h, w] of the latents."""
    width, height = map(int, arguments.size.split("x"))
    return 1 + (arguments.frames - 1) // 4, height // 8, width // 8


def median(run: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds of the first run, and the median of those after it."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return taken[0], statistics.median(taken[1:])


def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    function(*arguments, **options).block_until_ready()


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_ALLOCATOR", "bfc")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import dataclasses

    import jax
    import jax.numpy as jnp

    from sorajax.config import ModelConfig, from_dict, read_toml
    from sorajax.diffusion.sample import sample
    from sorajax.mesh import make_mesh
    from sorajax.weights import folder as folders

    config = from_dict(ModelConfig, read_toml(arguments.model)["model"])
    if arguments.layers:
        config = dataclasses.replace(config, dit=dataclasses.replace(config.dit, num_layers=arguments.layers))
    mesh = make_mesh(devices=jax.devices()[:1])

    def random(part: str, weights: str | None) -> Any:
        abstract = folders.abstract_model(part, config, mesh, "bfloat16", weights)
        leaves, structure = jax.tree.flatten(abstract)
        keys = jax.random.split(jax.random.key(0), len(leaves))

        def one(key: jax.Array, leaf: jax.ShapeDtypeStruct) -> jax.Array:
            if leaf.dtype == jnp.int8:
                return jax.random.randint(key, leaf.shape, -127, 128, jnp.int8)
            fan_in = leaf.shape[-2] if len(leaf.shape) > 1 else 1
            return (jax.random.normal(key, leaf.shape, jnp.float32) / fan_in**0.5 / 2).astype(leaf.dtype)

        make = jax.jit(one, static_argnums=1)
        return jax.tree.unflatten(structure, [make(*pair) for pair in zip(keys, leaves, strict=True)])

    facts = {} if arguments.side == "int8" else {"attention": check_attention()}
    with jax.set_mesh(mesh):
        dit = random("transformer", "int8" if arguments.side == "int8" else None)
        held = sum(leaf.nbytes for leaf in jax.tree.leaves(dit)) / 2**30
        noise = jax.random.normal(jax.random.key(1), (1, *shape(arguments), config.dit.in_channels))
        text = jax.random.normal(jax.random.key(2), (1, config.text.length, config.dit.text_dim)) / 10
        options: dict[str, Any] = {"steps": 1, "guidance": 5.0, "shift": 3.0}
        first, guided = median(partial(run, sample, dit, noise, text, text, **options), arguments.repeats)
        del dit
        vae = random("vae", None)
        decode = jax.jit(lambda vae, z: vae.decode(z))
        _, decoding = median(partial(run, decode, vae, noise), 2)
    stats = jax.devices()[0].memory_stats() or {}
    return {"row": [guided, decoding, first, held, stats.get("peak_bytes_in_use", 0) / 2**30], **facts}


def check_attention() -> dict[str, float]:
    """Largest relative error of cuDNN's attention in bfloat16, and of its gradients, against XLA's in float32."""
    import jax
    import jax.numpy as jnp

    from sorajax.attention import attention

    keys = jax.random.split(jax.random.key(3), 4)
    errors = {}
    for name, tokens, context in (("self", 3000, 3000), ("cross", 9000, 512)):
        sizes = (tokens, context, context, tokens)
        q, k, v, do = (jax.random.normal(key, (1, n, 4 * 128)) for key, n in zip(keys, sizes, strict=True))

        def both(q: Any, k: Any, v: Any, do: Any, dtype: Any, same: bool = name == "self") -> tuple[Any, ...]:
            out, pull = jax.vjp(lambda q, k, v: attention(q, k, v, 4, dtype, same=same), q, k, v)
            return out, *pull(do)

        pair = jax.jit(both, static_argnums=4)
        with jax.default_matmul_precision("highest"):
            exact = pair(q, k, v, do, jnp.dtype("float32"))
        low = pair(q, k, v, do, jnp.dtype("bfloat16"))
        for part, a, b in zip(("out", "dq", "dk", "dv"), low, exact, strict=True):
            errors[f"{name} {part}"] = round(float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b)), 5)
        text = pair.lower(q, k, v, do, jnp.dtype("bfloat16")).compile().as_text()
        errors[f"{name} by cuDNN"] = float("fmha" in text)
    return errors


def theirs(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    torch.manual_seed(0)
    layers = {"num_layers": arguments.layers or 30}
    with torch.device("cuda"):
        dit = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, **layers).to(torch.bfloat16).eval()
    held = sum(p.nbytes for p in dit.parameters()) / 2**30
    noise = torch.randn(2, 16, *shape(arguments), device="cuda", dtype=torch.bfloat16)
    text = torch.randn(2, 512, 4096, device="cuda", dtype=torch.bfloat16) / 10
    timestep = torch.full((2,), 500.0, device="cuda")

    def call(function: Callable[..., Any], *inputs: Any) -> None:
        with torch.no_grad():
            function(*inputs, return_dict=False)
        torch.cuda.synchronize()

    first, guided = median(partial(call, dit, noise, timestep, text), arguments.repeats)
    del dit
    with torch.device("cuda"):
        vae = AutoencoderKLWan().to(torch.bfloat16).eval()

    _, decoding = median(partial(call, vae.decode, noise[:1]), 2)
    return {"row": [guided, decoding, first, held, torch.cuda.max_memory_allocated() / 2**30]}


if __name__ == "__main__":
    main()
