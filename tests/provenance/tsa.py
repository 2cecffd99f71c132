"""A time stamp authority on this machine (RFC 3161), honest or not."""

import datetime
import hashlib
import http.server
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asn1crypto import algos, cms, core, tsp, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"


class StampAuthority:
    """Answers every question with its own clock; ``mood`` makes it misbehave: refuse, nonsense, html, error, slow,
    other (a stamp for something else), late (its own certificate had expired)."""

    def __init__(self, authority, name: str = "Clockmakers"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        certificate, _ = authority.issue(self.key, eku=TIME_STAMPING, name=name, critical_eku=True)
        self.root_pem: Path = authority.root_pem
        self.certificate_pem = certificate
        der = serialization.Encoding.DER
        self.certificate = x509.Certificate.load(authority.certificate(certificate).public_bytes(der))
        self.mood = "honest"
        self.questions = 0
        self.url = ""

    def answer(self, question: bytes) -> tuple[int, str, bytes]:
        """(HTTP status, content type, body)."""
        self.questions += 1
        kind = "application/timestamp-reply"
        if self.mood == "error":
            return 500, "text/plain", b"out of ink"
        if self.mood == "html":
            return 200, "text/html", b"<h1>Please log in</h1>"
        if self.mood == "nonsense":
            return 200, kind, b"tick tock"
        if self.mood == "slow":
            time.sleep(2)
        asked = tsp.TimeStampReq.load(question)
        if self.mood == "refuse":
            status = {"status": "rejection", "status_string": ["not today"], "fail_info": {"bad_request"}}
            info = tsp.PKIStatusInfo(status).dump()
            return 200, kind, bytes([0x30, len(info)]) + info
        imprint = asked["message_imprint"]
        if self.mood == "other":
            imprint["hashed_message"] = hashlib.sha256(b"something else").digest()
        return 200, kind, self.stamp(imprint, asked["nonce"])

    def stamp(self, imprint, nonce) -> bytes:
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3.4.1",
                "message_imprint": imprint,
                "serial_number": secrets.randbits(60),
                "gen_time": datetime.datetime.now(datetime.UTC).replace(microsecond=0),
                "nonce": nonce,
            }
        )
        content = info.dump()
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
            ]
        )
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        own = self.certificate
        signer = {
            "version": "v1",
            "sid": {"issuer_and_serial_number": {"issuer": own.issuer, "serial_number": own.serial_number}},
            "digest_algorithm": sha256,
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self.key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
        }
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [sha256],
                "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
                "certificates": [own],
                "signer_infos": [signer],
            }
        )
        token = {"content_type": "signed_data", "content": signed}
        return tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()


@contextmanager
def serving(authority: StampAuthority) -> Iterator[StampAuthority]:
    """The authority at work on 127.0.0.1, its address in ``url``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, kind, body = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        authority.url = f"http://127.0.0.1:{server.server_address[1]}/tsr"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()
