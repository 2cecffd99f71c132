"""``provenance log`` as a person meets it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from provenance import log
from provenance.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """A folder to work in: entries in files, and a log of three of them."""
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        (tmp_path / name).write_text(f"entry {name}\n")
    assert main(["log", "init", "clips", "--origin", "example.com/clips"]) == 0
    assert main(["log", "append", "clips", "a", "b", "c"]) == 0
    return tmp_path


@pytest.fixture
def key(home: Path, capsys) -> str:
    capsys.readouterr()
    assert main(["log", "show", "clips", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["key"]


def test_from_the_first_entry_to_a_verified_proof(home: Path, key: str, capsys) -> None:
    assert main(["log", "prove", "clips", "1", "-o", "b.tlog-proof"]) == 0
    assert capsys.readouterr().out == "b.tlog-proof: proof of entry 1\n"
    shutil.move("clips", "gone")  # a proof needs no log
    assert main(["log", "verify", "b.tlog-proof", "--entry", "b", "--key", key]) == 0
    assert capsys.readouterr().out == "holds: entry 1 of 3 in example.com/clips\n"
    assert main(["log", "verify", "b.tlog-proof", "--entry", "b", "--key", key, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["holds"], said["index"], said["size"]) == (True, 1, 3)
    assert main(["log", "verify", "b.tlog-proof", "--entry", "a", "--key", key]) == 1
    assert capsys.readouterr().out.startswith("does not hold: the path does not lead")
    assert main(["log", "verify", "b.tlog-proof", "--entry", "a", "--key", key, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["holds"] is False and len(said["findings"]) == 1


def test_init_says_both_keys_and_how_to_treat_them(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "log"
    assert main(["log", "init", str(folder), "--origin", "example.com/x"]) == 0
    out, err = capsys.readouterr()
    assert f"public key:  {log.open_log(folder).verifier}\n" in out and err == ""
    assert f"private key: {folder}.key.pem (never publish it" in out


def test_append_says_the_index_of_each(home: Path, capsys) -> None:
    capsys.readouterr()
    assert main(["log", "append", "clips", "d", "a"]) == 0
    assert capsys.readouterr().out == "3 d\n4 a\n"


def test_prove_by_the_entry_itself(home: Path, capsys) -> None:
    capsys.readouterr()
    assert main(["log", "prove", "clips", "--entry", "c"]) == 0
    proof = log.Proof.from_text(capsys.readouterr().out)
    assert proof.index == 2
    log.verify_inclusion(b"entry c\n", proof, log.open_log("clips").verifier)
    assert main(["log", "prove", "clips", "--entry", "d"]) == 1
    assert capsys.readouterr().out == "does not hold: d is not among the 3 entries of the log\n"


def test_show(home: Path, key: str, capsys) -> None:
    assert main(["log", "show", "clips"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("example.com/clips: 3 entries\n") and f"key:       {key}\n" in out
    assert main(["log", "show", "clips", "1"]) == 0
    assert capsys.readouterr().out == "entry b\n\n"
    assert main(["log", "show", "clips", "1", "-o", "copy"]) == 0
    assert Path("copy").read_bytes() == b"entry b\n"
    Path("hostile").write_bytes(b"\x1b[2Jred")
    Path("bytes").write_bytes(b"\xff\x00")
    assert main(["log", "append", "clips", "hostile", "bytes"]) == 0
    capsys.readouterr()
    assert main(["log", "show", "clips", "3"]) == 0
    assert capsys.readouterr().out == "\\u{1b}[2Jred\n"
    assert main(["log", "show", "clips", "4"]) == 0
    assert capsys.readouterr().out == "ff00\n"
    assert main(["log", "show", "clips", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"index": 4, "entry": "ff00"}


def test_audits_compare_with_the_one_before(home: Path, key: str, capsys) -> None:
    """The owner's audit takes the key from beside the folder; anyone else's is given it."""
    assert main(["log", "audit", "clips", "--keep", "kept"]) == 0
    assert "clips: holds: 3 entries of example.com/clips" in capsys.readouterr().out
    assert main(["log", "append", "clips", "d"]) == 0
    first = Path("kept").read_text()
    assert main(["log", "audit", "clips", "--keep", "kept"]) == 2
    assert "give it as --since too" in capsys.readouterr().err and Path("kept").read_text() == first
    assert main(["log", "audit", "clips", "--since", "kept", "--keep", "kept", "--key", key]) == 0
    assert Path("kept").read_text() == Path("clips/checkpoint").read_text() != first
    capsys.readouterr()
    assert main(["log", "audit", "clips", "--since", "kept", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["holds"], said["size"], said["findings"], said["unchecked"]) == (True, 4, [], [])


def test_an_audit_that_fails_keeps_what_it_had(home: Path, key: str, capsys) -> None:
    assert main(["log", "audit", "clips", "--keep", "kept"]) == 0
    before = Path("kept").read_text()
    signer = log.open_log("clips")._signer
    shutil.rmtree("clips")
    log.create("clips", origin="example.com/clips", signer=signer).append_many([b"x", b"y", b"z", b"another history"])
    capsys.readouterr()
    assert main(["log", "audit", "clips", "--since", "kept", "--keep", "kept", "--key", key]) == 1
    out = capsys.readouterr().out
    assert "clips: DOES NOT HOLD: 4 entries" in out and "  - the log was forked" in out
    assert Path("kept").read_text() == before
    assert main(["log", "audit", "clips", "--since", "kept", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["holds"] is False


def test_an_audit_without_a_key_says_so(home: Path, capsys) -> None:
    shutil.copytree("clips", "published")
    capsys.readouterr()
    assert main(["log", "audit", "published"]) == 0
    assert "not checked: the checkpoint's signature" in capsys.readouterr().out


def test_a_damaged_log_is_a_result(home: Path, capsys) -> None:
    path = Path("clips/tile/0/000.p/3")
    path.write_bytes(bytes(96))
    capsys.readouterr()
    for command in (["prove", "clips", "0"], ["show", "clips", "0"], ["append", "clips", "d"]):
        assert main(["log", *command]) == 1
        out, err = capsys.readouterr()
        assert out.startswith("does not hold: ") and out.count("\n") == 1 and err == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["init", "clips", "--origin", "x"], "is in use"),
        (["init", "new", "--origin", "two words"], "cannot be the name"),
        (["init", "new"], "--origin"),
        (["append", "clips", "missing"], "cannot read missing: No such file"),
        (["append", "clips", "long"], "longer than the 65535 bytes"),
        (["append", "nowhere", "a"], "is not a folder"),
        (["prove", "clips"], "give either the INDEX"),
        (["prove", "clips", "0", "--entry", "a"], "give either the INDEX"),
        (["prove", "clips", "3"], "no entry 3; it has 3"),
        (["prove", "clips", "0", "--key", "nonsense"], "name+hash+base64"),
        (["prove", "clips", "0", "-o", "a"], "exists already"),
        (["verify", "a", "--entry", "a", "--key", "KEY"], "first line is not c2sp.org/tlog-proof@v1"),
        (["verify", "a", "--entry", "a"], "--key"),
        (["verify", "missing", "--entry", "a", "--key", "KEY"], "cannot read missing"),
        (["audit", "nowhere"], "is not a folder"),
        (["audit", "."], "no log at"),
        (["audit", "clips", "--since", "a"], "not a signed note"),
        (["audit", "clips", "--since", "missing"], "cannot read missing"),
        (["show", "clips", "-o", "x"], "--output needs the INDEX"),
        (["show", "http://127.0.0.1:1/log"], "cannot fetch checkpoint"),
        (["show", "clip\x1bs"], "clip\\u{1b}s is not a folder"),
        ([], "COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[str], says: str, home: Path, key: str, capsys) -> None:
    Path("long").write_bytes(bytes(65_536))
    before = sorted(os.listdir())
    try:
        code = main(["log", *(key if argument == "KEY" else argument for argument in arguments)])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and err.count("\n") == 1 and says in err
    assert sorted(os.listdir()) == before


def test_a_hostile_origin_is_printed_harmless(home: Path, capsys) -> None:
    """Control characters cannot be in a checkpoint; a direction override can."""
    shutil.copytree("clips", "hostile")
    path = Path("hostile/checkpoint")
    path.write_text(path.read_text().replace("example.com/clips\n3", "example\u202ecom\n3"))
    capsys.readouterr()
    assert main(["log", "show", "hostile"]) == 0
    assert "example\\u{202e}com" in capsys.readouterr().out
    assert main(["log", "audit", "hostile"]) == 0
    assert "\u202e" not in capsys.readouterr().out
    assert main(["log", "prove", "hostile", "0"]) == 2
    assert "not safe to print" in capsys.readouterr().err
    assert main(["log", "prove", "hostile", "0", "-o", "proof"]) == 0
