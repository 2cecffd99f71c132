"""A signed file appears whole, verified, or not at all."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import provenance
from provenance import keys, signing
from provenance.errors import InputError, KeyFileError, MediaError, ProvenanceError, SigningError


def test_a_file_is_signed_as_it_is(plain: Path, tmp_path: Path) -> None:
    report = provenance.sign(plain, tmp_path / "signed.mp4", title="as found")
    assert report.status == "authentic" and report.path == str(tmp_path / "signed.mp4")
    assert report.manifest["title"] == "as found"
    # No claim about how it was made: opened, with itself as parent.
    assert [a["action"] for a in report.manifest["actions"]] == ["c2pa.opened"] and report.manifest["origin"] is None
    assert [i["relationship"] for i in report.manifest["ingredients"]] == ["parentOf"]
    assert os.listdir(tmp_path) == ["signed.mp4"]


def test_the_signed_file_has_ordinary_permissions(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    provenance.sign(plain, tmp_path / "signed.mp4")
    assert stat.S_IMODE((tmp_path / "signed.mp4").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "ordinary").stat().st_mode
    )


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "Ed25519", "RSA"],
)
def test_a_users_own_certificate_signs(key, plain: Path, tmp_path: Path, authority) -> None:
    signer = keys.load_signer(*authority.issue(key))
    report = provenance.sign(plain, tmp_path / "signed.mp4", signer=signer)
    assert report.status == "untrusted" and report.manifest["signer"]["name"] == "Ana"
    assert provenance.verify(tmp_path / "signed.mp4", trust=authority.root_pem).status == "authentic"


@pytest.mark.parametrize("eku", keys.ACCEPTED_EKU)
def test_every_purpose_that_the_specification_allows_is_taken(eku: str, plain: Path, tmp_path: Path, authority) -> None:
    signer = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1()), eku=eku))
    provenance.sign(plain, tmp_path / "signed.mp4", signer=signer)
    assert provenance.verify(tmp_path / "signed.mp4", trust=authority.root_pem).status == "authentic"


def test_a_key_in_a_kms_signs_through_a_callback(plain: Path, tmp_path: Path, authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain = authority.issue(key)[0].read_text()
    signer = keys.callback_signer(lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())), "es256", chain)
    provenance.sign(plain, tmp_path / "signed.mp4", signer=signer)
    assert provenance.verify(tmp_path / "signed.mp4", trust=authority.root_pem).status == "authentic"


def test_a_callback_that_fails_leaves_nothing_and_says_why(plain: Path, tmp_path: Path, authority) -> None:
    chain = authority.issue(ec.generate_private_key(ec.SECP256R1()))[0].read_text()

    def refuse(data: bytes) -> bytes:
        raise PermissionError("the vault is sealed")

    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(SigningError, match="the vault is sealed"):
        provenance.sign(plain, folder / "signed.mp4", signer=keys.callback_signer(refuse, "es256", chain))
    assert os.listdir(folder) == []


def test_a_signature_by_another_key_leaves_nothing(plain: Path, tmp_path: Path, authority) -> None:
    chain = authority.issue(ec.generate_private_key(ec.SECP256R1()))[0].read_text()
    other = ec.generate_private_key(ec.SECP256R1())
    signer = keys.callback_signer(lambda data: other.sign(data, ec.ECDSA(hashes.SHA256())), "es256", chain)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(SigningError):
        provenance.sign(plain, folder / "signed.mp4", signer=signer)
    assert os.listdir(folder) == []


@pytest.mark.parametrize("moment", ["verify", "_publish", "_write_signed"])
@pytest.mark.parametrize(
    "what", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "disk full"]
)
def test_an_interruption_leaves_nothing(moment: str, what, plain: Path, tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise what

    monkeypatch.setattr(signing, moment, stop)
    with pytest.raises((KeyboardInterrupt, SigningError), match="No space left|^$"):
        provenance.sign(plain, tmp_path / "signed.mp4")
    assert os.listdir(tmp_path) == []


def test_a_watermark_that_is_not_in_the_pictures_is_not_claimed(plain: Path, tmp_path: Path, facts) -> None:
    with pytest.raises(SigningError, match="cannot be read back"):
        provenance.sign(plain, tmp_path / "signed.mp4", facts=facts)
    assert os.listdir(tmp_path) == []


def test_a_watermark_of_another_clip_is_not_signed_away(marked: Path, tmp_path: Path, facts) -> None:
    with pytest.raises(SigningError, match="altered.*of another clip"):
        provenance.sign(marked, tmp_path / "signed.mp4", facts=dataclasses.replace(facts, payload=b"another!"))
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_kept_unless_told_otherwise(plain: Path, tmp_path: Path) -> None:
    target = tmp_path / "signed.mp4"
    target.write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        provenance.sign(plain, target)
    assert target.read_text() == "precious"
    assert provenance.sign(plain, target, overwrite=True).status == "authentic"
    assert os.listdir(tmp_path) == ["signed.mp4"]


def test_a_file_that_appears_meanwhile_is_kept(plain: Path, tmp_path: Path, monkeypatch) -> None:
    target, publish = tmp_path / "signed.mp4", signing._publish

    def late(parts: list, overwrite: bool) -> None:
        target.write_text("precious")
        publish(parts, overwrite)

    monkeypatch.setattr(signing, "_publish", late)
    with pytest.raises(InputError, match="exists already"):
        provenance.sign(plain, target)
    assert target.read_text() == "precious" and os.listdir(tmp_path) == ["signed.mp4"]


def test_paths_that_cannot_be_used_are_named(plain: Path, signed: Path, tmp_path: Path) -> None:
    text, cut = tmp_path / "text.mp4", tmp_path / "cut.mp4"
    text.write_text("hello, I am not a video")
    cut.write_bytes(plain.read_bytes()[:-100])
    for src, dst, error, says in [
        (plain, tmp_path / "clip.mov", InputError, r"must end in \.mp4"),
        (plain, tmp_path / "no" / "clip.mp4", InputError, "does not exist"),
        (tmp_path / "nothing.mp4", tmp_path / "clip.mp4", MediaError, "no such file"),
        (tmp_path, tmp_path / "clip.mp4", MediaError, "is a directory"),
        (text, tmp_path / "clip.mp4", MediaError, "not a video or picture file"),
        (cut, tmp_path / "clip.mp4", MediaError, "cut short"),
        (signed, tmp_path / "clip.mp4", InputError, "carries credentials already"),
    ]:
        with pytest.raises(error, match=says) as raised:
            provenance.sign(src, dst)
        assert isinstance(raised.value, ProvenanceError) and "\n" not in str(raised.value)
    assert sorted(os.listdir(tmp_path)) == ["cut.mp4", "text.mp4"]


@pytest.mark.parametrize("question", ["is_dir", "exists"])
@pytest.mark.parametrize("error", [OSError(36, "File name too long"), PermissionError(13, "Permission denied")])
def test_a_destination_that_cannot_be_looked_at_is_named(
    question: str, error: OSError, plain: Path, tmp_path: Path, monkeypatch
) -> None:
    target, ask = tmp_path / "signed.mp4", getattr(Path, question)

    def refuse(path: Path, **options: bool) -> bool:
        if path == target:
            raise error
        return ask(path, **options)

    monkeypatch.setattr(Path, question, refuse)
    with pytest.raises(InputError, match=f"cannot write there: {error.strerror}; .* {target}$"):
        provenance.sign(plain, target)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_may_be_written_but_not_read_gets_its_file(plain: Path, tmp_path: Path, monkeypatch) -> None:
    # Like a drop box, mode 1733: files can be put there, but the folder itself cannot be opened.
    asked, open_file = [], os.open

    def refuse(path, *arguments: int, **options: int) -> int:
        if path == tmp_path:
            asked.append(path)
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert provenance.sign(plain, tmp_path / "signed.mp4").status == "authentic"
    assert asked and os.listdir(tmp_path) == ["signed.mp4"]


def test_an_expired_certificate_never_gets_to_sign(plain: Path, tmp_path: Path, authority) -> None:
    with pytest.raises(KeyFileError, match="expired"):
        keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1()), start=-9, end=-1))
