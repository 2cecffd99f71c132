"""Keys in hardware, through PKCS#11: smart cards, USB tokens, HSMs. The key never leaves the token.

A key is named by a URI of RFC 7512: ``pkcs11:token=desk;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so``.
The PIN comes from a file, the environment or a callback; a ``pin-value`` in the URI is refused, since a command line is
no place for a secret. The token is opened for each signature and closed again: a signer may be kept for days, and a
card may be pulled out meanwhile.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from provenance.errors import KeyFileError
from provenance.keys import chains, profile
from provenance.keys.files import Secret, reveal, secret_file
from provenance.keys.signers import Signer

if TYPE_CHECKING:
    from cryptography import x509

_PATH = ("token", "manufacturer", "serial", "model", "object", "id", "type", "slot-id")
_QUERY = ("module-path", "pin-source")


@dataclass(frozen=True, kw_only=True)
class Address:
    """A key, as RFC 7512 names it."""

    module: str
    token: str | None = None
    serial: str | None = None
    slot: int | None = None
    object: str | None = None
    id: bytes | None = None
    pin_source: str | None = None


def parse_uri(uri: str) -> Address:
    """
    Raises:
        KeyFileError: not a URI of RFC 7512, an attribute not known here, no module, or a PIN in plain sight.
    """
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "pkcs11":
        raise KeyFileError(f"{uri!r} is not a PKCS#11 URI; it begins with pkcs11:, as in pkcs11:token=NAME;object=KEY")
    path, _, query = rest.partition("?")
    given: dict[str, str] = {}
    for part, known in [(p, _PATH) for p in path.split(";")] + [(q, _QUERY) for q in query.split("&")]:
        name, _, value = part.partition("=")
        if name == "pin-value":
            raise KeyFileError("the PKCS#11 URI holds a PIN, which others can read; use --pin-file or pin-source=FILE")
        if part and (name not in known or name in given):
            raise KeyFileError(f"the PKCS#11 URI has {name!r} twice or in a place where it is not known; see RFC 7512")
        if part:
            given[name] = value
    if "module-path" not in given:
        raise KeyFileError("the PKCS#11 URI names no module; add ?module-path=/path/to/the/token's/library.so")
    if not given.keys() & {"object", "id"}:
        raise KeyFileError("the PKCS#11 URI names no key; add object=LABEL or id=%01")
    if given.get("type", "private") not in ("private", "cert"):
        raise KeyFileError(f"the PKCS#11 URI names a {given['type']}; a private key is needed")
    if not given.get("slot-id", "0").isdecimal():
        raise KeyFileError(f"the PKCS#11 URI has the slot {given['slot-id']!r}; give a number")
    text = {name: unquote(value) for name, value in given.items()}
    return Address(
        module=text["module-path"],
        token=text.get("token"),
        serial=text.get("serial"),
        slot=int(text["slot-id"]) if "slot-id" in text else None,
        object=text.get("object"),
        id=unquote_to_bytes(given["id"]) if "id" in given else None,
        pin_source=text["pin-source"].removeprefix("file:") if "pin-source" in text else None,
    )


def pkcs11_signer(
    uri: str, *, pin: Secret = None, cert: str | os.PathLike | None = None, alg: str | None = None
) -> Signer:
    """A signer whose key is on a token.

    Args:
        uri: of the private key, RFC 7512, with ``module-path``.
        pin: of the token; else the file that the URI names as ``pin-source``.
        cert: PEM chain, leaf first; None takes the certificate with the key's id or label from the token, and the
            certificates above it if they are there too.
        alg: ps384 or ps512 for an RSA key that should not sign with ps256.

    Raises:
        KeyFileError: a URI, module, token, PIN, key or certificate that cannot be used.
    """
    address = parse_uri(uri)
    if pin is None and address.pin_source is not None:
        pin = secret_file(address.pin_source)
    word = reveal(pin)
    with _key(address, word) as (session, key):
        if cert is not None:
            leaf, *others = chains.parse(chains.read(cert), str(cert))
        else:
            leaf, others = _certificates(session, key)
    name = str(cert) if cert is not None else "on the token"
    profile.check(leaf, name)
    alg = profile.fitting(alg, leaf.public_key())

    def sign(data: bytes) -> bytes:
        with _key(address, word) as (_, key):
            return _sign(key, alg, data)

    try:
        _check_signature(leaf, alg, sign(b"sorajax"))
    except _failure() as error:
        raise KeyFileError(f"the token cannot sign with {alg}: {_reason(error)}") from None
    chain = chains.chain_pem(chains.ordered(leaf, others))
    return Signer(alg=alg, chain_pem=chain, callback=sign)


def _pkcs11() -> Any:
    try:
        import pkcs11
    except ImportError:
        raise KeyFileError("PKCS#11 tokens need a package more: pip install 'sorajax[pkcs11]'") from None
    return pkcs11


def _failure() -> type[Exception]:
    return _pkcs11().PKCS11Error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


@contextmanager
def _key(address: Address, pin: bytes | None) -> Iterator[tuple[Any, Any]]:
    """(session, private key), open for as long as the block runs."""
    pkcs11 = _pkcs11()
    if not os.path.isfile(address.module):
        raise KeyFileError(f"the PKCS#11 module {address.module} is not there; check module-path")
    try:
        tokens = [
            slot.get_token()
            for slot in pkcs11.lib(address.module).get_slots(token_present=True)
            if address.slot in (None, slot.slot_id)
        ]
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise KeyFileError(f"the PKCS#11 module {address.module} cannot be used: {_reason(error)}") from None
    named = [t for t in tokens if address.token in (None, t.label)]
    named = [t for t in named if address.serial is None or _serial(t) == address.serial]
    if len(named) != 1:
        seen = ", ".join(repr(t.label) for t in tokens if t.label) or "none"
        what = "no token" if not named else f"{len(named)} tokens"
        raise KeyFileError(f"{what} there as the PKCS#11 URI says; tokens present: {seen}")
    try:
        session = named[0].open(user_pin=pin.decode("utf-8", "replace") if pin is not None else None)
    except pkcs11.exceptions.PinIncorrect:
        raise KeyFileError(f"the token {named[0].label!r} refuses this PIN; more wrong ones may lock it") from None
    except pkcs11.PKCS11Error as error:
        raise KeyFileError(f"the token {named[0].label!r} cannot be opened: {_reason(error)}") from None
    with session:
        yield session, _find(session, address, named[0].label, pin)


def _serial(token: Any) -> str:
    return token.serial.decode("utf-8", "replace").rstrip() if isinstance(token.serial, bytes) else str(token.serial)


def _find(session: Any, address: Address, label: str, pin: bytes | None) -> Any:
    pkcs11 = _pkcs11()
    wanted: dict[Any, Any] = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    if address.object is not None:
        wanted[pkcs11.Attribute.LABEL] = address.object
    if address.id is not None:
        wanted[pkcs11.Attribute.ID] = address.id
    found = list(session.get_objects(wanted))
    if len(found) == 1:
        return found[0]
    remedy = "give its id too" if found else "check object and id" if pin else "give the PIN (--pin-file FILE)"
    raise KeyFileError(f"{len(found) or 'no'} private keys of that name on the token {label!r}; {remedy}")


def _certificates(session: Any, key: Any) -> tuple["x509.Certificate", list["x509.Certificate"]]:
    """The certificate that belongs to a key, by its id or else its label, and all others on the token."""
    pkcs11 = _pkcs11()
    on_token: list[tuple[bytes, str, x509.Certificate]] = []
    for found in session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE}):
        certificate = chains.parse(found[pkcs11.Attribute.VALUE], "the token")[0]
        on_token.append((found[pkcs11.Attribute.ID], found[pkcs11.Attribute.LABEL], certificate))
    for same in (lambda entry: key.id and entry[0] == key.id, lambda entry: key.label and entry[1] == key.label):
        for entry in on_token:
            if same(entry):
                return entry[2], [other for _, _, other in on_token if other is not entry[2]]
    raise KeyFileError("the token holds no certificate for this key; give the chain as a file (--cert PEM)")


def _sign(key: Any, alg: str, data: bytes) -> bytes:
    """Hashing is done here: every token signs digests, few know all the mechanisms that hash.

    ECDSA signatures come raw, r then s, which is what COSE wants (RFC 9053, 2.1).
    """
    import hashlib

    pkcs11 = _pkcs11()
    mechanism, mgf = pkcs11.Mechanism, pkcs11.MGF
    kinds = {"ed": pkcs11.KeyType.EC_EDWARDS, "es": pkcs11.KeyType.EC, "ps": pkcs11.KeyType.RSA}
    if key.key_type is not kinds[alg[:2]]:
        # Never left to the token: asked for a signature of another kind than its key, SoftHSM 2.6 crashes.
        raise KeyFileError("the key on the token does not belong to the certificate; name the right one")
    if alg == "ed25519":
        return key.sign(data, mechanism=mechanism.EDDSA)
    digest = hashlib.new(f"sha{alg[2:]}", data).digest()
    if alg.startswith("es"):
        return key.sign(digest, mechanism=mechanism.ECDSA)
    name = f"SHA{alg[2:]}"
    options = (mechanism[name], mgf[name], len(digest))
    return key.sign(digest, mechanism=mechanism.RSA_PKCS_PSS, mechanism_param=options)


def _check_signature(leaf: "x509.Certificate", alg: str, signature: bytes) -> None:
    """A first signature says at once whether key and certificate belong together."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    key: Any = leaf.public_key()
    try:
        if alg == "ed25519":
            key.verify(signature, b"sorajax")
            return
        digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[alg[2:]]
        if alg.startswith("es"):
            half = len(signature) // 2
            r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
            key.verify(utils.encode_dss_signature(r, s), b"sorajax", ec.ECDSA(digest))
        else:
            key.verify(
                signature, b"sorajax", padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size), digest
            )
    except InvalidSignature:
        raise KeyFileError("the key on the token does not belong to the certificate; name the right one") from None
