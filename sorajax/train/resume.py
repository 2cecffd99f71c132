"""May a run go on under this config? What changed since its checkpoint, and which of it the user has to agree to."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sorajax.errors import CheckpointError
from sorajax.train.config import OWN, TrainConfig

FREE = (
    "steps",
    "log_every",
    "checkpoint_every",
    "evaluate_every",
    "sample_clips",
    "sample_prompts",
    "mesh",
    "remat",
    "guard",
    "cost",
    "warm_start",
    "lora.start",
    "model.sample",
)
"""May change at any time: how long, how often, on which devices. (With another ``log_every``, another leap of the loss
may be noticed.)"""
HELD = ("model.sample.boundary", "model.sample.image")
"""But not these: they say what is trained."""
BOUND = ("objective", "model", "optimizer.name", "lora.rank", "lora.targets")
"""May never change: the saved arrays are of another kind then. What is in neither list may, if it is agreed to."""


CLIPS = ("data", "weights")
"""Of the table ``video``, what an autoencoder is trained by too."""


def plain(config: TrainConfig) -> dict[str, Any]:
    """The config as it is saved, without what concerns other objectives."""
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    kept = {key: value for key, value in values.items() if OWN.get(key, config.objective) == config.objective}
    return kept | ({"video": {key: values["video"][key] for key in CLIPS}} if config.objective == "vae" else {})


def check(
    saved: dict[str, Any],
    now: dict[str, Any],
    folder: Path,
    accept: Iterable[str] = (),
    sources: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> list[str]:
    """What changed between two ``plain`` configs, in lines "key: old -> new", and between the ``sources`` of then and
    now (``step.Objective``).

    ``accept`` names keys, or whole tables, whose change the user agrees to. Raises CheckpointError that lists what is
    not agreed to. A key that only one of both knows, as they are of two versions, has not changed.
    """
    before, after = _flat(saved), _flat(now)
    if saved["objective"] == "vae":
        before.setdefault("video.data", [])  # of before they could be trained on anything else
    changed = {key: f"{key}: {before[key]!r} -> {after[key]!r}" for key in after.keys() & before.keys()}
    changed = {key: changed[key] for key in sorted(changed) if before[key] != after[key]}
    for key in sorted(sources[0].keys() & sources[1].keys() - changed.keys()):
        if sources[0][key] != sources[1][key]:
            changed[key] = f"{key}: its files are others ({sources[0][key][:12]} -> {sources[1][key][:12]})"
    bound = [line for key, line in changed.items() if _within(key, BOUND) and not _free(key)]
    if bound:
        raise CheckpointError(
            f"{folder} holds a run of another kind ({'; '.join(bound)}); restore the config, or move that folder away "
            "to start anew"
        )
    asked = [key for key in changed if not (_free(key) or _within(key, accept))]
    if asked:
        raise CheckpointError(
            f"{folder} holds a run of another config ({'; '.join(changed[key] for key in asked)}); restore the config, "
            f"or go on with the new one from here: --accept {','.join(asked)}"
        )
    return list(changed.values())


def _free(key: str) -> bool:
    return _within(key, FREE) and key not in HELD


def _within(key: str, tables: Iterable[str]) -> bool:
    return any(key == table or key.startswith(f"{table}.") for table in tables)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
