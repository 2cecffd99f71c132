"""The tables and the plot of docs/scaling.md: what Wan's presets need on common TPUs, by the planner.

    python benchmarks/plan_tables.py [presets] [peer] [blocks] [scaling] --rows plan_tables.jsonl --plot scaling.png

Needs libtpu (pip install 'sorajax[plan]'), and hours on a few cores: each program is compiled in full, without
weights. Every result is a line of --rows and is not computed again; so it can be stopped at any time, and with
--print-only it prints what is there.

- presets: each preset at its own size on each slice: whether it fits, seconds of denoising for a clip, seconds for a
  training step. Larger slices take larger batches, as below.
- peer: one guided forward pass, and one training step, against another toolkit's, compiled and timed likewise. As
  there, weights are bfloat16, and in training what is kept for them.
- blocks: compile time of 40 transformer blocks against 4.
- scaling: bytes that a chip sends in collectives of a training step, from 8 to 512 chips, the batch growing alike.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sorajax.errors import InputError
from sorajax.plan import Request, plan
from sorajax.plan.chips import GIB
from sorajax.plan.request import find_model

PRESETS = ("wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-ti2v-5b")
SLICES = {
    "v5e-1": ("v5e:1x1", 1, 1),
    "v5e-8": ("v5e:2x4", 1, 2),
    "v5p-8": ("v5p:2x2x1", 1, 1),
    "v5p-64": ("v5p:2x4x4", 4, 8),
    "v6e-1": ("v6e:1x1", 1, 1),
    "v6e-8": ("v6e:2x4", 1, 2),
    "v6e-256": ("v6e:16x16", 32, 64),
    "tpu7x-8": ("tpu7x:2x2x1", 1, 1),
}
"""Google's name -> the planner's, clips of a batch when sampling, and when training."""
PEER = (
    ("1.3B 832x480x81, v5e:1x1", "wan2.1-t2v-1.3b", "sample", "v5e:1x1", 5.50, 4.2),
    ("1.3B 832x480x81, v6e:1x1", "wan2.1-t2v-1.3b", "sample", "v6e:1x1", 2.64, 3.7),
    ("14B 1280x720x81, v6e:2x4", "wan2.1-t2v-14b", "sample", "v6e:2x4", 5.60, 8.8),
    ("14B 1280x720x81, v5p:2x2x1", "wan2.1-t2v-14b", "sample", "v5p:2x2x1", 9.76, 16.5),
    ("14B 1280x720x81, tpu7x:2x2x1", "wan2.1-t2v-14b", "sample", "tpu7x:2x2x1", 4.55, 16.9),
    ("14B training step, v5p:2x2x1", "wan2.1-t2v-14b", "train", "v5p:2x2x1", 34.5, 42.0),
)
"""MaxDiffusion of August 2026, compiled by libtpu 0.0.42 and timed by a simpler form of the same formula."""
SCALING = {8: "v5p:2x2x2", 32: "v5p:2x4x4", 128: "v5p:4x4x8", 512: "v5p:8x8x8"}
KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")


class Rows:
    """Results by name, kept in a file of JSON lines."""

    def __init__(self, path: Path, print_only: bool):
        self.path, self.print_only = path, print_only
        lines = path.read_text().splitlines() if path.is_file() else []
        self.known: dict[str, dict[str, Any]] = {row["row"]: row for row in map(json.loads, lines)}

    def get(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of that name, computed unless it is there."""
        if name not in self.known:
            if self.print_only:
                return {"error": "not computed"}
            print(name, file=sys.stderr, flush=True)
            try:
                row = compute()
            except InputError as error:
                row = {"error": str(error)}
            self.known[name] = {"row": name, **row}
            with self.path.open("a") as file:
                file.write(json.dumps(self.known[name]) + "\n")
        return self.known[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"presets": _presets, "peer": _peer, "blocks": _blocks, "scaling": _scaling}
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--rows", type=Path, default=Path("plan_tables.jsonl"))
    parser.add_argument("--plot", type=Path, default=Path("scaling.png"))
    parser.add_argument("--tries", type=int, default=1, help="meshes to try for each row of presets")
    parser.add_argument("--print-only", action="store_true", help="compute nothing")
    arguments = parser.parse_args()
    rows = Rows(arguments.rows, arguments.print_only)
    for name in arguments.parts or parts:
        parts[name](rows, arguments)
        print(flush=True)


def _request(preset: str, task: str, batch: int, weights: str = "") -> Request:
    model = find_model(preset)
    size = model.sample
    weights = weights or ("float32" if task == "train" else "bfloat16")
    return Request(
        task=task, model=model, width=size.width, height=size.height, frames=size.frames, batch=batch, weights=weights
    )


def _best(request: Request, topology: str, tries: int, mesh: dict[str, int] | None = None) -> dict[str, Any]:
    found = plan(request, topology, tries=tries, mesh=mesh)
    chosen = found.best or found.nearest
    if chosen is None:
        return {"error": "no mesh could be compiled"}
    return {"steps": found.steps, "usable": found.slice_.chip.hbm_usable, **dataclasses.asdict(chosen)}


def _presets(rows: Rows, options: argparse.Namespace) -> None:
    print("| preset | slice | fits | peak GiB | mesh | s a step, sampling | s a clip | s a step, training | mesh |")
    print(f"|{'---|' * 9}")
    for preset in PRESETS:
        for name, (topology, clips, batch) in SLICES.items():
            found = []
            for task, count in (("sample", clips), ("train", batch)):
                request = _request(preset, task, count)
                found.append(rows.get(f"{preset} {task} {name} x{count}", _later(request, topology, options.tries)))
            print(f"| {preset} | {name} | {_sampling(found[0], clips)} | {_training(found[1], batch)} |", flush=True)


def _later(request: Request, topology: str, tries: int, mesh: dict[str, int] | None = None) -> Callable[[], dict]:
    return lambda: _best(request, topology, tries, mesh)


def _mesh(row: dict[str, Any]) -> str:
    return " ".join(f"{axis}={size}" for axis, size in row["mesh"].items() if size > 1) or "-"


def _sampling(row: dict[str, Any], clips: int) -> str:
    if row.get("error"):
        return f"{row['error'][:60]} | - | - | - | -"
    peak = f"{row['needs'] / GIB:.1f} of {row['usable'] / GIB:.1f}"
    if not row["fits"]:
        return f"no | {peak} | {_mesh(row)} | - | -"
    many = f" ({clips} at once)" if clips > 1 else ""
    clip = row["seconds"] * row["steps"] / clips
    return f"yes | {peak} | {_mesh(row)} | {row['seconds']:.2f} | {clip:.{1 if clip < 10 else 0}f}{many}"


def _training(row: dict[str, Any], batch: int) -> str:
    if row.get("error"):
        return f"{row['error'][:60]} | -"
    if not row["fits"]:
        return f"needs {row['needs'] / GIB:.0f} of {row['usable'] / GIB:.0f} GiB | {_mesh(row)}"
    return f"{row['seconds']:.2f} (batch {batch}, MFU {100 * row['utilisation']:.0f} %) | {_mesh(row)}"


def _peer(rows: Rows, options: argparse.Namespace) -> None:
    head = "peer: s, GiB | ours: s, GiB | products | elementwise | kernels | collectives | GB sent | MFU | mesh"
    print(f"| case | {head} |")
    print(f"|{'---|' * 10}")
    for case, preset, task, topology, seconds, peak in PEER:
        row = rows.get(f"peer {case}", _later(_request(preset, task, 1, "bfloat16"), topology, 4))
        if row.get("error") or row["seconds"] is None:
            ours = row["error"][:80] if row.get("error") else f"does not fit: {row['needs'] / GIB:.1f} GiB"
            print(f"| {case} | {seconds:.2f}, {peak} | {ours} |{' - |' * 7}", flush=True)
            continue
        parts = " | ".join(f"{row['parts'][p]:.2f}" for p in ("products", "elementwise", "kernels", "collectives"))
        sent = sum(one["sent"] for one in row["collectives"]) / 1e9
        print(
            f"| {case} | {seconds:.2f}, {peak} | {row['seconds']:.2f}, {row['needs'] / GIB:.1f} | {parts} | "
            f"{sent:.1f} | {100 * row['utilisation']:.1f} % | {_mesh(row)} |",
            flush=True,
        )


def _blocks(rows: Rows, options: argparse.Namespace) -> None:
    print("| task | 4 blocks, s | 40 blocks, s | ratio |\n|---|---|---|---|")
    for task in ("sample", "train"):
        took = []
        for blocks in (4, 40):
            request = _request("wan2.1-t2v-14b", task, 1)
            dit = dataclasses.replace(request.model.dit, num_layers=blocks)
            model = dataclasses.replace(request.model, dit=dit)
            few = dataclasses.replace(request, model=model, width=832, height=480)
            row = rows.get(f"blocks {task} {blocks}", _later(few, "v5p:2x2x2", 1))
            took.append(row.get("compile_seconds"))
        if None in took:
            print(f"| {task} | {took[0]} | {took[1]} | - |")
        else:
            print(f"| {task} | {took[0]:.1f} | {took[1]:.1f} | {took[1] / took[0]:.2f} |", flush=True)


def _scaling(rows: Rows, options: argparse.Namespace) -> None:
    print("| chips | mesh | batch | s a step | MFU | GB sent a chip | of these " + " | ".join(KINDS) + " |")
    print(f"|{'---|' * (7 + len(KINDS) - 1)}")
    points: dict[int, dict[str, float]] = {}
    for chips, topology in SCALING.items():
        request = dataclasses.replace(_request("wan2.1-t2v-14b", "train", chips), width=832, height=480)
        mesh = {"data": chips // 8, "fsdp": 8}
        row = rows.get(f"collectives {chips}", _later(request, topology, 1, mesh))
        if row.get("error") or row["seconds"] is None:
            why = row.get("error") or "does not fit"
            print(f"| {chips} | {why} |", flush=True)
            continue
        size = {kind: sum(c["sent"] for c in row["collectives"] if c["kind"] == kind) / 1e9 for kind in KINDS}
        points[chips] = size
        each = " | ".join(f"{size[kind]:.1f}" for kind in KINDS)
        print(
            f"| {chips} | {_mesh(row)} | {chips} | {row['seconds']:.2f} | {100 * row['utilisation']:.1f} % | "
            f"{sum(size.values()):.1f} | {each} |",
            flush=True,
        )
    if points:
        _draw(points, options.plot)


def _draw(points: dict[int, dict[str, float]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for kind in KINDS:
        if any(size[kind] for size in points.values()):
            axes.plot(list(points), [size[kind] for size in points.values()], "o-", label=kind)
    axes.plot(list(points), [sum(size.values()) for size in points.values()], "ko--", label="all")
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(points), [str(chips) for chips in points])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("chips, with one clip each")
    axes.set_ylabel("GB sent by a chip in a step")
    axes.set_title("Collectives of a training step, Wan 2.1 14B, 832x480x81, v5p", fontsize=10)
    axes.legend(fontsize=8)
    axes.grid(True, alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
