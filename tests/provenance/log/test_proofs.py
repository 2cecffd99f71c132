"""Proofs that stand alone: as text and back, and what a forged one meets."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from provenance import log
from provenance.errors import LogError, ProofError, ProvenanceError
from provenance.log import merkle, notes

ENTRIES = [b"entry %d" % i for i in range(300)]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> log.Log:
    made = log.create(tmp_path_factory.mktemp("proofs") / "log", origin="example.com/log")
    made.append_many(ENTRIES)
    return made


def test_the_text_is_that_of_the_specification(ledger: log.Log) -> None:
    """C2SP tlog-proof, "Format"."""
    proof = ledger.prove(260)
    lines = proof.to_text().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 260"]
    assert lines[2 : 2 + len(proof.path)] == [notes.to_base64(item) for item in proof.path]
    assert lines[2 + len(proof.path)] == ""
    assert "\n".join(lines[3 + len(proof.path) :]) == ledger.checkpoint().signed


def test_there_and_back(ledger: log.Log) -> None:
    for index in (0, 255, 256, 299):
        proof = ledger.prove(index)
        assert log.Proof.from_text(proof.to_text()) == proof
        assert log.Proof.from_text(proof.to_text().encode()) == proof
        log.verify_inclusion(ENTRIES[index], proof, ledger.verifier)
        noted = replace(proof, extra=b"anything\x00")
        assert log.Proof.from_text(noted.to_text()) == noted


def test_a_log_of_one_entry_needs_no_path(tmp_path: Path) -> None:
    ledger = log.create(tmp_path / "log", origin="example.com/one")
    ledger.append(b"one")
    proof = log.Proof.from_text(ledger.prove(0).to_text())
    assert proof.path == ()
    log.verify_inclusion(b"one", proof, ledger.verifier)


def test_a_proof_for_another_entry_index_size_or_root(ledger: log.Log, tmp_path: Path) -> None:
    proof, key = ledger.prove(5), ledger.verifier
    refused = [
        ("leads|lead", b"entry 6", proof, key),
        ("lead", b"entry 5", replace(proof, index=6), key),
        ("not in a tree", b"entry 5", replace(proof, index=300), key),
        ("hashes", b"entry 5", replace(proof, path=(*proof.path, proof.path[0])), key),
        ("hashes", b"entry 5", replace(proof, path=proof.path[:-1]), key),
        ("hashes", b"entry 5", replace(proof, path=()), key),
        ("lead", b"entry 5", replace(proof, path=proof.path[::-1]), key),
    ]
    signed = proof.checkpoint.signed
    for before, after in (("\n300\n", "\n301\n"), (notes.to_base64(proof.checkpoint.root), notes.to_base64(bytes(32)))):
        forged = log.Checkpoint.from_text(signed.replace(before, after))
        refused.append(("signature by example.com/log .* is wrong", b"entry 5", replace(proof, checkpoint=forged), key))
    twin = log.create(tmp_path / "twin", origin="example.com/log")  # the same name, another key
    twin.append_many(ENTRIES)
    assert twin.checkpoint().root == proof.checkpoint.root
    refused.append(("not signed by", b"entry 5", proof, twin.verifier))
    refused.append(("not signed by", b"entry 5", twin.prove(5), key))
    other = log.Verifier("example.com/other", key.public)
    refused.append(("not of example.com/other", b"entry 5", proof, other))
    for says, data, forged, verifier in refused:
        with pytest.raises(ProofError, match=says):
            log.verify_inclusion(data, forged, verifier)


def test_an_inner_node_is_no_entry(ledger: log.Log) -> None:
    """The two hashes under a node, taken for an entry, with the node's own path to the root."""
    proof = ledger.prove(0)
    data = merkle.leaf_hash(ENTRIES[0]) + proof.path[0]
    for path in (proof.path[1:], proof.path):
        with pytest.raises(ProofError):
            log.verify_inclusion(data, replace(proof, path=path), ledger.verifier)


def test_witnesses_must_have_signed_where_their_keys_are_given(ledger: log.Log) -> None:
    proof = ledger.prove(7)
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    names = ["witness.example/a", "witness.example/b"]
    witnesses = [
        str(log.Verifier(name, key.public_key().public_bytes_raw(), notes.COSIGNATURE))
        for name, key in zip(names, keys, strict=True)
    ]
    text = proof.checkpoint.note.text
    line = notes.cosignature_line(text, names[0], keys[0], 1_700_000_000)
    seen = replace(proof, checkpoint=log.Checkpoint.from_text(proof.checkpoint.signed + line))
    seen = log.Proof.from_text(seen.to_text())
    log.verify_inclusion(ENTRIES[7], seen, ledger.verifier)
    log.verify_inclusion(ENTRIES[7], seen, ledger.verifier, witnesses=witnesses[:1])
    with pytest.raises(ProofError, match="not signed by witness.example/b"):
        log.verify_inclusion(ENTRIES[7], seen, ledger.verifier, witnesses=witnesses)
    with pytest.raises(ProofError, match="not signed by witness.example/a"):
        log.verify_inclusion(ENTRIES[7], proof, ledger.verifier, witnesses=witnesses[:1])


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2", "first line"),
        ("index 5", "index 05", "index"),
        ("index 5", "index -5", "index"),
        ("index 5", "index \u0665", "index"),
        ("index 5\n", "", "no line of its index"),
        ("index 5\n", "index 5\nAAAA\n", "SHA-256"),
        ("index 5\n", "index 5\nextra AAAA\n", "base 64"),
        ("index 5\n", "extra ???\nindex 5\n", "base 64"),
        ("index 5\n", "index 5\n\n", "not a checkpoint"),
        ("index 5\n", "index 5\n" + (notes.to_base64(bytes(32)) + "\n") * 64, "SHA-256"),
        ("\n\u2014 ", "\n- ", "signature"),
    ],
    ids=range(11),
)
def test_what_is_no_proof(before: str, after: str, says: str, ledger: log.Log) -> None:
    text = ledger.prove(5).to_text()
    with pytest.raises(LogError, match=says):
        log.Proof.from_text(text.replace(before, after))


@given(st.data())
def test_no_byte_of_a_proof_can_be_changed(ledger: log.Log, data: st.DataObject) -> None:
    text = ledger.prove(5).to_text().encode()
    at = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != text[at]))
    forged = text[:at] + bytes([byte]) + text[at + 1 :]
    with pytest.raises(ProvenanceError):
        log.verify_inclusion(ENTRIES[5], log.Proof.from_text(forged), ledger.verifier)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything_else_is_refused_in_one_line(junk: bytes | str) -> None:
    for parse in (log.Proof.from_text, log.Checkpoint.from_text):
        with pytest.raises(LogError) as raised:
            parse(junk)
        assert "\n" not in str(raised.value)
