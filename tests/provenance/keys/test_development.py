"""Identities: made once, kept private, named for what they are; a user's own are checked before they sign."""

import datetime
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from provenance import keys
from provenance.errors import KeyFileError
from provenance.keys import chains


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for an identity."""
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "deep" / "keys"))
    return tmp_path / "deep" / "keys"


def test_the_identity_is_made_once_and_stays(folder: Path) -> None:
    first, second = keys.default_signer(), keys.default_signer()
    assert first == second and first.alg == "es256"
    assert sorted(path.name for path in folder.iterdir()) == [keys.ROOT_FILE, keys.LEAF_FILE]


@pytest.mark.parametrize("error", [OSError(36, "File name too long"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("file", [keys.ROOT_FILE, keys.LEAF_FILE])
def test_a_folder_that_cannot_be_looked_into_is_named(file: str, error: OSError, folder: Path, monkeypatch) -> None:
    keys.default_signer()
    exists = Path.exists

    def refuse(path: Path, **options: bool) -> bool:
        if path.name == file:
            raise error
        return exists(path, **options)

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(KeyFileError, match=f"{error.strerror}; set SORAJAX_KEYS to .* not {folder}$"):
        keys.default_signer()


def test_a_home_folder_that_nobody_has_is_named(monkeypatch) -> None:
    monkeypatch.setenv("SORAJAX_KEYS", "~nobody-of-that-name/keys")
    with pytest.raises(KeyFileError, match="SORAJAX_KEYS is ~nobody-of-that-name/keys"):
        keys.key_folder()


def test_its_files_are_for_the_owner_alone(folder: Path) -> None:
    keys.default_signer()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_it_is_called_a_development_identity_and_fit_for_claims(folder: Path) -> None:
    leaf = keys.certificates(keys.default_signer().chain_pem)[0]
    root = keys.certificates(keys.local_root() or "")[0]
    for certificate in (leaf, root):
        assert "development identity" in certificate.subject.rfc4514_string()
    leaf.verify_directly_issued_by(root)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {oid.dotted_string for oid in usage} == {"1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.62558.2.1"}


def test_keys_do_not_show_in_the_representation(folder: Path) -> None:
    assert "PRIVATE" not in repr(keys.default_signer())


def test_processes_that_start_together_agree_on_one_identity(folder: Path) -> None:
    code = "from provenance import keys; print(keys.local_root() if keys.default_signer() else '')"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    roots = {process.communicate(timeout=120)[0] for process in started}
    assert all(process.returncode == 0 for process in started)
    assert len(roots) == 1 and "BEGIN CERTIFICATE" in roots.pop()
    assert sorted(path.name for path in folder.iterdir()) == [keys.ROOT_FILE, keys.LEAF_FILE]


def test_an_expired_leaf_is_issued_anew_by_the_same_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, root = keys.default_signer(), keys.local_root()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * 6)
    monkeypatch.setattr(chains, "now", lambda: later)
    second = keys.default_signer()
    assert second.chain_pem != first.chain_pem and keys.local_root() == root
    assert keys.certificates(second.chain_pem)[0].not_valid_after_utc > later


def test_looking_for_anchors_makes_no_identity(folder: Path) -> None:
    assert keys.trust_anchors() == "" and not folder.exists()


def test_a_damaged_identity_is_named(folder: Path) -> None:
    keys.default_signer()
    (folder / keys.ROOT_FILE).write_text("nonsense")
    with pytest.raises(KeyFileError, match="development-root.pem is damaged; move it away"):
        keys.default_signer()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "keys"))
    with pytest.raises(KeyFileError, match="set SORAJAX_KEYS"):
        keys.default_signer()


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("")
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "keys"))
    with pytest.raises(KeyFileError, match="set SORAJAX_KEYS"):
        keys.default_signer()


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


def test_an_encrypted_key_is_refused_with_the_remedy(authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, path = authority.issue(key)
    secret = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    with pytest.raises(KeyFileError, match="is encrypted; decrypt it first"):
        keys.load_signer(certificate, path)


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


def test_anchors_are_the_local_root_the_environments_and_those_given(
    folder: Path, authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.default_signer()
    assert keys.trust_anchors() == keys.local_root()
    assert keys.trust_anchors(authority.root_pem).count("BEGIN CERTIFICATE") == 2
    monkeypatch.setenv("SORAJAX_TRUST", os.pathsep.join([str(authority.root_pem)] * 2))
    assert keys.trust_anchors().count("BEGIN CERTIFICATE") == 3
