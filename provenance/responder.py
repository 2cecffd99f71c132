"""An OCSP response for a signature about to be made: from a file, or from the responder that the certificate names.

It is asked only when the user says so, for it learns which certificate signs, and when. What comes is examined before
it is used: about this certificate, by its issuer or for it, current, and good (``provenance.keys.ocsp``).
"""

import http.client
import os
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from provenance.errors import InputError, KeyFileError, SigningError
from provenance.keys import Signer, Trust, chains, ocsp

if TYPE_CHECKING:
    from cryptography import x509

FETCH = "fetch"
"""Instead of a file: ask the responder."""
PATIENCE = 20.0
"""Seconds that a responder may take; they usually answer within one."""
POLICIES = ("require", "optional")

_QUERY, _REPLY = "application/ocsp-request", "application/ocsp-response"
_SOURCE = "an OCSP response"
_CHUNK = 4096


class NoResponse(SigningError):
    """There is none to be had, or none that helps; everything would have been well without."""


def check(policy: str) -> None:
    """
    Raises:
        InputError: a policy that is not known.
    """
    if policy not in POLICIES:
        raise InputError(f"the OCSP policy {policy!r} is not known; choose from {', '.join(POLICIES)}")


def obtain(wanted: str | os.PathLike, signer: Signer, trust: Trust, patience: float = PATIENCE) -> bytes:
    """A response (DER) that says that the signer's certificate is good.

    Args:
        wanted: a file with a response, DER; or ``FETCH``.
        signer: about whose certificate it is to be.
        trust: where the issuer is looked for, if the chain does not hold it.
        patience: seconds that a responder may take.

    Raises:
        InputError: the file cannot be read.
        NoResponse: none that can be used.
        SigningError: the response says that the certificate was revoked: nothing should be signed with it.
    """
    leaf, *others = chains.parse(signer.chain_pem.encode(), "the signer's chain")
    issuers = [issuer for issuer in (*others, *trust.anchors) if chains.issued_by(leaf, issuer)]
    if not issuers:
        raise NoResponse(
            f"an OCSP response cannot be checked without the certificate of the signer's issuer, "
            f"{leaf.issuer.rfc4514_string()}; append it to the chain, or name its file in $SORAJAX_TRUST"
        )
    if wanted == FETCH:
        name, response, nonce = _fetched(leaf, issuers[0], patience)
    else:
        name, nonce = f"the OCSP response {os.fspath(wanted)}", None
        try:
            response = chains.read(wanted)
        except KeyFileError as error:
            raise InputError(str(error)) from None
    _examine(response, leaf, issuers, trust, name, nonce)
    return response


def _examine(
    response: bytes,
    leaf: "x509.Certificate",
    issuers: list["x509.Certificate"],
    trust: Trust,
    name: str,
    nonce: bytes | None,
) -> None:
    try:
        answer = ocsp.read(response, leaf, issuers, trust.revoked, _SOURCE)
    except ocsp.Unusable as error:
        raise NoResponse(f"{name} cannot be used: {error}") from None
    revoked = answer.revoked
    if revoked is not None:
        why = f", {revoked.reason.replace('_', ' ')}" if revoked.reason else ""
        raise SigningError(
            f"{name} says that the signer's certificate was revoked as of {revoked.since:%Y-%m-%d %H:%M} UTC{why}; "
            "sign with another one"
        )
    now, trouble = chains.now(), None
    if answer.status != "good":
        trouble = "its responder does not know the certificate"
    elif nonce is not None and answer.nonce not in (None, nonce):  # many answer from stock, without it
        trouble = "it answers another question"
    elif answer.early(now):
        trouble = f"it is dated {answer.since:%Y-%m-%d %H:%M} UTC, in the future; check the clock"
    elif answer.outdated(now):
        trouble = f"it is out of date since {answer.until:%Y-%m-%d %H:%M} UTC; fetch a newer one"
    if trouble is not None:
        raise NoResponse(f"{name} cannot be used: {trouble}")


def _fetched(leaf: "x509.Certificate", issuer: "x509.Certificate", patience: float) -> tuple[str, bytes, bytes]:
    """(what to call it, the response, the nonce asked with)."""
    url = ocsp.responder(leaf)
    if url is None:
        raise NoResponse(
            "the signer's certificate names no OCSP responder to fetch from; give a response as a file (--ocsp FILE), "
            "or sign without"
        )
    try:
        fits = urllib.parse.urlsplit(url).scheme in ("http", "https") and url.isascii() and url.isprintable()
    except ValueError:
        fits = False
    if not fits or " " in url:
        raise NoResponse(f"the OCSP responder {url[:200]!r}, named by the signer's certificate, is not a web address")
    nonce = secrets.token_bytes(32)
    try:
        response = _ask(url, ocsp.question(leaf, issuer, nonce), patience)
    except _Trouble as error:
        raise NoResponse(f"the OCSP responder {url} gave no response: {error}") from None
    return f"the response of the OCSP responder {url}", response, nonce


class _Trouble(Exception):
    """Why there is no answer, a clause."""


def _ask(url: str, question: bytes, patience: float) -> bytes:
    """Its answer (RFC 6960, appendix A.1); one that trickles in is given up too."""
    deadline = time.monotonic() + patience
    request = urllib.request.Request(url, question, {"Content-Type": _QUERY, "Accept": _REPLY})
    answer = bytearray()
    try:
        with urllib.request.urlopen(request, timeout=patience) as response:
            kind = response.headers.get_content_type()
            while piece := response.read1(_CHUNK):
                answer += piece
                if len(answer) > ocsp.LARGEST:
                    raise _Trouble(f"its answer is longer than {ocsp.LARGEST} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError
    except urllib.error.HTTPError as error:
        error.close()
        raise _Trouble(f"it answered HTTP {error.code}") from None
    except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise _Trouble(f"no answer within {patience:g} s") from None
        raise _Trouble(f"it cannot be reached: {getattr(reason, 'strerror', None) or reason}") from None
    if kind != _REPLY:
        raise _Trouble(f"its answer is {kind}, not an OCSP response")
    return bytes(answer)
