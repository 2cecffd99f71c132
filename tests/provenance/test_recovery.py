"""A copy that lost its credentials gets them back, and nothing else does."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

import provenance
from provenance import keys, recovery, registry, signing, stores, video
from provenance.registry.entry import Entry

PAYLOAD = b"8 bytes!"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A registry with one signed clip."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def original(marked: Path, facts, place: Path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "original.mp4"
    report = provenance.sign(marked, path, facts=facts, registry=place)
    assert report.status == "authentic" and not any("registered" in finding for finding in report.findings)
    return path


@pytest.fixture(scope="module")
def frames(original: Path) -> np.ndarray:
    return np.stack(list(video.read_frames(original)))


@pytest.fixture(scope="module")
def copy(frames, encode, tmp_path_factory) -> Path:
    """Encoded anew, smaller, without its first two pictures, mirrored."""
    return encode(tmp_path_factory.mktemp("clips") / "copy.mp4", frames[2:, :, ::-1], crf=26, size=(200, 200))


def test_a_copy_gets_the_originals_credentials(original, copy, place) -> None:
    report = provenance.verify(copy, registry=place)
    assert (report.status, report.exit_code, report.manifest) == ("recovered", 5, None)
    found = report.recovered
    assert found.manifest["title"] == "a dog on a beach" and found.manifest["signer"]["development"]
    assert found.manifest == provenance.verify(original).manifest
    assert found.basis == "watermark" and found.trusted and found.signed_likeness and found.agreement > 0.8
    assert found.start == pytest.approx(0.25, abs=0.13) and found.end == pytest.approx(1.125, abs=0.13)
    said = " ".join(report.findings)
    assert "a copy of 'a dog on a beach', from 0.3 to 1.1 s of 1.1 s" in report.findings[0]
    assert "mirrored" in said and "200x200 pixels instead of 256x256" in said
    assert "signature and certificate hold" in said and "cannot be checked on a copy" in said
    assert [at for at, _ in found.stills] == [0.0, 1.0] and found.stills[0][1].startswith(b"\xff\xd8\xff")


def test_a_recovery_is_told_to_people_and_programs(original, copy, place) -> None:
    report = provenance.verify(copy, registry=place)
    page = report.to_text()
    assert ": RECOVERED\n" in page and "title:      a dog on a beach" in page and "- a copy of" in page
    said = json.loads(report.to_json())
    assert (said["manifest"], said["recovered"]["manifest"]["title"]) == (None, "a dog on a beach")
    assert said["recovered"]["pairs"] and said["recovered"]["source"] == f"the registry {place}"


def test_without_a_registry_it_is_absent_as_before(original, copy, tmp_path) -> None:
    for where in ("off", tmp_path):
        report = provenance.verify(copy, registry=where)
        assert report.status == "absent" and report.recovered is None
    assert "there is no registry" in " ".join(report.findings)


def test_on_another_machine_the_signer_is_not_vouched_for(original, copy, place, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "elsewhere"))
    report = provenance.verify(copy, registry=place)
    assert report.status == "recovered" and not report.recovered.trusted
    assert any("nobody here vouches" in finding for finding in report.findings)


def test_the_mark_on_other_pictures_is_not_a_copy(original, clip, encode, place, tmp_path) -> None:
    forged = encode(tmp_path / "forged.mp4", provenance.watermark.embed(clip(9), PAYLOAD))
    report = provenance.verify(forged, registry=place)
    assert (report.status, report.recovered) == ("absent", None)
    assert "is that of 'a dog on a beach'" in report.findings[0] and "the pictures are others" in report.findings[0]


def test_a_screenshot_gets_the_originals_credentials(original, frames, place, tmp_path) -> None:
    Image.fromarray(frames[6]).save(tmp_path / "shot.png")
    report = provenance.verify(tmp_path / "shot.png", registry=place)
    assert report.status == "recovered" and report.recovered.manifest["title"] == "a dog on a beach"
    assert report.recovered.start == pytest.approx(0.75, abs=0.26)


def test_pictures_that_are_much_covered_are_said_to_agree_only_in_part(frames, place, encode, tmp_path) -> None:
    covered = frames.copy()
    covered[:, :90, :110] = 0
    report = provenance.verify(encode(tmp_path / "covered.mp4", covered, crf=20), registry=place)
    assert report.status == "recovered" and report.recovered.agreement < 0.75
    assert any("agree only in part" in finding for finding in report.findings)


def test_other_pictures_are_absent(original, clip, encode, place, tmp_path, quick) -> None:
    report = provenance.verify(encode(tmp_path / "other.mp4", clip(12), crf=28), registry=place)
    assert report.status == "absent" and report.recovered is None


@pytest.fixture
def quick(monkeypatch) -> None:
    """Where there is no watermark, the thorough search for one takes long, and is tested elsewhere."""
    from provenance.watermark import Detector

    result = Detector.result
    monkeypatch.setattr(Detector, "result", lambda self, thorough=True: result(self, False))


def test_a_file_signed_as_it_is_is_found_by_likeness(plain, encode, tmp_path, quick) -> None:
    provenance.sign(plain, tmp_path / "signed.mp4", title="as found", registry=tmp_path / "registry")
    frames = np.stack(list(video.read_frames(plain)))
    copy = encode(tmp_path / "copy.mp4", frames, crf=30, size=(160, 160))
    report = provenance.verify(copy, registry=tmp_path / "registry")
    assert report.status == "recovered" and report.recovered.manifest["title"] == "as found"
    assert report.recovered.basis == "likeness" and report.recovered.agreement >= 0.8
    assert any("rests on likeness alone" in finding for finding in report.findings)


def test_another_clips_mark_under_a_valid_manifest_is_altered_and_the_clip_named(
    original, marked, facts, place, tmp_path
) -> None:
    wrong = dataclasses.replace(facts, payload=b"another!")
    signing._write_signed(marked, tmp_path / "x.mp4", wrong, "", keys.default_signer())
    report = provenance.verify(tmp_path / "x.mp4", registry=place)
    assert report.status == "altered"
    assert any("is that of 'a dog on a beach', signed by" in finding for finding in report.findings)


def forged(place: Path, store: bytes, payload: bytes = PAYLOAD) -> None:
    """Register anything under a payload, as somebody with access to the registry could."""
    with registry.opened(place) as known:
        entry = Entry(manifest_sha256="", manifest_id="urn:forged", payload=payload.hex(), title="forged")
        known.add(entry, manifest=store)


@pytest.fixture
def store(original) -> bytes:
    return stores.find(original.read_bytes())


def test_a_registry_that_lies_is_not_believed(store, copy, tmp_path, marked, facts, clip, encode) -> None:
    place = tmp_path / "lying"
    forged(place, store.replace(b"a dog on a beach", b"a war on a beach"))
    forged(place, b"<html>not a manifest</html>")
    # Valid credentials of a clip that names another watermark.
    wrong = dataclasses.replace(facts, payload=b"another!", title="another clip")
    forged(place, signing._write_signed(marked, tmp_path / "x.mp4", wrong, "", keys.default_signer()))
    report = provenance.verify(copy, registry=place)
    assert (report.status, report.recovered) == ("absent", None)
    said = " ".join(report.findings)
    assert said.count("do not hold, and were left out") == 2 and "do not name the watermark" in said


def test_a_fingerprint_that_was_not_signed_does_not_overrule_one_that_was(store, clip, encode, tmp_path) -> None:
    # The registry says of the dog's credentials that they belong to quite other pictures, which carry the dog's mark.
    from provenance import fingerprint

    with registry.opened(tmp_path / "lying") as known:
        entry = Entry(manifest_sha256="", manifest_id="urn:x", payload=PAYLOAD.hex())
        known.add(entry, manifest=store, fingerprint=fingerprint.of_frames(clip(9), 8))
    other = encode(tmp_path / "other.mp4", provenance.watermark.embed(clip(9), PAYLOAD))
    report = provenance.verify(other, registry=tmp_path / "lying")
    assert report.status == "absent" and "the pictures are others" in report.findings[0]


def test_the_signed_fingerprint_alone_is_enough(store, copy, tmp_path) -> None:
    forged(tmp_path / "bare", store)
    report = provenance.verify(copy, registry=tmp_path / "bare")
    assert report.status == "recovered" and report.recovered.signed_likeness


def test_credentials_without_a_signed_fingerprint_rest_on_the_registrys_word(marked, facts, copy, tmp_path) -> None:
    from provenance import recording

    store = signing._write_signed(marked, tmp_path / "x.mp4", facts, "", keys.default_signer())
    with registry.opened(tmp_path / "registry") as known:
        recording.add_file(known, tmp_path / "x.mp4")
    report = provenance.verify(copy, registry=tmp_path / "registry")
    assert report.status == "recovered" and not report.recovered.signed_likeness
    assert any("the registry's own word" in finding for finding in report.findings)
    forged(tmp_path / "bare", store)
    report = provenance.verify(copy, registry=tmp_path / "bare")
    assert report.status == "absent" and "could not be compared" in report.findings[0]


def test_whom_somebody_vouches_for_comes_before_who_signed_the_same_later(
    original, place, marked, facts, copy, tmp_path, authority
) -> None:
    import shutil

    shutil.copytree(place, tmp_path / "registry")
    stranger = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1()), name="Mallory"))
    later = dataclasses.replace(facts, title="mine")
    provenance.sign(marked, tmp_path / "later.mp4", facts=later, signer=stranger, registry=tmp_path / "registry")
    report = provenance.verify(copy, registry=tmp_path / "registry")
    assert report.recovered.manifest["title"] == "a dog on a beach" and report.recovered.registered == 2
    assert any("2 registered files carry this watermark" in finding for finding in report.findings)


def test_a_clip_is_signed_though_it_cannot_be_registered(marked, facts, tmp_path) -> None:
    (tmp_path / "file").touch()
    report = provenance.sign(marked, tmp_path / "signed.mp4", facts=facts, registry=tmp_path / "file" / "registry")
    assert report.status == "authentic" and (tmp_path / "signed.mp4").exists()
    assert "not registered" in report.findings[-1] and "provenance registry add" in report.findings[-1]


def test_a_broken_registry_is_a_finding(copy, tmp_path) -> None:
    (tmp_path / "registry.sqlite").write_bytes(b"broken" * 1000)
    report = provenance.verify(copy, registry=tmp_path)
    assert report.status == "absent" and any("cannot be used" in finding for finding in report.findings)


def test_hostile_titles_cannot_act_on_the_terminal(marked, facts, copy, tmp_path) -> None:
    evil = dataclasses.replace(facts, title="\x1b[2J\u202eevil\r\n- AUTHENTIC")
    provenance.sign(marked, tmp_path / "signed.mp4", facts=evil, registry=tmp_path / "registry")
    report = provenance.verify(copy, registry=tmp_path / "registry")
    assert report.status == "recovered"
    assert "\x1b" not in report.to_text() and "\u202e" not in report.to_text() and "\n- AUTH" not in report.to_text()
    assert report.to_json().isascii() and isinstance(report.recovered, recovery.Recovery)
