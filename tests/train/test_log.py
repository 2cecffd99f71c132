"""The record of a run has each step once, whatever happened to its file."""

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


def test_lines_wait_where_none_can_be_written(tmp_path):
    folder = tmp_path / "there"
    log = Log(folder / "log.jsonl", 0)
    with pytest.warns(UserWarning, match="cannot be written .No such file or directory.; its lines wait"):
        log.write(1, {})
    log.write(2, {})
    folder.mkdir()
    log.write(3, {})
    assert steps(folder / "log.jsonl") == [1, 2, 3]
