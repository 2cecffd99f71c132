"""The record of a run has each step once, whatever happened to its file."""

import errno
import json

import pytest

from sorajax.train.log import Log


def steps(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_steps_that_will_be_made_again_are_taken_out(tmp_path):
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    for step in (1, 2, 3, 4):
        log.write(step, {"loss": 1.0 / step})
    Log(path, 2).write(3, {"loss": 9.0})
    assert steps(path) == [1, 2, 3]


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', "\x00\x00\x00", '{"loss": 1}', "[1]"])
def test_half_a_line_is_taken_out(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n' + torn)
    Log(path, 9).write(3, {})
    assert steps(path) == [1, 2, 3]


def test_what_is_not_finite_is_still_json(tmp_path):
    log = Log(tmp_path / "log.jsonl", 0)
    log.write(1, {"loss": float("nan"), "grad_norm": float("inf")})
    line = (tmp_path / "log.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {"step": 1, "loss": None, "grad_norm": None}


def test_lines_wait_where_none_can_be_written(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    log.write(1, {})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", full)
        with pytest.warns(UserWarning, match="log.jsonl cannot be written .No space left on device.; its lines wait"):
            log.write(2, {})
        log.write(3, {})
    log.write(4, {})
    assert steps(path) == [1, 2, 3, 4]


def test_figures_go_to_tensorboard_where_it_is_installed(tmp_path):
    pytest.importorskip("tensorboardX")
    log = Log(tmp_path / "log.jsonl", 0)
    log.write(1, {"loss": 1.0, "eval_loss_0.3": 0.5})
    log.write(1, {"event": "skipped", "reason": "the loss leapt"})
    log.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    data = file.read_bytes()
    assert b"loss" in data and b"eval/loss_0.3" in data and b"skipped" not in data
