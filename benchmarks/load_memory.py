"""Host memory that loading a transformer of 1.4 billion parameters takes, beyond the transformer itself.

    python benchmarks/load_memory.py [--dtype bfloat16] [--layers 30]

Writes a random checkpoint of Wan 2.1 1.3B's shapes in bfloat16 (2.8 GB, in shards, in a temporary folder), and loads it
onto one CPU device twice. Prints for each the peak of anonymous memory (pages of the mapped files apart, which the
system may drop at any time) less what was there before and what the model holds. The first also compiles what moves
layers.
"""

import argparse
import dataclasses
import json
import tempfile
import threading
import time
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from sorajax.config import ModelConfig, from_dict, read_toml
from sorajax.mesh import make_mesh
from sorajax.models.dit import DiT
from sorajax.weights import folder as folders
from sorajax.weights.convert import matches
from sorajax.weights.dit import RULES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16", help="of the products, and so of kernels in memory")
    parser.add_argument("--layers", type=int, default=30)
    arguments = parser.parse_args()
    config = from_dict(ModelConfig, read_toml("wan2.1-t2v-1.3b")["model"])
    config = dataclasses.replace(config, dit=dataclasses.replace(config.dit, num_layers=arguments.layers))
    with tempfile.TemporaryDirectory() as name:
        largest = write(Path(name) / "transformer", config)
        mesh = make_mesh(data=1, devices=jax.devices()[:1])
        with jax.set_mesh(mesh):
            for attempt in ("first", "second"):
                before, peak, done = anonymous(), [0], threading.Event()
                watch = threading.Thread(target=observe, args=(peak, done))
                watch.start()
                began = time.perf_counter()
                model = folders.load_model(Path(name), "transformer", config, mesh, arguments.dtype)
                jax.block_until_ready(model)
                seconds = time.perf_counter() - began
                done.set()
                watch.join()
                held = sum(leaf.nbytes for leaf in jax.tree.leaves(model))
                beyond = max(peak) - before - held
                print(
                    f"{attempt}: model {held / 1e9:.2f} GB in {seconds:.1f} s; peak beyond it {beyond / 1e6:.0f} MB, "
                    f"{beyond / largest:.1f} of the largest tensor ({largest / 1e6:.0f} MB)"
                )
                del model


def observe(peak: list[int], done: threading.Event) -> None:
    """Note how much memory is held, every 5 ms."""
    while not done.wait(0.005):
        peak.append(anonymous())


def write(folder: Path, config: ModelConfig) -> int:
    """Shards of a tenth of a gigabyte or more; gives the bytes of the largest tensor."""
    folder.mkdir()
    rng, shard, index, largest = np.random.default_rng(0), {}, {}, 0
    names = {}
    for match in matches(nnx.eval_shape(lambda: DiT(config.dit, rngs=nnx.Rngs(0))), RULES):
        names |= dict.fromkeys(match.names, match.theirs)
    for n, (name, shape) in enumerate(names.items()):
        shard[name] = rng.standard_normal(shape, dtype=np.float32).astype(ml_dtypes.bfloat16)
        largest = max(largest, shard[name].nbytes)
        if sum(x.nbytes for x in shard.values()) > 10**8 or n == len(names) - 1:
            file = f"diffusion_pytorch_model-{len(set(index.values())):05d}.safetensors"
            save_file(shard, folder / file)
            index |= dict.fromkeys(shard, file)
            shard = {}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return largest


def anonymous() -> int:
    """Bytes of this process's memory that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


if __name__ == "__main__":
    main()
