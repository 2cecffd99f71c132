"""A plan as text for people, and as JSON for programs."""

import json
from collections.abc import Mapping

from sorajax.errors import InputError
from sorajax.plan.chips import GIB
from sorajax.plan.planner import Attempt, Plan, mesh_name


def text(plan: Plan) -> str:
    """Some lines: the question, the answer, each mesh tried, and where the time of the best goes."""
    request, chip = plan.request, plan.slice_.chip
    lines = [
        f"{request.model.name}, {request.task}: {request.width}x{request.height}, {request.frames} frames, "
        f"batch {request.batch} ({request.tokens:,} tokens a clip)",
        f"{plan.slice_.name}: {plan.slice_.chips} chips, {plan.slice_.devices} devices of "
        f"{chip.hbm_usable / GIB:.2f} GiB and {chip.peak / 1e12:,.0f} TFLOP/s (libtpu {plan.libtpu})",
        "",
        *_table(plan),
        "",
    ]
    best = plan.best
    if best is None or best.seconds is None:
        nearest = plan.nearest
        needs = (
            ""
            if nearest is None
            else f": {mesh_name(nearest.mesh)} needs {_gib(nearest.needs)} of {_gib(chip.hbm_usable)}"
        )
        return "\n".join([*lines, f"does not fit{needs}", *(f"  try {remedy}" for remedy in plan.remedies)])
    lines.append(
        f"fits on {mesh_name(best.mesh)}: {_seconds(best.seconds)} a step, MFU {100 * (best.utilisation or 0):.1f} %"
    )
    lines += _memory(best, chip.hbm_usable)
    lines += _time(best)
    lines += _slowest(best)
    lines += _work(best)
    lines += _job(plan)
    if request.task == "train" and request.weights != "float32":
        lines.append(f"  note         in {request.weights} throughout, for comparison; sorajax train keeps float32")
    return "\n".join(lines)


def compare(plans: Mapping[str, Plan | InputError], prices: Mapping[str, float]) -> str:
    """A line for each slice, by name: the best mesh, and time and cost of the job; why not, where there is none.

    ``prices`` has what an hour of a chip costs, by generation.
    """
    rows: list[tuple[str, ...]] = [
        ("slice", "chips", "best mesh", "peak", "step", "MFU", "job", "chip-hours", "price", "kWh")
    ]
    for name, plan in plans.items():
        if isinstance(plan, InputError):
            rows.append((name, "-", f"error: {str(plan)[:100]}", *"-------"))
            continue
        best, nearest = plan.best, plan.nearest
        if best is None or best.seconds is None:
            needs = "-" if nearest is None else _gib(nearest.needs)
            rows.append((name, str(plan.slice_.chips), "does not fit", needs, *"------"))
            continue
        price = prices.get(plan.slice_.chip.name)
        rows.append(
            (
                name,
                str(plan.slice_.chips),
                mesh_name(best.mesh),
                _gib(best.needs),
                _seconds(best.seconds),
                f"{100 * (best.utilisation or 0):.1f} %",
                "-" if plan.hours is None else _seconds(plan.hours * 3600),
                "-" if plan.chip_hours is None else f"{plan.chip_hours:,.3g}",
                "-" if price is None or plan.chip_hours is None else f"{price * plan.chip_hours:,.2f}",
                "-" if plan.kilowatt_hours is None else f"{plan.kilowatt_hours:,.3g}",
            )
        )
    return "\n".join(_columns(rows))


def to_json(plan: Plan) -> str:
    """``Plan.to_dict`` with indentation."""
    return json.dumps(plan.to_dict(), indent=2)


def all_to_json(plans: Mapping[str, Plan | InputError]) -> str:
    """A list of ``Plan.to_dict``; a slice that could not be planned has its name and the error."""
    return json.dumps(
        [
            {"topology": name, "error": str(plan)} if isinstance(plan, InputError) else plan.to_dict()
            for name, plan in plans.items()
        ],
        indent=2,
    )


def _table(plan: Plan) -> list[str]:
    rows: list[tuple[str, ...]] = [("mesh", "arguments", "temporaries", "peak", "fits", "step", "MFU", "collectives")]
    for a in plan.attempts:
        if a.error:
            rows.append((mesh_name(a.mesh), "-", "-", "-", "error", "-", "-", a.error[:120]))
            continue
        sizes = [_gib(a.memory[k]) if a.memory else "-" for k in ("arguments", "temporaries")]
        timed = a.seconds is not None
        rows.append(
            (
                mesh_name(a.mesh),
                *sizes,
                _gib(a.needs),
                "yes" if a.fits else "no",
                _seconds(a.seconds) if a.seconds is not None else "-",
                f"{100 * (a.utilisation or 0):.1f} %" if timed else "-",
                _seconds(a.parts["collectives"]) if timed else "-",
            )
        )
    return _columns(rows)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _memory(best: Attempt, usable: int) -> list[str]:
    parts = ", ".join(f"{name} {_gib(size)}" for name, size in best.memory.items() if name != "peak")
    return [f"  memory       {_gib(best.needs)} of {_gib(usable)} a device: {parts}"]


def _time(best: Attempt) -> list[str]:
    names = {
        "products": "products",
        "elementwise": "elementwise",
        "kernels": "Pallas kernels",
        "collectives": "waits for collectives",
        "copies": "for copies",
    }
    parts = ", ".join(f"{label} {_seconds(best.parts[name])}" for name, label in names.items())
    lines = [f"  time         {parts}"]
    for kernel in best.kernels:
        rate = kernel["flops"] / kernel["seconds"] / 1e12
        lines.append(
            f"    kernel     {kernel['name']}: {kernel['count']:.0f} calls, {_seconds(kernel['seconds'])}, "
            f"{rate:.0f} TFLOP/s"
        )
    if best.assumed:
        lines.append(f"    assumed    at peak rate, as their length is not known: {', '.join(best.assumed)}")
    return lines


def _slowest(best: Attempt, count: int = 4) -> list[str]:
    lines = []
    for one in best.slowest[:count]:
        origin = "/".join(one["origin"].split("/")[-3:])
        lines.append(
            f"    slowest    {one['instruction']} {one['result'][:48]} of {origin}: {_seconds(one['seconds'])}"
        )
    return lines


def _work(best: Attempt) -> list[str]:
    lines = [f"  work         {best.flops / 1e12:,.2f} TFLOP and {best.hbm_bytes / 1e9:,.1f} GB of HBM a device"]
    for one in best.collectives:
        mode = "asynchronous" if one["asynchronous"] else "synchronous"
        lines.append(
            f"    links      {one['kind']}, {mode}: {one['count']:,.0f}, {one['sent'] / 1e9:,.3f} GB sent, "
            f"{_seconds(one['seconds'])}"
        )
    return lines


def _job(plan: Plan) -> list[str]:
    if plan.hours is None:
        return ["  job          give --steps for the time and energy of a whole job"]
    energy = "energy not stated: no published power for this chip (--watts)"
    if plan.kilowatt_hours is not None:
        energy = f"{plan.kilowatt_hours:,.3g} kWh at {plan.watts:,.0f} W a device"
    steps = "once" if plan.steps == 1 else f"{plan.steps:,} steps"
    return [f"  job          {steps}: {_seconds(plan.hours * 3600)}, {energy}"]


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"


def _seconds(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
