"""Steps that would do harm change nothing, and are told by what they were made of."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorajax.errors import TrainingError
from sorajax.train.config import GuardConfig, OptimizerConfig
from sorajax.train.guard import WARM, Guard
from sorajax.train.loop import train
from tests.train.line import RUN, stand_in

GOOD = {"loss": 1.0, "grad_norm": 1.0, "skipped": 0.0}


def records(runs) -> list[dict]:
    return [json.loads(line) for line in (runs / "tiny" / "vae" / "log.jsonl").read_text().splitlines()]


def events(runs) -> list[dict]:
    return [r for r in records(runs) if r.get("event") not in (None, "started")]


def test_a_bad_batch_stops_the_run_and_is_told(tmp_path, monkeypatch):
    stand_in(monkeypatch, (3,))
    with pytest.raises(
        TrainingError, match="step 4: loss and grad_norm are not finite; the checkpoint of step 3 is kept"
    ):
        train(RUN, runs=tmp_path, progress=False)
    (event,) = events(tmp_path)
    assert event["step"] == 4 and event["batch"] == ["row 3.0", "row 3.1"] and event["loss"] is None


def test_a_skipped_step_changes_nothing_and_the_run_goes_on(tmp_path, monkeypatch):
    stand_in(monkeypatch, (3,))
    config = dataclasses.replace(RUN, guard=GuardConfig(policy="skip"))
    train(config, runs=tmp_path, progress=False)
    found = {r["step"]: r["loss"] for r in records(tmp_path) if "loss" in r and "event" not in r}
    assert sorted(found) == [1, 2, 3, 4, 5, 6] and found[4] is None
    assert all(math.isfinite(found[i]) for i in (1, 2, 3, 5, 6))
    assert [e["step"] for e in events(tmp_path)] == [4]
    kernels = []
    for steps in (3, 4):
        runs = tmp_path / str(steps)
        train(dataclasses.replace(config, steps=steps), runs=runs, progress=False)
        kernels.append(np.load(runs / "tiny" / "model" / "kernel.npy"))
    np.testing.assert_array_equal(*kernels)


def test_a_run_that_was_stopped_goes_on_when_it_may_skip(tmp_path, monkeypatch):
    stand_in(monkeypatch, (3,))
    with pytest.raises(TrainingError):
        train(RUN, runs=tmp_path, progress=False)
    train(dataclasses.replace(RUN, guard=GuardConfig(policy="skip")), runs=tmp_path, progress=False)
    assert [e["event"] for e in events(tmp_path)] == ["resumed", "skipped"]
    assert events(tmp_path)[0]["changed"] == ["guard.policy: 'stop' -> 'skip'"]


def test_skipping_has_an_end(tmp_path, monkeypatch):
    stand_in(monkeypatch, (2, 3, 4, 5))
    config = dataclasses.replace(RUN, guard=GuardConfig(policy="skip", patience=2))
    with pytest.raises(TrainingError, match="step 5: "):
        train(config, runs=tmp_path, progress=False)


def test_a_diverging_run_is_stopped(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    hot = OptimizerConfig(learning_rate=1e30, warmup_steps=1, clip_norm=1e30)
    config = dataclasses.replace(RUN, optimizer=hot, steps=30, log_every=100, checkpoint_every=10)
    with pytest.raises(
        TrainingError, match="not finite; no checkpoint was written yet; .*lower optimizer.learning_rate"
    ):
        train(config, runs=tmp_path, progress=False)
    assert not (tmp_path / "tiny" / "model").exists()


@given(st.lists(st.floats(0.5, 1.5), min_size=WARM, max_size=200), st.floats(2.0, 10.0))
def test_a_loss_leaps_when_it_is_far_above_the_mean_of_late(before, spike):
    guard = Guard(GuardConfig(spike=spike))
    for loss in before:
        assert guard.observe(GOOD | {"loss": loss}) is None
    guard.fold()
    weights = 0.99 ** np.arange(len(before))[::-1]
    mean = np.average(before, weights=weights)
    std = math.sqrt(max(np.average((np.array(before) - mean) ** 2, weights=weights), 0))
    assert guard.limit() == pytest.approx(mean + spike * std, rel=1e-3, abs=1e-3)


def test_a_leap_is_told_with_the_limit():
    guard = Guard(GuardConfig(spike=3.0))
    for i in range(100):
        guard.observe(GOOD | {"loss": 1.0 + 0.01 * (i % 2)})
    guard.fold()
    assert "leapt to 9, above 1.0" in (guard.observe({"loss": 9.0, "grad_norm": 1.0, "skipped": 1.0}) or "")


def test_there_is_no_limit_before_enough_was_seen_nor_without_being_asked():
    for config in (GuardConfig(spike=3.0), GuardConfig()):
        guard = Guard(config)
        guard.observe(GOOD)
        guard.fold()
        assert guard.limit() == math.inf


@given(st.lists(st.floats(0.1, 2.0), min_size=60, max_size=90), st.integers(0, 89))
def test_a_run_broken_off_anywhere_judges_as_one_that_was_not(found, cut):
    def run(broken: int | None) -> float:
        guard = Guard(GuardConfig(spike=2.0))
        for i, loss in enumerate(found):
            if i == broken:
                guard = Guard(GuardConfig(spike=2.0), **json.loads(json.dumps(guard.plain())))
            guard.observe(GOOD | {"loss": loss})
            if i % 10 == 9:
                guard.fold()
        return guard.limit()

    assert run(cut) == run(None)
