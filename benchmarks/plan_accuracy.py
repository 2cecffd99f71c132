"""How far the planner's prediction is off: published step times of another toolkit's Wan, and predicted ones.

    git clone https://github.com/AI-Hypercomputer/maxdiffusion
    python benchmarks/plan_accuracy.py maxdiffusion --cache accuracy.jsonl

Needs libtpu (pip install 'sorajax[plan]') and einops; whatever else MaxDiffusion imports and its transformer does not
call is replaced by empty modules. Its own WanModel is compiled with abstract weights for the slice that the figure was
published for, and timed by ``sorajax.plan.predict``; its kernels are measured as ours are. No TPU is needed. One case
takes between two minutes and half an hour; what is in the cache is not done again.

Published: 1, 2 its pull request 376 (v6e-8, 40 steps, two clips less one, so without what runs once a clip); 3 its
README (v7x-8, Wan 2.1, 249.3 s for 50 steps, whole clip); 4 the same (v7x-16, 127.1 s).
"""

import argparse
import dataclasses
import importlib.abc
import importlib.machinery
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from sorajax.plan.compile import QUIET, check_libtpu


@dataclass(frozen=True, kw_only=True)
class Case:
    """One published figure, and how it came about as far as that is told."""

    name: str
    topology: str
    mesh: dict[str, int]
    attention: str
    blocks: dict[str, int]
    published: float
    """Seconds a step."""
    note: str


def _blocks(q: int, kv: int, compute: int) -> dict[str, int]:
    sizes = {"block_q": q, "block_kv": kv, "block_kv_compute": compute}
    return sizes | {"block_q_dkv": q, "block_kv_dkv": kv, "block_kv_dkv_compute": compute}


TRILLIUM = _blocks(3024, 2048, 1024)
CASES = (
    Case(
        name="14B 720p81, v6e-8, Ulysses",
        topology="v6e:2x4",
        mesh={"data": 2, "context": 4},
        attention="ulysses",
        blocks=TRILLIUM,
        published=(491.22 - 251.45) / 40,
        note="two clips less one",
    ),
    Case(
        name="14B 720p81, v6e-8, keys gathered",
        topology="v6e:2x4",
        mesh={"data": 2, "context": 4},
        attention="flash",
        blocks=TRILLIUM,
        published=(533.67 - 285.56) / 40,
        note="two clips less one",
    ),
    Case(
        name="14B 720p81, v7x-8, tokamax",
        topology="tpu7x:2x2x1",
        mesh={"data": 2, "context": 4},
        attention="tokamax_flash",
        blocks=TRILLIUM,
        published=249.3 / 50,
        note="whole clip; blocks not published",
    ),
    Case(
        name="14B 720p81, v7x-16, tokamax",
        topology="tpu7x:2x2x2",
        mesh={"data": 2, "context": 8},
        attention="tokamax_flash",
        blocks=TRILLIUM,
        published=127.1 / 50,
        note="whole clip; blocks not published",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of MaxDiffusion")
    parser.add_argument("--cache", type=Path, default=Path("plan_accuracy.jsonl"))
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for a case")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        return print(json.dumps(_predict(arguments.checkout, Case(**json.loads(arguments.case)))))
    kept = [json.loads(line) for line in arguments.cache.read_text().splitlines()] if arguments.cache.is_file() else []
    done = {row["name"]: row for row in kept}
    print(f"libtpu {check_libtpu()}")
    print("| case | XLA | kernels | collectives | predicted | published | ratio | note |")
    print(f"|{'---|' * 8}", flush=True)
    for case in CASES:
        row = done.get(case.name) or _run(arguments, case)
        if "error" not in row and case.name not in done:
            with arguments.cache.open("a") as cache:
                cache.write(json.dumps(row) + "\n")
        _print(case, row)


def _run(arguments: argparse.Namespace, case: Case) -> dict[str, Any]:
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        str(arguments.checkout.resolve()),
        "--case",
        json.dumps(dataclasses.asdict(case)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        dump = f"{folder}/dump"
        flags = f"--xla_jf_dump_to={dump} --xla_jf_dump_llo_text=true"
        environment = {**os.environ, **QUIET, "LIBTPU_INIT_ARGS": flags, "PLAN_DUMP": dump}
        try:
            done = subprocess.run(  # in a folder of its own, as empty modules may be taken for paths
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=arguments.timeout
            )
        except subprocess.TimeoutExpired:
            return {"error": "timed out"}
    if done.returncode:
        return {"error": (done.stderr.splitlines() or ["no message"])[-1][:150]}
    return {"name": case.name, **json.loads(done.stdout.splitlines()[-1])}


def _print(case: Case, row: dict[str, Any]) -> None:
    if "error" in row:
        print(f"| {case.name} | - | - | - | {row['error']} | {case.published:.2f} | - | {case.note} |", flush=True)
        return
    parts = " | ".join(f"{row[part]:.2f}" for part in ("xla", "kernels", "collectives", "seconds"))
    ratio = row["seconds"] / case.published
    print(f"| {case.name} | {parts} | {case.published:.2f} | {ratio:.2f} | {case.note} |", flush=True)


def _predict(checkout: Path, case: Case) -> dict[str, Any]:
    """In the child: compile the peer's forward pass on the guided batch of two, and time it."""
    import jax

    from sorajax.plan import child, chips, hlo, kernels, predict, traced

    slice_ = chips.parse(case.topology)
    axes = ("data", "fsdp", "context", "tensor")
    shape = tuple(case.mesh.get(axis, 1) for axis in axes)
    auto = (jax.sharding.AxisType.Auto,) * len(axes)
    mesh = jax.make_mesh(shape, axes, axis_types=auto, devices=child.topology_devices(case.topology))
    began = time.monotonic()
    dump = Path(os.environ["PLAN_DUMP"])
    dump.mkdir(exist_ok=True)
    trace = _trace(checkout, case, mesh)
    compiled = trace.lower().compile()
    for path in dump.iterdir():
        path.unlink()
    found = traced.kernels(trace.jaxpr.jaxpr)
    lengths = {
        kernels.key(slice_.chip.name, kernel): child.measure(equation, list(mesh.devices.flat)[:1], dump)
        for kernel, equation in found
    }
    clock = kernels.Clock(slice_.chip, [kernel for kernel, _ in found], lengths)
    places = [list(map(int, device.coords)) for device in mesh.devices.flat]
    took = predict.time(hlo.parse(compiled.as_text()), predict.Device(slice_, places, clock.time))
    return {
        "seconds": took.seconds,
        **took.parts,
        "xla": took.products + took.elementwise,
        "calls": {name: dataclasses.asdict(calls) for name, calls in took.calls.items()},
        "peak": compiled.memory_analysis().peak_memory_in_bytes,
        "traffic": {f"{kind} {mode}": dataclasses.asdict(one) for (kind, mode), one in took.traffic.items()},
        "wall": time.monotonic() - began,
    }


class _Empty(types.ModuleType):
    """A module in which everything is there and does nothing."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, MagicMock(name=f"{self.__name__}.{name}"))
        return getattr(self, name)


class _EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what the transformer's package imports and its forward pass does not call."""

    NAMES = frozenset(
        (
            *("torch", "tensorflow", "tensorflow_datasets", "transformers", "diffusers", "qwix", "aqt", "google"),
            *("tensorboardX", "jaxopt", "cv2", "ml_goodput_measurement", "cloud_tpu_diagnostics", "datasets"),
            *("tokamax", "requests", "huggingface_hub", "pathwaysutils", "imageio", "transformer_engine", "chex"),
            *("hf_transfer", "yaml", "omegaconf"),
        )
    )

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        known = name.partition(".")[0] in self.NAMES
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> _Empty:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return None


def _trace(checkout: Path, case: Case, mesh: Any) -> Any:
    sys.path.insert(0, str(checkout / "src"))
    sys.meta_path.append(_EmptyModules())
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from maxdiffusion import common_types, tpu_utils
    from maxdiffusion.models import attention_flax
    from maxdiffusion.models.wan.transformers.transformer_wan import WanModel

    kind = {"v6e": "TPU_V6_LITE", "tpu7x": "TPU_7X", "v5p": "TPU_V5P"}[case.topology.partition(":")[0]]
    for module in (tpu_utils, attention_flax):
        module.get_tpu_type = lambda: getattr(tpu_utils.TpuType, kind, None)
    jax.default_backend = lambda: "tpu"
    fused = "tokamax" in case.attention
    backward = {} if fused else {"block_q_dq": case.blocks["block_q"], "block_kv_dq": case.blocks["block_kv"]}
    sizes = splash.BlockSizes(**case.blocks, **backward, use_fused_bwd_kernel=fused)
    options = {"mesh": mesh, "dtype": jnp.bfloat16, "weights_dtype": jnp.bfloat16, "flash_min_seq_length": 0}
    model = nnx.eval_shape(
        lambda: WanModel(rngs=nnx.Rngs(0), attention=case.attention, flash_block_sizes=sizes, **options)
    )
    rules = _rules(common_types, case.attention)
    graph, state = nnx.split(model)
    with mesh, nn.logical_axis_rules(rules):
        placed = nn.logical_to_mesh_sharding(nnx.get_partition_spec(state), mesh, rules)
        state = jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), state, placed
        )
        rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

        def array(*dims: int) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(dims, jnp.bfloat16, sharding=rows)

        def forward(state: Any, latents: jax.Array, timestep: jax.Array, text: jax.Array) -> Any:
            return nnx.merge(graph, state)(latents, timestep, text, return_dict=False)

        arguments = array(2, 16, 21, 90, 160), array(2), array(2, 512, 4096)
        return jax.jit(forward).trace(state, *arguments)


def _rules(common_types: Any, attention: str) -> Any:
    """Its config's rules, with those that its ``pyconfig`` adds for the kernel."""
    own = (
        common_types.ULYSSES_ATTENTION_AXIS_RULES
        if attention == "ulysses"
        else common_types.SEQUENCE_PARALLEL_AXIS_RULES
    )
    rules = (
        ("batch", ("data", "fsdp")),
        ("activation_batch", ("data", "fsdp")),
        ("activation_self_attn_heads", ("context", "tensor")),
        ("activation_cross_attn_q_length", ("context", "tensor")),
        ("activation_length", "context"),
        ("activation_heads", "tensor"),
        ("mlp", "tensor"),
        ("embed", ("context", "fsdp")),
        ("heads", "tensor"),
        ("norm", "tensor"),
        ("conv_batch", ("data", "context", "fsdp")),
        ("out_channels", "tensor"),
        ("conv_out", "context"),
    )
    sequence = ((common_types.LENGTH, "context"), (common_types.KV_LENGTH, "context"))
    return (*(tuple(rule) for rule in own), *rules, *sequence)


if __name__ == "__main__":
    main()
