"""Keys in files: plain, encrypted, PKCS#12; checked before they sign."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from provenance import keys
from provenance.errors import KeyFileError


def encrypt(path: Path, key, word: bytes) -> None:
    secret = serialization.BestAvailableEncryption(word)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "es256"),
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_a_users_own_chain_is_taken(key, alg: str, authority) -> None:
    assert keys.load_signer(*authority.issue(key)).alg == alg


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"start": -9, "end": -1}, "expired on"),
        ({"start": 1, "end": 9}, "is not valid before"),
        ({"eku": "1.3.6.1.5.5.7.3.1"}, "for another purpose"),
        ({"eku": "2.5.29.37.0"}, "for another purpose"),
    ],
    ids=["expired", "not yet valid", "server certificate", "any purpose"],
)
def test_a_certificate_that_cannot_sign_is_refused_with_the_reason(wrong: dict, says: str, authority) -> None:
    with pytest.raises(KeyFileError, match=says) as error:
        keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1()), **wrong))
    assert "\n" not in str(error.value)


def test_key_and_certificate_must_match(authority) -> None:
    certificate, _ = authority.issue(ec.generate_private_key(ec.SECP256R1()))
    _, other = authority.issue(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyFileError, match="does not match the certificate"):
        keys.load_signer(certificate, other)


def test_an_authority_does_not_sign_clips(authority) -> None:
    _, key = authority.issue(ec.generate_private_key(ec.SECP256R1()))
    key.write_bytes(
        authority.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(KeyFileError, match="is an authority's"):
        keys.load_signer(authority.root_pem, key)


def test_an_encrypted_key_opens_with_its_password_however_that_is_given(authority, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, path = authority.issue(key)
    encrypt(path, key, "pässword".encode())
    (tmp_path / "word").write_text("pässword\r\nsecond line\n", encoding="utf-8")
    plain = keys.load_signer(certificate, path, password="pässword")
    for password in ("pässword".encode(), lambda: "pässword", keys.secret_file(tmp_path / "word")):
        assert keys.load_signer(certificate, path, password=password) == plain
    assert "pässword" not in repr(plain) and "PRIVATE" not in repr(plain)


def test_a_password_is_asked_for_only_where_it_is_needed(authority) -> None:
    def ask() -> str:
        raise AssertionError("nobody should be asked")

    assert keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1())), password=ask).alg == "es256"


def test_an_encrypted_key_without_its_password_is_refused_with_the_remedy(authority, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, path = authority.issue(key)
    encrypt(path, key, b"secret")
    (tmp_path / "empty").write_text("\nsecret")
    for password, says in [
        (None, "is encrypted; give its password"),
        ("", "is encrypted; give its password"),
        ("guess", "does not open with this password"),
        (keys.secret_file(tmp_path / "nowhere"), "cannot read .*nowhere"),
        (keys.secret_file(tmp_path / "empty"), "the first line of .*empty is empty"),
    ]:
        with pytest.raises(KeyFileError, match=says):
            keys.load_signer(certificate, path, password=password)


def pkcs12_file(path: Path, authority, key, others=(), word: bytes | None = b"secret") -> Path:
    leaf = authority.certificate(authority.issue(key)[0])
    secret = serialization.BestAvailableEncryption(word) if word else serialization.NoEncryption()
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"Ana", key, leaf, others, secret))
    return path


def test_pkcs12_holds_key_and_chain_and_the_chain_is_put_in_order(authorities, tmp_path: Path) -> None:
    root = authorities("root")
    middle = authorities("middle", above=root)
    desk = authorities("desk", above=middle)
    key = ec.generate_private_key(ec.SECP384R1())
    path = pkcs12_file(tmp_path / "ana.p12", desk, key, [root.own, middle.own, desk.own])
    signer = keys.load_pkcs12(path, password=b"secret")
    names = [certificate.subject.rfc4514_string() for certificate in keys.certificates(signer.chain_pem)]
    assert signer.alg == "es384" and names == ["CN=Ana,O=Newsroom", "CN=desk", "CN=middle", "CN=root"]


def test_pkcs12_without_a_password_needs_none(authority, tmp_path: Path) -> None:
    path = pkcs12_file(tmp_path / "ana.pfx", authority, ed25519.Ed25519PrivateKey.generate(), word=None)
    assert keys.load_pkcs12(path).alg == "ed25519"


def test_pkcs12_that_cannot_be_used_is_named_with_the_remedy(authority, tmp_path: Path) -> None:
    path = pkcs12_file(tmp_path / "ana.p12", authority, ec.generate_private_key(ec.SECP256R1()))
    lonely, text = tmp_path / "lonely.p12", tmp_path / "text.p12"
    lonely.write_bytes(
        pkcs12.serialize_key_and_certificates(b"x", None, authority.own, None, serialization.NoEncryption())
    )
    text.write_text("hello")
    for file, password, says in [
        (path, None, "needs a password"),
        (path, "guess", "does not open with this password"),
        (lonely, None, "holds no private key"),
        (text, None, "is not a PKCS#12 file"),
        (tmp_path / "nowhere", None, "cannot read"),
    ]:
        with pytest.raises(KeyFileError, match=says) as error:
            keys.load_pkcs12(file, password=password)
        assert "\n" not in str(error.value)


def test_an_rsa_key_signs_with_the_hash_that_is_asked_for(authority) -> None:
    files = authority.issue(rsa.generate_private_key(65537, 2048))
    assert [keys.load_signer(*files, alg=alg).alg for alg in (None, "ps384", "ps512")] == ["ps256", "ps384", "ps512"]
    with pytest.raises(KeyFileError, match="es256 does not fit.*use ps256"):
        keys.load_signer(*files, alg="es256")


def test_files_that_hold_something_else_are_named(authority, tmp_path: Path) -> None:
    certificate, key = authority.issue(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyFileError, match="holds no certificate"):
        keys.load_signer(key, key)
    with pytest.raises(KeyFileError, match="is not a private key"):
        keys.load_signer(certificate, certificate)
    with pytest.raises(KeyFileError, match="cannot read .*nowhere"):
        keys.load_signer(tmp_path / "nowhere", key)


def test_a_callback_must_fit_the_certificates_key(authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain = authority.issue(key)[0].read_text()
    assert keys.callback_signer(lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())), "es256", chain).alg == "es256"
    with pytest.raises(KeyFileError, match="ps256 does not fit.*use es256"):
        keys.callback_signer(lambda data: b"", "ps256", chain)
