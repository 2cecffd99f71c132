"""Is a certificate fit to sign C2PA claims? (C2PA specification, 14.5.1, "Certificate Profile")

Validators only say "signingCredential.invalid", or refuse to sign without a word. Here every reason has its sentence.
"""

import datetime
from typing import TYPE_CHECKING

from provenance.errors import KeyFileError
from provenance.keys.chains import now

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"
EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
ANY_PURPOSE = "2.5.29.37.0"
ACCEPTED_EKU = (EMAIL_PROTECTION, DOCUMENT_SIGNING, CLAIM_SIGNING)
"""Extended key usages that a C2PA signing certificate may have (C2PA specification, 14.5.1)."""

ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
"""Of signatures, as C2PA names them (C2PA specification, 13.2)."""

_HASHES = ("sha256", "sha384", "sha512")
_KNOWN_CRITICAL = {
    "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.32", "2.5.29.33", "2.5.29.35", "2.5.29.36",
    "2.5.29.37", "2.5.29.54",
}  # fmt: skip


def algorithm(key: "PublicKeyTypes") -> str:
    """The C2PA algorithm that a key signs with; PS256 of the three that an RSA key may use.

    Raises:
        KeyFileError: none.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
        return {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    raise KeyFileError("C2PA takes keys on P-256, P-384 or P-521, RSA of at least 2048 bits, or Ed25519; not this one")


def fitting(wanted: str | None, key: "PublicKeyTypes") -> str:
    """``wanted``, if the key can sign with it, or what the key signs with.

    Raises:
        KeyFileError: it cannot.
    """
    fits = algorithm(key)
    if wanted is None or wanted == fits or (fits == "ps256" and wanted in ("ps384", "ps512")):
        return wanted or fits
    others = " (or ps384, ps512)" if fits == "ps256" else ""
    raise KeyFileError(f"algorithm {wanted} does not fit the certificate's key; use {fits}{others}")


def ekus(certificate: "x509.Certificate") -> set[str]:
    """Extended key usages, as dotted numbers."""
    from cryptography import x509

    extended = _extension(certificate, x509.ExtendedKeyUsage)
    return {oid.dotted_string for oid in extended} if extended is not None else set()


def is_authority(certificate: "x509.Certificate") -> bool:
    """Whether it may issue certificates (RFC 5280, 4.2.1.9 and 4.2.1.3)."""
    from cryptography import x509

    basic, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    return basic is not None and basic.ca and (usage is None or usage.key_cert_sign)


def path_length(certificate: "x509.Certificate") -> int | None:
    """How many authorities may stand between it and a leaf; None is any number."""
    from cryptography import x509

    basic = _extension(certificate, x509.BasicConstraints)
    return None if basic is None else basic.path_length


def problems(leaf: "x509.Certificate", at: datetime.datetime | None = None) -> list[str]:
    """What keeps a certificate from signing claims at a time (default: now), a clause each; empty if nothing does."""
    from cryptography import x509

    at = at or now()
    found = []
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if at >= end:
        found.append(f"expired on {end:%Y-%m-%d %H:%M} UTC; renew it")
    if at < start:
        found.append(f"is not valid before {start:%Y-%m-%d %H:%M} UTC; check the clock")
    try:
        extensions = leaf.extensions
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError) as error:
        return [*found, f"has extensions that cannot be read ({error}); reissue it"]
    basic, usage = _extension(leaf, x509.BasicConstraints), _extension(leaf, x509.KeyUsage)
    if leaf.version is not x509.Version.v3:
        found.append("is not of X.509 version 3; reissue it with extensions")
    if basic is not None and basic.ca:
        found.append("is an authority's; put the signer's own certificate first")
    if usage is None or not usage.digital_signature:
        found.append("may not sign: its key usage lacks digitalSignature")
    elif usage.key_cert_sign and not (basic and basic.ca):
        found.append("has the key usage keyCertSign, which only an authority's may have; reissue it without")
    found += _purposes(ekus(leaf))
    if _extension(leaf, x509.AuthorityKeyIdentifier) is None:
        found.append("has no authority key identifier, which C2PA requires; reissue it")
    if not any(a.value for a in leaf.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)):
        found.append("names no organisation (O) in its subject, and C2PA validators refuse that; reissue it with one")
    if leaf.issuer == leaf.subject:
        found.append("is self-signed; have an authority issue one, even if the authority is your own")
    unknown = [e.oid.dotted_string for e in extensions if e.critical and e.oid.dotted_string not in _KNOWN_CRITICAL]
    if unknown:
        found.append(f"has the critical extension {unknown[0]}, which validators do not know; reissue it without")
    return found + _made_with(leaf)


def check(leaf: "x509.Certificate", name: str) -> None:
    """Say what C2PA would only call invalid.

    Raises:
        KeyFileError: the first of ``problems``.
    """
    for problem in problems(leaf):
        raise KeyFileError(f"the certificate {name} {problem}")


def advice(leaf: "x509.Certificate") -> list[str]:
    """What is allowed but unwise, a clause each."""
    found, purposes = [], ekus(leaf)
    if CLAIM_SIGNING not in purposes:
        found.append(f"lacks the purpose C2PA claim signing ({CLAIM_SIGNING}), which C2PA's own trust list asks for")
    if EMAIL_PROTECTION not in purposes:
        found.append("lacks the purpose emailProtection: validators without C2PA's list of purposes will refuse it")
    if not getattr(leaf.subject, "get_attributes_for_oid", None) or not _common_name(leaf):
        found.append("has no common name (CN): reports can only show the organisation")
    left = leaf.not_valid_after_utc - now()
    if datetime.timedelta() < left < datetime.timedelta(days=30):
        found.append(f"expires in {left.days} days: clips without a time stamp are good only until then")
    return found


def _common_name(leaf: "x509.Certificate") -> str:
    from cryptography.x509.oid import NameOID

    return "".join(str(a.value) for a in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _purposes(purposes: set[str]) -> list[str]:
    if ANY_PURPOSE in purposes:
        return ["is for another purpose: anyExtendedKeyUsage is not allowed; name the purposes"]
    if purposes & {TIME_STAMPING, OCSP_SIGNING}:
        return ["is for another purpose: timeStamping and OCSPSigning cannot be combined with signing claims"]
    if not purposes & set(ACCEPTED_EKU):
        return [
            "is for another purpose: its extended key usage has none of emailProtection, documentSigning or C2PA claim "
            "signing; ask for a certificate with one of them"
        ]
    return []


def _made_with(leaf: "x509.Certificate") -> list[str]:
    """Keys and signature algorithms that C2PA leaves out."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509.oid import SignatureAlgorithmOID

    found = []
    try:
        key: CertificatePublicKeyTypes = leaf.public_key()
        algorithm(key)
    except KeyFileError as error:
        found.append(f"has a key that cannot be used: {error}")
    except (ValueError, UnsupportedAlgorithm):
        found.append("has a key of a kind that C2PA does not know; use P-256, P-384, P-521, RSA or Ed25519")
    try:
        digest = leaf.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    plain = leaf.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
    if not plain and (digest is None or digest.name not in _HASHES):
        used = digest.name.upper() if digest is not None else leaf.signature_algorithm_oid.dotted_string
        found.append(f"was issued with {used}, which C2PA does not accept; reissue it with SHA-256, 384 or 512")
    return found


def _extension(certificate: "x509.Certificate", kind: type):
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return None
