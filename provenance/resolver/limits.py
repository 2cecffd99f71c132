"""What keeps a public resolver standing: limits on size, rate and time, and the guard that enforces the first two."""

import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_MOST_CLIENTS = 10_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one resolver."""

    upload_bytes: int = 512 * 2**20
    """Of a file for /matches/byContent."""
    body_bytes: int = 1 << 20
    """Of any other request."""
    requests_a_second: float = 5.0
    """Of one client, on average."""
    burst: int = 30
    """Requests that a client may send at once; an upload counts as ten."""
    searches: int = 2
    """Uploaded files looked into at the same time."""
    upload_seconds: float = 300.0
    """For sending one of them."""
    search_seconds: float = 120.0
    """For one of them."""
    results: int = 50


class Buckets:
    """A token bucket for each client; of many clients, those not seen for longest are forgotten."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = limits.requests_a_second, float(limits.burst), clock
        self._kept: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, tokens: float) -> float:
        """0 if the client may go on, else the seconds after which it may."""
        now = self._clock()
        left, then = self._kept.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= min(tokens, self._burst)
        self._kept[client] = (left - tokens if allowed else left, now)
        while len(self._kept) > _MOST_CLIENTS:
            self._kept.popitem(last=False)
        return 0.0 if allowed else (min(tokens, self._burst) - left) / self._rate


class Guard:
    """ASGI middleware: refuses clients that ask too often and bodies that are too large, before anything is read."""

    def __init__(self, app: App, limits: Limits):
        self._app, self._limits, self._buckets = app, limits, Buckets(limits)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = scope["path"].endswith("/matches/byContent")
        wait = self._buckets.take((scope.get("client") or ("", 0))[0], 10.0 if upload else 1.0)
        if wait:
            await refuse(send, 429, "too many requests", {"retry-after": str(int(wait) + 1)})
            return
        most = self._limits.upload_bytes if upload else self._limits.body_bytes
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if not said.isdigit() or int(said) > most:
            await refuse(send, 413, f"a request may have {most} bytes")
            return
        await self._app(scope, _counted(receive, most), send)


def _counted(receive: Receive, most: int) -> Receive:
    """The body's parts until they are too many: not every client says beforehand how much there will be."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= most else {"type": "http.disconnect"}

    return counted


async def refuse(send: Send, status: int, why: str, headers: dict[str, str] | None = None) -> None:
    """A short answer, as JSON."""
    body = json.dumps({"detail": why}).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
