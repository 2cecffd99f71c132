"""What the verifier relies on in c2pa-python, so that an upgrade that changes something is noticed here, by name."""

import io
import json
from pathlib import Path

import c2pa
import pytest

from benchmarks import fuzz_verifier
from benchmarks.fuzz_mutants import Box, join, parse
from tests.provenance.adversarial import forge

MIME = "video/mp4"
OWN_EKUS = ("1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""documentSigning and C2PA claim signing."""


@pytest.fixture(scope="module")
def certifier() -> forge.Certifier:
    return forge.Certifier()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("behaviour") / "clip.mp4"
    path.write_bytes(fuzz_verifier.clip())
    return path


@pytest.fixture(scope="module")
def signed(clip: Path, certifier) -> bytes:
    forge.claim(clip, clip.with_name("signed.mp4"), certifier)
    return clip.with_name("signed.mp4").read_bytes()


def read(data: bytes, trust: dict | None = None, verify: dict | None = None) -> tuple[str, set[str], set[str]]:
    """(validation state, codes of success, codes of failure)."""
    settings = {"trust": trust or {}, "verify": {"remote_manifest_fetch": False, **(verify or {})}}
    with c2pa.Context.from_dict(settings) as ctx, c2pa.Reader(MIME, io.BytesIO(data), context=ctx) as reader:
        found = (reader.get_validation_results() or {}).get("activeManifest") or {}
        codes = [{entry["code"] for entry in found.get(kind) or []} for kind in ("success", "failure")]
        return reader.get_validation_state(), codes[0], codes[1]


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_three_states_and_their_codes(signed: bytes, certifier) -> None:
    state, success, failure = read(signed, {"user_anchors": certifier.root_pem})
    assert (state, failure) == ("Trusted", set())
    assert {"claimSignature.validated", "claimSignature.insideValidity", "assertion.bmffHash.match"} <= success
    assert "signingCredential.trusted" in success
    state, _, failure = read(signed)
    assert (state, failure) == ("Valid", {"signingCredential.untrusted"})
    state, _, failure = read(changed(signed, signed.rindex(b"mdat") + 100), {"user_anchors": certifier.root_pem})
    assert (state, failure) == ("Invalid", {"assertion.bmffHash.mismatch"})


def test_both_kinds_of_anchors_are_believed(signed: bytes, certifier) -> None:
    for name in ("user_anchors", "trust_anchors"):
        assert read(signed, {name: certifier.root_pem})[0] == "Trusted"
    assert read(signed, {"user_anchors": forge.Certifier().root_pem})[0] == "Valid"


def test_a_file_without_a_manifest_is_none_not_an_error(clip: Path) -> None:
    with clip.open("rb") as file, c2pa.Context.from_dict({}) as ctx:
        assert c2pa.Reader.try_create(MIME, file, context=ctx) is None
    with clip.open("rb") as file, pytest.raises(c2pa.C2paError, match="ManifestNotFound"):
        c2pa.Reader(MIME, file)


@pytest.mark.parametrize("eku", OWN_EKUS)
def test_purposes_that_the_specification_allows_have_to_be_listed(eku: str, signed: bytes, certifier) -> None:
    key = forge.ec.generate_private_key(forge.ec.SECP256R1())
    data = forge.resigned(signed, [certifier.certify(key, eku=eku)], key)
    anchors = {"user_anchors": certifier.root_pem}
    state, _, failure = read(data, anchors)
    assert state == "Invalid" and "signingCredential.invalid" in failure
    assert read(data, {**anchors, "trust_config": eku})[0] == "Trusted"


def test_expiry_is_judged_at_the_time_of_reading(signed: bytes, certifier) -> None:
    key = forge.ec.generate_private_key(forge.ec.SECP256R1())
    for days in ((-300, -1), (1, 300)):  # not valid yet has the same code
        data = forge.resigned(signed, [certifier.certify(key, days=days)], key)
        assert "signingCredential.expired" in read(data, {"user_anchors": certifier.root_pem})[2]


def test_a_signature_by_another_key_is_made_if_it_is_not_checked_and_found_when_read(signed: bytes, certifier) -> None:
    one, other = (forge.ec.generate_private_key(forge.ec.SECP256R1()) for _ in "ab")
    data = forge.resigned(signed, [certifier.certify(one)], other)
    assert "claimSignature.mismatch" in read(data, {"user_anchors": certifier.root_pem})[2]


@pytest.mark.parametrize("kind", [b"ftyp", b"free", b"skip", b"mfra"])
def test_the_blind_spot_some_boxes_are_not_hashed(kind: bytes, signed: bytes, certifier) -> None:
    boxes = parse(signed)
    if kind == b"ftyp":
        boxes[0].head = boxes[0].head[:4] + b"\0\0\7\7" + boxes[0].head[8:]
    else:
        boxes.append(Box(kind, Box(b"mfro", bytes(8)).to_bytes()))
    assert read(join(boxes), {"user_anchors": certifier.root_pem})[0] == "Trusted"


def test_any_other_box_is_hashed(signed: bytes, certifier) -> None:
    for kind in (b"junk", b"uuid", b"wide", b"meta"):
        data = signed + Box(kind, bytes(24)).to_bytes()
        assert "assertion.bmffHash.mismatch" in read(data, {"user_anchors": certifier.root_pem})[2]


def test_leaves_of_the_tree_are_kept_and_begin_after_16_bytes(clip: Path, certifier, tmp_path: Path) -> None:
    import hashlib

    core = {"merkle_tree_chunk_size_in_kb": 1, "merkle_tree_max_proofs": 0}
    forge.claim(clip, tmp_path / "x.mp4", certifier, core=core)
    data = (tmp_path / "x.mp4").read_bytes()
    with c2pa.Reader(MIME, io.BytesIO(data)) as reader:
        store = json.loads(reader.detailed_json())
    tree = store["manifests"][store["active_manifest"]]["assertion_store"]["c2pa.hash.bmff.v3"]["merkle"][0]
    start = data.rindex(b"mdat") - 4
    media = data[start + 16 : start + int.from_bytes(data[start : start + 4], "big")]
    chunks = [media[at : at + 1024] for at in range(0, len(media), 1024)]
    assert [bytes(leaf) for leaf in tree["hashes"]] == [hashlib.sha256(chunk).digest() for chunk in chunks]
    assert (tree["count"], tree["fixedBlockSize"]) == (len(chunks), 1024)


def test_titles_pass_through_as_they_are(clip: Path, certifier, tmp_path: Path) -> None:
    title = "<script>alert(1)</script>\x1b[2J\u202e"
    forge.claim(clip, tmp_path / "x.mp4", certifier, title=title)
    with c2pa.Reader(MIME, io.BytesIO((tmp_path / "x.mp4").read_bytes())) as reader:
        store = json.loads(reader.json())
    assert store["manifests"][store["active_manifest"]]["title"] == title


def test_a_remote_manifest_is_an_error_when_it_may_not_be_fetched(clip: Path, certifier, tmp_path: Path) -> None:
    def elsewhere(builder: c2pa.Builder) -> None:
        builder.set_no_embed()
        builder.set_remote_url("http://127.0.0.1:9/x.c2pa")

    forge.claim(clip, tmp_path / "x.mp4", certifier, prepare=elsewhere)
    with (
        c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False}}) as ctx,
        (tmp_path / "x.mp4").open("rb") as file,
        pytest.raises(c2pa.C2paError, match="127.0.0.1:9/x.c2pa"),
    ):
        c2pa.Reader.try_create(MIME, file, context=ctx)


def test_a_sidecar_is_read_with_the_file_it_belongs_to(clip: Path, certifier, tmp_path: Path) -> None:
    store = forge.claim(clip, tmp_path / "x.mp4", certifier, prepare=lambda builder: builder.set_no_embed())
    assert (tmp_path / "x.mp4").read_bytes() == clip.read_bytes()
    with c2pa.Context.from_dict({"trust": {"user_anchors": certifier.root_pem}}) as ctx:
        for data, state in ((clip.read_bytes(), "Trusted"), (clip.read_bytes() + b"\0\0\0\x0cjunkjunk", "Invalid")):
            with c2pa.Reader(MIME, io.BytesIO(data), manifest_data=store, context=ctx) as reader:
                assert reader.get_validation_state() == state


WRONG_ACTIONS = {
    "created without a source": ([{"action": "c2pa.created"}], "assertion.action.malformed"),
    "neither created nor opened": ([{"action": "c2pa.edited"}], "assertion.action.malformed"),
    "watermarked without a binding": (
        [forge.CREATED["data"]["actions"][0], {"action": "c2pa.watermarked.bound"}],
        "assertion.action.softBindingMissing",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_ACTIONS)
def test_actions_are_held_to_the_specification(wrong: str, clip: Path, certifier, tmp_path: Path) -> None:
    actions, code = WRONG_ACTIONS[wrong]
    assertion = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": actions}}
    forge.claim(clip, tmp_path / "x.mp4", certifier, assertions=[assertion])
    state, _, failure = read((tmp_path / "x.mp4").read_bytes(), {"user_anchors": certifier.root_pem})
    assert state == "Invalid" and code in failure


def test_a_builder_signs_once(clip: Path, certifier) -> None:
    key = certifier.large
    chain = certifier.certify(key).public_bytes(forge.Encoding.PEM)
    pem = key.private_bytes(forge.Encoding.PEM, forge.PrivateFormat.PKCS8, forge.NoEncryption())
    builder = c2pa.Builder({"title": "t", "format": MIME, "assertions": [forge.CREATED]})
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.PS256, chain, pem, None)
    with c2pa.Signer.from_info(info) as signer, clip.open("rb") as source:
        builder.sign(signer, MIME, source, io.BytesIO())
        with pytest.raises(c2pa.C2paError):
            builder.sign(signer, MIME, source, io.BytesIO())
