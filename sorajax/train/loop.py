"""The ordered loop around the pure step: restore, train, log, evaluate, save, export."""

import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from tqdm import tqdm

from sorajax import mesh as meshes
from sorajax.checkpoint import Checkpoints, check_shared
from sorajax.data.loader import batches
from sorajax.errors import CheckpointError, TrainingError
from sorajax.hosts import arrays
from sorajax.train.config import FIXED, OWN, TrainConfig
from sorajax.train.step import Objective, TrainState, init_state, make_optimizer, make_step, state_shapes


def train(
    config: TrainConfig, *, runs: Path = Path("runs"), minutes: float | None = None, progress: bool = True
) -> Path:
    """Run one stage of training to ``config.steps``, or for ``minutes``; resumes what is in its folder.

    Returns the model folder that the stage exported to. Ctrl-C and SIGTERM save a checkpoint, export, and end.
    Several processes (``sorajax.hosts.start.join``) call it alike, with one folder that all of them see: each makes
    its rows of a batch and saves its part of a checkpoint, process 0 writes the rest, and a signal to one ends all.

    Raises TrainingError when the loss is no longer finite, CheckpointError when the saved run is another one,
    ConfigError when the processes do not share the folder.
    """
    folder = runs / config.model.name / config.objective
    model_folder = runs / config.model.name / "model"
    folder.mkdir(parents=True, exist_ok=True)
    check_shared(folder)
    objective = make_objective(config, model_folder)
    mesh = meshes.make_mesh(**dataclasses.asdict(config.mesh))
    optimizer = make_optimizer(config.optimizer, config.steps)

    checkpoints = Checkpoints(folder / "checkpoints")
    seconds = 0.0
    if (latest := checkpoints.latest()) is not None:
        about = checkpoints.about(latest)
        _same_run(about["config"], _plain(config), folder)
        state, seconds = checkpoints.restore(latest, state_shapes(objective, optimizer, mesh)), about["seconds"]
    else:
        state = init_state(objective, optimizer, config.seed, mesh)
        state = _warm(objective, state) if config.warm_start else state
    options = {"ema": config.optimizer.ema, "seed": config.seed, "parameters": config.parameters}
    step = make_step(objective, optimizer, mesh, **options)
    frozen = jax.tree.map(arrays.place, objective.frozen, meshes.shardings(objective.frozen, mesh))

    def make(index: int) -> Mapping[str, np.ndarray]:
        mine = arrays.local_rows(mesh, objective.size(index))
        return objective.batch(index) if mine is None else objective.batch(index, mine)

    def export() -> None:
        model = arrays.gather_to_primary(state.ema)
        if arrays.is_primary():
            objective.export(model, model_folder)

    start = int(state.step)
    intervals = config.log_every, config.evaluate_every, config.checkpoint_every
    if start < config.steps:
        make(start)  # what is made once, such as latents on disk, is made where Ctrl-C still breaks in
    source = batches(make, start=start, stop=config.steps) if start < config.steps else iter(())
    began, deadline = time.monotonic(), None if minutes is None else time.monotonic() + 60 * minutes
    log = _Log(folder / "log.jsonl")
    ending: list[str] = []
    stop = arrays.StopFlag(mesh)
    done, looked = start, start
    quiet = not (progress and arrays.is_primary())
    with _signals(ending), tqdm(total=config.steps, initial=start, disable=quiet, file=sys.stderr) as bar:
        bar.set_description(config.objective)

        def save() -> None:
            spent = seconds + time.monotonic() - began
            checkpoints.save(done, state, {"config": _plain(config), "seconds": spent})

        def look() -> dict[str, float]:
            values = {k: float(v) for k, v in jax.device_get(metrics).items()}
            _check_finite(values, done, checkpoints.latest())
            return values

        while done < config.steps and not stop(bool(ending)):
            batch = arrays.place_rows(next(source), mesh, objective.size(done))
            state, metrics = step(state, frozen, batch)
            done += 1
            if deadline is not None and time.monotonic() > deadline:
                ending.append("time")
            bar.update()
            due = [done == config.steps or done % every == 0 for every in intervals]
            if any(due):  # nothing is kept of a step that was not looked at
                values, looked = look(), done
            if due[0]:
                bar.set_postfix(loss=f"{values['loss']:.4f}")
                rate = (done - start) * config.batch / (time.monotonic() - began)
                log.write(done, values | {"samples_per_second": rate, "seconds": seconds + time.monotonic() - began})
            if due[1]:
                log.write(done, {f"eval_{k}": v for k, v in objective.evaluate(state.ema, done, folder).items()})
                export()
            if due[2]:
                save()
        if done > looked:
            look()
        if done > start and checkpoints.latest() != done:
            save()
        checkpoints.close()
    if done > start or not arrays.broadcast(model_folder.exists()):
        export()
    return model_folder


def make_objective(config: TrainConfig, model_folder: Path) -> Objective:
    """The objective that a config names. Imported here, as each brings its own models."""
    if config.objective == "text":
        from sorajax.train.text import TextObjective

        return TextObjective(config, model_folder)
    if config.objective == "vae":
        from sorajax.train.vae import VaeObjective

        return VaeObjective(config, model_folder)
    from sorajax.train.video import VideoObjective

    return VideoObjective(config, model_folder)


def _warm(objective: Any, state: TrainState) -> TrainState:
    model = nnx.clone(state.model)
    objective.warm_start(model)
    return dataclasses.replace(state, model=model, ema=jax.tree.map(lambda x: x.copy(), model))


def _plain(config: TrainConfig) -> dict[str, Any]:
    kept = [key for key in FIXED if OWN.get(key, config.objective) == config.objective]
    values = dataclasses.asdict(config)
    return json.loads(json.dumps({key: values[key] for key in kept}))


def _same_run(saved: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    saved = {"parameters": "float32"} | saved  # which checkpoints did not always name
    changed = [
        f"{key}.{name}: {saved[key].get(name)!r} -> {now[key].get(name)!r}"
        for key in now
        if isinstance(now[key], dict)
        for name in now[key]
        if saved[key].get(name) != now[key].get(name)
    ] + [f"{k}: {saved[k]!r} -> {now[k]!r}" for k in now if not isinstance(now[k], dict) and saved[k] != now[k]]
    if changed:
        raise CheckpointError(
            f"{folder} holds a run of another config ({'; '.join(changed[:3])}); "
            "restore the config, or move that folder away to start anew"
        )


def _check_finite(values: dict[str, float], step: int, saved: int | None) -> None:
    bad = [name for name, value in values.items() if not np.isfinite(value)]
    if bad:
        kept = "no checkpoint was written yet" if saved is None else f"the checkpoint of step {saved} is kept"
        raise TrainingError(
            f"step {step}: {', '.join(bad)} is not finite; {kept}: lower optimizer.learning_rate or clip_norm"
        )


class _Log:
    """JSON lines, one a record, by process 0."""

    def __init__(self, path: Path):
        self.path = path

    def write(self, step: int, values: dict[str, float]) -> None:
        if arrays.is_primary():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")


class _signals:
    """While it is open, SIGINT and SIGTERM ask the loop to end instead of breaking into it."""

    def __init__(self, ending: list[str]):
        self.ending = ending
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        ask: Callable[..., None] = lambda number, _: self.ending.append(signal.Signals(number).name)  # noqa: E731
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.previous[number] = signal.signal(number, ask)
            except ValueError:  # not in the main thread: the caller keeps its own handling
                return

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
