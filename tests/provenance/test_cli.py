"""The command as a person meets it: output, one-line errors, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from provenance import keys
from provenance.cli import main


def test_verify_prints_a_page_for_one_file(signed: Path, capsys) -> None:
    assert main(["verify", str(signed)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{signed}: AUTHENTIC\n") and "a dog on a beach" in out and err == ""


def test_verify_prints_a_line_for_each_of_several_and_gives_the_worst_code(signed, plain, tmp_path, capsys) -> None:
    assert main(["verify", str(signed), str(plain), str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    *lines, summary = out.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["AUTHENTIC", "ABSENT", "UNREADABLE"] and err == ""
    assert summary == "3 files: 1 unreadable, 1 absent, 1 authentic"


def test_verify_json_is_an_object_a_line(signed, tmp_path, capsys) -> None:
    assert main(["verify", "--json", str(signed), str(tmp_path / "no.mp4")]) == 2
    out, err = capsys.readouterr()
    first, second = map(json.loads, out.splitlines())
    assert err == "2 files: 1 unreadable, 1 authentic\n"
    assert (first["status"], first["exit_code"], first["watermark"]["found"]) == ("authentic", 0, True)
    assert (second["status"], second["manifest"]) == ("unreadable", None)


def test_verify_trust(signed, tmp_path, capsys, monkeypatch) -> None:
    assert main(["keys", "export-root"]) == 0
    root = tmp_path / "root.pem"
    root.write_text(capsys.readouterr().out)
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "elsewhere"))
    assert main(["verify", str(signed)]) == 4
    assert main(["verify", str(signed), "--trust", str(root)]) == 0


def test_sign_then_verify(plain, tmp_path, capsys) -> None:
    target = tmp_path / "signed.mp4"
    assert main(["sign", str(plain), "-o", str(target), "--title", "as found"]) == 0
    assert main(["verify", str(target)]) == 0
    assert "title:      as found" in capsys.readouterr().out
    assert main(["sign", str(plain), "-o", str(target)]) == 2
    assert main(["sign", str(plain), "-o", str(target), "--overwrite"]) == 0


def test_sign_states_history_and_choices(plain, tmp_path, capsys) -> None:
    first, second, picture = (str(tmp_path / name) for name in ("first.mp4", "second.mp4", "a.png"))
    Image.new("RGB", (64, 64)).save(picture)
    assert main(["sign", str(plain), "-o", first]) == 0
    assert main(["sign", first, "-o", second]) == 2
    assert "sign it again (again=True, --again)" in capsys.readouterr().err
    account = ["--edit", "trimmed", "--edit", "c2pa.resized", "--component", picture, "--input", picture]
    choice = ["--training", "constrained", "--training-terms", "ask Ana"]
    assert main(["sign", first, "-o", second, "--again", *account, *choice, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["manifest"]
    names = [action["action"] for action in said["actions"]]
    assert names == ["c2pa.opened", "c2pa.placed", "c2pa.trimmed", "c2pa.resized"]
    assert [source["relationship"] for source in said["ingredients"]] == ["parentOf", "componentOf", "inputTo"]
    assert said["training"]["cawg.ai_training"] == {"use": "constrained", "terms": "ask Ana"}
    third = str(tmp_path / "third.mp4")
    assert main(["sign", str(plain), "-o", third, "--parent", first, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["ingredients"][0]["title"] == "first.mp4"


def test_sign_beside_a_file_and_verify_with_a_manifest_from_elsewhere(plain, tmp_path, capsys) -> None:
    path, side = tmp_path / "a.mp4", tmp_path / "a.c2pa"
    path.write_bytes(plain.read_bytes())
    assert main(["sign", str(path), "--sidecar"]) == 0 and path.read_bytes() == plain.read_bytes()
    assert main(["verify", str(path)]) == 0
    side.rename(tmp_path / "b.c2pa")
    assert main(["verify", str(path), "--manifest", str(tmp_path / "b.c2pa")]) == 0
    remote = tmp_path / "remote.mp4"
    assert main(["sign", str(plain), "-o", str(remote), "--remote", "https://example.org/remote.c2pa"]) == 0
    assert b"https://example.org/remote.c2pa" in remote.read_bytes() and (tmp_path / "remote.c2pa").exists()


def test_keys_shows_what_the_identity_is_and_where(capsys, key_folder) -> None:
    assert main(["keys"]) == 0
    shown = capsys.readouterr().out
    assert "development identity" in shown and str(key_folder) in shown and "PRIVATE" not in shown
    assert main(["keys", "path"]) == 0
    assert capsys.readouterr().out == f"{key_folder}\n"
    assert main(["keys", "export-root"]) == 0
    assert capsys.readouterr().out == keys.local_root()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sign", "{plain}", "-o", "{tmp}/x.mov"], "must end in .mp4"),
        (["sign", "{tmp}/no.mp4", "-o", "{tmp}/x.mp4"], "no such file"),
        (["sign", "{plain}", "-o", "{tmp}/x.mp4", "--cert", "a.pem"], "--cert and --key go together"),
        (["sign", "{plain}", "-o", "{tmp}/x.mp4", "--cert", "{tmp}/a", "--key", "{tmp}/b"], "cannot read"),
        (["verify", "{plain}", "--trust", "{plain}"], "holds no certificate"),
        (["sign", "{plain}"], "Name the signed file (-o DST)"),
        (["sign", "{plain}", "-o", "{tmp}/x.mp4", "--edit", "sharpened"], "no edit that can be stated"),
        (["verify", "{plain}", "{plain}", "--manifest", "x.c2pa"], "--manifest is about one file"),
        (["label", "{plain}", "-o", "{tmp}/x.mp4", "--style", "loud"], "must be corner, moving, credits"),
        (["verify"], "no FILE is given"),
        (["verify", "{plain}", "--frob"], "--frob"),
        (["frob"], "frob"),
        ([], "COMMAND"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[str], says: str, plain, tmp_path, capsys) -> None:
    try:
        code = main([argument.format(plain=plain, tmp=tmp_path) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and err.count("\n") == 1 and says in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [["keys"], ["verify", "{long}"], ["sign", "{plain}", "-o", "{long}"], ["sign", "{long}", "-o", "{tmp}/x.mp4"]],
)
def test_names_too_long_are_one_line_and_code_2(arguments: list[str], plain, tmp_path, capsys, monkeypatch) -> None:
    long = f"{tmp_path}/{'n' * 300}.mp4"
    if arguments == ["keys"]:
        monkeypatch.setenv("SORAJAX_KEYS", long)
    assert main([argument.format(plain=plain, tmp=tmp_path, long=long) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    if arguments[0] == "verify":  # what is wrong with a file is a result, not an error
        assert "UNREADABLE" in out and err == ""
    else:
        assert out == "" and err.count("\n") == 1 and err.startswith("provenance: ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(5, "Input/output error", "/media/a\x1bb"), "/media/a\\u{1b}b: Input/output error"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError("odd"), "odd"),
    ],
)
def test_an_error_that_nobody_foresaw_is_one_line_and_code_2(error: OSError, says: str, capsys, monkeypatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(keys, "default_signer", fail)
    assert main(["keys"]) == 2
    assert capsys.readouterr() == ("", f"provenance: {says}\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["verify", "{plain}"], ["keys", "path"]], ids=["verify", "keys"])
def test_output_that_cannot_be_written_is_one_line_and_code_2(arguments: list[str], plain) -> None:
    command = [sys.executable, "-m", "provenance.cli", *(argument.format(plain=plain) for argument in arguments)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "provenance: No space left on device\n")


def test_a_hostile_title_is_printed_harmless(plain, tmp_path, capsys) -> None:
    target = tmp_path / "signed.mp4"
    title = "\x1b[2Jok\u202e\r\n\x07" + "x" * 10_000
    assert main(["sign", str(plain), "-o", str(target), "--title", title]) == 0
    out = capsys.readouterr().out
    assert "\\u{1b}[2Jok\\u{202e}\\u{d}\\u{a}\\u{7}" in out and "\x1b" not in out and len(out) < 4000
    assert main(["verify", "--json", str(target)]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["title"] == title


def test_as_a_process(signed) -> None:
    command = [sys.executable, "-m", "provenance.cli", "verify", str(signed)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "AUTHENTIC" in done.stdout and done.stderr == ""


def test_a_reader_that_goes_away_is_no_error(signed) -> None:
    command = f'"{sys.executable}" -m provenance.cli verify "{signed}" "{signed}" | true'
    assert subprocess.run(command, shell=True, capture_output=True, text=True).stderr == ""
