"""The model card: what a model is, what it learned from, how it was judged, what it cost; and the figures behind it.

``training.json`` in a model's folder has a record of each stage; ``README.md`` beside it says the same to people.
"""

import json
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
from sorajax.weights.find import find

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
    try:
        before = read(source)
    except CheckpointError:  # another program's file of that name
        before = {"start": None, "stages": {}}
    spent = [stage["cost"]["figures"]["device_seconds"] for stage in before["stages"].values()]
    start: dict[str, Any] = {"model": model, "digest": folders.model_digest(source), **hub.origin(source)}
    start |= {"cost": f"{sum(spent) / 3600:.3g} device hours"} if spent else {}
    start |= {"before": before} if before["stages"] else {}
    folders.write_text(folder / RECORD, json.dumps({"start": start, "stages": {}}, indent=1))


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
        _write_lora(config, result, record)
        return
    values = read(folder)
    name = f"{config.objective} {config.video.expert}".strip() if config.objective == "video" else config.objective
    values["stages"][name] = dict(record)
    folders.write_text(folder / RECORD, json.dumps(values, indent=1, ensure_ascii=False))
    model = folders.load_config(folder)
    made = model.sample
    text = _render(
        **values,
        title=model.name,
        languages=list(model.languages),
        what=f"A text-to-video model: {made.frames} frames of {made.width}x{made.height} at {made.fps} a second.",
        usage='pipe = sorajax.load("DIR")  # this folder',
    )
    folders.write_text(folder / CARD, text)


def _write_lora(config: TrainConfig, file: Path, record: Mapping[str, Any]) -> None:
    source = find(config.start) if config.start else file.parent / "model"
    named = config.start or f"{config.model.name}/model"
    text = _render(
        start={
            "model": named,
            "digest": folders.model_digest(source),
            **hub.origin(source),
        },
        stages={"lora": record},
        title=file.stem,
        languages=list(folders.load_config(source).languages),
        what="A LoRA: low-rank factors that are added to kernels of a text-to-video model's transformer.",
        usage=f'pipe = sorajax.load("{named}")\npipe.load_lora("{file.name}")',
    )
    folders.write_text(file.with_suffix(".md"), text)


def _render(**values: Any) -> str:
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=PackageLoader("sorajax.train"), autoescape=False, **options)  # noqa: S701 - text
    return environment.get_template("card.md.j2").render(version=__version__, **values)
