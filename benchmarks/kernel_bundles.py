"""Length of the kernels of attention, by chip and block sizes: writes sorajax/plan/bundles.json.

    python benchmarks/kernel_bundles.py [--chips v5e v6e] [--presets wan2.1-t2v-14b]

Needs libtpu (pip install 'sorajax[plan]'). The kernels are those that the presets meet at their own size, forward and
backward, over video and over text, with tokens whole or split over up to eight devices. For each chip a process of its
own compiles them for one device, one after the other, has the compiler write down their bundles, and counts them
(sorajax/plan/kernels.py). Tokens are padded as the transformer pads them. Rows that are there already are kept, and
those of kernels that no preset meets any more are dropped, unless --presets are given. Takes about half a minute for
each kernel.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sorajax.config import ModelConfig
from sorajax.plan import kernels
from sorajax.plan.chips import CHIPS
from sorajax.plan.compile import QUIET, check_libtpu
from sorajax.plan.request import Request, find_model

PRESETS = ("wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-ti2v-5b")
SPLITS = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", nargs="*", default=list(CHIPS))
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return _one(arguments.one[0], arguments.presets, Path(arguments.one[1]))
    print(f"libtpu {check_libtpu()}")
    print(
        "| chip | kernel | blocks | usual | first | last | products | cores |", f"|{'---|' * 8}", sep="\n", flush=True
    )
    for chip in arguments.chips:
        with tempfile.TemporaryDirectory() as dump:
            flags = f"--xla_jf_dump_to={dump} --xla_jf_dump_llo_text=true"
            subprocess.run(
                [sys.executable, __file__, "--presets", *arguments.presets, "--one", chip, dump],
                env={**os.environ, **QUIET, "LIBTPU_INIT_ARGS": flags},
                check=True,
            )


def _one(chip: str, presets: list[str], dump: Path) -> None:
    """In the child: each kernel that is not in the table yet."""
    met = set()
    import jax

    from sorajax.plan import child, traced

    jax.default_backend = lambda: "tpu"  # as the planner's compiling process has it

    devices = child.topology_devices(f"{chip}:{'2x2' if CHIPS[chip].dimensions == 2 else '2x2x1'}")[:1]
    mesh = jax.make_mesh((1,), ("alone",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    for preset in presets:
        for function, operands in _calls(find_model(preset)):
            with jax.set_mesh(mesh):
                found = traced.kernels(jax.make_jaxpr(function)(*operands).jaxpr)
            for kernel, equation in found:
                key, table = kernels.key(chip, kernel), json.loads(kernels.TABLE.read_text())
                met.add(key)
                if key in table:
                    continue
                bundles = child.measure(equation, devices, dump)
                table[key] = kernels.to_row(kernel, bundles, check_libtpu())
                kernels.TABLE.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n")
                sizes = " ".join(block.partition("[")[2].rstrip("]") for block in kernel.blocks[:2])
                counts = bundles.usual, bundles.first, bundles.last, bundles.products, bundles.cores
                print(f"| {chip} | {kernel.name} | {sizes} | {' | '.join(map(str, counts))} |", flush=True)

    if presets == list(PRESETS):
        table = json.loads(kernels.TABLE.read_text())
        left = {key: row for key, row in table.items() if key in met or not key.startswith(f"{chip} ")}
        kernels.TABLE.write_text(json.dumps(left, indent=1) + "\n")


def _calls(model: ModelConfig) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Attention as each device meets it, forward and backward, with one clip and two heads."""
    import jax
    import jax.numpy as jnp

    from sorajax.attention import kernels as attention
    from sorajax.attention import rotary

    size = model.sample
    request = Request(task="sample", model=model, width=size.width, height=size.height, frames=size.frames)
    heads, channels = model.dit.num_attention_heads, 2 * model.dit.attention_head_dim

    def array(*shape: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, *shape), dtype)

    for split in SPLITS:
        multiple = math.lcm(split, attention.tile(request.tokens))
        tokens = -(-request.tokens // multiple) * multiple
        own = tokens // split
        whole = tokens if heads % split == 0 else own  # by Ulysses, or else by a ring
        for queries, keys in ((whole, whole), (own, model.text.length)):
            q, k = array(queries, channels), array(keys, channels)
            lengths, row = jax.ShapeDtypeStruct((1,), jnp.int32), array(2, queries, dtype=jnp.float32)
            yield partial(attention.flash_forward, heads=2), (q, k, k, lengths)
            yield partial(attention.flash_gradients, heads=2), (q, k, k, lengths, q, row, row)
        table = jax.ShapeDtypeStruct((own, model.dit.attention_head_dim), jnp.float32)
        wide = model.dit.dim
        for types in ((jnp.float32, jnp.bfloat16), (jnp.bfloat16, jnp.float32)):
            yield (
                partial(rotary.by_kernel, scale=1.0, dtype=types[1]),
                (array(own, wide, dtype=types[0]), (table, table)),
            )


if __name__ == "__main__":
    main()
