"""``provenance verify`` over many files."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provenance import batch
from provenance.cli import main
from provenance.commands import verify
from provenance.report import Report


@pytest.fixture
def folder(tmp_path: Path, signed: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    shutil.copy(signed, folder / "a.mp4")
    shutil.copy(signed, folder / "more" / "c.mp4")
    (folder / "b.mp4").write_bytes(signed.read_bytes()[:-10])
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_a_folder_in_order_with_a_summary(folder: Path, capsys) -> None:
    assert main(["verify", "--recursive", str(folder)]) == 2
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [re.match(r".*/(\w\.mp4): (\w+)", line).groups() for line in lines[:-1]] == [
        ("a.mp4", "AUTHENTIC"),
        ("b.mp4", "UNREADABLE"),
        ("c.mp4", "AUTHENTIC"),
    ]
    assert lines[-1] == "3 files: 1 unreadable, 2 authentic" and err == ""


def test_a_list_on_standard_input_as_json_lines(folder: Path, capsys, monkeypatch) -> None:
    names = "\n".join(str(folder / name) for name in ("b.mp4", "a.mp4"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    assert main(["verify", "-", "--json", "--jobs", "2", "--unordered"]) == 2
    out, err = capsys.readouterr()
    found = {Path(said["path"]).name: said["status"] for said in map(json.loads, out.splitlines())}
    assert found == {"a.mp4": "authentic", "b.mp4": "unreadable"} and err == "2 files: 1 unreadable, 1 authentic\n"


def test_one_file_starts_no_process(signed: Path, monkeypatch) -> None:
    monkeypatch.setattr(batch, "run", None)
    assert main(["verify", str(signed)]) == 0


def test_a_file_that_takes_too_long_is_unreadable_and_says_so(signed: Path, capsys) -> None:
    assert main(["verify", "--timeout", "0.001", str(signed)]) == 2
    assert "checking it took longer than 0.001 s, so it was stopped" in capsys.readouterr().out


def test_what_other_processes_get_is_what_the_options_say(signed: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    assert main(["keys", "export-root"]) == 0
    root = tmp_path / "root.pem"
    root.write_text(capsys.readouterr().out)
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "elsewhere"))
    assert main(["verify", "--jobs", "1", str(signed)]) == 4
    assert main(["verify", "--jobs", "1", str(signed), "--trust", str(root)]) == 0


def test_a_bar_on_stderr_when_asked_for(folder: Path, capsys) -> None:
    assert main(["verify", "--progress", str(folder / "b.mp4"), str(folder / "b.mp4")]) == 2
    out, err = capsys.readouterr()
    assert "verifying" in err and out.count("UNREADABLE") == 2
    assert main(["verify", "--no-progress", str(folder / "b.mp4"), str(folder / "b.mp4")]) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no FILE is given"),
        (["--jobs", "0", "x.mp4"], "--jobs 0 is not possible"),
        (["--timeout", "0", "x.mp4"], "--timeout 0 is not possible"),
        (["--timeout", "nan", "x.mp4"], "--timeout nan is not possible"),
        (["-r", "{tmp}"], "no file to verify in"),
        (["--files-from", "{tmp}/no", "x.mp4"], "cannot read the list"),
        (["x.mp4", "--html", "{tmp}"], "is a directory"),
        (["x.mp4", "y.mp4", "--trust", "{tmp}/no.pem"], "cannot read"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[str], says: str, tmp_path: Path, capsys) -> None:
    assert main(["verify", *(word.format(tmp=tmp_path) for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err


def test_the_summary_has_the_worst_first() -> None:
    statuses = ["authentic"] * 1200 + ["altered", "absent", "unreadable", "untrusted", "recovered"]
    assert verify._summary([Report(path="x", status=status) for status in statuses]) == (
        "1,205 files: 1 altered, 1 unreadable, 1 absent, 1 untrusted, 1 recovered, 1,200 authentic"
    )


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_ends_it_and_what_it_started(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "provenance.cli", "verify", *[str(tmp_path / f"{i}.mp4") for i in range(5000)]]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout is not None and "UNREADABLE" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "provenance: interrupted\n") and "Traceback" not in out
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("processes were left running")
