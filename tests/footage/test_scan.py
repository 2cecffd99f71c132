"""Scenes begin where they were joined, and their figures tell black, still, restless and written-over ones apart."""

import contextlib
import errno
import itertools
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from scenedetect import AdaptiveDetector, FrameTimecode

from sorajax.errors import InputError
from sorajax.footage.frames import read
from sorajax.footage.scan import Cuts, PassingError, scan
from sorajax.footage.sources import Source, find
from tests.footage import films

FPS = films.FPS
opened = av.open


def scenes(path, **stretch):
    (source,) = find([path])
    return scan(Source(source.name, source.path, **stretch))


def test_scenes_end_where_they_were_joined(tmp_path):
    path = films.write(tmp_path / "a.mp4", films.scene(0, 20), films.scene(1, 30), films.scene(2, 16))
    found = scenes(path)
    assert [s.frames for s in found] == [20, 30, 16]
    assert [round(s.start * FPS) for s in found] == [0, 20, 50] and round(found[-1].end * FPS) == 66
    assert {(s.width, s.height, round(s.fps)) for s in found} == {(films.WIDTH, films.HEIGHT, FPS)}
    assert len({s.hash for s in found}) == 3 and found[0].thumbnail.shape == (3, 96, 128, 3)


@pytest.mark.parametrize(("fps", "unsure"), [(30, 1), (60, 3)])
def test_at_high_rates_frames_beside_a_cut_belong_to_no_scene(tmp_path, fps, unsure):
    joined = 2 * fps + 1
    path = films.write(tmp_path / "a.mp4", films.scene(0, joined, speed=0.5), films.scene(1, fps, speed=0.5), fps=fps)
    first, second = scenes(path)
    assert joined - unsure <= first.frames <= joined and joined <= round(second.start * fps) <= joined + unsure
    assert first.frames + second.frames >= joined + fps - unsure and round(first.fps) == fps


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_cuts_are_those_of_pyscenedetect(seed, count):
    rng = np.random.default_rng(seed)
    film = np.concatenate([films.scene(int(rng.integers(99)), int(rng.integers(4, 30))) for _ in range(count)])
    own, other = Cuts(min_scene_len=8), AdaptiveDetector(min_scene_len=8)
    found = []
    for number, frame in enumerate(film):
        planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
        time = FrameTimecode(number, fps=16.0)
        found.append(own.process_frame(time, planes))
        assert found[-1] == other.process_frame(time, cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420))
        assert own._frame_score == pytest.approx(other._frame_score)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "grey.png", "mp4", "full.mp4", "deep.mkv", "full.avi"])
def test_figures_are_the_same_in_every_format(tmp_path, kind):
    path, film = tmp_path / f"a.{kind}", films.scene(0, 2)
    film[1] = 255 - film[0]
    if kind.endswith(("png", "jpg", "webp")):
        Image.fromarray(film[0]).convert("L" if "grey" in kind else "RGB").save(path, quality=98)
    elif kind == "gif":
        first, second = (Image.fromarray(frame).quantize(64) for frame in film)
        first.save(path, save_all=True, append_images=[second], duration=125)
    else:
        codec, form = {
            "mp4": ("libx264", "yuv420p"),
            "full.mp4": ("libx264", "yuvj420p"),
            "full.avi": ("mjpeg", "yuvj420p"),
        }.get(kind, ("libx264", "yuv444p10le"))
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=8, options={"crf": "2"} if codec == "libx264" else {"q:v": "2"})
            stream.width, stream.height, stream.pix_fmt = films.WIDTH, films.HEIGHT, form
            for picture in film:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    (scene,) = scenes(path)
    grey = film @ [0.299, 0.587, 0.114]
    moving = not kind.endswith(("png", "jpg", "webp"))
    assert scene.luma == pytest.approx(grey.mean() if moving else grey[0].mean(), abs=3)
    if moving:
        assert scene.motion == pytest.approx(np.abs(grey[1] - grey[0]).mean(), abs=4)
    if "grey" not in kind:
        assert np.abs(scene.thumbnail[0].astype(int) - film[0]).mean() < 8
        (source,) = find([path])
        (frame,) = read(source, 0.0, 8, 1, (films.WIDTH, films.HEIGHT))
        assert np.abs(frame.astype(int) - film[0]).mean() < 8


def test_a_stretch_of_a_video_is_scanned_alone(tmp_path):
    path = films.write(tmp_path / "a.mp4", films.scene(0, 20), films.scene(1, 30))
    (only,) = scenes(path, start=21 / FPS, end=40 / FPS)
    assert only.start == pytest.approx(21 / FPS) and only.frames == 19


def test_figures_tell_scenes_apart(tmp_path):
    made = {
        "moving": films.scene(0, 24),
        "still": np.repeat(films.scene(1, 1), 24, axis=0),
        "black": np.zeros((24, films.HEIGHT, films.WIDTH, 3), np.uint8),
        "restless": np.random.default_rng(0).choice([0, 255], (24, 1, 1, 3)).astype(np.uint8)
        * np.ones((1, films.HEIGHT, films.WIDTH, 1), np.uint8),
    }
    found = {name: scenes(films.write(tmp_path / f"{name}.mp4", frames)) for name, frames in made.items()}
    (moving,), (still,), (black,) = found["moving"], found["still"], found["black"]
    assert black.luma < 16 < moving.luma
    assert still.motion < 0.5 < moving.motion < 60 < max(s.motion for s in found["restless"])


def test_writing_over_a_moving_picture_is_noticed(tmp_path):
    plain = films.scene(3, 40, speed=4.0, size=(640, 360))
    written = plain.copy()
    for i, frame in enumerate(plain):
        picture = Image.fromarray(frame)
        font = ImageFont.load_default(24)
        ImageDraw.Draw(picture).text(
            (120, 310), "And then they came to the river", "white", font, stroke_width=2, stroke_fill="black"
        )
        written[i] = np.asarray(picture)
    (without,) = scenes(films.write(tmp_path / "a.mp4", plain))
    (with_it,) = scenes(films.write(tmp_path / "b.mp4", written))
    assert without.text < 0.1 and with_it.text > 0.25


def test_a_picture_is_one_scene_of_one_frame(tmp_path):
    Image.fromarray(films.scene(0, 1)[0]).save(tmp_path / "a.png")
    (scene,) = scenes(tmp_path / "a.png")
    assert scene.frames == 1 and scene.motion == 0.0 and (scene.width, scene.height) == (films.WIDTH, films.HEIGHT)


def resized(path, *scenes):
    """Scenes of several sizes in one stream, as broadcasts have them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = films.WIDTH, films.HEIGHT, "yuv420p"
        shown = 0
        for frames in scenes:
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width, encoder.height, encoder.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
            encoder.time_base, encoder.options = Fraction(1, FPS), {"crf": "4", "bf": "0"}
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base, shown = shown, Fraction(1, FPS), shown + 1
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
            for packet in encoder.encode(None):
                packet.stream = stream
                container.mux(packet)
    return path


def test_a_change_of_size_begins_a_scene(tmp_path):
    wide, small = films.scene(1, 25, size=(192, 96)), films.scene(2, 31, speed=0.5, size=(64, 64))
    path = resized(tmp_path / "a.ts", films.scene(0, 20), wide, small[:1], films.scene(0, 9), small)
    found = scenes(path)
    assert [(s.width, s.height) for s in found] == [(128, 96), (192, 96), (64, 64), (128, 96), (64, 64)]
    assert [s.frames for s in found] == [20, 25, 1, 9, 31]
    assert [round(s.start * FPS) for s in found] == [0, 20, 45, 46, 55] and round(found[-1].end * FPS) == 86
    assert [s.thumbnail.shape[1:3] for s in found[:3]] == [(96, 128), (96, 192), (64, 64)]
    (source,) = find([path])
    frames = read(source, found[1].start, FPS, 5, (96, 48)).astype(int)
    assert np.abs(frames - wide[:5, ::2, ::2]).mean() < 12


def test_a_video_that_breaks_off_has_the_scenes_up_to_there(tmp_path):
    path = films.write(tmp_path / "a.ts", films.scene(0, 40), films.scene(1, 40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    found = scenes(path)
    assert found[0].frames == 40 and len(found) == 2


@pytest.mark.parametrize("fault", [OSError, av.error.OSError])
def test_a_share_that_goes_away_while_a_video_is_read_does_not_make_it_shorter(tmp_path, monkeypatch, fault):
    path = films.write(tmp_path / "a.mp4", films.scene(0, 40))

    class Share:
        def __init__(self, container):
            self.container, self.streams, self.metadata = container, container.streams, container.metadata

        def decode(self, stream):
            yield from itertools.islice(self.container.decode(stream), 30)
            raise fault(errno.EIO, "Input/output error")

    monkeypatch.setattr(av, "open", lambda *_: contextlib.nullcontext(Share(opened(str(path)))))
    with pytest.raises(PassingError, match="a.mp4 cannot be read: Input/output error; the next run tries again"):
        scenes(path)


@pytest.mark.parametrize(("data", "message"), [(b"", "cannot be decoded"), (b"no video at all", "cannot be decoded")])
def test_what_is_no_video_is_named(tmp_path, data, message):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(InputError, match=f"a.mp4 {message}"):
        scenes(tmp_path / "a.mp4")


def test_sound_alone_is_named(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="a.mp4 has no video in it"):
        scenes(tmp_path / "a.mp4")


def test_times_count_from_where_the_video_begins(tmp_path):
    path = films.write(tmp_path / "a.ts", films.scene(0, 20), films.scene(1, 30))
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time  # as it is in such files
    first, second = scenes(path)
    assert first.start == 0.0 and second.start == pytest.approx(20 / FPS, abs=1e-3)
    (source,) = find([path])
    frames = read(source, second.start, FPS, 3, (films.WIDTH, films.HEIGHT)).astype(int)
    assert np.abs(frames[0] - films.scene(1, 1)[0]).mean() < 6
