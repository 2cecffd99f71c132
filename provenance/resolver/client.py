"""Asking a resolver which manifest stores belong to a watermark. What it answers is not believed, only passed on.

It is told the algorithm and the payload, nothing of the file. Bounded in time, size and redirects, which may only lead
to the same host; other endpoints that it may name are not asked.
"""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from provenance.errors import RegistryError

SECONDS = 20.0
"""For everything that is asked about one file."""
MOST_REDIRECTS = 3
LARGEST_LIST = 256 * 1024
LARGEST_STORE = 4 * 2**20
_CONNECT_SECONDS = 10.0


def manifests(resolver: str, algorithm: str, value: bytes, *, most: int, seconds: float = SECONDS) -> list[bytes]:
    """The manifest stores that a resolver has for a soft binding, at most ``most``.

    Raises:
        RegistryError: an address that cannot be used, or an answer that is none.
    """
    base, deadline = _base(resolver), time.monotonic() + seconds
    query = urlencode({"alg": algorithm, "value": base64.b64encode(value).decode(), "maxResults": most})
    try:
        status, _, body = _get(f"{base}/matches/byBinding?{query}", "application/json", LARGEST_LIST, deadline)
        if status != 200:
            raise _Answer(f"status {status}")
        found = []
        for label in _labels(body)[:most]:
            status, _, store = _get(
                f"{base}/manifests/{quote(label, safe='')}", "application/c2pa", LARGEST_STORE, deadline
            )
            if status == 200:
                found.append(store)
            elif status != 404:
                raise _Answer(f"status {status} for a manifest that it named")
    except _Answer as error:
        raise RegistryError(f"the resolver {resolver} gave no answer that can be used: {error}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RegistryError(f"the resolver {resolver} could not be asked: {reason}") from None
    return found


class _Answer(Exception):
    """What is wrong with an answer."""


def _base(resolver: str) -> str:
    try:
        parts = urlsplit(resolver)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or any(c <= " " or c == "\x7f" for c in resolver):
        raise RegistryError(f"{resolver} is no address of a resolver; give one like https://HOST/v1")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _labels(body: bytes) -> list[str]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise _Answer("no JSON") from None
    matches = answer.get("matches") if isinstance(answer, dict) else None
    if not isinstance(matches, list):
        raise _Answer("no list of matches")
    labels = [match.get("manifestId") for match in matches if isinstance(match, dict) and not _elsewhere(match)]
    return [label for label in labels if isinstance(label, str) and 0 < len(label) <= 1000]


def _elsewhere(match: dict[str, Any]) -> bool:
    """A manifest that another endpoint has: the user asked this one only."""
    return bool(match.get("endpoint"))


def _get(address: str, accept: str, most: int, deadline: float) -> tuple[int, str, bytes]:
    """(status, content type, body) after at most three redirects on the same host."""
    for _ in range(MOST_REDIRECTS + 1):
        status, headers, body = _get_once(address, accept, most, deadline)
        target = headers.get("Location")
        if status not in (301, 302, 303, 307, 308) or not target:
            return status, headers.get("Content-Type", ""), body
        following = urljoin(address, target)
        before, after = urlsplit(address), urlsplit(following)
        if (before.scheme, before.hostname, before.port) != (after.scheme, after.hostname, after.port):
            raise _Answer("it redirects to another host")
        address = following
    raise _Answer(f"more than {MOST_REDIRECTS} redirects")


def _get_once(address: str, accept: str, most: int, deadline: float) -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(address)
    left = deadline - time.monotonic()
    if left <= 0:
        raise _Answer("it took too long")
    timeout = min(_CONNECT_SECONDS, left)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    # A trickle of bytes keeps every single read within its time: what ends the whole is the closing of the socket.
    late = threading.Event()
    watch = threading.Timer(left, lambda: (late.set(), _hang_up(connection)))
    watch.daemon = True
    try:
        connection.connect()
        watch.start()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "sorajax-provenance"}
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        body = response.read(most + 1)
        if late.is_set():
            raise _Answer("it took too long")
        if len(body) > most:
            raise _Answer(f"more than {most} bytes")
        if response.length:
            raise _Answer("it was cut short")
        return response.status, response.headers, body
    except (OSError, http.client.HTTPException, ValueError):
        if late.is_set():
            raise _Answer("it took too long") from None
        raise
    finally:
        watch.cancel()
        connection.close()


def _hang_up(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):  # closed meanwhile
            sock.shutdown(socket.SHUT_RDWR)
