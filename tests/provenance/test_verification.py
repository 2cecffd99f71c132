"""Each status, from files that earn it."""

import json
import socket
import time
from pathlib import Path

import av
import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import provenance
from provenance import credentials, formats, keys, manifest, signing, verification, video, watermark
from provenance.c2pa_signer import c2pa_signer
from provenance.errors import KeyFileError, MediaError

PAYLOAD = b"8 bytes!"


def boxes(path: Path) -> dict[bytes, tuple[int, int]]:
    with path.open("rb") as file:
        return {kind: (at, size) for kind, at, size in video.boxes(file)}


def changed(path: Path, at: int, new: Path) -> Path:
    """A copy with one byte changed."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    new.write_bytes(data)
    return new


def stripped(path: Path, new: Path) -> Path:
    """A copy whose credentials became free space, so that every other box stays in place."""
    at, size = boxes(path)[b"uuid"]
    data = bytearray(path.read_bytes())
    data[at + 4 : at + size] = b"free" + bytes(size - 8)
    new.write_bytes(data)
    return new


def test_a_clip_as_it_was_signed_is_authentic(signed: Path) -> None:
    report = provenance.verify(signed)
    assert (report.status, report.exit_code) == ("authentic", 0)
    assert report.watermark.found and report.watermark.payload == PAYLOAD
    assert "development identity" in report.findings[0] and report.manifest["signer"]["development"]


def test_on_another_machine_the_development_identity_is_untrusted(signed: Path, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "root.pem"
    root.write_text(keys.local_root())
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "elsewhere"))
    report = provenance.verify(signed)
    assert (report.status, report.exit_code) == ("untrusted", 4)
    assert "which anyone can make" in report.findings[0]
    assert provenance.verify(signed, trust=root).status == "authentic"
    monkeypatch.setenv("SORAJAX_TRUST", str(root))
    assert provenance.verify(signed).status == "authentic"


@pytest.mark.parametrize("where", [0.02, 0.3, 0.7, 0.999])
def test_one_changed_byte_of_content_is_altered(where: float, signed: Path, tmp_path: Path) -> None:
    at, size = boxes(signed)[b"mdat"]
    report = provenance.verify(changed(signed, at + 16 + int((size - 17) * where), tmp_path / "x.mp4"))
    assert (report.status, report.exit_code) == ("altered", 1)
    assert "the content is not what was signed" in report.findings[0]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_changed_byte_of_a_manifest_changes_what_is_reported(
    share: float, flip: int, signed: Path, tmp_path: Path
) -> None:
    # C2PA leaves box labels and padding unsigned: changes there may pass, but then nothing that is shown may differ.
    at, size = boxes(signed)[b"uuid"]
    data = bytearray(signed.read_bytes())
    data[at + int(size * share)] ^= flip
    (tmp_path / "x.mp4").write_bytes(data)
    policy = keys.trust_policy()
    try:
        found = credentials.read(tmp_path / "x.mp4", formats.MP4, policy)
    except MediaError:
        return
    if found.state in ("Trusted", "Valid"):
        assert found == credentials.read(signed, formats.MP4, policy)
    else:
        assert found.failures or found.state is None


def test_a_swapped_title_is_altered(signed: Path, tmp_path: Path) -> None:
    data = signed.read_bytes()
    assert b"a dog on a beach" in data
    (tmp_path / "x.mp4").write_bytes(data.replace(b"a dog on a beach", b"a war on a beach"))
    assert provenance.verify(tmp_path / "x.mp4").status == "altered"


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_changed_picture_or_index_is_ever_authentic(share: float, flip: int, signed: Path, tmp_path: Path) -> None:
    at, size = boxes(signed)[b"mdat"][0], sum(boxes(signed)[kind][1] for kind in (b"mdat", b"moov"))
    data = bytearray(signed.read_bytes())
    data[at + int(size * share)] ^= flip
    (tmp_path / "x.mp4").write_bytes(data)
    assert provenance.verify(tmp_path / "x.mp4").status in ("altered", "unreadable")


def test_appended_boxes_are_altered(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(signed.read_bytes() + b"\0\0\0\x0cjunkjunk")
    assert provenance.verify(tmp_path / "x.mp4").status == "altered"


def test_stripped_credentials_leave_the_watermark(signed: Path, tmp_path: Path) -> None:
    report = provenance.verify(stripped(signed, tmp_path / "x.mp4"))
    assert (report.status, report.exit_code, report.manifest) == ("absent", 3, None)
    assert report.watermark.payload == PAYLOAD and PAYLOAD.hex() in report.findings[0]


def test_a_stripped_and_resized_copy_keeps_the_watermark(signed: Path, encode, tmp_path: Path) -> None:
    frames = np.stack(list(video.read_frames(signed)))
    report = provenance.verify(encode(tmp_path / "copy.mp4", frames, crf=23, size=(180, 180)))
    assert report.status == "absent" and report.watermark.payload == PAYLOAD


def test_an_ordinary_clip_has_nothing(plain: Path) -> None:
    report = provenance.verify(plain)
    assert (report.status, report.exit_code) == ("absent", 3)
    assert not report.watermark.found and "no credentials and no watermark" in report.findings[0]


def test_credentials_of_another_clip_are_altered(signed: Path, encode, clip, tmp_path: Path) -> None:
    # The C2PA box of one clip, put into another at the same place.
    at, size = boxes(signed)[b"uuid"]
    other = encode(tmp_path / "other.mp4", clip(9)).read_bytes()
    head = int.from_bytes(other[:4], "big")
    (tmp_path / "x.mp4").write_bytes(other[:head] + signed.read_bytes()[at : at + size] + other[head:])
    assert provenance.verify(tmp_path / "x.mp4").status in ("altered", "unreadable")


def test_a_manifest_that_names_another_watermark_is_altered(marked: Path, facts, tmp_path: Path) -> None:
    import dataclasses

    wrong = dataclasses.replace(facts, payload=b"another!")
    signing._write_signed(marked, tmp_path / "x.mp4", wrong, "", keys.default_signer())
    report = provenance.verify(tmp_path / "x.mp4")
    assert (
        report.status == "altered" and PAYLOAD.hex() in report.findings[0] and b"another!".hex() in report.findings[0]
    )


def test_claiming_to_have_created_marked_pictures_is_altered(marked: Path, facts, tmp_path: Path) -> None:
    import dataclasses

    silent = dataclasses.replace(facts, payload=None)
    signing._write_signed(marked, tmp_path / "x.mp4", silent, "", keys.default_signer())
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered" and "another clip's watermark" in report.findings[0]


@pytest.mark.parametrize("change", ["mirrored", "cropped", "turned"])
def test_nor_does_it_help_to_change_them_first(change: str, clip, encode, facts, tmp_path: Path) -> None:
    import dataclasses

    frames = watermark.embed(clip(13, size=(320, 320)), PAYLOAD)
    frames = {
        "mirrored": frames[:, :, ::-1],
        "cropped": frames[:, 30:286, 40:296],
        "turned": np.rot90(frames, 1, (1, 2)),
    }[change]
    stolen = encode(tmp_path / "stolen.mp4", np.ascontiguousarray(frames))
    silent = dataclasses.replace(facts, payload=None)
    signing._write_signed(stolen, tmp_path / "x.mp4", silent, "", keys.default_signer())
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered" and PAYLOAD.hex() in report.findings[0]


def test_opening_marked_pictures_is_honest_and_said(marked: Path, tmp_path: Path) -> None:
    report = provenance.sign(marked, tmp_path / "x.mp4")
    assert report.status == "authentic"
    assert any(f"{PAYLOAD.hex()}, which the manifest does not mention" in finding for finding in report.findings)


def edited(source: Path, target: Path, actions: list[dict], ingredient: dict | None) -> Path:
    """``source`` as another program would sign it, with its own account of what was done to ``ingredient``."""
    created = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": actions}}
    ctx = manifest.context(keys.trust_policy())
    builder = c2pa.Builder({"title": "t", "format": manifest.MIME, "assertions": [created]}, ctx)
    signer = c2pa_signer(keys.default_signer(), [])
    with source.open("rb") as pictures, source.open("rb") as dog, target.open("w+b") as out:
        if ingredient:
            builder.add_ingredient({"title": "dog.mp4", "label": "dog", **ingredient}, manifest.MIME, dog)
        builder.sign(signer, manifest.MIME, pictures, out)
    return target


CREATED = {"action": "c2pa.created", "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/composite"}
PLACED = {"action": "c2pa.placed", "parameters": {"ingredientIds": ["dog"]}}
OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["dog"]}}
EDITS = {
    "placed in a new composition": ([CREATED, PLACED], {"relationship": "componentOf"}, "authentic"),
    "a component, not said to be placed": ([CREATED], {"relationship": "componentOf"}, "authentic"),
    "opened and edited": ([OPENED, {"action": "c2pa.edited"}], {"relationship": "parentOf"}, "authentic"),
    "only an input of the creation": ([CREATED], {"relationship": "inputTo"}, "altered"),
    "created out of nothing": ([CREATED], None, "altered"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_marked_pictures_that_an_editor_says_it_took_in_are_no_contradiction(
    edit: str, marked: Path, tmp_path: Path
) -> None:
    actions, ingredient, status = EDITS[edit]
    report = provenance.verify(edited(marked, tmp_path / "x.mp4", actions, ingredient))
    assert report.status == status, report.findings
    says = "another clip's watermark" if status == "altered" else "which the manifest does not mention"
    assert any(PAYLOAD.hex() in finding and says in finding for finding in report.findings)


def test_an_expired_certificate_is_altered_with_the_reason(plain: Path, tmp_path: Path, authority) -> None:
    end = time.time() + 6
    signer = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1()), end=6 / 86400))
    signing._write_signed(plain, tmp_path / "x.mp4", None, "t", signer)
    time.sleep(max(0.0, end + 1 - time.time()))
    report = provenance.verify(tmp_path / "x.mp4", trust=authority.root_pem)
    assert report.status == "altered" and "certificate has expired" in report.findings[0]


def test_a_private_watermark_is_read_with_its_key(clip, encode, tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mp4", watermark.embed(clip(8), PAYLOAD, key=b"private"))
    assert not provenance.verify(path).watermark.found
    assert provenance.verify(path, watermark_key=b"private").watermark.payload == PAYLOAD


@pytest.mark.parametrize("share", [0.0005, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_unreadable(share: float, signed: Path, tmp_path: Path) -> None:
    data = signed.read_bytes()
    (tmp_path / "x.mp4").write_bytes(data[: int(len(data) * share)])
    report = provenance.verify(tmp_path / "x.mp4")
    assert (report.status, report.exit_code) == ("unreadable", 2) and len(report.findings) == 1


def box(kind: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    return (len(body) + 8 if size is None else size).to_bytes(4, "big") + kind + body


FTYP = box(b"ftyp", b"isom\0\0\0\0isommp42")
FAKES = {
    "empty": b"",
    "text": b"Breaking news: nothing happened.\n",
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "concat script": b"ffconcat version 1.0\nfile http://127.0.0.1:9/x.ts\n",
    "zeros": bytes(5000),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "ftyp alone": FTYP,
    "no moov": FTYP + box(b"mdat", bytes(500)),
    "empty moov": FTYP + box(b"moov"),
    "box of 4 bytes": FTYP + box(b"moov", size=4),
    "box of 2 GB": FTYP + box(b"moov", size=2**31),
    "box of 2^63 bytes": FTYP + box(b"moov", (2**63).to_bytes(8, "big"), size=1),
    "3000 nested boxes": FTYP + b"".join(box(b"moov", size=8 * n) for n in range(3000, 0, -1)),
    "noise in a moov": FTYP + box(b"moov", np.random.default_rng(0).bytes(3000)),
    "noise in Matroska": b"\x1a\x45\xdf\xa3" + np.random.default_rng(0).bytes(3000),
    "noise in AVI": b"RIFF\0\0\0\0AVI " + np.random.default_rng(0).bytes(3000),
}


@pytest.mark.parametrize("fake", FAKES)
def test_what_is_not_video_is_unreadable_and_opens_nothing_else(fake: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    (tmp_path / "x.mp4").write_bytes(FAKES[fake])
    report = provenance.verify(tmp_path / "x.mp4")
    assert (report.status, report.exit_code, report.manifest) == ("unreadable", 2, None)
    assert len(report.findings) == 1 and "\n" not in report.findings[0]


def test_paths_that_are_no_files_are_unreadable(tmp_path: Path) -> None:
    for path, says in [
        (tmp_path, "is a directory"),
        (tmp_path / "nothing.mp4", "no such file"),
        ("http://a/b.mp4", "no such"),
    ]:
        report = provenance.verify(path)
        assert report.status == "unreadable" and says in report.findings[0]


def test_c2pa_is_told_to_stay_off_the_network(signed: Path, monkeypatch) -> None:
    # The library takes its settings from one place; were it to ask the network unbidden, it would be through these.
    seen = []
    original = c2pa.Context.from_dict
    monkeypatch.setattr(c2pa.Context, "from_dict", lambda config: seen.append(config) or original(config))
    provenance.verify(signed)
    assert seen and all(config["verify"] == {"remote_manifest_fetch": False, "ocsp_fetch": False} for config in seen)


def test_a_trust_list_that_cannot_be_read_is_an_error(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot read"):
        provenance.verify(signed, trust=tmp_path / "nothing.pem")


def test_a_damaged_development_root_does_not_stop_the_verifier(signed: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / keys.ROOT_FILE).write_text("nonsense")
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path))
    report = provenance.verify(signed)
    assert report.status == "untrusted" and any("root is damaged" in finding for finding in report.findings)


@pytest.fixture
def pooled(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the frames that the search for a watermark took in."""
    shapes = []
    monkeypatch.setattr(watermark.Detector, "add", lambda self, frame: shapes.append(frame.shape))
    return shapes


@pytest.mark.parametrize(("most", "taken"), [(3, 3), (4, 3), (5, 5), (8, 5), (9, 9), (300, 9)])
def test_long_videos_are_sampled_evenly(most: int, taken: int, signed: Path, pooled: list, monkeypatch) -> None:
    monkeypatch.setattr(verification, "MOST_FRAMES", most)
    provenance.verify(signed)
    assert pooled == [(256, 256, 3)] * taken


@pytest.mark.parametrize(
    ("container", "options"),
    [("matroska", {}), ("mp4", {"movflags": "frag_keyframe+empty_moov"}), ("mp4", {"movflags": "frag_keyframe"})],
)
def test_files_that_do_not_say_how_long_they_are_are_sampled_too(
    container: str, options: dict, marked: Path, pooled: list, tmp_path: Path, monkeypatch
) -> None:
    with av.open(str(marked)) as source, av.open(str(tmp_path / "x"), "w", format=container, options=options) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    monkeypatch.setattr(verification, "MOST_FRAMES", 5)
    provenance.verify(tmp_path / "x")
    assert len(pooled) == 5


def test_more_frames_than_were_counted_do_not_break_the_limit(signed: Path, pooled: list, monkeypatch) -> None:
    monkeypatch.setattr(verification, "MOST_FRAMES", 4)
    monkeypatch.setattr(video, "count_frames", lambda path: 1)
    provenance.verify(signed)
    assert len(pooled) == 4


def test_a_report_is_json(signed: Path) -> None:
    assert json.loads(json.dumps(provenance.verify(signed).to_dict()))["watermark"]["payload"] == PAYLOAD.hex()
