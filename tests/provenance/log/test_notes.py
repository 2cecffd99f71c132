"""Signed notes and checkpoints, against published ones."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provenance.errors import KeyFileError, LogError, ProofError
from provenance.log import merkle, notes
from provenance.log.checkpoints import Checkpoint
from provenance.log.notes import Note, Signer, Verifier

# The example of C2SP signed-note, "Verifier keys".
FOO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example in the documentation of Go's golang.org/x/mod/sumdb/note, with its private key.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


@pytest.fixture(scope="module")
def signer() -> Signer:
    key = Ed25519PrivateKey.from_private_bytes(GO_SEED)
    return Signer(Verifier("PeterNeumann", key.public_key().public_bytes_raw()), key.sign)


@pytest.mark.parametrize(("note", "key"), [(FOO_NOTE, FOO_KEY), (f"{GO_TEXT}\n{GO_LINE}", GO_KEY)], ids=["C2SP", "Go"])
def test_published_notes_verify(note: str, key: str) -> None:
    verifier = Verifier.from_text(key)
    assert str(verifier) == key
    Note.from_text(note).check(verifier)
    with pytest.raises(ProofError, match="wrong"):
        Note.from_text(note.replace("m", "n", 1)).check(verifier)


def test_signing_gives_the_published_signature(signer: Signer) -> None:
    assert str(signer.verifier) == GO_KEY
    assert signer.line(GO_TEXT) == GO_LINE


def test_a_note_by_somebody_else(signer: Signer) -> None:
    with pytest.raises(ProofError, match="not signed by PeterNeumann"):
        Note.from_text(FOO_NOTE).check(signer.verifier)


def test_one_wrong_signature_in_a_known_name_is_one_too_many(signer: Signer) -> None:
    good = signer.line(GO_TEXT)
    wrong = signer.line("another text\n")
    unknown = signer.line(GO_TEXT).replace("PeterNeumann", "somebody")
    Note.from_text(f"{GO_TEXT}\n{unknown}{good}").check(signer.verifier)
    with pytest.raises(ProofError, match="is wrong"):
        Note.from_text(f"{GO_TEXT}\n{good}{wrong}").check(signer.verifier)


def test_a_callback_with_another_key_publishes_nothing(signer: Signer) -> None:
    other = Signer(signer.verifier, Ed25519PrivateKey.generate().sign)
    with pytest.raises(LogError, match="does not verify with its public key"):
        other.line(GO_TEXT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no blank line"),
        ("text\n", "no blank line"),
        ("text\n\n", "no blank line"),
        (FOO_NOTE[:-1], "no blank line"),
        (FOO_NOTE.replace("message", "mess\x1bage"), "control characters"),
        (FOO_NOTE.replace("\n", "\r\n"), "control characters"),
        (FOO_NOTE.replace("\u2014 ", "- "), "no signature"),
        (FOO_NOTE.replace("QM=", "QN="), "no signature"),  # the same bytes in another spelling
        (FOO_NOTE.replace("example.com/foo ", "example.com/foo+ "), "no signature"),
        (FOO_NOTE.encode().replace(b"is", b"\xff", 1), "UTF-8"),
        ("\ud800\n\n\u2014 a AAAAAAA=\n", "UTF-8"),
        ("x" * 1_000_001, "longer than"),
        ("text\n\n" + "\u2014 name AAAAAAA=\n" * 101, "101 signatures"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_note(text: str | bytes, says: str) -> None:
    with pytest.raises(LogError, match=says):
        Note.from_text(text)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "name\\+hash\\+base64"),
        ("name", "name\\+hash\\+base64"),
        (FOO_KEY[:-1], "name\\+hash\\+base64"),
        (FOO_KEY.replace("530d903a", "530d903b"), "its hash would be 530d903a"),
        (FOO_KEY.replace("foo", "fop"), "mistyped"),
        ("a+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(), "kind not known"),
        ("a b+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(), "spaces"),
    ],
)
def test_what_is_no_key(key: str, says: str) -> None:
    with pytest.raises(KeyFileError, match=says):
        Verifier.from_text(key)


def test_cosignatures_are_over_text_and_time(signer: Signer) -> None:
    """C2SP tlog-cosignature, "Ed25519 signed message"."""
    key = Ed25519PrivateKey.generate()
    text = f"{signer.verifier.name}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    line = notes.cosignature_line(text, "witness.example/w1", key, 1679315147)
    data = base64.b64decode(line.split()[2])
    message = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    key.public_key().verify(data[12:], message)
    assert int.from_bytes(data[4:12], "big") == 1679315147
    witness = Verifier("witness.example/w1", key.public_key().public_bytes_raw(), notes.COSIGNATURE)
    assert Verifier.from_text(str(witness)) == witness and data[:4] == witness.key_id
    Note.from_text(f"{text}\n{signer.line(text)}{line}").check_all([signer.verifier, witness])
    later = base64.b64encode(data[:11] + bytes([data[11] + 1]) + data[12:]).decode()
    for forged in (later, base64.b64encode(data[:-1]).decode()):
        with pytest.raises(ProofError, match="wrong"):
            Note.from_text(f"{text}\n{signer.line(text)}\u2014 witness.example/w1 {forged}\n").check(witness)
    with pytest.raises(ProofError, match="not signed by"):  # the same key as a log's is another signature type
        Note.from_text(f"{text}\n{line}").check(Verifier("witness.example/w1", witness.public))


def test_the_specifications_checkpoint_is_read() -> None:
    """The example of C2SP tlog-cosignature; its keys are not published."""
    text = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "\u2014 witness.example.com/w1 "
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    checkpoint = Checkpoint.from_text(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e") and checkpoint.signed == text
    assert [name for name, _, _ in checkpoint.note.signatures][1] == "witness.example.com/w1"
    assert [len(signature) for _, _, signature in checkpoint.note.signatures] == [64, 72]


@pytest.mark.parametrize(
    "body",
    [
        "origin\n1\n",
        "origin\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n-1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n\u0661\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n9999999999999999999\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "origin\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuF==\n",
        "origin\n1\nAAAA\n",
        "origin\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "origin\n1\n\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
    ],
    ids=range(9),
)
def test_what_is_no_checkpoint(body: str, signer: Signer) -> None:
    with pytest.raises(LogError, match="not a checkpoint"):
        Checkpoint.from_text(f"{body}\n{signer.line(body)}")


def test_a_checkpoint_of_another_origin_does_not_count(signer: Signer) -> None:
    """A key may sign notes for several purposes; only those under its own name are its log's."""
    checkpoint = Checkpoint.sign(
        "example.com/other",
        0,
        merkle.EMPTY_ROOT,
        signer,
    )
    with pytest.raises(ProofError, match="not of PeterNeumann"):
        checkpoint.check(signer.verifier)
