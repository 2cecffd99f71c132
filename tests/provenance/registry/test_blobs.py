"""Blobs are what their names say, wherever they are."""

from pathlib import Path

import pytest

from provenance.errors import RegistryError
from provenance.registry.blobs import Blobs, digest


@pytest.fixture(params=["disk", "memory"])
def blobs(request, tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs") if request.param == "disk" else f"memory://{tmp_path.name}")


def test_a_blob_is_read_back_by_its_digest(blobs) -> None:
    name = blobs.put(b"some bytes")
    assert name == digest(b"some bytes") and blobs.get(name) == b"some bytes" and blobs.put(b"some bytes") == name
    assert list(blobs.names()) == [name] and f"/{name[:2]}/{name[2:4]}/" in blobs.path_of(name)


def test_an_empty_place_has_none(blobs) -> None:
    assert list(blobs.names()) == [] and blobs.leftovers() == []


def test_missing_and_damaged_blobs_are_said_to_be(blobs) -> None:
    with pytest.raises(RegistryError, match="is missing"):
        blobs.get("0" * 64)
    with pytest.raises(RegistryError, match="no SHA-256"):
        blobs.get("../../etc/passwd")
    name = blobs.put(b"some bytes")
    blobs._files.pipe_file(blobs.path_of(name), b"same bytes")
    with pytest.raises(RegistryError, match="is damaged"):
        blobs.get(name)


def test_a_blob_cut_short_is_written_again(tmp_path) -> None:
    blobs = Blobs(str(tmp_path))
    name = blobs.put(b"some bytes")
    Path(blobs.path_of(name)).write_bytes(b"some")
    assert blobs.put(b"some bytes") == name and blobs.get(name) == b"some bytes"


def test_a_place_that_cannot_be_used_is_a_line(tmp_path) -> None:
    with pytest.raises(RegistryError, match="cannot be kept at nosuch://"):
        Blobs("nosuch://bucket/x")
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match="cannot be written"):
        Blobs(str(tmp_path / "file")).put(b"x")
