"""The ordered loop around the pure step: restore, train, log, evaluate, save, export."""

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from sorajax import mesh as meshes
from sorajax.checkpoint import Checkpoints, check_shared
from sorajax.cost import account
from sorajax.cost.account import Cost
from sorajax.data.loader import batches
from sorajax.errors import CheckpointError, ConfigError, TrainingError
from sorajax.hosts import arrays
from sorajax.train import card, resume, start
from sorajax.train.config import TrainConfig
from sorajax.train.guard import Guard
from sorajax.train.log import Log
from sorajax.train.meter import Meter, spent
from sorajax.train.step import Objective, TrainState, init_state, make_optimizer, make_step, state_shapes, step_flops
from sorajax.weights import folder as folders


def train(
    config: TrainConfig,
    *,
    runs: Path = Path("runs"),
    minutes: float | None = None,
    progress: bool = True,
    accept: Sequence[str] = (),
) -> Path:
    """Run one stage of training to ``config.steps``, or for ``minutes``; resumes what is in its folder.

    Returns the model folder that the stage exported to, or the LoRA file. Ctrl-C and SIGTERM save a checkpoint,
    export, and end. Several processes (``sorajax.hosts.start.join``) call it alike, with one folder that all of them
    see: each makes its rows of a batch and saves its part of a checkpoint, process 0 writes the rest, and a signal to
    one ends all.

    It resumes from the newest checkpoint that is whole; others are put aside with a warning. A config that changed
    since is refused unless that is harmless (``sorajax.train.resume``) or ``accept`` names the keys. Steps that would
    do harm are not applied (``config.guard``). Of a checkpoint that cannot be written there is a warning.

    Raises TrainingError when ``config.guard`` ends the run, CheckpointError when the saved run is another one or cannot
    be read, or the last state could not be saved, ConfigError when the processes do not share the folder.
    """
    low = "-low" if config.video.expert == "low" else ""
    folder = runs / config.model.name / (("lora" if config.lora.rank else config.objective) + low)
    model_folder = runs / config.model.name / "model"
    folder.mkdir(parents=True, exist_ok=True)
    check_shared(folder)
    if config.start:
        start.begin(config.start, model_folder)
    with contextlib.closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        return _train(config, folder, model_folder, checkpoints, minutes, progress, accept)


def _train(
    config: TrainConfig,
    folder: Path,
    model_folder: Path,
    checkpoints: Checkpoints,
    minutes: float | None,
    progress: bool,
    accept: Sequence[str],
) -> Path:
    mesh = meshes.make_mesh(**dataclasses.asdict(config.mesh))
    _check_parts(config, mesh)
    objective = make_objective(config, model_folder, mesh)
    optimizer = make_optimizer(config.optimizer, config.steps)

    sources = objective.sources()
    guard, before, changed, judged = Guard(config.guard), Cost(), [], None
    if (newest := checkpoints.newest_whole()) is not None:
        about = checkpoints.about(newest)
        before_and_now = about.get("sources", {}), sources
        changed = resume.check(about["config"], resume.plain(config), folder, accept, before_and_now)
        state = checkpoints.restore(newest, state_shapes(objective, optimizer, mesh))
        guard = Guard(config.guard, **about.get("guard", {}))
        before = Cost(**about.get("cost", {"seconds": about.get("seconds", 0.0)}))  # of old, no more was known
        judged = about.get("judged")
    else:
        state = init_state(objective, optimizer, config.seed, mesh)
        state = _warm(objective, state) if config.warm_start or config.lora.start else state
    step = make_step(
        objective,
        optimizer,
        mesh,
        ema=config.optimizer.ema,
        seed=config.seed,
        parameters=config.parameters,
        accumulate=config.accumulate,
    )
    frozen = objective.frozen
    work = step_flops(objective, mesh)
    kept = folder / "spent.json"
    costs = account.meter(mesh, config.cost, before=spent(kept, before), total=arrays.total, measure=True)
    meter = Meter(costs, kept)

    def make(index: int) -> Mapping[str, np.ndarray]:
        mine = arrays.local_rows(mesh, objective.size(index))
        return objective.batch(index) if mine is None else objective.batch(index, mine)

    def export() -> None:
        model = arrays.gather_to_primary(state.ema)
        if arrays.is_primary():
            objective.export(model, model_folder)

    def describe() -> None:
        cost = {"figures": meter.cost().figures(config.cost), "about": meter.about()}
        if arrays.is_primary() and (model_folder / folders.CONFIG).is_file():
            card.write(config, model_folder, objective.result, card.stage(config, objective, done, judged, cost))

    def attempt(write: Callable[[], None]) -> bool:
        """Whether something was written. If not there may be space again at the end, and the run goes on."""
        try:
            write()
        except CheckpointError as error:
            _tell(f"step {done}: {error}")
            return bool(arrays.broadcast(0))
        return bool(arrays.broadcast(1))

    done = first = int(state.step)
    intervals = config.log_every, config.evaluate_every, config.checkpoint_every
    if first < config.steps:
        make(first)  # what is made once, such as latents on disk, is made where Ctrl-C still breaks in
    source = batches(make, start=first, stop=config.steps) if first < config.steps else iter(())
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    log = Log(folder / "log.jsonl", first)
    if newest is None:
        log.write(first, {"event": "started", **meter.about()})
    elif first < config.steps:
        log.write(first, {"event": "resumed", "changed": changed, **meter.about()})
        for line in changed:
            _tell(f"since step {first}: {line}")
    ending: list[str] = []
    stop = arrays.StopFlag(mesh)
    unseen, limit = [], _limit(guard, mesh)
    quiet = not (progress and arrays.is_primary())
    with (
        contextlib.closing(log),
        _signals(ending),
        tqdm(total=config.steps, initial=first, disable=quiet, file=sys.stderr) as bar,
    ):
        bar.set_description(config.objective)

        def save() -> bool:
            about = {"config": resume.plain(config), "sources": dict(sources), "guard": guard.plain()}
            about |= {"cost": dataclasses.asdict(meter.cost()), "judged": judged}
            return checkpoints.save(done, state, about)

        def look() -> dict[str, float]:
            """The metrics of the last step; all that were not yet seen are judged."""
            seen = [{k: float(v) for k, v in values.items()} for values in jax.device_get(unseen)]
            for number, values in enumerate(seen, done - len(seen) + 1):
                if (wrong := guard.observe(values)) is not None:
                    names = objective.names(number - 1)
                    log.write(number, {"event": "skipped", "reason": wrong, "batch": names, **values})
                    if guard.must_stop():
                        checkpoints.wait()
                        raise TrainingError(_hopeless(number, wrong, names, checkpoints.latest(), log.path))
                    _tell(f"step {number} was skipped: {wrong} ({_few(names)})")
            unseen.clear()
            return seen[-1]

        while done < config.steps and not stop(bool(ending)):
            batch = arrays.place_rows(meter.waiting(source), mesh, objective.size(done))
            meter.count(objective.size(done), objective.tokens(batch), work(state.model, frozen, batch))
            state, metrics = step(state, frozen, batch, limit)
            unseen.append(metrics)
            done += 1
            if deadline is not None and time.monotonic() > deadline:
                ending.append("time")
            bar.update()
            due = [done == config.steps or done % every == 0 for every in intervals]
            if any(due):  # nothing is kept of a step that was not looked at
                values = look()
            if due[0]:
                guard.fold()
                limit = _limit(guard, mesh)
                bar.set_postfix(loss=f"{values['loss']:.4f}")
                log.write(done, values | meter.read())
            if due[1]:
                exported = attempt(export)  # first: samples are signed as made by what is there
                judged = {"step": done, "figures": objective.evaluate(state.ema, done, folder, signed=exported)}
                log.write(done, {f"eval_{k}": v for k, v in judged["figures"].items()})
                attempt(describe)
            if due[2]:
                save()
        if unseen:
            look()
        checkpoints.wait()  # for one that may be that of this step
        saved = done == first or checkpoints.latest() == done or (save() and checkpoints.wait())
    if done > first or not arrays.broadcast(objective.result.exists()):
        export()
        describe()
    if not saved:
        raise CheckpointError(
            f"step {done} could not be saved in {folder}; free some space there and run again, from "
            f"{'the beginning' if (kept := checkpoints.latest()) is None else f'the checkpoint of step {kept}'}"
        )
    return objective.result


def make_objective(config: TrainConfig, model_folder: Path, mesh: Mesh | None = None) -> Objective:
    """The objective that a config names, its frozen parts on the mesh. Imported here, as each brings its own models."""
    if config.objective == "text":
        from sorajax.train.text import TextObjective

        return TextObjective(config, model_folder)
    if config.objective == "vae":
        from sorajax.train.frames import FramesObjective
        from sorajax.train.vae import VaeObjective

        return (FramesObjective if config.video.data else VaeObjective)(config, model_folder)
    from sorajax.train.footage import FootageObjective
    from sorajax.train.lora import LoraObjective
    from sorajax.train.video import VideoObjective

    objective = (FootageObjective if config.video.data else VideoObjective)(config, model_folder, mesh)
    return LoraObjective(objective, config) if config.lora.rank else objective


def _warm(objective: Any, state: TrainState) -> TrainState:
    model = nnx.clone(state.model)
    objective.warm_start(model)
    return dataclasses.replace(state, model=model, ema=jax.tree.map(lambda x: x.copy(), model))


def _check_parts(config: TrainConfig, mesh: Mesh) -> None:
    rows, devices = config.batch // config.accumulate, mesh.shape["data"] * mesh.shape["fsdp"]
    if config.accumulate > 1 and rows % devices:
        raise ConfigError(
            f"accumulate: {config.accumulate} parts of a batch of {config.batch} have {rows} clips each, which do not "
            f"divide among {devices} devices (data x fsdp), so that each would take them all; give fewer parts"
        )


def _limit(guard: Guard, mesh: Mesh) -> jax.Array:
    return arrays.place(np.float32(guard.limit()), NamedSharding(mesh, PartitionSpec()))


def _hopeless(step: int, wrong: str, names: list[str], saved: int | None, log: Path) -> str:
    kept = "no checkpoint was written yet" if saved is None else f"the checkpoint of step {saved} is kept"
    return (
        f"step {step}: {wrong}; {kept}; its batch ({_few(names)}) is written down in {log}: lower "
        'optimizer.learning_rate or clip_norm, or set guard.policy = "skip" to go on without such batches'
    )


def _tell(line: str) -> None:
    if arrays.is_primary():
        tqdm.write(line, file=sys.stderr)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


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
