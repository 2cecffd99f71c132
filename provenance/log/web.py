"""A log behind a web server: asked only for files of the log, with limits on time and size."""

import http.client
import time
import zlib
from urllib.parse import quote, urlsplit

from provenance.errors import InputError, LogError

TIMEOUT = 20.0
"""Seconds for one file, connecting included."""
_CHUNK = 65_536


class WebSource:
    """A log behind HTTP or HTTPS. Redirects are not followed: the address that the user gave is the one asked."""

    def __init__(self, url: str):
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
            url.encode("ascii")
        except (ValueError, UnicodeError):
            raise InputError(f"{url!r} is not an address; it looks like https://example.com/log") from None
        if not self._host or parts.query or parts.fragment or parts.username or any(c <= " " for c in url):
            raise InputError(f"{url!r} is not a log's address: https://host/folder, with no user, query or fragment")
        self.name = url
        self._prefix = quote(parts.path.rstrip("/"), safe="/%") + "/"
        self._secure = parts.scheme.lower() == "https"
        self._connection: http.client.HTTPConnection | None = None

    def read(self, path: str, limit: int) -> bytes | None:
        deadline = time.monotonic() + TIMEOUT
        fresh = self._connection is None
        try:
            return self._get(path, limit, deadline)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if not fresh and isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionError)):
                return self._again(path, limit, deadline)  # the server had closed an idle connection
            raise self._cannot(path, error) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _again(self, path: str, limit: int, deadline: float) -> bytes | None:
        try:
            return self._get(path, limit, deadline)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            raise self._cannot(path, error) from None

    def _cannot(self, path: str, error: Exception) -> LogError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, http.client.IncompleteRead):
            reason = "it is cut short"
        return LogError(f"cannot fetch {path} from {self.name}: {reason}")

    def _get(self, path: str, limit: int, deadline: float) -> bytes | None:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=TIMEOUT)
        headers = {"Accept-Encoding": "gzip, identity", "User-Agent": "provenance-log"}
        self._connection.request("GET", self._prefix + quote(path), headers=headers)
        answer = self._connection.getresponse()
        try:
            body = _body(answer, limit, deadline)
        finally:
            answer.close()
        if answer.will_close or body is None:
            self.close()
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise LogError(
                f"{self.name} answers {path} with status {answer.status}, not 200; give the log's own address"
            )
        if body is None:
            raise LogError(f"{path} from {self.name} is longer than the {limit} bytes that it may have")
        return body


def _body(answer: http.client.HTTPResponse, limit: int, deadline: float) -> bytes | None:
    """The body, unpacked; None if it is longer than ``limit``."""
    encoding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
    unpack = None
    if encoding in ("gzip", "x-gzip"):
        unpack = zlib.decompressobj(wbits=31)
    elif encoding != "identity":
        raise http.client.HTTPException(f"a content encoding that was not asked for: {encoding}")
    body = bytearray()
    packed = 0
    while piece := answer.read1(_CHUNK):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took longer than {TIMEOUT:.0f} seconds")
        packed += len(piece)
        try:
            body += piece if unpack is None else unpack.decompress(piece, limit + 1 - len(body))
        except zlib.error as error:
            raise http.client.HTTPException(f"damaged gzip: {error}") from None
        if len(body) > limit or packed > limit + 1024:
            return None
    if answer.length:  # read1 does not complain of a body that ends early
        raise http.client.IncompleteRead(bytes(body), answer.length)
    if unpack is not None and not unpack.eof:
        raise http.client.HTTPException("gzip that is cut short")
    return bytes(body)
