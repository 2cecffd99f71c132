"""Reading video: what a file is, frame by frame, and refusal in a line."""

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


def test_the_manifest_box_is_found(signed: Path, plain: Path) -> None:
    assert video.has_manifest_box(signed) and not video.has_manifest_box(plain)


def test_boxes_are_listed_in_order(signed: Path) -> None:
    with signed.open("rb") as file:
        listed = list(video.boxes(file))
    assert [kind for kind, _, _ in listed][:2] == [b"ftyp", b"uuid"]
    assert sum(size for _, _, size in listed) == signed.stat().st_size
