"""What an OCSP response says of a certificate, if it may be believed (RFC 6960). Nothing is fetched here.

Believed is what the certificate's own issuer signed, or somebody whose certificate that issuer made for this purpose
(RFC 6960, 4.2.2.2). What a response says holds for a time: from ``thisUpdate`` to ``nextUpdate``, or, where the latter
is missing, for a day from ``producedAt`` (C2PA specification, 15.9, "Validate the Credential Revocation Information").
"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from provenance.keys import chains, profile
from provenance.keys.revocation import Revocations, Revoked

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509 import ocsp

LARGEST = 32_768
"""Bytes that a response may have; usual ones have 300 to 3,000."""

_SKEW = datetime.timedelta(minutes=5)
_DAY = datetime.timedelta(days=1)
_HASHES = ("sha256", "sha384", "sha512")
_MOST = 10


class Unusable(ValueError):
    """A response that says nothing about the certificate; the text is a clause that begins with "it"."""


class OfAnother(Unusable):
    """A response about other certificates."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a response says of one certificate."""

    status: str
    """good, revoked or unknown."""
    since: datetime.datetime
    """When it was known to be so (``thisUpdate``)."""
    until: datetime.datetime
    """When something newer is to be had (``nextUpdate``)."""
    revoked: Revoked | None = None
    nonce: bytes | None = None
    """Of the question, if the responder repeats it."""

    def early(self, at: datetime.datetime) -> bool:
        """Whether it comes from the future of that time, some minutes for clocks that differ left aside."""
        return self.since > at + _SKEW

    def outdated(self, at: datetime.datetime) -> bool:
        return self.until < at


def responder(certificate: "x509.Certificate") -> str | None:
    """The address of the responder that a certificate names (RFC 5280, 4.2.2.1); None if it names none."""
    from cryptography import x509
    from cryptography.x509.oid import AuthorityInformationAccessOID

    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return None
    for entry in access:
        place = entry.access_location
        if entry.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            place, x509.UniformResourceIdentifier
        ):
            return place.value
    return None


def question(certificate: "x509.Certificate", issuer: "x509.Certificate", nonce: bytes) -> bytes:
    """A request (DER) about a certificate. SHA-1 in it is what every responder knows, and names an issuer only."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509 import ocsp

    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
    request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return request.public_bytes(serialization.Encoding.DER)


def read(
    der: bytes,
    certificate: "x509.Certificate",
    issuers: Iterable["x509.Certificate"],
    revoked: Revocations | None = None,
    source: str = "",
) -> Answer:
    """What a response says of a certificate, today's date left aside.

    Args:
        der: the response.
        certificate: about which it is asked.
        issuers: certificates of possible issuers.
        revoked: what is known to be revoked; a responder must not be.
        source: whose word it is, for ``Revoked``.

    Raises:
        Unusable: it is no response, a refusal, about another certificate, or nobody's whose word counts.
    """
    if len(der) > LARGEST:
        raise Unusable(f"it is longer than {LARGEST} bytes")
    try:
        return _read(der, certificate, issuers, revoked or Revocations(), source)
    except Unusable:
        raise
    except Exception:  # parsers raise what they like, some only when a part is looked at, and a stranger wrote it
        raise Unusable("it is not an OCSP response") from None


def _read(
    der: bytes,
    certificate: "x509.Certificate",
    issuers: Iterable["x509.Certificate"],
    revoked: Revocations,
    source: str,
) -> Answer:
    from cryptography.x509 import ocsp

    response = ocsp.load_der_ocsp_response(der)
    status = response.response_status
    if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise Unusable(f"it is a refusal ({status.name.lower().replace('_', ' ')})")
    entries = [e for e in islice(response.responses, _MOST) if e.serial_number == certificate.serial_number]
    if not entries:  # what is cheap to find out comes first
        raise OfAnother("it is about another certificate")
    above = [issuer for issuer in issuers if chains.issued_by(certificate, issuer)]
    if not above:
        raise Unusable("it cannot be checked: the issuer of the certificate is not known")
    entries = [entry for entry in entries if any(_about(entry, certificate, issuer) for issuer in above)]
    if not entries:
        raise OfAnother("it is about another certificate")
    if not any(_signed(response, issuer, revoked) for issuer in above):
        raise Unusable("it is not signed by the certificate's issuer, nor by a responder of that issuer")
    produced = response.produced_at_utc
    # Two entries of one certificate contradict each other: the worse one counts, then the newer one.
    answers = [_answer(entry, produced, source, _nonce(response)) for entry in entries]
    return max(answers, key=lambda answer: (answer.status == "revoked", answer.since))


def _about(entry: "ocsp.OCSPSingleResponse", certificate: "x509.Certificate", issuer: "x509.Certificate") -> bool:
    """Whether an entry of its number names the certificate, by its issuer's name and key (RFC 6960, 4.1.1)."""
    from cryptography.x509 import ocsp

    try:
        expected = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, entry.hash_algorithm).build()
    except Exception:  # a hash that is not known here
        return False
    return (expected.issuer_name_hash, expected.issuer_key_hash) == (entry.issuer_name_hash, entry.issuer_key_hash)


def _signed(response: "ocsp.OCSPResponse", issuer: "x509.Certificate", revoked: Revocations) -> bool:
    if _verifies(response, issuer):
        return True
    return any(
        profile.OCSP_SIGNING in profile.ekus(delegate)
        and delegate.not_valid_before_utc <= response.produced_at_utc <= delegate.not_valid_after_utc
        and chains.issued_by(delegate, issuer)
        and revoked.find(delegate, [issuer]) is None
        and _verifies(response, delegate)
        for delegate in response.certificates[:_MOST]
    )


def _verifies(response: "ocsp.OCSPResponse", by: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    try:
        key: Any = by.public_key()
        signature, signed, digest = response.signature, response.tbs_response_bytes, response.signature_hash_algorithm
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
            return True
        if digest is None or digest.name not in _HASHES:
            return False
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _answer(entry: "ocsp.OCSPSingleResponse", produced: datetime.datetime, source: str, nonce: bytes | None) -> Answer:
    status = entry.certificate_status.name.lower()
    revoked = None
    if status == "revoked":
        reason = entry.revocation_reason
        reason = reason.name if reason is not None else None
        revoked = Revoked(source=source, since=entry.revocation_time_utc, reason=reason)
    until = entry.next_update_utc or produced + _DAY
    return Answer(status=status, since=entry.this_update_utc, until=until, revoked=revoked, nonce=nonce)


def _nonce(response: "ocsp.OCSPResponse") -> bytes | None:
    from cryptography import x509

    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
