"""Ask a time stamp authority (RFC 3161), with a limit to the patience, and say what was wrong.

C2PA's library asks by itself, but without a time limit, and its errors do not say why. So it asks here: ``Relay`` is a
small server on this machine's own address, for the time of one signature, that passes the question on and the answer
back. The library checks the answer: nonce, digest, signature.
"""

import http.client
import http.server
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from provenance.errors import InputError

PATIENCE = 20.0
"""Seconds that an authority may take; they usually answer within one."""
POLICIES = ("require", "optional")

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
_LARGEST = 1_000_000


def check(url: str, policy: str) -> None:
    """
    Raises:
        InputError: an address or policy that cannot be used.
    """
    if policy not in POLICIES:
        raise InputError(f"the time stamp policy {policy!r} is not known; choose from {', '.join(POLICIES)}")
    parts = urllib.parse.urlsplit(url) if url.isascii() and url.isprintable() and " " not in url else None
    try:
        fits = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits:
        raise InputError(
            f"the time stamp authority {url!r} is not an address; it looks like http://tsa.example.org/tsr"
        )


class Relay:
    """An address to give to C2PA's library, and what went wrong behind it."""

    def __init__(self, url: str, patience: float = PATIENCE):
        self.url = url
        self.patience = patience
        self.address = ""
        self.asked = False
        """Whether a time stamp was asked for at all."""
        self.trouble: str | None = None
        """Why there is no time stamp, in plain words."""

    def ask(self, question: bytes) -> bytes | None:
        """The authority's answer; None, and ``trouble``, if there is none that could be a time stamp."""
        self.asked = True
        request = urllib.request.Request(self.url, question, {"Content-Type": _QUERY, "Accept": _REPLY})
        try:
            with urllib.request.urlopen(request, timeout=self.patience) as response:
                kind = response.headers.get_content_type()
                answer = response.read(_LARGEST + 1)
        except urllib.error.HTTPError as error:
            error.close()
            self.trouble = f"it answered HTTP {error.code}"
        except (urllib.error.URLError, OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            slow = isinstance(reason, TimeoutError)
            said = getattr(reason, "strerror", None) or reason
            self.trouble = f"no answer within {self.patience:g} s" if slow else f"it cannot be reached: {said}"
        else:
            if len(answer) > _LARGEST:
                self.trouble = f"its answer is longer than {_LARGEST} bytes"
            elif kind != _REPLY:
                self.trouble = f"its answer is {kind}, not a time stamp"
            else:
                self.trouble = refusal(answer)
                return answer
        return None


def refusal(answer: bytes) -> str | None:
    """What an answer says instead of giving a time stamp; None if it gives one (RFC 3161, 2.4.2)."""
    from asn1crypto import cms, core, tsp

    class Response(core.Sequence):  # asn1crypto's own asks for a token in refusals too
        _fields = [("status", tsp.PKIStatusInfo), ("token", cms.ContentInfo, {"optional": True})]

    try:
        response = Response.load(answer, strict=True)
        status = response["status"]["status"].native
        if status in ("granted", "granted_with_mods"):
            return None
        detail = response["status"]["fail_info"].native or {status}
        text = " ".join(response["status"]["status_string"].native or ())
    except (ValueError, TypeError, KeyError):
        return "its answer is not a time stamp"
    return f"it refused: {', '.join(sorted(detail)).replace('_', ' ')}" + (f" ({text[:100]})" if text else "")


@contextmanager
def relay(url: str | None, patience: float = PATIENCE) -> Iterator[Relay | None]:
    """A relay that runs while the block does; None without an address."""
    if url is None:
        yield None
        return
    passing = Relay(url, patience)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(passing)) as server:
        server.daemon_threads = True
        passing.address = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield passing
        finally:
            server.shutdown()
            thread.join()


def _handler(passing: Relay) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            question = self.rfile.read(min(int(length), _LARGEST)) if length.isdecimal() else b""
            answer = passing.ask(question)
            self.send_response(200 if answer is not None else 502)
            self.send_header("Content-Type", _REPLY if answer is not None else "text/plain")
            self.send_header("Content-Length", str(len(answer or b"")))
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what matters is in ``trouble``."""

    return Handler
