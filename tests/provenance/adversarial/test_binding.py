"""Credentials that are taken from one clip to another, and clips that are changed under their credentials."""

import io

import av
import numpy as np
import pytest

import provenance
from benchmarks.fuzz_mutants import Box, join, parse
from tests.provenance.adversarial import forge

pytestmark = pytest.mark.usefixtures("blind")


def with_box_of(signed: bytes, video: bytes) -> bytes:
    """``video`` with the credentials of ``signed``: at the end, so that everything in it stays in place."""
    return video + next(box for box in parse(signed) if box.kind == b"uuid").to_bytes()


def remuxed(clip, order) -> bytes:
    """The coded pictures in another order: indices of packets."""
    buffer = io.BytesIO()
    with av.open(str(clip)) as source, av.open(buffer, "w", format="mp4") as out:
        video = source.streams.video[0]
        stream = out.add_stream_from_template(video)
        packets = [packet for packet in source.demux(video) if packet.size]
        for at, index in enumerate(order):
            packet = av.Packet(bytes(packets[index]))
            packet.stream, packet.time_base = stream, video.time_base
            packet.dts = packet.pts = at * packets[0].duration
            packet.is_keyframe = packets[index].is_keyframe
            out.mux(packet)
    return buffer.getvalue()


def test_stripped_credentials_are_absent(signed, judge) -> None:
    boxes = parse(signed)
    gone = [Box(b"free", bytes(len(box.to_bytes()) - 8)) if box.kind == b"uuid" else box for box in boxes]
    report = judge(join(gone))
    assert report.status == "absent" and report.manifest is None


def test_credentials_copied_to_another_clip(signed, judge, encode, clip, tmp_path) -> None:
    other = np.random.default_rng(5).integers(0, 255, (4, 64, 64, 3), np.uint8)
    path = encode(tmp_path / "other.mp4", other)
    assert judge(with_box_of(signed, path.read_bytes())).status == "altered"
    data = path.read_bytes()
    head = int.from_bytes(data[:4], "big")
    box = next(box for box in parse(signed) if box.kind == b"uuid").to_bytes()
    assert judge(data[:head] + box + data[head:]).status == "altered"


def test_credentials_replayed_on_a_new_encoding_of_the_same_pictures(signed, judge, encode, folder, tmp_path) -> None:
    frames = np.stack(list(provenance.video.read_frames(folder / "signed.mp4")))
    assert judge(with_box_of(signed, encode(tmp_path / "again.mp4", frames).read_bytes())).status == "altered"


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 1, 2, 3], [0, 2, 1, 3], [0, 0, 2, 3]],
                         ids=["dropped", "inserted", "swapped", "spliced"])  # fmt: skip
def test_pictures_dropped_inserted_or_swapped(order: list[int], signed, clip, judge) -> None:
    assert judge(with_box_of(signed, remuxed(clip, order))).status == "altered"


def test_pictures_put_in_another_order_by_the_index_alone(signed, judge) -> None:
    # The coded pictures stay what they are; the table of their sizes and places is exchanged.
    for kind in (b"stsz", b"stts"):
        at = signed.index(kind) + 16
        assert judge(signed[:at] + signed[at + 4 : at + 8] + signed[at : at + 4] + signed[at + 8 :]).status in (
            "altered",
            "authentic" if signed[at : at + 4] == signed[at + 4 : at + 8] else "unreadable",
        )


def test_a_hidden_track_and_a_trimmed_presentation(signed, judge) -> None:
    boxes = parse(signed)
    moov = next(box for box in boxes if box.kind == b"moov")
    track = next(box for box in moov.children if box.kind == b"trak")
    for change in (
        lambda: moov.children.append(track),
        lambda: moov.children.remove(track),
        lambda: track.children.insert(1, Box(b"edts", Box(b"elst", bytes(7) + b"\1" + bytes(12)).to_bytes())),
    ):
        change()
        assert judge(join(boxes)).status in ("altered", "unreadable")


def test_the_sidecar_of_another_clip(clip, encode, tmp_path, folder) -> None:
    other = encode(tmp_path / "other.mp4", np.zeros((4, 64, 64, 3), np.uint8))
    provenance.sign(clip, tmp_path / "mine.mp4", sidecar=True)
    assert provenance.verify(tmp_path / "mine.mp4").status == "authentic"
    (tmp_path / "other.c2pa").write_bytes((tmp_path / "mine.c2pa").read_bytes())
    assert provenance.verify(other).status == "altered"
    assert provenance.verify(other, manifest=tmp_path / "mine.c2pa").status == "altered"


def test_a_sidecar_that_is_no_manifest(clip, tmp_path) -> None:
    (tmp_path / "x.mp4").write_bytes(clip.read_bytes())
    for data in (b"", b"\0" * 100, b"<?xml version='1.0'?>", b"\0\0\0\x08jumb" * 5000):
        (tmp_path / "x.c2pa").write_bytes(data)
        report = provenance.verify(tmp_path / "x.mp4")
        assert report.status in ("altered", "absent") and report.manifest is None


def test_a_manifest_of_the_thiefs_own(folder, tmp_path, judge) -> None:
    # Nothing prevents it, but nobody's trust carries over.
    forge.claim(folder / "clip.mp4", tmp_path / "mine.mp4", forge.Certifier(), title="all mine")
    report = judge((tmp_path / "mine.mp4").read_bytes())
    assert report.status == "untrusted" and "no trust list" in report.findings[0]
