"""Every format that professionals hold is signed and read: inside where there is a place, else in a sidecar."""

import os
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

import provenance
from provenance import formats, keys, outputs, signing, watermark
from provenance.errors import InputError, MediaError
from provenance.report import Report
from tests.provenance import films
from tests.provenance.ocsp import Responder

PAYLOAD = b"8 bytes!"
CODECS = {".webm": ("libvpx-vp9", "libopus"), ".avi": ("mpeg4", "libmp3lame")}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, clip) -> Path:
    """A small file of each format."""
    folder, frames = tmp_path_factory.mktemp("formats"), clip(3, size=(64, 64))
    for suffix in (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"):
        codec, sound = CODECS.get(suffix, ("libx264", "aac"))
        container = "mp4" if suffix == ".m4v" else None
        films.film(folder / f"a{suffix}", frames, codec=codec, sound=sound, container=container)
    films.fragmented(folder / "a.mp4", folder / "fragmented.mp4")
    pictures = [Image.fromarray(frame) for frame in frames]
    for suffix in (".png", ".jpg", ".webp", ".gif"):
        pictures[0].save(folder / f"a{suffix}")
    for suffix in (".gif", ".webp", ".png"):
        pictures[0].save(folder / f"moving{suffix}", save_all=True, append_images=pictures[1:])
    return folder


INSIDE = ["a.mp4", "a.m4v", "a.mov", "a.avi", "fragmented.mp4", "a.png", "a.jpg", "a.webp", "a.gif", "moving.gif"]
INSIDE += ["moving.webp", "moving.png"]
BESIDE = ["a.webm", "a.mkv"]


def changed(path: Path, original: Path) -> None:
    """Change a byte of what was there before signing."""
    old, data = original.read_bytes(), bytearray(path.read_bytes())
    data[data.index(old[len(old) // 2 :][:16])] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("name", INSIDE)
def test_credentials_go_inside_where_there_is_a_place(name: str, folder: Path, tmp_path: Path) -> None:
    report = provenance.sign(folder / name, tmp_path / name)
    assert report.status == "authentic" and os.listdir(tmp_path) == [name]
    assert "thumbnail" not in str(report.to_dict())
    assert (tmp_path / name).stat().st_size < (folder / name).stat().st_size + 12000
    changed(tmp_path / name, folder / name)
    assert provenance.verify(tmp_path / name).status in ("altered", "unreadable")


@pytest.mark.parametrize("name", BESIDE)
def test_and_beside_the_file_where_there_is_none(name: str, folder: Path, tmp_path: Path) -> None:
    report = provenance.sign(folder / name, tmp_path / name)
    assert report.status == "authentic" and "keep it beside the file" in report.findings[-1]
    assert sorted(os.listdir(tmp_path)) == ["a.c2pa", name]
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    report = provenance.verify(tmp_path / name)
    assert report.status == "authentic" and "those in a.c2pa, beside the file" in report.findings[-1]
    changed(tmp_path / name, folder / name)
    report = provenance.verify(tmp_path / name)
    assert report.status == "altered" and "not what was signed" in report.findings[0]


@pytest.mark.parametrize("name", ["a.mp4", "fragmented.mp4", "a.mov", "a.avi", "a.png", "a.jpg", "a.webp", "a.gif"])
def test_a_sidecar_on_request_leaves_the_file_as_it_is(name: str, folder: Path, tmp_path: Path) -> None:
    assert provenance.sign(folder / name, tmp_path / name, sidecar=True).status == "authentic"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert provenance.verify(tmp_path / name).status == "authentic"
    side = (tmp_path / name).with_suffix(".c2pa").rename(tmp_path / "elsewhere.c2pa")
    report = provenance.verify(tmp_path / name, manifest=side)
    assert report.status == "authentic" and report.manifest["title"] == name


@pytest.mark.parametrize("name", INSIDE + BESIDE)
def test_every_format_keeps_an_ocsp_response(name: str, folder: Path, tmp_path: Path, authority) -> None:
    certificate, key = authority.issue(ec.generate_private_key(ec.SECP256R1()))
    response = tmp_path / "response.der"
    response.write_bytes(Responder(authority).response(authority.certificate(certificate)))
    certificate.write_bytes(certificate.read_bytes() + authority.root_pem.read_bytes())
    provenance.sign(folder / name, tmp_path / name, signer=keys.load_signer(certificate, key), ocsp=response)
    report = provenance.verify(tmp_path / name, authority.root_pem)
    assert report.status == "authentic"
    assert "an OCSP response in the file says that the signer's certificate is good" in report.findings
    changed(tmp_path / name, folder / name)
    assert provenance.verify(tmp_path / name, authority.root_pem).status in ("altered", "unreadable")


def test_a_file_is_signed_where_it_stands(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes((folder / "a.mp4").read_bytes())
    before = path.stat()
    assert provenance.sign(path, path, sidecar=True).status == "authentic"
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(os.listdir(tmp_path)) == ["a.c2pa", "a.mp4"]


def test_both_appear_or_neither(folder: Path, tmp_path: Path, monkeypatch) -> None:
    for name in ("a.webm", "a.c2pa"):
        (tmp_path / name).write_text(f"an old {name}")
    publish = outputs.publish

    def fail(part: Path, dst: Path, overwrite: bool) -> None:
        if dst.suffix == ".webm":
            raise KeyboardInterrupt
        publish(part, dst, overwrite)

    monkeypatch.setattr(outputs, "publish", fail)
    with pytest.raises(KeyboardInterrupt):
        provenance.sign(folder / "a.webm", tmp_path / "a.webm", overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        provenance.sign(folder / "a.webm", tmp_path / "new.webm")
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == {
        "a.webm": "an old a.webm",
        "a.c2pa": "an old a.c2pa",
    }
    monkeypatch.undo()
    assert provenance.sign(folder / "a.webm", tmp_path / "a.webm", overwrite=True).status == "authentic"
    assert sorted(os.listdir(tmp_path)) == ["a.c2pa", "a.webm"]


def test_a_sidecar_that_is_there_is_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.c2pa").write_text("precious")
    with pytest.raises(InputError, match=r"a\.c2pa exists already"):
        provenance.sign(folder / "a.webm", tmp_path / "a.webm")
    assert os.listdir(tmp_path) == ["a.c2pa"]


def test_a_sidecar_of_another_clip_does_not_fit(folder: Path, clip, tmp_path: Path) -> None:
    provenance.sign(folder / "a.webm", tmp_path / "a.webm")
    films.film(tmp_path / "b.webm", clip(4, size=(64, 64)), codec="libvpx-vp9", sound="libopus")
    (tmp_path / "a.c2pa").rename(tmp_path / "b.c2pa")
    report = provenance.verify(tmp_path / "b.webm")
    assert report.status == "altered" and "may belong to another file" in report.findings[-1]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\0\0\0\x10jumbzzzzzzzz"])
def test_a_sidecar_that_is_none_is_altered_and_says_so(content: bytes, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_bytes((folder / "a.webm").read_bytes())
    (tmp_path / "a.c2pa").write_bytes(content)
    report = _without_search(tmp_path / "a.webm")
    assert report.status == "altered" and "a.c2pa cannot be read" in report.findings[0]


def test_a_sidecar_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    report = provenance.verify(folder / "a.webm", manifest=tmp_path / "nothing.c2pa")
    assert report.status == "unreadable" and "nothing.c2pa cannot be read: No such file" in report.findings[0]


def test_credentials_inside_go_before_those_beside(folder: Path, tmp_path: Path) -> None:
    provenance.sign(folder / "a.png", tmp_path / "a.png", title="inside")
    (tmp_path / "a.c2pa").write_bytes(b"nonsense")
    report = provenance.verify(tmp_path / "a.png")
    assert report.status == "authentic" and report.manifest["title"] == "inside"
    assert any("a.c2pa, beside the file, was not used" in finding for finding in report.findings)


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.jpg"])
def test_an_address_is_written_and_named_and_never_followed(name: str, folder: Path, tmp_path: Path) -> None:
    address = "https://example.org/a.c2pa"
    assert provenance.sign(folder / name, tmp_path / name, remote=address).status == "authentic"
    side = tmp_path / "a.c2pa"
    assert provenance.verify(tmp_path / name).status == "authentic"
    side = side.rename(tmp_path / "fetched.c2pa")
    found = _without_search(tmp_path / name)
    assert found.status == "absent" and any(address in f and "not fetched" in f for f in found.findings)
    assert provenance.verify(tmp_path / name, manifest=side).status == "authentic"
    with pytest.raises(InputError, match=rf"carries credentials already \({address}\)"):
        provenance.sign(tmp_path / name, tmp_path / f"new{(tmp_path / name).suffix}")
    with pytest.raises(MediaError, match="put them beside it as a.c2pa"):
        provenance.sign(tmp_path / name, tmp_path / f"new{(tmp_path / name).suffix}", again=True)


def _without_search(path: Path) -> Report:
    """Verify without the long search for a watermark in pictures that have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watermark.Detector, "result", lambda self, thorough=True: watermark.Detection(False, None, 1.0))
        return provenance.verify(path)


def test_wishes_that_cannot_be_met_are_named(folder: Path, tmp_path: Path) -> None:
    for name, target, wish, says in [
        ("a.mp4", "a.mov", {}, r"must end in \.mp4 or \.m4v"),
        ("a.mov", "a.mp4", {}, "the source is MOV"),
        ("a.png", "a.jpg", {}, r"must end in \.png"),
        ("a.mp4", "b.mp4", {"remote": "ftp://x/y"}, "must begin with https://"),
        ("a.mp4", "b.mp4", {"remote": "https://x/y z"}, "holds spaces"),
        ("a.mp4", "b.mp4", {"remote": "https://x/y", "sidecar": True}, "choose one of the two"),
        ("a.webm", "b.webm", {"remote": "https://x/y"}, "no place for an address"),
    ]:
        with pytest.raises(InputError, match=says) as raised:
            provenance.sign(folder / name, tmp_path / target, **wish)
        assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path) == []


def test_a_watermark_is_found_in_a_still(clip, tmp_path: Path) -> None:
    marked = watermark.embed(clip(5, frames=1, size=(512, 512)), PAYLOAD)
    Image.fromarray(marked[0]).save(tmp_path / "a.png")
    report = provenance.sign(tmp_path / "a.png", tmp_path / "signed.png")
    assert report.watermark is not None and report.watermark.payload == PAYLOAD
    assert report.status == "authentic"


def test_a_generated_still_is_signed_with_its_watermark(clip, tmp_path: Path, facts) -> None:
    marked = watermark.embed(clip(5, frames=1, size=(512, 512)), PAYLOAD)
    Image.fromarray(marked[0]).save(tmp_path / "a.png")
    report = provenance.sign(tmp_path / "a.png", tmp_path / "signed.png", facts=facts)
    assert report.status == "authentic" and report.manifest["origin"] == "trainedAlgorithmicMedia"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "moving.gif"])
def test_a_picture_cut_short_is_unreadable(name: str, folder: Path, tmp_path: Path) -> None:
    data = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 3])
    report = _without_search(tmp_path / name)
    assert report.status == "unreadable" and len(report.findings) == 1


def test_formats_are_told_apart_by_their_bytes(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir()):
        found = formats.of(path)
        assert path.suffix in found.suffixes and found in formats.FORMATS
        renamed = tmp_path / "video.mp4"
        renamed.write_bytes(path.read_bytes())
        assert formats.of(renamed) is found
    with pytest.raises(MediaError, match="can be read"):
        formats.of(__file__)
    assert formats.of_head(np.random.default_rng(0).bytes(64)) is None


def test_the_fresh_signature_is_checked_before_anything_appears(folder: Path, tmp_path: Path, monkeypatch) -> None:
    write = signing._write_signed

    def spoil(src: Path, part: Path, *arguments: object) -> bytes:
        store = write(src, part, *arguments)
        changed(part, src)
        return store

    monkeypatch.setattr(signing, "_write_signed", spoil)
    with pytest.raises(signing.SigningError, match="did not verify"):
        provenance.sign(folder / "a.webm", tmp_path / "a.webm")
    assert os.listdir(tmp_path) == []
