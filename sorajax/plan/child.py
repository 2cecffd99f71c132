"""The process that compiles: ``python -m sorajax.plan.child``, a job as JSON on stdin, one JSON line on stdout.

It is a process of its own because a failed check inside libtpu ends the process, and because libtpu wants to be told
by its environment that no TPU is there before anything imports it. ``compile`` starts it and reads its answer.
"""

import contextlib
import gzip
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sorajax.cost import flops
from sorajax.errors import SorajaxError
from sorajax.mesh import make_mesh
from sorajax.plan import kernels, traced
from sorajax.plan.program import build
from sorajax.plan.request import Request

FORMAT = "2"
"""Of what the cache keeps of a program."""
TOO_LARGE = re.compile(r"(?:\(|Used )([\d.]+)([KMGT])(?:\) exceeds available HBM| of [\d.]+[KMGT] hbm)")
"""What the compiler says of a program that does not fit."""


def main() -> None:
    """Do the job on stdin; whatever goes wrong is an answer too."""
    job = json.load(sys.stdin)
    answer_to = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    try:
        answer = {"program": _compile, "kernels": _measure}[job["what"]](job)
    except SorajaxError as error:
        answer = {"error": str(error)}
    except Exception as error:  # the compiler's own, in one line
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    os.write(answer_to, (json.dumps(answer) + "\n").encode())


def _compile(job: dict[str, Any]) -> dict[str, Any]:
    """Compile a program unless the cache has it: where its record lies, by its digest."""
    with _traced(job) as (program, mesh, trace):
        lowered = trace.lower()
        parts = lowered.as_text(), job["topology"], version("libtpu"), version("jaxlib"), job["flags"], FORMAT
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        folder = Path(job["cache"])
        record = folder / f"{digest}.json"
        if record.is_file():
            return {"digest": digest, "cached": True}
        began = time.monotonic()
        values: dict[str, Any] = {
            "coordinates": [list(map(int, d.coords)) for d in mesh.devices.flat],
            "kernels": [kernel.to_dict() for kernel, _ in traced.kernels(trace.jaxpr.jaxpr)],
            "useful_flops": _useful(program),
            "libtpu": version("libtpu"),
        }
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            needs = needed_bytes(str(error))
            if needs is None:
                raise
            values["needs_bytes"] = needs
        else:
            memory = compiled.memory_analysis()
            values["memory"] = {
                "arguments": memory.argument_size_in_bytes,
                "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
                "temporaries": memory.temp_size_in_bytes,
                "peak": getattr(memory, "peak_memory_in_bytes", 0),
            }
            _write(folder / f"{digest}.hlo.gz", gzip.compress(compiled.as_text().encode(), 6))
        values["compile_seconds"] = time.monotonic() - began
        _write(record, json.dumps(values).encode())
        return {"digest": digest, "cached": False}


def needed_bytes(message: str) -> int | None:
    """What a program wants of HBM, from the compiler's refusal; None if that was for another reason."""
    found = TOO_LARGE.search(message)
    return None if found is None else int(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1))


def _measure(job: dict[str, Any]) -> dict[str, Any]:
    """Compile kernels alone, with the compiler writing down their bundles: rows of the table, by key.

    One that cannot be compiled alone, as it talks to its neighbours, is left out.
    """
    rows: dict[str, Any] = {}
    with _traced(job) as (_, mesh, trace):
        found = [(k, e) for k, e in traced.kernels(trace.jaxpr.jaxpr) if kernels.key(job["chip"], k) in job["keys"]]
        device = list(mesh.devices.flat)[:1]
    for kernel, equation in found:
        with contextlib.suppress(Exception):
            bundles = measure(equation, device, Path(job["dump"]))
            rows[kernels.key(job["chip"], kernel)] = kernels.to_row(kernel, bundles, version("libtpu"))
    return {"rows": rows}


def measure(equation: Any, devices: list[Any], dump: Path) -> kernels.Bundles:
    """Compile one Pallas call for a device and count the bundles in what the compiler dumped into ``dump``."""
    mesh = jax.make_mesh((1,), ("alone",), axis_types=(AxisType.Auto,), devices=devices)
    where = NamedSharding(mesh, PartitionSpec())
    before = set(dump.iterdir())
    with jax.set_mesh(mesh):
        operands = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, sharding=where) for v in equation.invars]
        jax.jit(lambda *args: equation.primitive.bind(*args, **equation.params)).lower(*operands).compile()
    listings = [p for p in set(dump.iterdir()) - before if re.search(r"-\d+-final_bundles\.txt$", p.name)]
    listing = max(listings, key=lambda p: p.stat().st_size)
    bundles = kernels.read(listing.read_text(encoding="utf-8", errors="replace"), traced.describe(equation).grid)
    for path in set(dump.iterdir()) - before:  # tens of megabytes a kernel
        path.unlink()
    return bundles


@contextlib.contextmanager
def _traced(job: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """The program of a job, its mesh, and its trace; the mesh is set inside."""
    devices = topology_devices(job["topology"])
    mesh = make_mesh(**job["mesh"], devices=devices)
    jax.default_backend = lambda: "tpu"  # the models choose by it what suits the machine
    with jax.set_mesh(mesh):
        program = build(Request.from_dict(job["request"]), mesh)
        yield program, mesh, jax.jit(program.function, donate_argnums=program.donated).trace(*program.arguments)


def topology_devices(name: str) -> list[Any]:
    """The devices of a slice that is not here, as in "v5e:2x4"."""
    one_chip = all(n == "1" for n in name.partition(":")[2].split("x"))
    options: dict[str, Any] = {"chips_per_host_bounds": [1, 1, 1]} if one_chip else {}
    return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices)


def _useful(program: Any) -> float:
    function, arguments, times = program.useful
    return times * flops.flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, as several planners may share the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        part.write(data)
    os.replace(part.name, path)


if __name__ == "__main__":
    main()
