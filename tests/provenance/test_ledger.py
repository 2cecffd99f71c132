"""Registered clips are in the log, and their proofs hold."""

from dataclasses import replace

import pytest

import provenance
from provenance import ledger, log, registry
from provenance.cli import main
from provenance.errors import LogError, ProofError


@pytest.fixture
def known(plain, tmp_path, monkeypatch):
    monkeypatch.delenv("SORAJAX_LOG", raising=False)
    for name in ("a.mp4", "b.mp4"):
        report = provenance.sign(plain, tmp_path / name, registry=tmp_path / "registry")
        assert not any("log" in finding for finding in report.findings)
    with registry.opened(tmp_path / "registry") as opened:
        yield opened


def test_every_signed_clip_is_an_entry_whose_proof_holds(known, tmp_path) -> None:
    newest, first = known.newest()
    assert [ledger.check(known, entry).index for entry in (first, newest)] == [0, 1]
    assert log.audit(tmp_path / "registry" / "log").holds


def test_what_is_logged_names_nobody(known) -> None:
    text = ledger.logged_bytes(known.newest()[0]).decode()
    assert known.newest()[0].manifest_sha256 in text
    assert "plain" not in text and "identity" not in text


def test_an_entry_that_was_changed_afterwards_is_found(known) -> None:
    entry = known.newest()[0]
    with pytest.raises(ProofError):
        ledger.check(known, replace(entry, file_sha256="0" * 64))
    with pytest.raises(ProofError):
        ledger.check(known, replace(entry, proof=known.newest()[1].proof))


def test_show_says_where_it_is_in_the_log(known, tmp_path, capsys) -> None:
    assert main(["registry", "show", known.newest()[0].manifest_sha256, "--registry", str(tmp_path / "registry")]) == 0
    assert "entry 1 of 2 in sorajax-registry/" in capsys.readouterr().out


def test_off_means_no_log(plain, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SORAJAX_LOG", "off")
    provenance.sign(plain, tmp_path / "x.mp4", registry=tmp_path / "registry")
    assert not (tmp_path / "registry" / "log").exists()
    with registry.opened(tmp_path / "registry") as opened, pytest.raises(LogError, match="not entered"):
        ledger.check(opened, opened.newest()[0])


def test_a_log_that_cannot_be_used_is_a_finding_and_the_clip_is_there(plain, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SORAJAX_LOG", str(tmp_path / "file" / "log"))
    report = provenance.sign(plain, tmp_path / "x.mp4", registry=tmp_path / "registry")
    assert report.status == "authentic" and (tmp_path / "x.mp4").exists()
    assert any("not entered in the log" in finding for finding in report.findings)
