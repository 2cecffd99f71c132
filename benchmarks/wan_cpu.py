"""Wan's shapes on this CPU beside diffusers: the same random weights and inputs, runs that alternate.

    PYTHONPATH=. python benchmarks/wan_cpu.py [--peers-python OTHER/bin/python] [--works forward,vae21] [--repeats 5]

The works: ``forward``, the transformer of Wan 2.1 1.3B on 1,280 tokens; ``vae21`` and ``vae22``, decoding 17 frames
of 256x256; ``text``, one billion parameters of UMT5-XXL (five layers) on 128 tokens; ``run``, the whole pipeline with
these parts, 8 guided steps to 17 frames of 256x256. Each side has a process of its own for each work and dtype; the
other side's python needs torch==2.13.0, diffusers and transformers. In ``w8a8`` our products are of eight bits, and the
other side is bfloat16; the VAE has none. Prints medians, the largest relative difference of
the two results in float32, and the peak of each process's memory, loading and compiling included.
"""

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WORKS = ("forward", "vae21", "vae22", "text", "run")
DTYPES = ("float32", "bfloat16", "w8a8")
LATENTS = {"vae21": (1, 5, 32, 32, 16), "vae22": (1, 5, 16, 16, 48)}
TOKENS, STEPS, GUIDANCE = 128, 8, 5.0
PROMPT = "a dog runs on a beach"
Made = tuple[Callable[[], Any], Callable[[Any], np.ndarray]]
"""What is timed, and the array, channels last, of what it gives."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", type=Path, help="a python with diffusers (default: ours alone)")
    parser.add_argument("--works", default=",".join(WORKS))
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the weights are, or will be (default: temporary)")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "WORK", "DTYPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(*arguments.side, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        if not (folder / "whole").exists():
            subprocess.run([sys.executable, "-c", f"from benchmarks import wan_cpu; wan_cpu.write({str(folder)!r})"])
        print("| work | dtype | ours, s | diffusers, s | ratio | largest difference | ours, GiB | diffusers, GiB |")
        print("|---|---|---|---|---|---|---|---|")
        for work in arguments.works.split(","):
            best: dict[str, float] = {}
            for dtype in arguments.dtypes.split(","):
                if dtype == "w8a8" and work.startswith("vae"):
                    continue
                for side, seconds in compare(work, dtype, arguments.peers_python, arguments.repeats, folder).items():
                    best[side] = min(seconds, best.get(side, seconds))
            ratio = f"{best['theirs'] / best['ours']:.2f}" if len(best) == 2 else ""
            print(f"| {work} | best | " + " | ".join(f"{value:.3f}" for value in best.values()) + f" | {ratio} |||||")


def compare(work: str, dtype: str, peers: Path | None, repeats: int, folder: Path) -> dict[str, float]:
    """Print the row of one work in one dtype; median seconds of each side."""
    pythons = {"ours": sys.executable, **({"theirs": str(peers)} if peers else {})}
    children = {
        side: subprocess.Popen(
            [python, __file__, "--side", side, work, dtype, "--folder", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side, python in pythons.items()
    }

    def ask(side: str, word: str) -> Any:
        print(word, file=children[side].stdin, flush=True)
        return json.loads(children[side].stdout.readline())

    seconds: dict[str, list[float]] = {side: [] for side in children}
    for side in children:  # one after the other: loading and compiling
        ask(side, "run")
    for _ in range(repeats):
        for side in children:
            seconds[side].append(ask(side, "run"))
    peaks = {side: ask(side, "peak") / 2**20 for side in children}
    for child in children.values():
        child.communicate()
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    row = [f"{value:.3f}" for value in medians.values()]
    if peers:
        mine, other = (np.load(folder / f"{side}.npy") for side in children)
        row += [f"{medians['theirs'] / medians['ours']:.2f}", f"{np.abs(mine - other).max() / np.abs(other).max():.1e}"]
        row += [f"{peak:.2f}" for peak in peaks.values()]
    else:
        row += ["", "", "", f"{peaks['ours']:.2f}", ""]
    print(f"| {work} | {dtype} | " + " | ".join(row) + " |", flush=True)
    return medians


def serve(side: str, work: str, dtype: str, folder: Path) -> None:
    """Answer each line "run" with seconds, and "peak" with KiB."""
    call, array = {"ours": ours, "theirs": theirs}[side](work, dtype, folder)
    result = None
    for line in sys.stdin:
        if line.strip() == "peak":
            np.save(folder / f"{side}.npy", array(result))
            status = Path("/proc/self/status").read_text()
            print(int(status.split("VmHWM:")[1].split()[0]), flush=True)
            continue
        began = time.perf_counter()
        result = call()
        print(time.perf_counter() - began, flush=True)


def inputs(work: str) -> dict[str, np.ndarray]:
    """Latents channels last; text states of a prompt of 20 tokens, padded to 512 as both sides do."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(LATENTS.get(work, LATENTS["vae21"])).astype(np.float32)
    text = np.zeros((1, 512, 4096), np.float32)
    text[:, :20] = rng.standard_normal((1, 20, 4096)) / 10
    return {"latents": noise, "text": text, "ids": rng.integers(3, 2600, (1, TOKENS)).astype(np.int32)}


def ours(work: str, dtype: str, folder: Path) -> Made:
    import jax
    import jax.numpy as jnp

    import sorajax
    from sorajax.mesh import make_mesh
    from sorajax.weights import folder as folders

    given = {name: jnp.asarray(value) for name, value in inputs(work).items()}
    dtype, weights = ("bfloat16", dtype) if dtype == "w8a8" else (dtype, None)
    if work == "run":
        pipe = sorajax.load(folder / "whole", dtype=dtype, weights=weights)

        def run() -> Any:
            options: dict[str, Any] = {"noise": given["latents"], "steps": STEPS, "guidance": GUIDANCE}
            return np.asarray(pipe.decode(pipe.sample([PROMPT], **options)))

        return run, np.asarray
    part = {"forward": "transformer", "text": "text_encoder"}.get(work, "vae")
    source = folder / ("vae22" if work == "vae22" else "whole")
    mesh = make_mesh()
    model = folders.load_model(source, part, folders.load_config(source), mesh, dtype, weights)
    functions: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "transformer": (lambda m, x, t, text: m(x, t, text), (given["latents"], jnp.full(1, 500.0), given["text"])),
        "text_encoder": (lambda m, ids, mask: m(ids, mask), (given["ids"], jnp.ones((1, TOKENS), bool))),
        "vae": (lambda m, z: m.decode(z), (given["latents"],)),
    }
    function, values = functions[part]
    compiled = jax.jit(function)
    return lambda: compiled(model, *values).block_until_ready(), np.asarray


def theirs(work: str, dtype: str, folder: Path) -> Made:
    import torch
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
    from transformers import UMT5EncoderModel

    torch.set_grad_enabled(False)
    kind = {"dtype": getattr(torch, "bfloat16" if dtype == "w8a8" else dtype)}
    given = {name: torch.from_numpy(value) for name, value in inputs(work).items()}
    latents = given["latents"].permute(0, 4, 1, 2, 3)
    last = lambda x: x.float().movedim(1, -1).numpy()  # noqa: E731
    if work == "run":
        pipe: Any = WanPipeline.from_pretrained(folder / "whole", **kind)
        pipe.set_progress_bar_config(disable=True)
        options = {"latents": latents, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "output_type": "pt"}
        options |= {"height": 256, "width": 256, "num_frames": 17}
        return lambda: pipe(PROMPT, **options).frames, lambda x: x.float().movedim(2, -1).numpy() * 2 - 1
    if work == "text":
        text: Any = UMT5EncoderModel.from_pretrained(folder / "whole", subfolder="text_encoder", **kind)
        return lambda: text(given["ids"]).last_hidden_state, lambda x: x.float().numpy()
    if work == "forward":
        dit: Any = WanTransformer3DModel.from_pretrained(folder / "whole", subfolder="transformer", **kind)
        x, states = latents.to(dit.dtype), given["text"].to(dit.dtype)
        return lambda: dit(x, torch.full((1,), 500.0), states, return_dict=False)[0], last
    source = folder / ("vae22" if work == "vae22" else "whole")
    vae: Any = AutoencoderKLWan.from_pretrained(source, subfolder="vae", **kind)
    return lambda: vae.decode(latents.to(vae.dtype), return_dict=False)[0], last


def write(folder: str | Path) -> None:
    """Write the two models, "whole" and "vae22", of random weights in bfloat16, as both sides load them."""
    from sorajax.config import ModelConfig, from_dict, read_toml
    from sorajax.weights import folder as folders
    from sorajax.weights import layout
    from sorajax.weights.export import EXPORTS
    from tests import tiny

    small, other = (from_dict(ModelConfig, read_toml(name)["model"]) for name in ("wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"))
    small = dataclasses.replace(small, text=dataclasses.replace(small.text, vocab_size=2600, num_layers=5))
    other = dataclasses.replace(small, vae=other.vae, dit=dataclasses.replace(small.dit, num_layers=1))
    for name, config, parts in (("whole", small, folders.parts(small)), ("vae22", other, ("vae",))):
        draft = Path(folder) / f"{name}.part"
        shutil.rmtree(draft, ignore_errors=True)
        layout.write(draft, config)
        shutil.copytree(tiny.TOKENIZER.parent, (draft / folders.TOKENIZER).parent)
        models = dict(zip(("transformer", "text_encoder", "vae"), tiny.models(config, 0), strict=True))
        for part in parts:
            folders.save_part(draft, part, EXPORTS[part](models[part]))
        draft.rename(Path(folder) / name)


if __name__ == "__main__":
    main()
