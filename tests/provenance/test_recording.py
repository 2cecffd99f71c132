"""Files are registered when they are signed, or later."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

import provenance
from provenance import recording, registry
from provenance.errors import InputError


@pytest.fixture
def known(tmp_path: Path):
    with registry.opened(tmp_path / "registry") as opened:
        yield opened


def test_signing_keeps_facts_store_fingerprint_and_stills(marked, facts, known, tmp_path) -> None:
    import hashlib

    provenance.sign(marked, tmp_path / "s.mp4", facts=facts, registry=tmp_path / "registry")
    (entry,) = known.by_payload(b"8 bytes!")
    assert (entry.title, entry.width, entry.height, entry.fps) == ("a dog on a beach", 256, 256, 8.0)
    assert entry.file_sha256 == hashlib.sha256((tmp_path / "s.mp4").read_bytes()).hexdigest()
    assert known.manifest(entry) in (tmp_path / "s.mp4").read_bytes()
    assert len(known.fingerprint(entry).hashes) == 12 and len(entry.pictures) == 2


def test_registering_later_is_the_same(signed, known, tmp_path) -> None:
    entry = recording.add_file(known, signed)
    again = recording.add_file(known, signed)
    assert known.count() == 1 and again.manifest_sha256 == entry.manifest_sha256
    assert known.by_payload(b"8 bytes!")[0].fingerprint_sha256 == entry.fingerprint_sha256


def test_a_sidecar_is_registered_with_its_file(marked, known, tmp_path) -> None:
    copy = tmp_path / "clip.mp4"
    shutil.copy(marked, copy)
    provenance.sign(copy, copy, sidecar=True)
    entry = recording.add_file(known, copy)
    assert known.manifest(entry) == (tmp_path / "clip.c2pa").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_is_registered(suffix, clip, known, tmp_path) -> None:
    Image.fromarray(clip(7, frames=1)[0]).save(tmp_path / f"a{suffix}")
    provenance.sign(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    entry = recording.add_file(known, tmp_path / f"b{suffix}")
    assert entry.payload is None and len(known.fingerprint(entry).hashes) == 1


def test_what_does_not_hold_is_not_registered(signed, plain, known, tmp_path) -> None:
    data = bytearray(signed.read_bytes())
    data[-100] ^= 1
    (tmp_path / "x.mp4").write_bytes(data)
    with pytest.raises(InputError, match="it is altered"):
        recording.add_file(known, tmp_path / "x.mp4")
    assert known.count() == 0
