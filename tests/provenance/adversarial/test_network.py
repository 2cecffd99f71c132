"""Files that name addresses. None is asked, for whoever runs a server there would learn who looks at what."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID

from benchmarks.fuzz_mutants import join, parse
from tests.provenance.adversarial import forge

pytestmark = pytest.mark.usefixtures("blind")


class Listener:
    def __init__(self) -> None:
        hits = self.hits = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hits.append(self.path)
                self.send_response(404)
                self.end_headers()

            do_POST = do_HEAD = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    thread = threading.Thread(target=listener.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield listener
    listener.server.shutdown()
    thread.join()
    listener.server.server_close()


def test_the_listener_listens(listener) -> None:
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{listener.address}/hello")
    assert listener.hits == ["/hello"]


def test_a_manifest_elsewhere_is_not_fetched(listener, certifier, clip, tmp_path, judge) -> None:
    def elsewhere(builder) -> None:
        builder.set_no_embed()
        builder.set_remote_url(f"{listener.address}/manifest.c2pa")

    forge.claim(clip, tmp_path / "x.mp4", certifier, prepare=elsewhere)
    report = judge((tmp_path / "x.mp4").read_bytes())
    assert listener.hits == [] and report.status == "absent"
    assert any(listener.address in finding and "not fetched" in finding for finding in report.findings)


def test_a_manifest_here_and_elsewhere_is_read_here(listener, certifier, clip, tmp_path, judge) -> None:
    forge.claim(clip, tmp_path / "x.mp4", certifier,
                prepare=lambda builder: builder.set_remote_url(f"{listener.address}/manifest.c2pa"))  # fmt: skip
    assert judge((tmp_path / "x.mp4").read_bytes()).status == "authentic" and listener.hits == []


def test_responders_and_lists_named_by_a_certificate_are_not_asked(listener, certifier, signed, judge) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.UniformResourceIdentifier(f"{listener.address}/revoked")
    more = [
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, address),
                x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, address),
            ]
        ),
        x509.CRLDistributionPoints([x509.DistributionPoint([address], None, None, None)]),
    ]
    report = judge(forge.resigned(signed, [certifier.certify(key, more=more)], key))
    assert report.status == "authentic" and listener.hits == []


def test_tracks_that_lie_elsewhere_are_not_fetched(listener, signed, judge) -> None:
    # A data reference (ISO/IEC 14496-12, 8.7.2) may be an address.
    boxes = parse(signed)
    address = f"{listener.address}/video.mp4".encode() + b"\0"
    url = (12 + len(address)).to_bytes(4, "big") + b"url " + bytes(4) + address
    for moov in boxes:
        for box in moov.walk():
            if box.kind == b"dinf":
                box.children[0].head = bytes(7) + b"\1" + url
    assert judge(join(boxes)).status in ("altered", "unreadable") and listener.hits == []


@pytest.mark.parametrize("kind", ["playlist", "concat", "DASH", "SDP", "redirecting XML"])
def test_lists_of_addresses_are_no_videos(kind: str, listener, judge) -> None:
    address = f"{listener.address}/video.mp4"
    text = {
        "playlist": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {address}\n",
        "DASH": f'<?xml version="1.0"?><MPD><BaseURL>{address}</BaseURL></MPD>',
        "SDP": "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        "redirecting XML": f'<!DOCTYPE x [<!ENTITY e SYSTEM "{address}">]><x>&e;</x>',
    }[kind]
    assert judge(text.encode()).status == "unreadable" and listener.hits == []


def test_addresses_in_texts_are_texts(listener, certifier, clip, tmp_path, judge) -> None:
    link = f"{listener.address}/pixel.png"
    source = {"title": link, "relationship": "inputTo", "metadata": {"org.example.link": link}}
    said = {"label": "org.example.did", "created": True, "data": {"id": "did:web:127.0.0.1", "url": link}}
    forge.claim(clip, tmp_path / "x.mp4", certifier, title=f'<img src="{link}">', assertions=[forge.CREATED, said],
                ingredients=[(source, "video/mp4", clip.read_bytes())])  # fmt: skip
    assert judge((tmp_path / "x.mp4").read_bytes()).status == "authentic" and listener.hits == []
