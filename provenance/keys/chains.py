"""Certificates and keys as bytes, text and objects: read, compared, put in order."""

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import KeyFileError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

LARGEST_FILE = 32 * 2**20
"""Bytes of a key, certificate or list; the C2PA trust list is some 60 KB."""


def certificates(pem: str) -> list["x509.Certificate"]:
    """Parse PEM text.

    Raises:
        KeyFileError: no certificate in it.
    """
    return parse(pem.encode(), "the given text")


def fingerprint(certificate: "x509.Certificate") -> str:
    """SHA-256 of the whole certificate, in hexadecimal: what to compare over the telephone."""
    from cryptography.hazmat.primitives import hashes

    return certificate.fingerprint(hashes.SHA256()).hex()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def read(path: str | os.PathLike) -> bytes:
    """
    Raises:
        KeyFileError: it cannot be read, or is far larger than any key or list.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KeyFileError(f"cannot read {os.fspath(path)}: {reason}; check the path") from None
    if len(data) > LARGEST_FILE:
        raise KeyFileError(f"{os.fspath(path)} is larger than {LARGEST_FILE >> 20} MB; is it the right file?")
    return data


def parse(data: bytes, name: str) -> list["x509.Certificate"]:
    """One or more certificates in PEM form, or one in DER form; ``name`` is for the error.

    Raises:
        KeyFileError: no certificate in it.
    """
    from cryptography import x509

    try:
        if data[:1] == b"\x30":
            return [x509.load_der_x509_certificate(data)]
        return x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion):
        raise KeyFileError(f"{name} holds no certificate in PEM form; expected -----BEGIN CERTIFICATE-----") from None


def pem(certificate: "x509.Certificate") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def chain_pem(chain: list["x509.Certificate"]) -> str:
    return "".join(map(pem, chain))


def key_pem(key: "PrivateKeyTypes") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_bytes(key: "PublicKeyTypes") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issued_by(certificate: "x509.Certificate", issuer: "x509.Certificate") -> bool:
    """Whether ``issuer``'s name and key made ``certificate``; nothing is said of what ``issuer`` may do."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(issuer)
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
    ):  # another name, an unknown algorithm, a wrong signature
        return False
    return True


def ordered(leaf: "x509.Certificate", others: list["x509.Certificate"]) -> list["x509.Certificate"]:
    """The leaf, its issuer, and so on, as far as ``others`` go: validators refuse others. The rest is left out."""
    chain = [leaf]
    while chain[-1].issuer != chain[-1].subject:
        above = next((other for other in others if other not in chain and issued_by(chain[-1], other)), None)
        if above is None:
            break
        chain.append(above)
    return chain


def name_of(certificate: "x509.Certificate") -> str:
    """Its common name, else its organisation, else the whole subject. A stranger may have written it."""
    from cryptography.x509.oid import NameOID

    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.subject.get_attributes_for_oid(kind):
            if attribute.value:
                return str(attribute.value)
    return certificate.subject.rfc4514_string()
