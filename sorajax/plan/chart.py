"""A picture of several plans: time and cost of the same job against the number of chips."""

import importlib.util
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from sorajax.errors import InputError
from sorajax.plan.planner import Plan


def check(path: Path) -> None:
    """Raises InputError for a kind of file that cannot be drawn, a folder that is not there, and without matplotlib."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"chart {str(path)!r} must end in .png, .svg or .pdf")
    if not path.absolute().parent.is_dir():
        raise InputError(f"chart {str(path)!r}: the folder {str(path.parent)!r} does not exist")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("charts need matplotlib; get it with: pip install 'sorajax[plan]'")


def draw(plans: Sequence[Plan], path: Path, prices: Mapping[str, float]) -> None:
    """Write a chart (.png, .svg or .pdf): hours and cost of the job, or of one step where its steps are not known.

    Cost is in chip-hours, or in money if ``prices`` has an hour's price of every generation that is drawn. Plans that
    do not fit are left out. Raises InputError if none is left, and as ``check`` does.
    """
    check(path)
    fitting = [plan for plan in plans if plan.chip_hours is not None]
    if not fitting:
        raise InputError("none of the slices fits the job, so there is nothing to draw")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = defaultdict(list)
    for plan in sorted(fitting, key=lambda plan: plan.slice_.chips):
        kinds[plan.slice_.chip.name].append(plan)
    priced = set(kinds) <= set(prices)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    time, cost = figure.subplots(1, 2)
    for kind, own in kinds.items():
        chips = [plan.slice_.chips for plan in own]
        time.plot(chips, [plan.hours for plan in own], "o-", label=kind)
        unit = prices[kind] if priced else 1.0
        cost.plot(chips, [(plan.chip_hours or 0.0) * unit for plan in own], "o-", label=kind)
    request, steps = fitting[0].request, fitting[0].steps or 1
    job = f"{request.model.name}, {request.task}, {request.width}x{request.height}x{request.frames}, {steps:,} steps"
    figure.suptitle(job, fontsize=10)
    for axes, label in ((time, "hours"), (cost, "price" if priced else "chip-hours")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("chips")
        axes.set_ylabel(label)
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
