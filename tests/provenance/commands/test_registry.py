"""``provenance registry`` as a person meets it."""

import json
from pathlib import Path

import pytest

from provenance.cli import main


@pytest.fixture
def place(signed: Path, tmp_path: Path, monkeypatch, capsys) -> Path:
    monkeypatch.setenv("SORAJAX_REGISTRY", str(tmp_path / "registry"))
    assert main(["registry", "add", str(signed)]) == 0
    assert capsys.readouterr().out == f"{signed}: registered as {b'8 bytes!'.hex()}\n"
    return tmp_path / "registry"


def test_list(place, capsys) -> None:
    assert main(["registry", "list"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert b"8 bytes!".hex() in line and "a dog on a beach" in line and "development identity" in line
    assert main(["registry", "list", "--json", "--most", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "a dog on a beach"


def test_show(place, tmp_path, capsys) -> None:
    assert main(["registry", "show", b"8 bytes!".hex(), "--manifest", str(tmp_path / "x.c2pa")]) == 0
    page = capsys.readouterr().out
    assert page.startswith("a dog on a beach\n") and "256x256, 8 fps, 1.1 s" in page
    assert "credentials: hold, by a trusted signer" in page and (tmp_path / "x.c2pa").read_bytes()[4:8] == b"jumb"
    assert main(["registry", "show", "--json", b"8 bytes!".hex()]) == 0
    label = json.loads(capsys.readouterr().out)["manifest_id"]
    assert main(["registry", "show", label]) == 0


def test_check_says_what_is_wrong_by_its_code(place, capsys) -> None:
    assert main(["registry", "check"]) == 0
    assert "1 clips, " in capsys.readouterr().out
    blob = next(path for path in (place / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(b"damaged")
    assert main(["registry", "check"]) == 1
    assert "is damaged" in capsys.readouterr().out


def test_export_and_import(place, tmp_path, capsys) -> None:
    archive, other = str(tmp_path / "all.tar"), str(tmp_path / "other")
    assert main(["registry", "export", archive]) == 0
    assert main(["registry", "import", archive, "--registry", other]) == 0
    assert main(["registry", "import", archive, "--registry", other]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 clips written",
        "1 clips added, 0 known already, 0 left out",
        "0 clips added, 1 known already, 0 left out",
    ]


def test_sign_registers_and_verify_recovers(marked, plain, tmp_path, capsys) -> None:
    place = str(tmp_path / "registry")
    assert main(["sign", str(marked), "-o", str(tmp_path / "s.mp4"), "--registry", place]) == 0
    assert main(["registry", "list", "--registry", place]) == 0
    assert "marked.mp4" in capsys.readouterr().out
    # A file signed as it is names no watermark, but is known by its looks.
    assert main(["verify", str(marked), "--registry", place]) == 5
    out = capsys.readouterr().out
    assert ": RECOVERED\n" in out and "likeness alone" in out
    assert main(["verify", str(marked), "--registry", "off"]) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["registry"], "required: WHAT"),
        (["registry", "list", "--registry", "off"], "the registry is off"),
        (["registry", "list", "--registry", "{tmp}/none"], "there is no registry at"),
        (["registry", "list", "--registry", "mysql://x/y"], "not supported"),
        (["registry", "add", "{plain}", "--registry", "{tmp}/r"], "it is absent"),
        (["registry", "add", "{tmp}/no.mp4", "--registry", "{tmp}/r"], "it is unreadable"),
        (["registry", "import", "{plain}", "--registry", "{tmp}/r"], "no archive of a registry"),
        (["registry", "import", "{tmp}/no.tar", "--registry", "{tmp}/r"], "cannot be read"),
        (["registry", "serve", "--registry", "off"], "nothing to serve"),
        (["registry", "serve", "--registry", "{tmp}/r", "--port", "0"], "--port is from 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_use_is_one_line_and_code_2(arguments, says, plain, tmp_path, capsys, monkeypatch) -> None:
    from provenance.watermark import Detector

    result = Detector.result  # the thorough search is not what is tested here
    monkeypatch.setattr(Detector, "result", lambda self, thorough=True: result(self, False))
    try:
        code = main([argument.format(plain=plain, tmp=tmp_path) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out, len(err.splitlines())) == (2, "", 1) and says in err


def test_an_unknown_clip_is_a_line(place, capsys) -> None:
    assert main(["registry", "show", "nothing"]) == 2
    assert "no clip nothing is registered" in capsys.readouterr().err
