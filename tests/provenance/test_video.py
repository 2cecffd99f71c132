"""Reading video: what a file is, frame by frame, and refusal in a line."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from provenance import video
from provenance.errors import MediaError


def test_probe_says_what_the_file_says(plain: Path) -> None:
    info = video.probe(plain)
    assert (info.container, info.codec, info.width, info.height) == ("mp4", "h264", 256, 256)
    assert (info.fps, info.frames, info.duration) == (8.0, 9, pytest.approx(9 / 8))


def test_frames_come_one_at_a_time(plain: Path, clip) -> None:
    frames = video.read_frames(plain)
    first = next(frames)
    assert first.dtype == np.uint8 and first.shape == (256, 256, 3)
    assert np.abs(first.astype(int) - clip(2)[0]).mean() < 3
    assert sum(1 for _ in frames) == 8


def test_every_third_frame(plain: Path) -> None:
    every, third = list(video.read_frames(plain)), list(video.read_frames(plain, step=3))
    assert len(third) == 3 and all(np.array_equal(a, b) for a, b in zip(every[::3], third, strict=True))


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libx264"), ("avi", "mpeg4"), ("mov", "libx264")])
def test_other_containers_are_read(container: str, codec: str, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 100, np.uint8), format="rgb24")))
        out.mux(stream.encode())
    assert video.probe(path).container == container
    assert next(video.read_frames(path)).shape == (64, 64, 3)


def test_sound_alone_is_not_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(MediaError, match="has no video stream"):
        video.probe(path)


def test_frames_of_absurd_size_are_refused(plain: Path, monkeypatch) -> None:
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    with pytest.raises(MediaError, match="frames of 256x256 are refused"):
        next(video.read_frames(plain))


def test_a_stream_that_grows_on_the_way_is_refused_where_it_does(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "growing.avi"
    with av.open(str(path), "w", format="avi") as out:
        stream = out.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        pictures = [av.VideoFrame.from_ndarray(np.full((side, side, 3), 90, np.uint8)) for side in (64, 128)]
        packets = [*stream.encode(pictures[0]), *stream.encode()]
        # Each key frame brings its own parameters, so another encoder's packets fit into the same stream.
        larger = av.CodecContext.create("libx264", "w")
        larger.width, larger.height, larger.pix_fmt, larger.time_base = 128, 128, "yuv420p", Fraction(1, 8)
        for packet in [*larger.encode(pictures[1]), *larger.encode()]:
            packet.stream, packet.pts, packet.dts = stream, 1, 1
            packets.append(packet)
        out.mux(packets)
    assert [frame.shape[0] for frame in video.read_frames(path)] == [64, 128]
    monkeypatch.setattr(video, "MAX_PIXELS", 100 * 100)
    frames = video.read_frames(path)
    assert next(frames).shape == (64, 64, 3)
    with pytest.raises(MediaError, match="^frames of 128x128 are refused; the limit is 10000 pixels$"):
        next(frames)


class Pipe:
    """A destination that cannot seek back to write down how many frames there were."""

    def __init__(self, path: Path):
        self._path = path
        path.touch()

    def write(self, data: bytes) -> int:
        with self._path.open("ab") as file:
            return file.write(data)


@pytest.mark.parametrize(
    ("container", "codec", "options", "claimed"),
    [
        ("mp4", "libx264", {}, 12),
        ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, 0),
        ("mp4", "libx264", {"movflags": "frag_keyframe"}, 4),
        ("matroska", "libx264", {}, 0),
        ("avi pipe", "mpeg4", {}, 2**30),
    ],
)
def test_frames_are_counted_where_the_file_says_nothing_or_something_else(
    container: str, codec: str, options: dict, claimed: int, tmp_path: Path
) -> None:
    path = tmp_path / "clip"
    target = Pipe(path) if "pipe" in container else str(path)
    with av.open(target, "w", format=container.split()[0], options=options) as out:
        stream = out.add_stream(codec, rate=8, options={"g": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i in range(12):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8))))
        out.mux(stream.encode())
    decoded = sum(1 for _ in video.read_frames(path))
    assert video.probe(path).frames == claimed and video.count_frames(path) == decoded == 12


def test_the_manifest_box_is_found(signed: Path, plain: Path) -> None:
    assert video.has_manifest_box(signed) and not video.has_manifest_box(plain)


def test_boxes_are_listed_in_order(signed: Path) -> None:
    with signed.open("rb") as file:
        listed = list(video.boxes(file))
    assert [kind for kind, _, _ in listed][:2] == [b"ftyp", b"uuid"]
    assert sum(size for _, _, size in listed) == signed.stat().st_size
