"""``provenance watermark`` as a person meets it."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from provenance import watermark
from provenance.cli import main
from tests.provenance import films

PAYLOAD = b"8 bytes!"


@pytest.fixture(scope="module")
def film(clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.film(tmp_path_factory.mktemp("films") / "film.mp4", clip(5, frames=16))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key"
    path.write_bytes(bytes(range(32)))
    return path


def test_embed_draws_a_payload_that_detect_finds(film: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "marked.mp4"
    assert main(["watermark", "embed", str(film), "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    said = re.fullmatch(r".*: marked ([0-9a-f]{16}), read back from 16 pictures of 256x256, p [=<] \S+\n", out)
    assert said and err == ""
    payload = said[1]
    assert main(["watermark", "detect", str(target)]) == 0
    assert capsys.readouterr().out.startswith(f"{target}: found {payload}, p ")
    assert main(["watermark", "embed", str(target), "-o", str(tmp_path / "twice.mp4")]) == 2
    assert f"carries the watermark {payload} already" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["marked.mp4"]


def test_a_private_key_and_a_text(film: Path, key: Path, tmp_path: Path, capsys) -> None:
    target, private = str(tmp_path / "marked.mp4"), ["--key", str(key)]
    arguments = ["watermark", "embed", str(film), "-o", target, "--text", "8 bytes!", "--again", "--json", *private]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["payload"], said["text"], said["frames"], said["size"]) == (PAYLOAD.hex(), "8 bytes!", 16, [256, 256])
    assert main(["watermark", "detect", "--fast", target, *private]) == 0
    assert f'found {PAYLOAD.hex()} ("8 bytes!")' in capsys.readouterr().out
    assert main(["watermark", "detect", "--fast", target]) == 3
    assert "no watermark found" in capsys.readouterr().out


def test_detect_says_a_line_for_each_file_and_gives_the_worst_code(marked, plain, tmp_path, capsys) -> None:
    missing = tmp_path / "no.mp4"
    assert main(["watermark", "detect", "--fast", str(marked), str(plain), str(missing)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines] == ["found", "no", "unreadable"]
    assert main(["watermark", "detect", "--fast", "--json", str(marked), str(plain)]) == 3
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["found"], first["payload"], first["text"]) == (True, PAYLOAD.hex(), "8 bytes!")
    assert (second["found"], second["payload"], second["error"]) == (False, None, None)


def test_names_by_strangers_are_escaped(tmp_path: Path, capsys) -> None:
    assert main(["watermark", "detect", str(tmp_path / "a\x1b[2Jb\u202e.mp4")]) == 2
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\u202e" not in out and "\\u{1b}" in out


def test_bench_tries_attacks_on_your_own_video(film: Path, capsys) -> None:
    assert main(["watermark", "bench", str(film), "--frames", "9", "--attacks", "flip_*"]) == 0
    out = capsys.readouterr().out
    assert "9 pictures of 256x256" in out and " dB, embedding " in out and "recovered after" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("  flip_")]
    assert rows and all(row[1] == "yes" and row[3] == "100%" for row in rows)
    assert main(["watermark", "bench", str(film), "--frames", "9", "--attacks", "flip_*", "--json"]) == 0
    head, *rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert head["frames"] == 9 and 38 < head["psnr"] < 60 and head["size"] == [256, 256]
    assert rows and all(row["recovered"] and row["p_value"] < 1e-9 and row["error"] is None for row in rows)


def test_bench_says_when_a_mark_is_lost(film: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(watermark, "embed", lambda frames, payload, key: frames.copy())
    monkeypatch.setattr(watermark.Detector, "result", lambda _: watermark.NOTHING)
    assert main(["watermark", "bench", str(film), "--frames", "3", "--attacks", "none", "--json"]) == 0
    head, row = map(json.loads, capsys.readouterr().out.splitlines())
    assert not row["recovered"] and not row["found"] and head["psnr"] == np.inf


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["embed", "{film}", "-o", "{tmp}/x.mp4", "--payload", "12"], "--payload '12' is not 16 hexadecimal digits"),
        (["embed", "{film}", "-o", "{tmp}/x.mp4", "--payload", "0123456789abcdeg"], "is not 16 hexadecimal digits"),
        (["embed", "{film}", "-o", "{tmp}/x.mp4", "--text", "abc"], "--text 'abc' is 3 bytes; a payload is 8"),
        (["embed", "{film}", "-o", "{tmp}/x.mp4", "--key", "{tmp}/no"], "cannot read the key"),
        (["embed", "{film}", "-o", "{tmp}/x.mp4", "--key", "/dev/null"], "is empty"),
        (["embed", "{film}", "-o", "{tmp}/x.gif"], "must end in one of .mp4"),
        (["embed", "{film}", "-o", "{film}", "--overwrite"], "is the source itself"),
        (["embed", "{tmp}/no.mp4", "-o", "{tmp}/x.mp4"], "no such file"),
        (["embed", "{film}"], "required: -o/--output"),
        (["embed", "{film}", "-o", "x", "--text", "a", "--payload", "b"], "not allowed with"),
        (["detect"], "required: FILE"),
        (["bench", "{film}", "--attacks", "nuke"], "no attack is named 'nuke'; the groups are: "),
        (["bench", "{film}", "--frames", "0"], "--frames 0 is not possible"),
        (["bench", "{tmp}/no.mp4"], "no such file"),
        ([], "required: COMMAND"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[str], says: str, film: Path, tmp_path: Path, capsys) -> None:
    try:
        code = main(["watermark", *(argument.format(film=film, tmp=tmp_path) for argument in arguments)])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and says in err and err.count("\n") == 1
    assert os.listdir(tmp_path) == []
