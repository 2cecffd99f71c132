"""Ask an authority for a certificate that C2PA accepts (RFC 2986; C2PA specification, 14.5.1)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import outputs
from provenance.errors import InputError, KeyFileError
from provenance.keys.files import Secret, load_key, reveal
from provenance.keys.profile import CLAIM_SIGNING, EMAIL_PROTECTION, algorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

KINDS = ("p256", "p384", "p521", "ed25519", "rsa")
"""Of keys that can be made; RSA with 3072 bits."""


def make_request(
    key_path: str | os.PathLike,
    request_path: str | os.PathLike,
    *,
    organisation: str,
    name: str | None = None,
    country: str | None = None,
    kind: str = "p256",
    password: Secret = None,
) -> bool:
    """Write a certificate request (PKCS#10, PEM) with the key usage and purposes that C2PA asks for.

    Args:
        key_path: the private key; made if it is not there, readable by its owner alone.
        request_path: must not exist yet.
        organisation: O of the subject. Reports name it, and C2PA's library refuses certificates without.
        name: CN of the subject: the person, desk or machine that signs.
        country: C of the subject, two letters.
        kind: of a key to be made, from ``KINDS``.
        password: of the key; a new key is encrypted with it.

    Returns:
        Whether a key was made.

    Raises:
        InputError: a subject or destination that cannot be used.
        KeyFileError: the key that is there cannot be used or written.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    key_path, request_path = Path(key_path), Path(request_path)
    outputs.check(request_path, overwrite=False)
    made = not key_path.exists()
    if made:
        outputs.check(key_path, overwrite=False)
    if not organisation.strip():
        raise InputError("the subject of the request cannot be used: it needs an organisation, whom reports will name")
    parts = [(NameOID.COUNTRY_NAME, country), (NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, name)]
    try:
        subject = x509.Name([x509.NameAttribute(kind_, value) for kind_, value in parts if value is not None])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    except ValueError as error:
        raise InputError(f"the subject of the request cannot be used: {error}") from None
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    purposes = [x509.ObjectIdentifier(oid) for oid in (EMAIL_PROTECTION, CLAIM_SIGNING)]
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    key = _new_key(kind) if made else load_key(key_path, password)
    algorithm(key.public_key())  # an old key may be one that C2PA does not take
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = builder.sign(key, digest)  # type: ignore[arg-type]
    if made:
        _write_key(key, key_path, reveal(password))
    try:
        request_path.write_bytes(request.public_bytes(Encoding.PEM))
    except OSError as error:
        raise outputs.cannot_write(request_path, error, InputError) from None
    return made


def _new_key(kind: str) -> "PrivateKeyTypes":
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa":
        return rsa.generate_private_key(65537, 3072)
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
    if kind not in curves:
        raise InputError(f"keys of kind {kind!r} cannot be made; choose from {', '.join(KINDS)}")
    return ec.generate_private_key(curves[kind]())


def _write_key(key: "PrivateKeyTypes", path: Path, password: bytes | None) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    secret = BestAvailableEncryption(password) if password else NoEncryption()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror or error}") from None
