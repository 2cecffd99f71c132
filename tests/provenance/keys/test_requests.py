"""What an authority signs of such a request is fit for C2PA."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from provenance import keys
from provenance.errors import InputError, KeyFileError
from provenance.keys import profile
from provenance.keys.requests import KINDS


def issue(request: Path, authority) -> x509.Certificate:
    """A certificate with the extensions asked for, as an ordinary authority makes it."""
    asked = x509.load_pem_x509_csr(request.read_bytes())
    good = authority.certify(asked.public_key())
    builder = x509.CertificateBuilder(authority.name, asked.subject, asked.public_key(), good.serial_number)
    builder = builder.not_valid_before(good.not_valid_before_utc).not_valid_after(good.not_valid_after_utc)
    for extension in asked.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return builder.add_extension(issuer, critical=False).sign(authority.key, hashes.SHA256())


@pytest.mark.parametrize("kind", KINDS)
def test_it_asks_for_what_c2pa_wants(kind: str, authority, tmp_path: Path) -> None:
    key, request, chain = tmp_path / "desk.key", tmp_path / "desk.csr", tmp_path / "desk.pem"
    assert keys.make_request(key, request, organisation="Newsroom", name="Desk", country="CH", kind=kind)
    leaf = issue(request, authority)
    assert profile.problems(leaf) == profile.advice(leaf) == []
    assert leaf.subject.rfc4514_string() == "CN=Desk,O=Newsroom,C=CH"
    chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    assert keys.load_signer(chain, key).alg == {"p256": "es256", "p384": "es384", "p521": "es512", "rsa": "ps256"}.get(
        kind, kind
    )
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_key_that_is_there_is_used_and_left_as_it_is(tmp_path: Path) -> None:
    key = tmp_path / "desk.key"
    assert keys.make_request(key, tmp_path / "1.csr", organisation="Newsroom", password="secret")
    before = key.read_bytes()
    assert b"ENCRYPTED" in before
    assert not keys.make_request(key, tmp_path / "2.csr", organisation="Newsroom", password="secret")
    first, second = (x509.load_pem_x509_csr((tmp_path / f"{n}.csr").read_bytes()) for n in (1, 2))
    assert key.read_bytes() == before and first.public_key() == second.public_key()
    with pytest.raises(KeyFileError, match="is encrypted"):
        keys.make_request(key, tmp_path / "3.csr", organisation="Newsroom")
    assert not (tmp_path / "3.csr").exists()


def test_what_cannot_be_asked_for_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    weak, taken = tmp_path / "weak.key", tmp_path / "taken.csr"
    weak.write_bytes(
        rsa.generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    taken.write_text("precious")
    for options, says in [
        ({"country": "Switzerland"}, "the subject of the request cannot be used"),
        ({"organisation": ""}, "the subject of the request cannot be used"),
        ({"kind": "p255"}, "'p255' cannot be made; choose from p256"),
        ({"key": weak}, "C2PA takes keys on P-256"),
        ({"request": taken}, "exists already"),
        ({"request": tmp_path / "no" / "x.csr"}, "does not exist"),
    ]:
        key, request = options.pop("key", tmp_path / "new.key"), options.pop("request", tmp_path / "new.csr")
        with pytest.raises((InputError, KeyFileError), match=says):
            keys.make_request(key, request, **({"organisation": "Newsroom"} | options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.csr", "weak.key"]
    assert taken.read_text() == "precious"
