"""What a file was made from and what was done to it: stated, carried along, and reported."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

import provenance
from provenance import history, keys
from provenance.errors import InputError, MediaError, SigningError
from tests.provenance import films

PAYLOAD = b"8 bytes!"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, clip) -> Path:
    return films.film(tmp_path_factory.mktemp("sources") / "original.mp4", clip(4, size=(64, 64)))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, clip) -> Path:
    """The original, edited."""
    return films.film(tmp_path_factory.mktemp("sources") / "cut.mp4", clip(4, size=(64, 64))[2:])


def names(report: provenance.Report) -> list[str]:
    return [action["action"] for action in report.manifest["actions"]]


def sources(report: provenance.Report) -> list[tuple[str, str, str]]:
    return [(s["title"], s["relationship"], s["status"]) for s in report.manifest["ingredients"]]


def test_an_edited_file_names_its_parent_and_the_edits(original: Path, cut: Path, tmp_path: Path) -> None:
    provenance.sign(original, tmp_path / "original.mp4")
    report = provenance.sign(
        cut, tmp_path / "cut.mp4", parent=tmp_path / "original.mp4", edits=["c2pa.trimmed", "color_adjustments"]
    )
    assert report.status == "authentic"
    assert names(report) == ["c2pa.opened", "c2pa.trimmed", "c2pa.color_adjustments"]
    assert sources(report) == [("original.mp4", "parentOf", "authentic")]
    assert "original.mp4 (parentOf, credentials authentic, signed by" in report.to_text()


def test_signing_again_keeps_the_credentials_as_history(original: Path, tmp_path: Path) -> None:
    first = provenance.sign(original, tmp_path / "first.mp4", title="first")
    with pytest.raises(InputError, match="carries credentials already; .* --again"):
        provenance.sign(tmp_path / "first.mp4", tmp_path / "second.mp4")
    for number, wish in enumerate([{"again": True}, {"parent": tmp_path / "first.mp4"}]):
        report = provenance.sign(tmp_path / "first.mp4", tmp_path / f"second{number}.mp4", title="second", **wish)
        assert (report.status, report.manifest["title"]) == ("authentic", "second")
        assert sources(report) == [("second", "parentOf", "authentic")]
    # The whole store is there, and the first manifest can still be read in it.
    assert first.manifest["label"].encode() in (tmp_path / "second0.mp4").read_bytes()


def test_sources_of_every_kind_bring_their_credentials(original: Path, cut: Path, clip, tmp_path: Path) -> None:
    Image.fromarray(clip(7, frames=1, size=(64, 64))[0]).save(tmp_path / "a.png")
    provenance.sign(tmp_path / "a.png", tmp_path / "signed.png")
    films.film(tmp_path / "a.webm", clip(8, size=(64, 64)), codec="libvpx-vp9", sound="libopus")
    provenance.sign(tmp_path / "a.webm", tmp_path / "signed.webm")  # with a sidecar
    (tmp_path / "voice.txt").write_text("a dog barks")
    report = provenance.sign(
        cut,
        tmp_path / "x.mp4",
        parent=tmp_path / "signed.webm",
        components=[tmp_path / "signed.png", original],
        inputs=[tmp_path / "voice.txt"],
        edits=["edited"],
    )
    assert report.status == "authentic"
    assert names(report) == ["c2pa.opened", "c2pa.placed", "c2pa.placed", "c2pa.edited"]
    assert sources(report) == [
        ("signed.webm", "parentOf", "authentic"),
        ("signed.png", "componentOf", "authentic"),
        ("original.mp4", "componentOf", "absent"),
        ("voice.txt", "inputTo", "absent"),
    ]


def test_a_generated_clip_names_what_it_was_made_from(marked: Path, facts, clip, tmp_path: Path) -> None:
    Image.fromarray(clip(7, frames=1, size=(64, 64))[0]).save(tmp_path / "dog.png")
    provenance.sign(tmp_path / "dog.png", tmp_path / "signed.png")
    report = provenance.sign(marked, tmp_path / "x.mp4", facts=facts, inputs=[tmp_path / "signed.png"])
    assert report.status == "authentic" and report.manifest["prompt"] == "a dog runs on a beach"
    assert ("signed.png", "inputTo", "authentic") in sources(report)
    for wish in ({"parent": tmp_path / "dog.png"}, {"edits": ["trimmed"]}, {"components": [tmp_path / "dog.png"]}):
        with pytest.raises(InputError, match="no parent, edits or components"):
            provenance.sign(marked, tmp_path / "y.mp4", facts=facts, **wish)


def test_a_source_whose_credentials_do_not_hold_is_pointed_at(original: Path, cut: Path, tmp_path: Path) -> None:
    parent = tmp_path / "original.mp4"
    provenance.sign(original, parent)
    data = bytearray(parent.read_bytes())
    data[data.index(b"mdat") + 5000] ^= 1
    parent.write_bytes(data)
    report = provenance.sign(cut, tmp_path / "cut.mp4", parent=parent)
    assert report.status == "authentic" and sources(report) == [("original.mp4", "parentOf", "altered")]
    assert any("its source original.mp4 did not hold" in finding for finding in report.findings)


def test_who_vouches_for_a_source_is_judged_here_and_not_by_its_signer(
    original: Path, cut: Path, tmp_path: Path, authority, monkeypatch
) -> None:
    # The parent's signer is trusted where the copy is signed and unknown where it is verified, or the other way round.
    signer = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1())))
    monkeypatch.setenv("SORAJAX_TRUST", str(authority.root_pem))
    provenance.sign(original, tmp_path / "original.mp4", signer=signer)
    report = provenance.sign(cut, tmp_path / "cut.mp4", parent=tmp_path / "original.mp4")
    assert sources(report) == [("original.mp4", "parentOf", "authentic")]
    monkeypatch.delenv("SORAJAX_TRUST")
    report = provenance.verify(tmp_path / "cut.mp4")
    assert (report.status, sources(report)) == ("authentic", [("original.mp4", "parentOf", "untrusted")])
    assert "no trust list given here vouches for the signer of its source original.mp4" in report.findings
    provenance.sign(cut, tmp_path / "second.mp4", parent=tmp_path / "original.mp4")
    assert sources(provenance.verify(tmp_path / "second.mp4")) == [("original.mp4", "parentOf", "untrusted")]
    report = provenance.verify(tmp_path / "second.mp4", trust=authority.root_pem)
    assert sources(report) == [("original.mp4", "parentOf", "authentic")]


def test_the_watermark_of_a_parent_is_explained(signed: Path, tmp_path: Path) -> None:
    report = provenance.sign(signed, tmp_path / "x.mp4", again=True, title="dog")
    assert report.status == "authentic" and report.watermark.payload == PAYLOAD
    assert f"the pictures carry the watermark {PAYLOAD.hex()}, that of their source dog" in report.findings


@pytest.mark.parametrize("edit", history.EDITS)
def test_every_edit_that_is_offered_is_valid(edit: str, original: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    report = provenance.sign(tmp_path / "a.png", tmp_path / "x.png", edits=[edit])
    assert report.status == "authentic" and names(report) == ["c2pa.opened", f"c2pa.{edit}"]


@pytest.mark.parametrize("choice", history.TRAINING)
def test_choices_about_training_are_signed_and_shown(choice: str, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    terms = "https://example.org/terms" if choice == "constrained" else None
    report = provenance.sign(tmp_path / "a.png", tmp_path / "x.png", training=choice, training_terms=terms)
    uses = {"cawg.data_mining", "cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training"}
    assert report.manifest["training"] == {use: {"use": choice, "terms": terms} for use in uses}
    assert f"training:   {' '.join(filter(None, (choice, terms)))} (" in report.to_text()


def test_what_cannot_be_stated_is_named(original: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "broken.mp4").write_bytes(original.read_bytes()[:3000])
    for wish, error, says in [
        ({"edits": ["sharpened"]}, InputError, "c2pa.sharpened is no edit .* trimmed"),
        ({"edits": ["created"]}, InputError, "is no edit"),
        ({"edits": ["placed"]}, InputError, "--component FILE"),
        ({"training": "maybe"}, InputError, "'maybe'; it must be allowed, notAllowed, constrained"),
        ({"training": "allowed", "training_terms": "ask"}, InputError, "go with the choice constrained"),
        ({"parent": tmp_path / "nothing.mp4"}, MediaError, r"nothing\.mp4: no such file"),
        ({"inputs": [tmp_path]}, MediaError, "is a directory"),
        ({"parent": tmp_path / "broken.mp4"}, (MediaError, SigningError), r"broken\.mp4"),
    ]:
        with pytest.raises(error, match=says) as raised:
            provenance.sign(original, tmp_path / "out" / "x.mp4", **wish)
        assert "\n" not in str(raised.value)
    assert os.listdir(tmp_path / "out") == []
