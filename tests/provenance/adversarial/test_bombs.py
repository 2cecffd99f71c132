"""Small files that would fill the memory of whoever unpacks them."""

import io
import struct
import zlib
from functools import partial
from pathlib import Path

import pytest

import provenance
from benchmarks.fuzz_mutants import join, parse
from benchmarks.fuzz_verifier import Blind
from provenance import batch, exhibits, watermark
from tests.provenance.adversarial import forge

HOLE = 1 << 27


def look(path: str, root: str) -> str:
    """What the verifier does with a file, pictures for a page included; runs in a process of limited memory."""
    watermark.Detector = Blind
    report = provenance.verify(path, trust=root)
    exhibits.take(path)
    return report.status


@pytest.fixture
def survives(folder: Path, tmp_path: Path):
    def look_at(*files: bytes) -> list[str]:
        paths = []
        for i, data in enumerate(files):
            paths.append(str(tmp_path / f"bomb-{i}"))
            Path(paths[-1]).write_bytes(data)
        check = partial(look, root=str(folder / "root.pem"))
        return [outcome for _, outcome in batch.run(check, paths, jobs=1, timeout=30, memory=1 << 30)]

    return look_at


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, packed: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """Deflated: about a thousandth of their number."""
    packer, out = zlib.compressobj(9), b""
    for _ in range(count >> 20):
        out += packer.compress(bytes(1 << 20))
    return out + packer.flush()


def test_stills_that_claim_to_be_huge(survives) -> None:
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6)
    gif += b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\2\2D\1\0;"
    text = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    text += (
        chunk(b"zTXt", b"a\0\0" + zeros(64 << 20)) + chunk(b"IDAT", zlib.compress(bytes(25 * 8))) + chunk(b"IEND", b"")
    )
    found = survives(png(60_000, 60_000, zlib.compress(b"")), png(8_000, 8_000, zeros(192 << 20)), gif, text)
    assert found[0] == "unreadable" and found[2] == "unreadable"
    assert all(status in ("unreadable", "absent", "altered") for status in found), found


def test_a_video_that_claims_huge_pictures(signed, clip, survives) -> None:
    at = clip.read_bytes().index(b"avc1\0\0\0\0\0\0\0\1", 100)  # the sample entry, not the brand
    data = clip.read_bytes()
    assert survives(data[: at + 28] + struct.pack(">HH", 65535, 65535) + data[at + 32 :])[0] in ("unreadable", "absent")


def test_motion_jpeg_whose_pictures_are_larger_than_the_file_says(tmp_path, survives) -> None:
    import av
    import numpy as np

    path = tmp_path / "small.mov"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for frame in np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    data = path.read_bytes()
    assert data.count(b"\xff\xc0\0\x11\x08\0\x40\0\x40") == 3
    huge = data.replace(b"\xff\xc0\0\x11\x08\0\x40\0\x40", b"\xff\xc0\0\x11\x08\xff\xdc\xff\xdc")
    assert survives(huge)[0] in ("unreadable", "absent")


def test_a_thumbnail_in_a_manifest_is_not_unpacked(certifier, clip, tmp_path, survives) -> None:
    bomb = png(60_000, 60_000, zeros(64 << 20))

    def prepare(builder) -> None:
        builder.add_resource("thumbnail.png", io.BytesIO(bomb))

    source = {"title": "source", "relationship": "componentOf",
              "thumbnail": {"format": "image/png", "identifier": "thumbnail.png"}}  # fmt: skip
    forge.claim(clip, tmp_path / "x.mp4", certifier, ingredients=[(source, "video/mp4", clip.read_bytes())],
                prepare=prepare)  # fmt: skip
    assert survives((tmp_path / "x.mp4").read_bytes())[0] == "authentic"


def test_a_large_prompt_is_cut(certifier, clip, tmp_path, survives) -> None:
    prompt = {"title": "prompt", "format": "text/plain", "relationship": "inputTo",
              "data_types": [{"type": "c2pa.types.generator.prompt"}]}  # fmt: skip
    forge.claim(clip, tmp_path / "x.mp4", certifier, ingredients=[(prompt, "text/plain", b"x" * (5 << 20))])
    assert survives((tmp_path / "x.mp4").read_bytes())[0] == "authentic"


def test_a_file_that_is_mostly_a_hole(signed, tmp_path, folder, monkeypatch) -> None:
    monkeypatch.setattr(watermark, "Detector", Blind)
    path = tmp_path / "sparse.mp4"
    with path.open("wb") as file:
        file.write(signed + HOLE.to_bytes(4, "big") + b"free")
        file.truncate(len(signed) + HOLE)
    assert provenance.verify(path, trust=folder / "root.pem").status in ("authentic", "altered")
    assert join(parse(signed)) == signed
