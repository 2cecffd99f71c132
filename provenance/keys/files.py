"""Keys in files: PEM, encrypted PEM, PKCS#12. A password comes from a file, the environment or a callback, and never
from the command line, where every process of the machine could read it."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from provenance.errors import KeyFileError
from provenance.keys import chains, profile
from provenance.keys.signers import Signer

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

Secret: TypeAlias = str | bytes | Callable[[], str | bytes] | None
"""A password or PIN, or what gives it when it is needed; None is none."""


def secret_file(path: str | os.PathLike) -> Secret:
    """The first line of a file, read when it is needed.

    Raises:
        KeyFileError: when it is needed: the file cannot be read, or its first line is empty.
    """

    def first_line() -> bytes:
        line = chains.read(path).split(b"\n", 1)[0].rstrip(b"\r")
        if not line:
            raise KeyFileError(f"the first line of {os.fspath(path)} is empty; write the password or PIN there")
        return line

    return first_line


def reveal(secret: Secret) -> bytes | None:
    """The password or PIN itself."""
    value = secret() if callable(secret) else secret
    return value.encode() if isinstance(value, str) else value


def load_signer(
    cert_pem_path: str | os.PathLike,
    key_pem_path: str | os.PathLike,
    *,
    password: Secret = None,
    alg: str | None = None,
) -> Signer:
    """The user's own chain and private key, both in PEM form.

    Args:
        cert_pem_path: the signer's certificate first, then those between it and the root.
        key_pem_path: its private key (PKCS#8, or the older forms of OpenSSL).
        password: of an encrypted key, asked for only if the key is encrypted.
        alg: ps384 or ps512 for an RSA key that should not sign with ps256.

    Raises:
        KeyFileError: unreadable files, no or a wrong password, a key that does not belong to the certificate, or a
            certificate that is expired, not valid yet, or not fit for C2PA claims.
    """
    leaf, *others = chains.parse(chains.read(cert_pem_path), str(cert_pem_path))
    key = load_key(key_pem_path, password)
    return _signer(leaf, others, key, str(cert_pem_path), str(key_pem_path), alg)


def load_pkcs12(path: str | os.PathLike, *, password: Secret = None, alg: str | None = None) -> Signer:
    """A PKCS#12 file (.p12, .pfx; RFC 7292): certificate, chain and key in one.

    Raises:
        KeyFileError: as ``load_signer``, or no key or certificate in it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12 as load

    data = chains.read(path)
    try:
        store = load(data, reveal(password))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if isinstance(error, UnsupportedAlgorithm) or "password" not in str(error).lower():
            raise KeyFileError(
                f"{os.fspath(path)} is not a PKCS#12 file that can be read here: {' '.join(str(error).split())[:100]}"
            ) from None
        wrong = "needs a password" if password is None else "does not open with this password"
        raise KeyFileError(f"{os.fspath(path)} {wrong}; give the right one (--password-file FILE)") from None
    if store.key is None or store.cert is None:
        missing = "private key" if store.key is None else "certificate of its key"
        raise KeyFileError(f"{os.fspath(path)} holds no {missing}; export it again with key and certificate")
    others = [entry.certificate for entry in store.additional_certs]
    return _signer(store.cert.certificate, others, store.key, str(path), str(path), alg)


def load_key(path: str | os.PathLike, password: Secret = None) -> "PrivateKeyTypes":
    """A private key in PEM form; the password is asked for only if the key is encrypted.

    Raises:
        KeyFileError: not a private key, or no or a wrong password.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = chains.read(path)
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:
        pass  # encrypted
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path} is not a private key in PEM form; give the key that made the CSR") from None
    word = reveal(password)
    if not word:
        raise KeyFileError(
            f"the private key {path} is encrypted; give its password (--password-file FILE), or decrypt it first "
            "(openssl pkey -in FILE -out FILE)"
        )
    try:
        return load_pem_private_key(data, password=word)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"the private key {path} does not open with this password; give the right one") from None


def _signer(
    leaf: "x509.Certificate",
    others: list["x509.Certificate"],
    key: "PrivateKeyTypes",
    name: str,
    key_name: str,
    alg: str | None,
) -> Signer:
    if chains.public_bytes(key.public_key()) != chains.public_bytes(leaf.public_key()):
        raise KeyFileError(
            f"the private key {key_name} does not match the certificate {name}; "
            "give the key of the first certificate in the file"
        )
    profile.check(leaf, name)
    alg = profile.fitting(alg, leaf.public_key())
    chain = chains.chain_pem(chains.ordered(leaf, others))
    return Signer(alg=alg, chain_pem=chain, key_pem=chains.key_pem(key))
