"""The same registry in PostgreSQL, and with its blobs in object storage."""

from pathlib import Path

import pytest

from provenance import registry
from provenance.registry import archive, checking
from provenance.registry.entry import Entry
from tests.provenance.registry.test_store import writer


@pytest.fixture
def url(postgresql: str, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("SORAJAX_REGISTRY_BLOBS", str(tmp_path / "blobs"))
    return postgresql


def test_postgresql_keeps_finds_and_checks(url, keep, print_of) -> None:
    with registry.opened(url) as known:
        entry = keep(known, b"in postgresql", payload=b"postgres", title="犬 and 'quotes'")
        keep(known, b"in postgresql", payload=b"postgres", title="犬 and 'quotes'")
        (found,) = known.by_payload(b"postgres")
        assert (found.title, found.manifest_sha256) == ("犬 and 'quotes'", entry.manifest_sha256)
        assert known.alike(print_of(1))[0].entry == found and known.manifest(found) == b"in postgresql"
        assert known.set_proof(found.manifest_sha256, "proof") and known.newest()[0].proof == "proof"
        assert checking.check(known).problems == ()


def test_several_processes_write_to_postgresql(url, tmp_path) -> None:
    with registry.opened(url) as known:
        before = known.count()
    running = [writer(url, f"{tmp_path.name}{i}", 10) for i in range(3)]
    assert [(process.communicate()[0], process.returncode) for process in running] == [(b"ready\n", 0)] * 3
    with registry.opened(url) as known:
        assert known.count() == before + 30


def test_a_registry_moves_from_a_folder_to_postgresql(url, signed, store, tmp_path) -> None:
    from provenance import recording

    with registry.opened(tmp_path / "folder") as known:
        entry = recording.add_file(known, signed)
        archive.export(known, tmp_path / "all.tar")
    with registry.opened(url) as known:
        assert archive.load(known, tmp_path / "all.tar").added == 1
        assert known.by_manifest_id(entry.manifest_id) == [entry] and known.manifest(entry) == store


def test_blobs_in_object_storage(tmp_path, monkeypatch, keep) -> None:
    monkeypatch.setenv("SORAJAX_REGISTRY_BLOBS", f"memory://{tmp_path.name}")
    with registry.opened(tmp_path / "registry") as known:
        entry = keep(known, b"in a bucket")
        assert not (tmp_path / "registry" / "blobs").exists()
        assert known.manifest(entry) == b"in a bucket" and checking.check(known).problems == ()
        known.blobs.remove(known.blobs.path_of(entry.manifest_sha256))
        assert len(checking.check(known).problems) == 1


def test_a_server_that_is_not_there_is_a_line() -> None:
    from provenance.errors import RegistryError

    with pytest.raises(RegistryError, match="cannot be used"):
        registry.opened("postgresql://127.0.0.1:9/none")
    assert Entry(manifest_sha256="", manifest_id="x").payload is None
