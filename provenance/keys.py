"""Who signs, and whom to believe.

Three kinds of signer: the *development identity* that ``default_signer`` makes on first use, the user's own certificate
chain and key (``load_signer``), and a callback for a key that never leaves its KMS or HSM (``callback_signer``).

**What the development identity is worth.** It is a root and a leaf certificate made on this machine by whoever ran
sorajax first. Nobody checked a name, so the certificates carry none: they say "development identity". A clip signed
with it verifies as ``authentic`` only where that root is in the key folder, that is for the same user on the same
machine, and means "signed here, unchanged since"; everywhere else it is ``untrusted``. To publish, sign with a
certificate that others trust.

Without a time stamp C2PA checks a certificate at the time of *verification*, so a clip is only good until its leaf
expires; hence the leaf's long life.

Files: ``$SORAJAX_KEYS``, else ``keys`` in the user's configuration folder. Each PEM file holds a private key and its
certificate together, so the two can never come apart, and appears whole or not at all.
"""

import datetime
import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import KeyFileError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

DEVELOPMENT = "sorajax development identity"
"""Organisation in the subject of every certificate made here; reports look for it."""
ROOT_FILE = "development-root.pem"
LEAF_FILE = "development-signer.pem"

_ROOT_YEARS = 20
_LEAF_YEARS = 5
_CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"
_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
_DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
ACCEPTED_EKU = (_EMAIL_PROTECTION, _DOCUMENT_SIGNING, _CLAIM_SIGNING)
"""Extended key usages that a C2PA signing certificate may have (C2PA specification, 14.5.1)."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A certificate chain and the means to sign with its key: ``key_pem``, or else ``callback``."""

    alg: str
    """es256, es384, es512, ps256, ps384, ps512 or ed25519."""
    chain_pem: str
    """Leaf first; the root itself may be left out."""
    key_pem: str | None = field(default=None, repr=False)
    callback: Callable[[bytes], bytes] | None = field(default=None, repr=False)


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
    if _now() >= root.not_valid_after_utc:
        raise KeyFileError(f"the development root {root_path} has expired; move its folder away to make a new one")
    leaf = None
    if _exists(leaf_path):
        leaf, leaf_key = _read_identity(leaf_path)
        usable = leaf.issuer == root.subject and leaf.not_valid_before_utc <= _now() < leaf.not_valid_after_utc
        if usable:
            return Signer(alg="es256", chain_pem=_pem(leaf), key_pem=_key_pem(leaf_key))
    _install(leaf_path, _make_leaf(root, root_key), replace=leaf is not None)
    # Read back: where two processes raced, the file that won counts.
    leaf, leaf_key = _read_identity(leaf_path)
    return Signer(alg="es256", chain_pem=_pem(leaf), key_pem=_key_pem(leaf_key))


def load_signer(cert_pem_path: str | os.PathLike, key_pem_path: str | os.PathLike) -> Signer:
    """The user's own chain (PEM, leaf first) and private key (PEM, not encrypted).

    Raises:
        KeyFileError: unreadable or encrypted files, a key that does not belong to the certificate, or a certificate
            that is expired, not valid yet, or not fit for C2PA claims.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain = _load_chain(_read(cert_pem_path), str(cert_pem_path))
    try:
        key = load_pem_private_key(_read(key_pem_path), password=None)
    except TypeError:
        raise KeyFileError(
            f"the private key {key_pem_path} is encrypted; decrypt it first (openssl pkey -in FILE -out FILE), "
            "or sign through a callback"
        ) from None
    except ValueError:
        raise KeyFileError(f"{key_pem_path} is not a private key in PEM form; give the key that made the CSR") from None
    if _public_bytes(key.public_key()) != _public_bytes(chain[0].public_key()):
        raise KeyFileError(
            f"the private key {key_pem_path} does not match the certificate {cert_pem_path}; "
            "give the key of the first certificate in the file"
        )
    _check_leaf(chain[0], str(cert_pem_path))
    return Signer(alg=_algorithm(key.public_key()), chain_pem="".join(map(_pem, chain)), key_pem=_key_pem(key))


def callback_signer(fn: Callable[[bytes], bytes], alg: str, chain_pem: str) -> Signer:
    """A signer whose key is elsewhere.

    Args:
        fn: signs the bytes given, hashing included. ECDSA signatures may be DER or raw (r then s).
        alg: es256, es384, es512, ps256, ps384, ps512 or ed25519.
        chain_pem: PEM text, leaf first.

    Raises:
        KeyFileError: a chain that cannot be used, or an algorithm that does not fit its key.
    """
    chain = _load_chain(chain_pem.encode(), "the given chain")
    _check_leaf(chain[0], "the given chain")
    fits = _algorithm(chain[0].public_key())
    if alg != fits and not (alg[:2] == fits[:2] == "ps" and alg in ("ps256", "ps384", "ps512")):
        raise KeyFileError(f"algorithm {alg} does not fit the certificate's key; use {fits}")
    return Signer(alg=alg, chain_pem="".join(map(_pem, chain)), callback=fn)


def trust_anchors(trust: str | os.PathLike | Sequence[str | os.PathLike] | None = None) -> str:
    """PEM text of every root to believe: this machine's development root if there is one, the files of
    ``$SORAJAX_TRUST`` (separated as in ``$PATH``), and those given.

    Raises:
        KeyFileError: a file that is missing or holds no certificate.
    """
    paths = [trust] if isinstance(trust, (str, os.PathLike)) else list(trust or ())
    paths = [p for p in os.environ.get("SORAJAX_TRUST", "").split(os.pathsep) if p] + paths
    anchors = [_pem(certificate) for path in paths for certificate in _load_chain(_read(path), str(path))]
    local = local_root()
    return "".join(([local] if local else []) + anchors)


def local_root() -> str | None:
    """PEM text of this machine's development root, without making one."""
    path = key_folder() / ROOT_FILE
    try:
        return _pem(_read_identity(path)[0]) if path.exists() else None
    except OSError:
        return None


def certificates(pem: str) -> list["x509.Certificate"]:
    """Parse PEM text.

    Raises:
        KeyFileError: no certificate in it.
    """
    return _load_chain(pem.encode(), "the given text")


def fingerprint(certificate: "x509.Certificate") -> str:
    """SHA-256 of the whole certificate, in hexadecimal: what to compare over the telephone."""
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name too long, a folder that may not be entered: up to Python 3.13 these raise
        raise KeyFileError(
            f"cannot look for signing keys: {error.strerror or error}; "
            f"set SORAJAX_KEYS to a folder that can be read and written, not {path.parent}"
        ) from None


def _read(path: str | os.PathLike) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror or error}; check the path") from None


def _load_chain(data: bytes, name: str) -> list["x509.Certificate"]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise KeyFileError(f"{name} holds no certificate in PEM form; expected -----BEGIN CERTIFICATE-----") from None


def _pem(certificate: "x509.Certificate") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: "PrivateKeyTypes") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_bytes(key: "PublicKeyTypes") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _algorithm(key: "PublicKeyTypes") -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
        return {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    raise KeyFileError("C2PA takes keys on P-256, P-384 or P-521, RSA of at least 2048 bits, or Ed25519; not this one")


def _check_leaf(leaf: "x509.Certificate", name: str) -> None:
    """Say what C2PA would only call invalid (C2PA specification, 14.5.1)."""
    from cryptography import x509

    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if _now() >= end:
        raise KeyFileError(f"the certificate {name} expired on {end:%Y-%m-%d %H:%M} UTC; renew it")
    if _now() < start:
        raise KeyFileError(f"the certificate {name} is not valid before {start:%Y-%m-%d %H:%M} UTC; check the clock")

    def extension(kind):
        try:
            return leaf.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    basic, usage = extension(x509.BasicConstraints), extension(x509.KeyUsage)
    extended, authority = extension(x509.ExtendedKeyUsage), extension(x509.AuthorityKeyIdentifier)
    if basic is not None and basic.ca:
        raise KeyFileError(f"the first certificate in {name} is an authority's; put the signer's own certificate first")
    if usage is None or not usage.digital_signature:
        raise KeyFileError(f"the certificate {name} may not sign: its key usage lacks digitalSignature")
    if extended is None or not {oid.dotted_string for oid in extended} & set(ACCEPTED_EKU):
        raise KeyFileError(
            f"the certificate {name} is for another purpose: its extended key usage has none of emailProtection, "
            "documentSigning or C2PA claim signing; ask for a certificate with one of them"
        )
    if authority is None:
        raise KeyFileError(f"the certificate {name} has no authority key identifier, which C2PA requires; reissue it")
    _algorithm(leaf.public_key())


def _read_identity(path: Path) -> tuple["x509.Certificate", "PrivateKeyTypes"]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        certificate, key = _load_chain(data, str(path))[0], load_pem_private_key(data, password=None)
        if _public_bytes(key.public_key()) == _public_bytes(certificate.public_key()):
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
    builder = _certificate(name, name, key.public_key(), _now() + datetime.timedelta(days=365 * _ROOT_YEARS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _sealed(builder, key, key)


def _make_leaf(root: "x509.Certificate", root_key: "PrivateKeyTypes") -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    end = min(_now() + datetime.timedelta(days=365 * _LEAF_YEARS), root.not_valid_after_utc)
    subject = _name(f"{DEVELOPMENT}, signer {secrets.token_hex(4)}")
    builder = _certificate(subject, root.subject, key.public_key(), end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    purposes = [x509.ObjectIdentifier(oid) for oid in (_EMAIL_PROTECTION, _CLAIM_SIGNING)]
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
        .not_valid_before(_now() - datetime.timedelta(hours=1))
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

    return (_key_pem(own_key) + _pem(builder.sign(signing_key, hashes.SHA256()))).encode()
