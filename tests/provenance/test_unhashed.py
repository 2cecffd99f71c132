"""What C2PA leaves out of its hash does not go unnoticed."""

import hashlib
import json
from pathlib import Path

import pytest

import provenance
from provenance import keys, localise, signing, unhashed
from provenance.errors import MediaError
from tests.provenance import films


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, clip) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    films.film(folder / "original.mp4", clip(4, size=(64, 64)))
    provenance.sign(folder / "original.mp4", folder / "signed.mp4")
    return folder / "signed.mp4"


@pytest.fixture(scope="module")
def by_others(signed: Path) -> Path:
    """Signed by a program that does not know of our assertion."""
    path = signed.with_name("others.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(localise, "widened", lambda src, dst: False)
        patch.setattr(unhashed, "assertion", lambda path: {"label": "org.example", "data": {"x": 1}})
        signing._write_signed(signed.with_name("original.mp4"), path, None, "t", keys.default_signer())
    return path


def box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def test_a_file_as_signed_has_nothing_to_say(signed: Path, by_others: Path) -> None:
    assert [len(provenance.verify(path).findings) for path in (signed, by_others)] == [1, 1]


@pytest.mark.parametrize("kind", [b"free", b"skip"])
def test_content_hidden_after_signing_is_altered(kind: bytes, signed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(signed.read_bytes() + box(kind, b"meet me at midnight"))
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered"
    assert f"a {kind.decode()} box at byte" in report.findings[0] and "after signing" in report.findings[0]


def test_empty_space_put_in_or_filled_is_told_apart(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(signed.read_bytes() + box(b"free", bytes(30)))
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "authentic" and "30 empty bytes was put in after signing" in report.findings[0]


def test_a_changed_file_type_is_said(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    data[12:16] = b"\0\0\7\7"  # the minor version
    (tmp_path / "x.mp4").write_bytes(data)
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "authentic" and "ftyp box" in report.findings[0]


def test_space_that_was_taken_out_is_said(signed: Path, tmp_path: Path) -> None:
    source = signed.with_name("original.mp4")
    (tmp_path / "a.mp4").write_bytes(source.read_bytes() + box(b"skip", bytes(40)))
    provenance.sign(tmp_path / "a.mp4", tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    assert data.endswith(box(b"skip", bytes(40)))
    (tmp_path / "b.mp4").write_bytes(data[:-48])
    report = provenance.verify(tmp_path / "b.mp4")
    assert report.status == "authentic" and "a skip box of 40 bytes was taken out" in report.findings[0]


def test_what_was_there_when_it_was_signed_is_nothing_new(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(signed.with_name("original.mp4").read_bytes() + box(b"free", b"made by a camera"))
    assert provenance.sign(tmp_path / "a.mp4", tmp_path / "b.mp4").status == "authentic"
    assert len(provenance.verify(tmp_path / "b.mp4").findings) == 1


def test_in_files_of_others_content_is_pointed_at(by_others: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(by_others.read_bytes() + box(b"free", b"\0\0hello"))
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "authentic"
    assert "holds 5 bytes that are not zero, which the credentials do not cover" in report.findings[0]


def test_bytes_behind_the_manifest_in_its_own_box_are_seen(
    signed: Path, by_others: Path, tmp_path: Path, monkeypatch
) -> None:
    # The free box behind the C2PA box becomes a part of it, so that nothing else moves.
    monkeypatch.setattr(localise, "widened", lambda src, dst: False)
    provenance.sign(signed.with_name("original.mp4"), tmp_path / "ours.mp4")
    for source, status in ((tmp_path / "ours.mp4", "altered"), (by_others, "authentic")):
        data = bytearray(source.read_bytes())
        start = data.index(b"uuid") - 4
        size = int.from_bytes(data[start : start + 4], "big")
        assert data[start + size : start + size + 8] == box(b"free", b"")
        data[start : start + 4] = (size + 8).to_bytes(4, "big")
        data[start + size : start + size + 8] = b"midnight"
        (tmp_path / "x.mp4").write_bytes(data)
        report = provenance.verify(tmp_path / "x.mp4")
        assert report.status == status and any("8 bytes are hidden behind the manifest" in f for f in report.findings)


def test_an_unknown_box_is_altered_and_named(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(signed.read_bytes() + box(b"SECR", b"et"))
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered" and any("unknown box SECR of 10 bytes" in f for f in report.findings)


def test_bytes_at_the_end_that_are_no_box_are_named(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(signed.read_bytes() + b"bye")
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "unreadable" and "3 stray bytes at the end" in report.findings[0]


@pytest.mark.parametrize("path", ["/mdat", "/moov/trak", "/moof", "/meta"])
def test_a_signer_who_left_pictures_out_of_the_hash_is_not_believed(path: str, signed: Path) -> None:
    reasons, notes = unhashed.compare(signed, None, {"exclusions": [{"xpath": "/ftyp"}, {"xpath": path}, None, 3]})
    said = reasons if path != "/meta" else notes
    assert said == [f"the signer left {path} out of the hash, so that it can be changed without notice"]


@pytest.mark.parametrize("data", [None, 3, {}, {"boxes": None}, {"boxes": [None]}, {"boxes": [{"type": 1}]}])
def test_an_assertion_of_any_shape_is_survived(data, signed: Path) -> None:
    assert unhashed.compare(signed, data, None) == ([], [])


def test_the_digests_are_signed(signed: Path) -> None:
    said = provenance.verify(signed).manifest["unhashed"]
    data = signed.read_bytes()
    size = int.from_bytes(data[:4], "big")
    assert said["boxes"][0] == {"type": "ftyp", "size": size - 8, "hash": hashlib.sha256(data[8:size]).hexdigest()}
    assert json.dumps(said)


def test_thousands_of_boxes_are_not_gone_through(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(signed.read_bytes() + box(b"free", b"") * 1500)
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered" and "it has more than 1000 boxes of free space" in report.findings[0]
    (tmp_path / "y.mp4").write_bytes(signed.with_name("original.mp4").read_bytes() + box(b"free", b"") * 1500)
    with pytest.raises(MediaError, match="more than 1000 boxes"):
        provenance.sign(tmp_path / "y.mp4", tmp_path / "z.mp4")
