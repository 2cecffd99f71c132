"""Compile a program for a slice that is not here: a child process, with a time limit, and a cache of what it found."""

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs

from sorajax.errors import InputError
from sorajax.plan import kernels
from sorajax.plan.chips import Topology
from sorajax.plan.hlo import Module, parse
from sorajax.plan.kernels import Bundles
from sorajax.plan.request import Request
from sorajax.plan.traced import Kernel

QUIET = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
"""Tells libtpu that no TPU is here, so that it neither looks for one nor complains."""


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of a program, as the cache keeps it. Sizes are bytes of one device."""

    record: dict[str, Any]
    listing: Path

    @property
    def fits(self) -> bool:
        return "memory" in self.record

    @property
    def memory(self) -> dict[str, int]:
        """arguments, outputs (beyond donated arguments), temporaries, peak."""
        return self.record["memory"]

    @property
    def needs(self) -> int:
        """Bytes that the program wants at once, whether or not they are there."""
        return self.memory["peak"] if self.fits else self.record["needs_bytes"]

    @property
    def coordinates(self) -> list[list[int]]:
        """Place of each partition's chip on the torus."""
        return self.record["coordinates"]

    @property
    def useful_flops(self) -> float:
        """FLOPs the task is worth, of all devices, without recomputation."""
        return self.record["useful_flops"]

    @cached_property
    def kernels(self) -> list[Kernel]:
        """Pallas kernels of the program."""
        return [Kernel.from_dict(one) for one in self.record["kernels"]]

    @cached_property
    def module(self) -> Module:
        """The scheduled program."""
        return parse(gzip.decompress(self.listing.read_bytes()).decode())


def check_libtpu() -> str:
    """The installed libtpu's version. Raises InputError that says how to get it."""
    try:
        return version("libtpu")
    except PackageNotFoundError:
        raise InputError(
            "the TPU compiler (libtpu) is not installed; get it with: pip install 'sorajax[plan]'"
        ) from None


def cache_folder() -> Path:
    """Where compiled programs are kept: below $SORAJAX_CACHE, else the user's cache folder."""
    return Path(os.environ.get("SORAJAX_CACHE") or platformdirs.user_cache_path("sorajax")) / "plan"


def compile_program(request: Request, slice_: Topology, mesh: dict[str, int], *, timeout: float) -> Compiled:
    """Compile a request for a slice and mesh (axis -> size), or find it in the cache.

    Raises InputError if the compiler refuses the program for another reason than its size, or needs more than
    ``timeout`` seconds.
    """
    check_libtpu()
    job = _job("program", request, slice_, mesh)
    answer = _run(job, timeout, job["flags"])
    folder = cache_folder()
    record = json.loads((folder / f"{answer['digest']}.json").read_text(encoding="utf-8"))
    return Compiled({**record, "cached": answer["cached"]}, folder / f"{answer['digest']}.hlo.gz")


def kernel_lengths(
    found: Iterable[Kernel], request: Request, slice_: Topology, mesh: dict[str, int], *, timeout: float
) -> dict[str, Bundles]:
    """Lengths of kernels by ``kernels.key``: from the table, from the cache, or measured now.

    A kernel that cannot be compiled alone is left out.
    """
    keys = {kernels.key(slice_.chip.name, kernel) for kernel in found}
    known = {key: bundles for key, bundles in kernels.table().items() if key in keys}
    store = cache_folder() / f"kernels-{check_libtpu()}.json" if keys - set(known) else None
    if store is None:
        return known
    kept: dict[str, Any] = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    missing = sorted(keys - set(known) - set(kept))
    if missing:
        with tempfile.TemporaryDirectory(prefix="sorajax-plan-") as dump:
            job = {**_job("kernels", request, slice_, mesh), "keys": missing, "dump": dump, "chip": slice_.chip.name}
            flags = f"{job['flags']} --xla_jf_dump_to={dump} --xla_jf_dump_llo_text=true"
            rows = _run(job, timeout, flags)["rows"]
        kept |= {key: rows.get(key) for key in missing}
        store.write_text(json.dumps(kept), encoding="utf-8")
    return known | {key: Bundles(**kept[key]["bundles"]) for key in keys if kept.get(key)}


def _job(what: str, request: Request, slice_: Topology, mesh: dict[str, int]) -> dict[str, Any]:
    return {
        "what": what,
        "request": request.to_dict(),
        "topology": slice_.name,
        "mesh": mesh,
        "cache": str(cache_folder()),
        "flags": os.environ.get("LIBTPU_INIT_ARGS", ""),
    }


def _run(job: dict[str, Any], timeout: float, flags: str) -> dict[str, Any]:
    """The child's answer. A child that is interrupted or late is ended."""
    environment = {**os.environ, **QUIET, "LIBTPU_INIT_ARGS": flags}
    environment.pop("XLA_FLAGS", None)  # options for a CPU, such as forced devices
    command = [sys.executable, "-m", "sorajax.plan.child"]
    try:
        done = subprocess.run(
            command, input=json.dumps(job), env=environment, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"the compiler did not finish for {job['topology']} in {timeout / 60:.3g} minutes; give it more (--timeout)"
        ) from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise InputError(f"the compiler died of {name} on {_mesh_name(job['mesh'])}: {_last_line(done.stderr)}")
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise InputError(f"the compiling process failed: {_last_line(done.stderr)}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise InputError(f"{job['topology']}, mesh {_mesh_name(job['mesh'])}: {answer['error']}")
    return answer


def _mesh_name(mesh: dict[str, int]) -> str:
    return " ".join(f"{axis}={size}" for axis, size in mesh.items())


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it left no message"
