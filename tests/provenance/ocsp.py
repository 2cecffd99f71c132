"""An OCSP responder on this machine (RFC 6960), honest or not."""

import datetime
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from asn1crypto import ocsp as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
KIND = "application/ocsp-response"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def days(number: float) -> datetime.datetime:
    """So many days from now."""
    return NOW + datetime.timedelta(days=number)


class Responder:
    """Answers for an authority, with a certificate for that. ``mood`` is what it says, or how it misbehaves: good,
    revoked, unknown; stale, early, other (about another certificate), forged (a wrong signature), replay (a wrong
    nonce), refuse, nonsense, html, error, endless."""

    def __init__(self, authority, name: str = "Registrar"):
        self.authority = authority
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = authority.certificate(authority.issue(self.key, eku=OCSP_SIGNING, name=name)[0])
        self.mood = "good"
        self.questions = 0
        self.given = b""
        """The last response."""
        self.url = ""

    def answer(self, question: bytes) -> tuple[int, str, bytes]:
        """(HTTP status, content type, body)."""
        self.questions += 1
        if self.mood == "error":
            return 503, "text/plain", b"closed"
        if self.mood == "html":
            return 200, "text/html", b"<h1>Please log in</h1>"
        if self.mood == "nonsense":
            return 200, KIND, b"all is well"
        if self.mood == "endless":
            return 200, KIND, bytes(1 << 20)
        if self.mood == "refuse":
            refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
            return 200, KIND, refusal.public_bytes(serialization.Encoding.DER)
        asked = ocsp.load_der_ocsp_request(question)
        nonce = asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        self.given = self.response(
            asked,
            status=self.mood if self.mood in ("revoked", "unknown") else "good",
            start={"stale": -9, "early": 2}.get(self.mood, -0.1),
            end={"stale": -2, "early": 9}.get(self.mood, 7),
            other=self.mood == "other",
            nonce=b"of yesterday" if self.mood == "replay" else nonce,
        )
        if self.mood == "forged":
            self.given = forged(self.given)
        return 200, KIND, self.given

    def response(
        self,
        about: Any,
        *,
        status: str = "good",
        start: float = -0.1,
        end: float | None = 7,
        since: float = -1,
        reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise,
        other: bool = False,
        nonce: bytes | None = None,
        by: tuple[Any, x509.Certificate] | None = None,
        enclose: bool = True,
        digest: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        """A response (DER) about a certificate or a request, valid from ``start`` to ``end`` days from now; ``by`` is
        another (key, certificate) than the responder's own."""
        issuer = self.authority.own
        if isinstance(about, x509.Certificate):
            about = ocsp.OCSPRequestBuilder().add_certificate(about, issuer, digest or hashes.SHA256()).build()
        key, certificate = by or (self.key, self.certificate)
        revoked = status == "revoked"
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            about.issuer_name_hash,
            about.issuer_key_hash,
            about.serial_number + other,
            about.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus[status.upper()],
            this_update=days(start),
            next_update=days(end) if end is not None else None,
            revocation_time=days(since) if revoked else None,
            revocation_reason=reason if revoked else None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        if enclose:
            builder = builder.certificates([certificate])
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        hashed = None if key.__class__.__name__.startswith("Ed25519") else hashes.SHA256()
        return builder.sign(key, hashed).public_bytes(serialization.Encoding.DER)


def forged(response: bytes) -> bytes:
    """With a signature that is wrong in its last bit."""
    signature = asn1.OCSPResponse.load(response).basic_ocsp_response["signature"].native
    return response.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))


@contextmanager
def serving(responder: Responder) -> Iterator[Responder]:
    """The responder at work on 127.0.0.1, its address in ``url``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, kind, body = responder.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # the other side may have read enough
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        responder.url = f"http://127.0.0.1:{server.server_address[1]}/ocsp"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield responder
        finally:
            server.shutdown()
            thread.join()
