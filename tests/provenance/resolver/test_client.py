"""A resolver may answer anything: verify goes on, with one finding."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import provenance
from provenance import registry, stores, video
from provenance.errors import RegistryError
from provenance.resolver import client
from provenance.watermark import ALGORITHM

PAYLOAD = b"8 bytes!"
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="module")
def signed_here(marked, facts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    provenance.sign(marked, folder / "signed.mp4", facts=facts, registry=folder)
    return folder


@pytest.fixture(scope="module")
def copy(signed_here, encode, tmp_path_factory) -> Path:
    frames = np.stack(list(video.read_frames(signed_here / "signed.mp4")))
    return encode(tmp_path_factory.mktemp("clips") / "copy.mp4", frames, crf=26)


@pytest.fixture
def resolver() -> Iterator[Callable[[Answer], str]]:
    """Starts a server that answers as it likes; its address."""
    running: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def matching(store: bytes, *labels: str) -> Answer:
    """A resolver that names these manifests, and gives the same store for each."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if "/matches/" in handler.path:
            send(handler, json.dumps({"matches": [{"manifestId": label} for label in labels]}).encode())
        else:
            send(handler, store)

    return answer


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def huge(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(bytes(1 << 16))


def around(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"", 302, Location=handler.path + "x")


HOSTILE: dict[str, tuple[Answer, str]] = {
    "html": (lambda h: send(h, b"<html>Hello</html>", Content_Type="text/html"), "no JSON"),
    "not found": (lambda h: send(h, b"", 404), "status 404"),
    "failing": (lambda h: send(h, b"\x1b[2J" * 50, 500), "status 500"),
    "a list": (lambda h: send(h, b"[1, 2]"), "no list of matches"),
    "deep": (lambda h: send(h, b"[" * 100_000), "no JSON"),
    "huge": (huge, "more than 262144 bytes"),
    "slow": (drip, "took too long"),
    "redirects for ever": (around, "redirects"),
    "redirects elsewhere": (lambda h: send(h, b"", 302, Location="http://localhost:1/"), "another host"),
    "redirects to a file": (lambda h: send(h, b"", 302, Location="file:///etc/passwd"), "another host"),
    "no http": (lambda h: h.wfile.write(b"\x16\x03\x01 hello\r\n\r\n"), "could not be asked"),
    "hangs up": (lambda h: None, "could not be asked"),
    "wrong length": (lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"), "cut short"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_one_finding(name, resolver, copy, monkeypatch) -> None:
    answer, says = HOSTILE[name]
    monkeypatch.setattr(client, "SECONDS", 0.5)
    original = client.manifests
    monkeypatch.setattr(client, "manifests", lambda *a, **k: original(*a, **{"seconds": client.SECONDS, **k}))
    report = provenance.verify(copy, resolver=resolver(answer))
    assert report.status == "absent"
    (finding,) = [finding for finding in report.findings if "the resolver" in finding]
    assert says in finding and "\n" not in finding


def test_a_manifest_that_is_none_is_a_finding(resolver, copy, signed_here) -> None:
    store = stores.find((signed_here / "signed.mp4").read_bytes())
    for data in (b"<html>", b"", store[:-50], store.replace(b"a dog on a beach", b"a war on a beach")):
        report = provenance.verify(copy, resolver=resolver(matching(data, "urn:c2pa:x")))
        assert report.status == "absent" and "do not hold, and were left out" in report.findings[0]


def test_a_manifest_of_another_clip_is_a_finding(resolver, copy, plain, tmp_path) -> None:
    provenance.sign(plain, tmp_path / "other.mp4")
    store = stores.find((tmp_path / "other.mp4").read_bytes())
    report = provenance.verify(copy, resolver=resolver(matching(store, "urn:c2pa:x")))
    assert report.status == "absent" and "do not name the watermark" in report.findings[0]


def test_the_right_manifest_is_enough(resolver, copy, signed_here) -> None:
    store = stores.find((signed_here / "signed.mp4").read_bytes())
    address = resolver(matching(store, "urn:c2pa:x y/?#é"))
    report = provenance.verify(copy, resolver=address)
    assert report.status == "recovered" and report.recovered.source == address
    assert report.recovered.manifest["title"] == "a dog on a beach" and report.recovered.signed_likeness


def test_only_a_few_manifests_are_fetched_and_no_other_endpoint(resolver) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        labels = [{"manifestId": f"urn:{i}"} for i in range(100)]
        elsewhere = {"manifestId": "urn:elsewhere", "endpoint": "http://10.0.0.1/"}
        odd = [None, 7, {"manifestId": 7}, {"manifestId": "x" * 5000}, {}]
        send(handler, json.dumps({"matches": [elsewhere, *odd, *labels]}).encode())

    assert len(client.manifests(resolver(answer), ALGORITHM, PAYLOAD, most=4)) == 4
    assert len(asked) == 5 and not any("elsewhere" in path for path in asked)


def test_it_is_told_the_payload_and_nothing_else(resolver) -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, dict(handler.headers)))
        send(handler, b'{"matches": []}')

    assert client.manifests(resolver(answer), ALGORITHM, PAYLOAD, most=4) == []
    ((path, headers),) = seen
    assert path == "/matches/byBinding?alg=io.sorajax.watermark.2&value=OCBieXRlcyE%3D&maxResults=4"
    assert set(headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent"}


@pytest.mark.parametrize(
    "address", ["", "ftp://x", "file:///etc/passwd", "http://", "http://u:p@x/", "http://x y/", "x"]
)
def test_addresses_that_are_none(address) -> None:
    with pytest.raises(RegistryError, match="no address of a resolver"):
        client.manifests(address, ALGORITHM, PAYLOAD, most=1)


def test_nobody_is_asked_unless_named(copy, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network address was followed")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert provenance.verify(copy).status == "absent"


def test_a_real_server_from_the_command_line(copy, signed_here) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "provenance.cli", "registry", "serve", "--registry", str(signed_here)]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert server.stdout.readline().startswith(f"serving {registry.place(signed_here).shown} at http://127.0.0.1")
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        report = provenance.verify(copy, resolver=f"http://127.0.0.1:{port}/")
        assert report.status == "recovered" and report.recovered.manifest["title"] == "a dog on a beach"
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
