"""Certificates that are no longer to be believed: revocation lists on disk. Nothing is fetched.

Two kinds of file, told apart by what is in them:

- a CRL (RFC 5280, DER or PEM). It counts for certificates whose issuer signed it; the signature is checked.
- a plain list, a line each: the SHA-256 of a certificate in hexadecimal, or ``serial`` and its number in hexadecimal,
  then if known the time from which it is not to be believed, as 2026-11-25 or 2026-11-25T12:00:00Z. ``#`` begins a
  comment.

A revocation counts from its date: what a time stamp proves to be older stays good (C2PA specification, 15.9, "Validate
the Credential Revocation Information"). An entry without a date counts always. A CRL's ``invalidityDate``, the time at
which a key is known or thought to have been stolen, goes before its revocation date if it is earlier.
"""

import datetime
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.errors import KeyFileError
from provenance.keys import chains

if TYPE_CHECKING:
    from cryptography import x509

_HARMLESS = ("affiliation_changed", "superseded", "cessation_of_operation")


@dataclass(frozen=True, kw_only=True)
class Revoked:
    """Why and since when a certificate is not to be believed."""

    source: str
    """The file that says so."""
    since: datetime.datetime | None = None
    """None is from the beginning."""
    reason: str | None = None
    """Of RFC 5280, 5.3.1, in words; None if none is given."""

    def covers(self, at: datetime.datetime | None) -> bool:
        """Whether a signature of that proven time is not to be believed; None is a time that nothing proves."""
        return at is None or self.since is None or at >= self.since

    def covers_stamp(self, at: datetime.datetime) -> bool:
        """The same of a time stamp by the authority itself: a thief could date it back, so an earlier date helps only
        where the reason says that no key was lost (RFC 3161, section 4)."""
        return self.reason not in _HARMLESS or self.covers(at)


@dataclass(frozen=True)
class Revocations:
    """Everything revoked that is known here."""

    crls: tuple[tuple[str, "x509.CertificateRevocationList"], ...] = ()
    """(file, list)."""
    fingerprints: tuple[tuple[str, Revoked], ...] = ()
    serials: tuple[tuple[int, Revoked], ...] = ()

    def __reduce__(self) -> tuple:
        """For other processes: lists cannot be pickled as they are."""
        from cryptography.hazmat.primitives.serialization import Encoding

        crls = tuple((source, crl.public_bytes(Encoding.DER)) for source, crl in self.crls)
        return _restored, (crls, self.fingerprints, self.serials)

    def find(self, certificate: "x509.Certificate", issuers: Iterable["x509.Certificate"]) -> Revoked | None:
        """The revocation that counts from the earliest time; ``issuers`` are certificates of possible issuers."""
        digest = chains.fingerprint(certificate)
        found = [revoked for known, revoked in self.fingerprints if known == digest]
        found += [revoked for known, revoked in self.serials if known == certificate.serial_number]
        above = [issuer for issuer in issuers if issuer.subject == certificate.issuer]
        for source, crl in self.crls:
            if crl.issuer == certificate.issuer and any(_signed(crl, issuer) for issuer in above):
                entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
                if entry is not None and _reason(entry) != "remove_from_crl":
                    found.append(Revoked(source=source, since=_since(entry), reason=_reason(entry)))
        beginning = datetime.datetime.min.replace(tzinfo=datetime.UTC)
        return min(found, key=lambda revoked: revoked.since or beginning, default=None)

    def doubts(self, certificate: "x509.Certificate", issuers: Iterable["x509.Certificate"]) -> list[str]:
        """What is wrong with lists that speak of a certificate's issuer, a sentence each."""
        found, above = [], [issuer for issuer in issuers if issuer.subject == certificate.issuer]
        for source, crl in self.crls:
            if crl.issuer != certificate.issuer or not above:
                continue
            end = crl.next_update_utc
            if not any(_signed(crl, issuer) for issuer in above):
                found.append(f"the revocation list {source} is not signed by the authority it names and was not used")
            elif end is not None and end < chains.now():
                found.append(f"the revocation list {source} is out of date since {end:%Y-%m-%d}; fetch a newer one")
        return found


def _restored(crls: tuple[tuple[str, bytes], ...], fingerprints: tuple, serials: tuple) -> Revocations:
    lists = tuple((source, crl) for source, der in crls for crl in _crls(der, source))
    return Revocations(lists, fingerprints, serials)


def load(paths: Iterable[str | os.PathLike]) -> Revocations:
    """
    Raises:
        KeyFileError: a file that is neither kind of list.
    """
    crls, fingerprints, serials = [], [], []
    for path in paths:
        data, name = chains.read(path), os.fspath(path)
        if _is_der(data) or b"-----BEGIN" in data:
            crls += [(name, crl) for crl in _crls(data, name)]
            continue
        for kind, value, revoked in _lines(data, name):
            if kind == "serial":
                serials.append((int(value, 16), revoked))
            else:
                fingerprints.append((value, revoked))
    return Revocations(tuple(crls), tuple(fingerprints), tuple(serials))


def _is_der(data: bytes) -> bool:
    """A sequence of more than 127 bytes, as every CRL is; text may begin with the same byte, which is the digit 0."""
    return data[:1] == b"\x30" and data[1:2] >= b"\x80"


def _crls(data: bytes, name: str) -> list["x509.CertificateRevocationList"]:
    from cryptography import x509

    try:
        if _is_der(data):
            return [x509.load_der_x509_crl(data)]
        blocks = re.findall(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", data, re.DOTALL)
        if blocks:
            return [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError:
        pass
    raise KeyFileError(f"{name} is not a revocation list: expected a CRL (DER, PEM) or a plain list of SHA-256")


def _lines(data: bytes, name: str) -> list[tuple[str, str, Revoked]]:
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        kind = "serial" if words[0].lower() == "serial" and len(words) > 1 else "sha256"
        value, *when = words[1:] if kind == "serial" else words
        value = value.replace(":", "").lower().removeprefix("0x")
        fits = re.fullmatch(r"[0-9a-f]{1,80}" if kind == "serial" else r"[0-9a-f]{64}", value)
        try:
            since = datetime.datetime.fromisoformat(when[0]) if when else None
        except ValueError:
            fits = None
        if not fits or len(when) > 1:
            raise KeyFileError(
                f"{name}, line {number}: expected the SHA-256 of a certificate, or serial and a number, both in "
                f"hexadecimal, then a date or nothing; not {line.strip()[:60]!r}"
            )
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=datetime.UTC)
        found.append((kind, value, Revoked(source=name, since=since)))
    return found


def _signed(crl: "x509.CertificateRevocationList", issuer: "x509.Certificate") -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False


def _reason(entry: "x509.RevokedCertificate") -> str | None:
    from cryptography import x509

    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.name
    except (x509.ExtensionNotFound, ValueError):
        return None


def _since(entry: "x509.RevokedCertificate") -> datetime.datetime:
    from cryptography import x509

    try:
        stolen = entry.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
    except (x509.ExtensionNotFound, ValueError):
        return entry.revocation_date_utc
    return min(stolen, entry.revocation_date_utc)
