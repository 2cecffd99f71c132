"""The resolver speaks C2PA's Soft Binding Resolution API, and refuses what would bring it down."""

import base64
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import provenance
from provenance import fingerprint, keys, registry, scenes, stores
from provenance.fingerprint import ALGORITHM as FINGERPRINT
from provenance.resolver import searching
from provenance.resolver.app import create_app
from provenance.resolver.limits import Buckets, Limits
from provenance.watermark import ALGORITHM

PAYLOAD = b"8 bytes!"
VALUE = base64.b64encode(PAYLOAD).decode()
ROOMY = Limits(requests_a_second=1e6, burst=1_000_000)


@pytest.fixture(scope="module")
def place(marked, facts, tmp_path_factory) -> registry.Place:
    folder = tmp_path_factory.mktemp("registry")
    provenance.sign(marked, folder / "signed.mp4", facts=facts, registry=folder)
    return registry.place(folder)


@pytest.fixture
def client(place):
    with TestClient(create_app(place, ROOMY)) as opened:
        yield opened


def only(answer) -> dict:
    assert answer.status_code == 200, answer.text
    (match,) = answer.json()["matches"]
    return match


def test_a_watermark_leads_to_a_manifest_that_holds(client) -> None:
    match = only(client.get("/matches/byBinding", params={"alg": ALGORITHM, "value": VALUE}))
    assert match["manifestId"].startswith("urn:c2pa:") and 0 <= match["similarityScore"] <= 100
    answer = client.get(f"/manifests/{match['manifestId']}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/c2pa")
    store = stores.validate(answer.content, keys.trust_policy())
    assert store.state == "Trusted" and store.label == match["manifestId"]


def test_a_post_asks_the_same(client) -> None:
    got = client.get("/matches/byBinding", params={"alg": ALGORITHM, "value": VALUE})
    posted = client.post("/matches/byBinding", json={"alg": ALGORITHM, "value": VALUE}, params={"maxResults": 3})
    assert posted.json() == got.json()


def test_an_unknown_watermark_has_no_matches(client) -> None:
    unknown = base64.b64encode(b"nobody's").decode()
    answer = client.get("/matches/byBinding", params={"alg": ALGORITHM, "value": unknown})
    assert (answer.status_code, answer.json()) == (200, {"matches": []})


def test_a_fingerprint_is_a_binding_too(client, marked) -> None:
    value = base64.b64encode(scenes.look(marked).fingerprint.to_bytes()).decode()
    match = only(client.post("/matches/byBinding", json={"alg": FINGERPRINT, "value": value}))
    assert match["similarityScore"] > 90


def test_the_active_manifest_alone(client, place, tmp_path, facts) -> None:
    match = only(client.get("/matches/byBinding", params={"alg": ALGORITHM, "value": VALUE}))
    whole = client.get(f"/manifests/{match['manifestId']}").content
    active = client.get(f"/manifests/{match['manifestId']}", params={"returnActiveManifest": "true"}).content
    # Only one manifest is in this store, so nothing is taken out of it.
    assert stores.validate(active, keys.Trust()).label == match["manifestId"] and active == whole


def test_an_uploaded_copy_is_recognised_and_deleted(client, marked, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = client.post("/matches/byContent", content=marked.read_bytes(), headers={"Content-Type": "video/mp4"})
    assert only(answer)["manifestId"].startswith("urn:c2pa:")
    assert list(tmp_path.iterdir()) == []


def test_supported_algorithms(client) -> None:
    answer = client.get("/services/supportedAlgorithms").json()
    assert answer == {"watermarks": [{"alg": ALGORITHM}], "fingerprints": [{"alg": FINGERPRINT}]}


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"alg": ALGORITHM, "value": "not base64!"}, 400),
        ({"alg": ALGORITHM, "value": base64.b64encode(b"short").decode()}, 400),
        ({"alg": FINGERPRINT, "value": VALUE}, 400),
        ({"alg": "com.example.other", "value": VALUE}, 400),
        ({"alg": ALGORITHM, "value": "A" * 10_000}, 414),
        ({"alg": ALGORITHM, "value": VALUE, "maxResults": 0}, 422),
        ({"alg": ALGORITHM}, 422),
    ],
)
def test_wrong_queries_are_refused(parameters, status, client) -> None:
    assert client.get("/matches/byBinding", params=parameters).status_code == status


def test_unknown_and_hostile_labels_are_not_found(client) -> None:
    for label in ("urn:c2pa:none", "..%2f..%2fetc%2fpasswd", "%00", "'%20OR%201=1", "x" * 5000):
        assert client.get(f"/manifests/{label}").status_code == 404


def test_no_address_is_fetched(client) -> None:
    body = {"referenceUrl": "https://127.0.0.1/video.mp4", "assetLength": 1}
    answer = client.post("/matches/byReference", json=body)
    assert answer.status_code == 501 and "fetches no addresses" in answer.text


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"", "video/mp4", 400),
        (b"not a video", "video/mp4", 400),
        (b"<html></html>", "text/html", 415),
        (b"\0\0\0\x18ftypisom" + bytes(100), "video/mp4", 400),
    ],
)
def test_what_is_no_video_is_refused(data, kind, status, client) -> None:
    answer = client.post("/matches/byContent", content=data, headers={"Content-Type": kind})
    assert answer.status_code == status


def test_a_file_that_takes_too_long_is_given_up(place, marked, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limits = Limits(search_seconds=0.01)
    with TestClient(create_app(place, limits)) as client:
        answer = client.post("/matches/byContent", content=marked.read_bytes(), headers={"Content-Type": "video/mp4"})
    assert answer.status_code == 400 and "takes more than 0.01 s" in answer.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(chunked, place, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = (bytes(1000) for _ in range(50)) if chunked else bytes(50_000)
    with TestClient(create_app(place, Limits(upload_bytes=20_000))) as client:
        answer = client.post("/matches/byContent", content=data, headers={"Content-Type": "video/mp4"})
    assert answer.status_code == 413
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_asks_too_often_has_to_wait(place) -> None:
    with TestClient(create_app(place, Limits(requests_a_second=0.5, burst=3))) as client:
        codes = [client.get("/services/supportedAlgorithms").status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        assert int(client.get("/services/supportedAlgorithms").headers["retry-after"]) >= 1


def test_buckets_fill_again_and_are_each_clients_own() -> None:
    now = 0.0
    buckets = Buckets(Limits(requests_a_second=2, burst=4), clock=lambda: now)
    assert [buckets.take("a", 1) for _ in range(4)] == [0] * 4
    assert buckets.take("a", 1) == pytest.approx(0.5) and buckets.take("b", 1) == 0
    now = 0.5
    assert buckets.take("a", 1) == 0 and buckets.take("a", 1) > 0
    now = 1000
    assert [buckets.take("a", 1) for _ in range(5)].count(0) == 4
    for i in range(30_000):
        buckets.take(str(i), 1)
    assert len(buckets._kept) <= 10_000


def test_searching_prints_what_it_found(marked, monkeypatch, capsys) -> None:
    import json

    monkeypatch.setattr(searching, "_limit_memory", lambda: None)  # it would hold for the tests, too
    assert searching.main(str(marked)) == 0
    seen = json.loads(capsys.readouterr().out)
    assert bytes.fromhex(seen["payload"]) == PAYLOAD
    assert len(fingerprint.Fingerprint.from_bytes(base64.b64decode(seen["fingerprint"])).hashes) == 12
    assert searching.main(str(Path(__file__))) == 1 and "not a video" in capsys.readouterr().out
