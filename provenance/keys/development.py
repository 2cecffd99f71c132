"""The development identity: made on this machine on first use, for signing without a certificate of one's own.

**What it is worth.** It is a root and a leaf certificate made by whoever ran sorajax here first. Nobody checked a name,
so the certificates carry none: they say "development identity". A clip signed with it verifies as ``authentic`` only
where that root is in the key folder, that is for the same user on the same machine, and means "signed here, unchanged
since"; everywhere else it is ``untrusted``. To publish, sign with a certificate that others trust.

Without a time stamp C2PA checks a certificate at the time of *verification*, so a clip is only good until its leaf
expires; hence the leaf's long life.

Files: ``$SORAJAX_KEYS``, else ``keys`` in the user's configuration folder. Each PEM file holds a private key and its
certificate together, so the two can never come apart, and appears whole or not at all. Of a root that was replaced only
the certificate is kept, among ``FORMER_ROOTS_FILE``: what it signed stays good, and nothing new can be signed with it.
"""

import datetime
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import KeyFileError
from provenance.keys import chains
from provenance.keys.profile import CLAIM_SIGNING, EMAIL_PROTECTION
from provenance.keys.signers import Signer

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DEVELOPMENT = "sorajax development identity"
"""Organisation in the subject of every certificate made here; reports look for it."""
ROOT_FILE = "development-root.pem"
LEAF_FILE = "development-signer.pem"
FORMER_ROOTS_FILE = "former-roots.pem"

_ROOT_YEARS = 20
_LEAF_YEARS = 5


def key_folder() -> Path:
    """Where the development identity lives.

    Raises:
        KeyFileError: ``$SORAJAX_KEYS`` starts with the home folder of a user that is not known here.
    """
    if chosen := os.environ.get("SORAJAX_KEYS"):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise KeyFileError(f"SORAJAX_KEYS is {chosen}, a home folder that cannot be found; write it out") from None
    import platformdirs

    return Path(platformdirs.user_config_dir("sorajax")) / "keys"


def default_signer() -> Signer:
    """The development identity, made on first use; its leaf is issued anew once expired.

    Raises:
        KeyFileError: the folder cannot be looked into or written, or a file in it cannot be used.
    """
    folder = key_folder()
    root_path, leaf_path = folder / ROOT_FILE, folder / LEAF_FILE
    if not _exists(root_path):
        _install(root_path, _make_root(), replace=False)
    root, root_key = _read_identity(root_path)
    if chains.now() >= root.not_valid_after_utc:
        raise KeyFileError(f"the development root {root_path} has expired; move its folder away to make a new one")
    leaf = None
    if _exists(leaf_path):
        leaf, leaf_key = _read_identity(leaf_path)
        usable = leaf.issuer == root.subject and leaf.not_valid_before_utc <= chains.now() < leaf.not_valid_after_utc
        if usable:
            return Signer(alg="es256", chain_pem=chains.pem(leaf), key_pem=chains.key_pem(leaf_key))
    _install(leaf_path, _make_leaf(root, root_key), replace=leaf is not None)
    # Read back: where two processes raced, the file that won counts.
    leaf, leaf_key = _read_identity(leaf_path)
    return Signer(alg="es256", chain_pem=chains.pem(leaf), key_pem=chains.key_pem(leaf_key))


def rotate(*, root: bool = False) -> Signer:
    """A new leaf at once, or with ``root`` a new root and leaf. Clips signed before stay valid here.

    Raises:
        KeyFileError: as ``default_signer``.
    """
    folder = key_folder()
    root_path, leaf_path = folder / ROOT_FILE, folder / LEAF_FILE
    if not _exists(root_path):
        return default_signer()
    if root:
        # The old root is remembered before it goes: whatever interrupts this, no signed clip is orphaned.
        old = chains.pem(_read_identity(root_path)[0])
        former_path = folder / FORMER_ROOTS_FILE
        former = chains.read(former_path).decode("ascii", "replace") if _exists(former_path) else ""
        if old not in former:
            _install(former_path, (old + former).encode(), replace=True)
        _install(root_path, _make_root(), replace=True)
    certificate, key = _read_identity(root_path)
    _install(leaf_path, _make_leaf(certificate, key), replace=True)
    return default_signer()


def local_root() -> str | None:
    """PEM text of this machine's development root, without making one.

    Raises:
        KeyFileError: it is damaged.
    """
    path = key_folder() / ROOT_FILE
    try:
        return chains.pem(_read_identity(path)[0]) if path.exists() else None
    except OSError:
        return None


def local_roots() -> str:
    """PEM text of this machine's development root and of those it replaced; empty without any.

    Raises:
        KeyFileError: one of the files is damaged.
    """
    path = key_folder() / FORMER_ROOTS_FILE
    try:
        former = chains.parse(chains.read(path), str(path)) if path.exists() else []
    except OSError:
        former = []
    return (local_root() or "") + chains.chain_pem(former)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name too long, a folder that may not be entered: up to Python 3.13 these raise
        raise KeyFileError(
            f"cannot look for signing keys: {error.strerror or error}; "
            f"set SORAJAX_KEYS to a folder that can be read and written, not {path.parent}"
        ) from None


def _read_identity(path: Path) -> tuple["x509.Certificate", "PrivateKeyTypes"]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = chains.read(path)
    try:
        certificate, key = chains.parse(data, str(path))[0], load_pem_private_key(data, password=None)
        if chains.public_bytes(key.public_key()) == chains.public_bytes(certificate.public_key()):
            return certificate, key
    except (ValueError, TypeError):
        pass
    raise KeyFileError(f"the development identity {path} is damaged; move it away to make a new one")


def _install(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file, readable by its owner alone, that appears whole; without ``replace`` the first writer wins."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(temporary, path)
            else:
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    pass
                except OSError:  # a file system without hard links
                    if not path.exists():
                        os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileError(
            f"cannot write signing keys to {path.parent}: {error.strerror or error}; "
            "set SORAJAX_KEYS to a folder that can be written"
        ) from None


def _make_root() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{DEVELOPMENT}, local root {secrets.token_hex(4)}")
    builder = _certificate(name, name, key.public_key(), chains.now() + datetime.timedelta(days=365 * _ROOT_YEARS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _sealed(builder, key, key)


def _make_leaf(root: "x509.Certificate", root_key: "PrivateKeyTypes") -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    end = min(chains.now() + datetime.timedelta(days=365 * _LEAF_YEARS), root.not_valid_after_utc)
    subject = _name(f"{DEVELOPMENT}, signer {secrets.token_hex(4)}")
    builder = _certificate(subject, root.subject, key.public_key(), end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    purposes = [x509.ObjectIdentifier(oid) for oid in (EMAIL_PROTECTION, CLAIM_SIGNING)]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())  # type: ignore[arg-type]
    return _sealed(builder.add_extension(authority, critical=False), root_key, key)


def _name(common: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, DEVELOPMENT), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _certificate(subject, issuer, public_key, end: datetime.datetime) -> "x509.CertificateBuilder":
    from cryptography import x509

    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(chains.now() - datetime.timedelta(hours=1))
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _sealed(builder: "x509.CertificateBuilder", signing_key, own_key) -> bytes:
    from cryptography.hazmat.primitives import hashes

    return (chains.key_pem(own_key) + chains.pem(builder.sign(signing_key, hashes.SHA256()))).encode()
