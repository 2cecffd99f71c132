"""Length of the splash attention kernels, by chip and block sizes: writes sorajax/plan/bundles.json.

    python benchmarks/splash_bundles.py [--chips v5e v6e] [--blocks 512x512x512 1024x1024x512]

Needs libtpu (pip install 'sorajax[plan]'). Blocks are query x key x key of one product. For each chip and block a
process of its own compiles JAX's splash attention for one device, forward alone and with its gradient, has the
compiler write down its bundles, and counts them (sorajax/plan/kernels.py). Rows that are there are kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sorajax.plan import kernels
from sorajax.plan.chips import CHIPS
from sorajax.plan.compile import QUIET, check_libtpu

LENGTH, HEADS, HEAD_DIM = 6144, 2, 128
"""Any length does, as it changes the grid alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", nargs="*", default=list(CHIPS))
    parser.add_argument("--blocks", nargs="*", default=["512x512x512", "1024x1024x512"])
    parser.add_argument("--timeout", type=float, default=1200, help="seconds for one chip and block")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return _one(*arguments.one)
    print(f"libtpu {check_libtpu()}")
    print("| chip | kernel | blocks | body | first | last | cores |", "|---|---|---|---|---|---|---|", sep="\n")
    for chip in arguments.chips:
        for blocks in arguments.blocks:
            _row(chip, blocks, arguments.timeout)


def _row(chip: str, blocks: str, timeout: float) -> None:
    with tempfile.TemporaryDirectory() as dump:
        flags = f"--xla_jf_dump_to={dump} --xla_jf_dump_llo_text=true"
        command = [sys.executable, __file__, "--one", chip, blocks, dump]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **QUIET, "LIBTPU_INIT_ARGS": flags},
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            print(f"| {chip} | - | {blocks} | timed out | | | |", flush=True)
            return
    if done.returncode:
        print(f"| {chip} | - | {blocks} | failed: {(done.stderr.splitlines() or ['no message'])[-1][:100]} | | | |")
        return
    rows = json.loads(done.stdout.splitlines()[-1])
    table = json.loads(kernels.TABLE.read_text()) if kernels.TABLE.is_file() else {}
    for key, row in rows.items():
        counts = row["bundles"]
        fields = (counts[name] for name in ("body", "first", "last", "cores"))
        print(f"| {chip} | {key.split()[1]} | {blocks} | {' | '.join(map(str, fields))} |", flush=True)
    kernels.TABLE.write_text(json.dumps(dict(sorted((table | rows).items())), indent=1) + "\n")


def _one(chip: str, blocks: str, dump: str) -> None:
    """In the child: forward without residuals, then forward and backward."""
    import jax
    import jax.numpy as jnp
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    from sorajax.plan import child, traced

    shape = "2x2" if CHIPS[chip].dimensions == 2 else "2x2x1"
    devices = child.topology_devices(f"{chip}:{shape}")[:1]
    q, kv, compute = map(int, blocks.split("x"))
    sizes = splash.BlockSizes(
        block_q=q,
        block_kv=kv,
        block_kv_compute=compute,
        block_q_dkv=q,
        block_kv_dkv=kv,
        block_kv_dkv_compute=compute,
        block_q_dq=q,
        block_kv_dq=kv,
    )
    mesh = jax.make_mesh((1,), ("alone",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    operand = jax.ShapeDtypeStruct((HEADS, LENGTH, HEAD_DIM), jnp.bfloat16)

    def attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        mask = masks.MultiHeadMask([masks.FullMask((LENGTH, LENGTH))] * HEADS)
        return splash.make_splash_mha(mask, head_shards=1, q_seq_shards=1, block_sizes=sizes)(q, k, v)

    def gradients(*operands: jax.Array) -> object:
        return jax.grad(lambda *x: attention(*x).astype(jnp.float32).sum(), argnums=(0, 1, 2))(*operands)

    rows = {}
    with jax.set_mesh(mesh):
        found = [
            pair for f in (attention, gradients) for pair in traced.kernels(jax.make_jaxpr(f)(*[operand] * 3).jaxpr)
        ]
    for kernel, equation in found:
        rows[kernels.key(chip, kernel)] = kernels.to_row(kernel, child.measure(equation, devices, Path(dump)))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
