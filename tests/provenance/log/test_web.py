"""A log behind a plain web server, and behind servers that mean harm."""

import functools
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provenance import log
from provenance.errors import InputError, LogError, ProofError
from provenance.log import web


class Static(http.server.SimpleHTTPRequestHandler):
    """The standard library's server of files, quiet."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: Callable) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> log.Log:
    made = log.create(tmp_path_factory.mktemp("web") / "log", origin="example.com/log")
    made.append_many(b"entry %d" % i for i in range(600))
    return made


def answering(ledger: log.Log, path: str, status: int, headers: dict[str, str], body: bytes) -> type[Static]:
    """A server of a log that answers one path in its own way."""

    class Handler(Static):
        def __init__(self, *arguments, **named) -> None:
            super().__init__(*arguments, directory=str(ledger.folder), **named)

        def do_GET(self) -> None:
            if self.path != f"/{path}":
                super().do_GET()
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


def test_a_plain_web_server_serves_the_log(ledger: log.Log) -> None:
    key = str(ledger.verifier)
    with serving(functools.partial(Static, directory=str(ledger.folder))) as address:
        for location in (address, f"{address}/"):
            with log.Reader(location, key) as reader:
                log.verify_inclusion(b"entry 555", reader.prove(555), key)
                assert reader.entry(3) == b"entry 3"
                assert reader.find(b"entry 512") == 512
                assert reader.consistency(100) == ledger.consistency(100)
        assert log.audit(address, key=key, since=ledger.checkpoint()).holds
        with pytest.raises(LogError, match="there is no log at"):
            log.Reader(f"{address}/elsewhere")


def test_a_log_that_grows_meanwhile(ledger: log.Log, tmp_path: Path) -> None:
    """A partial tile may go once it is full; the reader of the older checkpoint takes the beginning of the full one."""
    growing = log.create(tmp_path / "log", origin="example.com/growing")
    growing.append_many(b"%d" % i for i in range(100))
    handler = functools.partial(Static, directory=str(growing.folder))
    with serving(handler) as address, log.Reader(address, growing.verifier) as reader:
        growing.append_many(b"%d" % i for i in range(100, 300))
        assert not (growing.folder / "tile/0/000.p").exists()
        log.verify_inclusion(b"70", reader.prove(70), growing.verifier)
        assert reader.entry(99) == b"99" and list(reader.entries()) == [b"%d" % i for i in range(100)]


def test_gzip_that_was_not_asked_for_is_read(ledger: log.Log) -> None:
    """C2SP tlog-tiles lets servers compress entries in any case."""
    packed = gzip.compress((ledger.folder / "tile/entries/000").read_bytes())
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    with serving(answering(ledger, "tile/entries/000", 200, headers, packed)) as address:
        assert log.audit(address, key=ledger.verifier).holds


BOMB = gzip.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (302, {"Location": "http://127.0.0.1:1/", "Content-Length": "0"}, b"", "answers checkpoint with status 302"),
        (500, {"Content-Length": "4"}, b"oops", "answers checkpoint with status 500"),
        (200, {"Content-Length": str(2_000_000)}, bytes(2_000_000), "longer than the 1000000 bytes"),
        (200, {"Connection": "close"}, bytes(2_000_000), "longer than the 1000000 bytes"),
        (200, {"Content-Encoding": "gzip", "Content-Length": str(len(BOMB))}, BOMB, "longer than the 1000000 bytes"),
        (200, {"Content-Encoding": "gzip", "Content-Length": "4"}, b"oops", "damaged gzip"),
        (200, {"Content-Encoding": "gzip", "Content-Length": "20"}, BOMB[:20], "cut short"),
        (200, {"Content-Encoding": "br", "Content-Length": "4"}, b"oops", "not asked for: br"),
        (200, {"Content-Length": "100", "Connection": "close"}, b"short", "cut short"),
        (200, {"Content-Length": "4"}, b"oops", "not a signed note"),
        (200, {"Content-Length": "4"}, b"\xff\xfe\x00\x1b", "not UTF-8"),
        (404, {"Content-Length": "4"}, b"oops", "there is no log at"),
    ],
    ids=["redirect", "500", "long", "endless", "bomb", "no gzip", "cut gzip", "br", "cut", "text", "bytes", "404"],
)
def test_hostile_servers(status: int, headers: dict, body: bytes, says: str, ledger: log.Log) -> None:
    with serving(answering(ledger, "checkpoint", status, headers, body)) as address:
        with pytest.raises(LogError, match=says) as raised:
            log.Reader(address)
        assert "\n" not in str(raised.value)


def test_a_server_that_drips(ledger: log.Log, monkeypatch) -> None:
    """Each byte in time, the whole never."""
    monkeypatch.setattr(web, "TIMEOUT", 0.4)
    done = threading.Event()

    class Dripping(Static):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not done.wait(0.05):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    return

    with serving(Dripping) as address:
        with pytest.raises(LogError, match="it took longer than"):
            log.Reader(address)
        done.set()


def test_a_server_that_is_silent_or_not_there(monkeypatch) -> None:
    monkeypatch.setattr(web, "TIMEOUT", 0.2)
    done = threading.Event()

    class Silent(Static):
        def do_GET(self) -> None:
            done.wait(10)
            self.close_connection = True

    with serving(Silent) as address:
        with pytest.raises(LogError, match="timed out"):
            log.Reader(address)
        done.set()
    with pytest.raises(LogError, match="Connection refused"):
        log.Reader(address)


def test_a_server_that_lies_about_an_entry(ledger: log.Log) -> None:
    body = (ledger.folder / "tile/entries/001").read_bytes().replace(b"entry 300", b"entry 3o0")
    handler = answering(ledger, "tile/entries/001", 200, {"Content-Length": str(len(body))}, body)
    with serving(handler) as address, log.Reader(address, ledger.verifier) as reader:
        assert reader.entry(299) == b"entry 299"
        with pytest.raises(ProofError, match="entry 300 was changed"):
            reader.entry(300)


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "https://user@example.com/log",
        "http://example.com/log?x=1",
        "http://example.com/log#x",
        "http://example.com:port/",
        "http://example.com/a b",
        "http://ex\u00e4mple.com/",
        "http://example.com/\r\nX: y",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match="address"):
        log.Reader(address)


def test_other_schemes_are_names_of_folders() -> None:
    """Nothing but http and https is ever fetched."""
    for location in ("file:///etc/passwd", "ftp://example.com/log"):
        with pytest.raises(LogError, match="is not a folder"):
            log.Reader(location)
