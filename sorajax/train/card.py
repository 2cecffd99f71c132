"""The model card: what a model is, what it learned from, how it was judged, what it cost; and the figures behind it.

``training.json`` in a model's folder has a record of each stage; ``README.md`` beside it says the same to people.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from sorajax import __version__
from sorajax.errors import CheckpointError
from sorajax.train.config import TrainConfig
from sorajax.train.step import Objective
from sorajax.weights import folder as folders
from sorajax.weights import hub

RECORD, CARD = "training.json", "README.md"


def stage(
    config: TrainConfig, objective: Objective, step: int, judged: Mapping[str, Any] | None, cost: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of a stage as it is now. judged has the ``step`` and ``figures`` of the last evaluation, cost
    ``figures`` and what they rest on, ``about``."""
    optimizer = config.optimizer
    settings: dict[str, Any] = {"steps": step, "batch": config.batch, "seed": config.seed}
    settings |= {"optimizer": f"{optimizer.name}, learning rate {optimizer.learning_rate:g}"}
    settings |= {"products in": config.dtype, "average of weights": optimizer.ema}
    if config.lora.rank:
        settings |= {"rank": config.lora.rank, "alpha": config.lora.alpha or config.lora.rank}
        settings |= {"kernels": ", ".join(config.lora.targets)}
    return {
        "settings": settings,
        "learned_from": objective.learned_from(),
        "evaluation": judged,
        "cost": dict(cost),
        "sorajax": __version__,
    }


def began(source: Path, model: str, folder: Path) -> None:
    """Write down in a new model folder which model it began from, in place of that one's own card."""
    (folder / CARD).unlink(missing_ok=True)
    before = read(source)
    spent = [stage["cost"]["figures"]["device_seconds"] for stage in before["stages"].values()]
    start: dict[str, Any] = {"model": model, "digest": folders.model_digest(source), **hub.origin(source)}
    start |= {"cost": f"{sum(spent) / 3600:.3g} device hours"} if spent else {}
    start |= {"before": before} if before["stages"] else {}
    _replace(folder / RECORD, json.dumps({"start": start, "stages": {}}, indent=1))


def read(folder: Path) -> dict[str, Any]:
    """``start`` and ``stages`` of a model folder, empty where there is no record. Raises CheckpointError for a damaged
    one."""
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {"start": values["start"], "stages": dict(values["stages"])}
    except FileNotFoundError:
        return {"start": None, "stages": {}}
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{folder / RECORD} is damaged; delete it, and the model's card begins anew") from None


def write(config: TrainConfig, folder: Path, result: Path, record: Mapping[str, Any]) -> None:
    """Put a stage's record into the model folder and write its card anew; or write that of a LoRA beside its file."""
    if config.lora.rank:
        _write_lora(config.start or config.model.name, folder, result, record)
        return
    values = read(folder)
    name = f"{config.objective} {config.video.expert}".strip() if config.objective == "video" else config.objective
    values["stages"][name] = dict(record)
    _replace(folder / RECORD, json.dumps(values, indent=1, ensure_ascii=False))
    model = folders.load_config(folder)
    made = model.sample
    text = _render(
        **values,
        title=model.name,
        languages=list(model.languages),
        what=f"A text-to-video model: {made.frames} frames of {made.width}x{made.height} at {made.fps} a second.",
        usage='pipe = sorajax.load("DIR")  # this folder',
    )
    _replace(folder / CARD, text)


def _write_lora(start: str, folder: Path, file: Path, record: Mapping[str, Any]) -> None:
    text = _render(
        start=read(folder)["start"] or {"model": start, "digest": folders.model_digest(folder)},
        stages={"lora": record},
        title=file.stem,
        languages=list(folders.load_config(folder).languages),
        what="A LoRA: low-rank factors that are added to kernels of a text-to-video model's transformer.",
        usage=f'pipe = sorajax.load("{start}")\npipe.load_lora("{file.name}")',
    )
    _replace(file.with_suffix(".md"), text)


def _render(**values: Any) -> str:
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=PackageLoader("sorajax.train"), autoescape=False, **options)  # noqa: S701 - text
    return environment.get_template("card.md.j2").render(version=__version__, **values)


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(text, encoding="utf-8", errors="replace")
    os.replace(draft, path)
