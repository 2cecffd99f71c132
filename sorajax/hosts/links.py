"""A connection between process 0 and each other process, so that all end when one is lost.

JAX's coordination service notices a lost process after missed heartbeats, and then aborts the others with a stack
trace. The system closes the connections of a process that dies at once, whatever it died of, and its keep-alive
finds a host that vanished; both name the process. Lines of JSON go over a connection: ``hello``, the answer to it,
and then ``left``, ``stopped`` or ``lost``.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sorajax.errors import HostsError

KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""A host that answers nothing is lost after 10 + 4 x 5 seconds. The second name is the first's on macOS."""
GRACE = 3.0
"""Seconds for a process to end by itself, with its own message, after another has stopped with one."""
MOST = 1 << 16
"""Bytes of a line; a stranger who sends more is turned away."""


@dataclass(eq=False)
class Peer:
    """The process at the other end."""

    process: int
    name: str
    socket: socket.socket
    unread: bytes = b""
    left: bool = False

    def send(self, **message: Any) -> None:
        """Send one line; a peer that is gone is noticed by who reads from it."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """The lines that have arrived; None when there will be no more."""
        try:
            data = self.socket.recv(MOST)
        except OSError:
            return None
        *lines, self.unread = (self.unread + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None


@dataclass(eq=False)
class Links:
    """The open connections of one process: process 0 has one to each other, the others have one to it."""

    process: int
    peers: list[Peer]
    ending: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """From now on, a peer that is lost ends this process: one line on stderr, exit code 1."""
        _slow_abort()
        threading.Thread(target=self._watch, name="links", daemon=True).start()

    def leave(self, stopped: str | None = None) -> None:
        """Say that this process ends, and why if it is not as planned; peers are watched no longer."""
        self.ending.set()
        for peer in self.peers:
            peer.send(**({"left": True} if stopped is None else {"stopped": stopped}))

    def _watch(self) -> None:
        selector = selectors.DefaultSelector()
        for peer in self.peers:
            selector.register(peer.socket, selectors.EVENT_READ, peer)
        while selector.get_map():
            for key, _ in selector.select():
                lines = key.data.receive()
                for line in lines or ():
                    self._read(key.data, line)
                if lines is None:
                    selector.unregister(key.fileobj)
                    if not key.data.left:
                        self._end(key.data, key.data.process, f"{_label(key.data.process, key.data.name)} was lost")

    def _read(self, peer: Peer, line: Mapping[str, Any]) -> None:
        peer.left = True  # whatever it says now, it says before it ends
        if "stopped" in line:
            self.ending.wait(GRACE)
            self._end(peer, peer.process, f"{_label(peer.process, peer.name)} stopped: {line['stopped']}")
        elif "lost" in line:
            self._end(peer, line["process"], line["lost"])

    def _end(self, source: Peer, process: int, text: str) -> None:
        if self.ending.is_set():
            return
        for peer in self.peers:
            if peer is not source:
                peer.send(lost=text, process=process)
        line = f"sorajax: {text}; process {self.process} ends too (training, started again, resumes its checkpoint)"
        print(("\n" if sys.stderr.isatty() else "") + line, file=sys.stderr)
        exit_now(1)


def exit_now(code: int) -> NoReturn:
    """End without waiting for other processes, which JAX does at exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def listen(host: str, port: int) -> socket.socket:
    """Where process 0 awaits the others: on the loopback alone if ``host`` is on it. Port 0 takes a free one.

    Raises HostsError if the port is taken.
    """
    try:
        if host == "::1":
            return socket.create_server((host, port), family=socket.AF_INET6)
        if host == "localhost" or host.startswith("127."):
            return socket.create_server((host, port))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise HostsError(
            f"process 0 cannot listen on port {port} ({error.strerror}); name a free port in --coordinator"
        ) from None


def accept_all(listener: socket.socket, processes: int, *, limit: float, answer: Mapping[str, Any]) -> Links:
    """Links of process 0 once all others have come; each gets ``answer``. The listener is closed.

    Raises HostsError, naming who did not come within ``limit`` seconds.
    """
    end, peers = time.monotonic() + limit, dict[int, Peer]()
    with listener:
        while len(peers) < processes - 1:
            listener.settimeout(max(end - time.monotonic(), 0.01))
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                absent = [str(i) for i in range(1, processes) if i not in peers]
                text = f"process {', '.join(absent)} of {processes} did not come within {limit:.0f} s"
                for peer in peers.values():
                    peer.send(refused=text)
                raise HostsError(f"{text}; start one with each --process from 0 to {processes - 1}") from None
            peer = _admit(connection, processes, peers)
            if peer is not None:
                peers[peer.process] = peer
    for peer in peers.values():
        peer.send(**answer)
    return Links(0, [peers[i] for i in sorted(peers)])


def _admit(connection: socket.socket, processes: int, peers: Mapping[int, Peer]) -> Peer | None:
    connection.settimeout(5.0)
    try:
        hello = _line(connection)
        process, name = int(hello["hello"]), str(hello["name"])
        if int(hello["processes"]) != processes:
            theirs = hello["processes"]
            refusal = f"--processes is {theirs} at process {process} and {processes} at process 0; make them equal"
        elif not 0 < process < processes:
            refusal = f"--process {process} is not one of 1 to {processes - 1}"
        elif process in peers:
            refusal = f"--process {process} is taken by {peers[process].name}; give each process its own number"
        else:
            _keep_alive(connection)
            return Peer(process, name, connection)
    except (OSError, ValueError, KeyError, TypeError):  # a stranger, such as a port scan
        connection.close()
        return None
    Peer(process, name, connection).send(refused=refusal)
    connection.close()
    return None


def connect(host: str, port: int, processes: int, process: int, *, limit: float) -> tuple[Links, dict[str, Any]]:
    """The link of a process that is not 0, and process 0's answer, which comes once all are there.

    Raises HostsError if nobody answers at ``host``:``port`` within ``limit`` seconds, or if process 0 refuses.
    """
    end, where = time.monotonic() + limit, f"{host}:{port}"
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=max(end - time.monotonic(), 0.1))
            break
        except OSError as error:
            if time.monotonic() > end:
                reason = error.strerror or str(error)
                raise HostsError(
                    f"no coordinator at {where} within {limit:.0f} s ({reason}); start process 0 there "
                    "or mend --coordinator"
                ) from None
            time.sleep(0.1)
    peer = Peer(0, host, connection)
    peer.send(hello=process, processes=processes, name=own_name())
    try:
        connection.settimeout(max(end - time.monotonic(), 0.1) + 10)  # process 0 says itself who is absent
        answer = _line(connection)
    except (OSError, ValueError):
        raise HostsError(
            f"the coordinator at {where} gave no answer within {limit:.0f} s; see what process 0 says"
        ) from None
    if "refused" in answer:
        raise HostsError(f"the coordinator at {where} refuses: {answer['refused']}")
    peer.name = str(answer.get("name", host))
    _keep_alive(connection)
    return Links(process, [peer]), answer


def _line(connection: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(1)
        if not more or len(data) > MOST:
            raise ValueError("no line")
        data += more
    line = json.loads(data)
    if not isinstance(line, dict):
        raise ValueError("no object")
    return line


def _keep_alive(connection: socket.socket) -> None:
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in KEEP_ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


def own_name() -> str:
    """What others call this process by."""
    return f"{socket.gethostname()} (pid {os.getpid()})"


def _label(process: int, name: str) -> str:
    return f"process {process} on {name}"


def _slow_abort() -> None:
    """Let an abort sleep for SIGABRT's number of seconds before it ends the process.

    When process 0 dies, JAX's own thread aborts in the same moment in which ours is told: it would win half the time.
    C's sleep is the handler, as Python's would need the interpreter, which may be what is stuck.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        libc.signal(int(signal.SIGABRT), ctypes.cast(libc.sleep, ctypes.c_void_p))
