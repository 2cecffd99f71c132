"""An altered file's report says which seconds were altered."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

import provenance
from provenance import credentials, formats, keys, localise, video
from tests.provenance import films


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of pictures and sound that do not compress well, so that a second has many chunks."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 64, 64, 3), np.uint8)
    return films.film(tmp_path_factory.mktemp("clips") / "original.mp4", noise)


@pytest.fixture(scope="module")
def signed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "signed.mp4"
    provenance.sign(original, path)
    return path


def packet_at(path: Path, kind: str, second: float) -> tuple[int, int, float, float]:
    """(offset, size, start, end) of what is shown or heard at a time."""
    with av.open(str(path)) as media:
        for packet in media.demux(getattr(media.streams, kind)[0]):
            start, end = (float((packet.pts or 0) + d) * float(packet.time_base) for d in (0, packet.duration or 0))
            if packet.size and start <= second < end:
                return packet.pos, packet.size, start, end
    raise AssertionError(f"nothing at {second} s")


def with_byte(path: Path, at: int, new: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    new.write_bytes(data)
    return new


def boxes(data: bytes) -> dict[bytes, tuple[int, int]]:
    return {kind: (at, size) for kind, at, size in video.boxes(io.BytesIO(data))}


@pytest.mark.parametrize(("kind", "second"), [("video", 0.5), ("video", 1.3), ("video", 3.9), ("audio", 2.2)])
def test_a_changed_byte_is_placed_in_time(kind: str, second: float, signed: Path, tmp_path: Path) -> None:
    at, size, start, end = packet_at(signed, kind, second)
    report = provenance.verify(with_byte(signed, at + size // 2, tmp_path / "x.mp4"))
    assert report.status == "altered"
    spans = [span for span in report.altered if span.kind == kind]
    assert any(span.start <= start and end <= span.end for span in spans)
    # Short: what lies in a chunk of 4 KiB, not the whole film.
    assert sum(span.end - span.start for span in spans) < 0.5
    assert any(f.startswith(f"altered: {kind} from ") and f.endswith(" s") for f in report.findings)
    assert report.to_dict()["altered"][0].keys() == {"kind", "start", "end"}


def test_two_changes_far_apart_are_two_stretches(signed: Path, tmp_path: Path) -> None:
    first, second = packet_at(signed, "video", 0.5)[0], packet_at(signed, "video", 3.0)[0]
    path = with_byte(with_byte(signed, first + 5, tmp_path / "x.mp4"), second + 5, tmp_path / "x.mp4")
    spans = [span for span in provenance.verify(path).altered if span.kind == "video"]
    assert len(spans) == 2 and spans[0].end < 1.2 and spans[1].start > 2.5


def test_pictures_overwritten_in_place_are_exactly_those(signed: Path, tmp_path: Path) -> None:
    # The pictures from 1 s to 2 s are replaced by zeros, the sound between them kept.
    data = bytearray(signed.read_bytes())
    for second in np.arange(1.0, 2.0, 1 / films.RATE):
        at, size, *_ = packet_at(signed, "video", second + 0.01)
        data[at : at + size] = bytes(size)
    (tmp_path / "x.mp4").write_bytes(data)
    span = next(span for span in provenance.verify(tmp_path / "x.mp4").altered if span.kind == "video")
    assert 0.7 < span.start <= 1.0 and 1.95 <= span.end < 2.3


def test_what_was_put_in_shifts_all_that_follows_and_is_said(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    at, _, start, _ = packet_at(signed, "video", 2.0)
    mdat, size = boxes(bytes(data))[b"mdat"]
    data[at:at] = bytes(20000)
    data[mdat : mdat + 4] = (size + 20000).to_bytes(4, "big")
    (tmp_path / "x.mp4").write_bytes(data)
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered" and any("longer than when it was signed" in f for f in report.findings)
    spans = [span for span in report.altered if span.kind == "video"]
    assert min(span.start for span in spans) > start - 0.5 and max(span.end for span in spans) > 3.9


def test_a_change_of_the_index_alone_leaves_the_pictures(signed: Path, tmp_path: Path) -> None:
    data = signed.read_bytes()
    at = data.index(b"a film", boxes(data)[b"moov"][0])  # the title tag
    report = provenance.verify(with_byte(signed, at, tmp_path / "x.mp4"))
    assert report.status == "altered" and report.altered == ()
    assert any("picture and sound data are as they were signed" in f for f in report.findings)


def test_hashes_of_a_manifest_that_was_changed_are_not_believed(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    at, size, *_ = packet_at(signed, "video", 1.0)
    data[at + size // 2] ^= 1
    title = data.index(b"original.mp4", boxes(bytes(data))[b"uuid"][0])
    data[title] ^= 1
    (tmp_path / "x.mp4").write_bytes(data)
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "altered" and report.altered == ()
    assert not any(f.startswith("altered:") for f in report.findings)


def test_a_sidecar_places_changes_too(original: Path, tmp_path: Path) -> None:
    provenance.sign(original, tmp_path / "x.mp4", sidecar=True)
    at, size, start, end = packet_at(tmp_path / "x.mp4", "video", 1.3)
    report = provenance.verify(with_byte(tmp_path / "x.mp4", at + size // 2, tmp_path / "x.mp4"))
    assert any(span.start <= start and end <= span.end for span in report.altered)


def test_a_fragmented_file_is_altered_as_a_whole(original: Path, tmp_path: Path) -> None:
    films.fragmented(original, tmp_path / "fragments.mp4")
    assert provenance.sign(tmp_path / "fragments.mp4", tmp_path / "x.mp4").status == "authentic"
    at = packet_at(tmp_path / "x.mp4", "video", 1.3)[0]
    report = provenance.verify(with_byte(tmp_path / "x.mp4", at + 20, tmp_path / "x.mp4"))
    assert report.status == "altered" and any("hashed the file as a whole" in f for f in report.findings)


def test_chunks_cost_little(original: Path, tmp_path: Path, monkeypatch) -> None:
    size = original.stat().st_size
    assert provenance.sign(original, tmp_path / "chunks.mp4").status == "authentic"
    monkeypatch.setattr(localise, "chunk_size", lambda path, format, **_: None)
    assert provenance.sign(original, tmp_path / "whole.mp4").status == "authentic"
    more = (tmp_path / "chunks.mp4").stat().st_size - (tmp_path / "whole.mp4").stat().st_size
    assert 0 < more < 0.01 * size + 300


def test_large_files_have_larger_chunks(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    for megabytes, chunk in [(1, 4), (16, 4), (17, 8), (1000, 256)]:
        with path.open("wb") as file:  # sparse
            file.write((16).to_bytes(4, "big") + b"ftypisom\0\0\0\0")
            file.write((megabytes * 2**20).to_bytes(4, "big") + b"mdat")
            file.truncate(16 + megabytes * 2**20)
        assert localise.chunk_size(path, formats.MP4, short=True) == chunk
        assert megabytes * 2**20 / (chunk * 1024) <= localise.MOST_CHUNKS


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        [None],
        [{}],
        [{"hashes": "x", "count": 1, "fixedBlockSize": 4096}],
        [{"hashes": [[1]], "count": 1, "fixedBlockSize": 0}],
        [{"hashes": [[999]], "count": 1, "fixedBlockSize": 4096}],
        [{"hashes": [[1]], "count": 1, "fixedBlockSize": 4096, "alg": "md5"}],
        [{"hashes": [[1]], "count": 2, "fixedBlockSize": 4096}],
        [{"hashes": [[1]], "count": 1, "fixedBlockSize": 4096}] * 2,
    ],
)
def test_hashes_of_any_shape_are_survived(tree, signed: Path) -> None:
    found = localise.locate(signed, {"merkle": tree})
    assert found.spans == () and len(found.findings) == 1 and "cannot be said" in found.findings[0]


def test_a_file_whose_index_is_gone_says_so(signed: Path, tmp_path: Path) -> None:
    data = bytearray(signed.read_bytes())
    at, size = boxes(bytes(data))[b"moov"]
    data[at + 8 : at + size] = bytes(size - 8)
    data[boxes(signed.read_bytes())[b"mdat"][0] + 5000] ^= 1
    (tmp_path / "x.mp4").write_bytes(data)
    binding = credentials.read(signed, formats.MP4, keys.trust_policy()).binding
    found = localise.locate(tmp_path / "x.mp4", binding)
    assert found.spans == () and "its index cannot be read" in found.findings[0]


def test_headers_are_widened_so_that_all_validators_find_the_chunks(signed: Path, plain: Path, tmp_path: Path) -> None:
    def places(path: Path) -> dict[bytes, tuple[int, int]]:
        with path.open("rb") as file:
            return {kind: (at, size) for kind, at, size in video.boxes(file)}

    before = plain.read_bytes()
    at, size = places(plain)[b"mdat"]
    assert places(plain)[b"free"] == (at - 8, 8)
    assert localise.widened(plain, tmp_path / "wide.mp4")
    assert places(tmp_path / "wide.mp4")[b"mdat"] == (at - 8, size + 8)
    after = (tmp_path / "wide.mp4").read_bytes()
    assert after[: at - 8] + after[at + 8 :] == before[: at - 8] + before[at + 8 :]  # nothing moved
    assert not localise.widened(tmp_path / "wide.mp4", tmp_path / "again.mp4") and not (tmp_path / "again.mp4").exists()
    at, _ = places(signed)[b"mdat"]
    assert signed.read_bytes()[at : at + 4] == b"\0\0\0\1"


def test_where_a_header_cannot_grow_chunks_are_left_out(plain: Path, tmp_path: Path) -> None:
    data = plain.read_bytes()
    (tmp_path / "x.mp4").write_bytes(data.replace(b"\0\0\0\x08free", b"\0\0\0\x08fun!"))
    assert not localise.widened(tmp_path / "x.mp4", tmp_path / "wide.mp4")
    assert localise.chunk_size(tmp_path / "x.mp4", formats.MP4) is None
    assert localise.chunk_size(tmp_path / "x.mp4", formats.MP4, short=True) == localise.LEAST_CHUNK
