"""A watermark in any video file, and everything else as it was."""

import errno
import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from provenance import marking, recoding, watermark
from provenance.errors import InputError, MarkingError, MediaError
from tests.provenance import films

PAYLOAD = b"8 bytes!"
TURNED = (0, 65536, 0, -65536, 0, 0, 256 * 65536, 0, 1 << 30)  # a quarter turn, as phones write it
PQ = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
MASTERING = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
TURNS = pytest.mark.skipif(not hasattr(av.video.stream.VideoStream, "set_display_matrix"), reason="needs PyAV 17.1")
UNEVEN = np.cumsum(np.random.default_rng(0).integers(10, 60, 24)).tolist()


@pytest.fixture(scope="module")
def frames(clip) -> np.ndarray:
    return clip(3, frames=24)


@pytest.fixture(scope="module")
def plain_film(frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.film(tmp_path_factory.mktemp("films") / "plain.mp4", frames)


def same(new: list[Fraction], old: list[Fraction]) -> bool:
    """Whether times are kept. FFmpeg 8.0 and older round where an edit list begins, by less than 2 ms for all alike."""
    if int(av.__version__.split(".")[0]) >= 19:
        return new == old
    apart = [a - b for a, b in zip(new, old, strict=True)]
    return max(map(abs, apart)) < Fraction(2, 1000) and max(apart) - min(apart) <= Fraction(1, 1000)


def kept(source: Path, target: Path) -> marking.Marked:
    """Mark ``source`` and check all that holds for every file."""
    marked = marking.mark_file(source, target, PAYLOAD, again=True)
    times, before, old = films.pictures(source)
    new_times, after, new = films.pictures(target)
    sound, old_sound = films.packets(target, "audio"), films.packets(source, "audio")
    assert [data for data, _, _ in sound] == [data for data, _, _ in old_sound]
    assert same([at for _, at, _ in sound], [at for _, at, _ in old_sound])
    assert same(new_times, times) and marked.frames == len(times)
    assert after.shape == before.shape
    assert films.psnr(before, after) > 37  # the watermark itself leaves 42, the encoder takes some
    for tag in ("colorspace", "color_range", "color_primaries", "color_trc", "rotation"):
        assert getattr(new, tag, None) == getattr(old, tag, None), tag
    assert marking.detect_file(target).payload == PAYLOAD
    assert os.listdir(target.parent) == [target.name]
    return marked


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def test_sound_times_colours_tags_and_chapters_stay(plain_film: Path, there: Path) -> None:
    marked = kept(plain_film, there / "marked.mp4")
    assert (marked.codec, marked.pixel_format, marked.notes) == ("libx264", "yuv420p", ())
    with av.open(str(plain_film)) as old, av.open(str(there / "marked.mp4")) as new:
        assert new.metadata["title"] == "a film"
        assert new.metadata["creation_time"] == old.metadata["creation_time"] == "2024-05-06T07:08:09.000000Z"
        assert [s.metadata["language"] for s in (*new.streams.video, *new.streams.audio)] == ["deu", "fra"]
        seconds = [
            [(c["metadata"], c["start"] * Fraction(str(c["time_base"])), c["end"] * Fraction(str(c["time_base"])))
             for c in file.chapters()] for file in (old, new)
        ]  # fmt: skip
        assert len(seconds[0]) == 2 and seconds[0] == seconds[1]
        assert str(new.streams.video[0].time_base) == str(old.streams.video[0].time_base)


def test_uneven_times_stay(frames: np.ndarray, tmp_path: Path, there: Path) -> None:
    source = films.film(tmp_path / "phone.mov", frames, base=Fraction(1, 600), times=UNEVEN)
    kept(source, there / "marked.mov")
    assert same(films.pictures(there / "marked.mov")[0], [Fraction(at, 600) for at in UNEVEN])


@TURNS
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_phone_video_stays_turned(frames: np.ndarray, tmp_path: Path, there: Path, suffix: str) -> None:
    source = films.film(tmp_path / f"phone{suffix}", frames, matrix=TURNED)
    assert films.pictures(source)[2].rotation == -90
    kept(source, there / f"marked{suffix}")


def test_ten_bits_and_hdr_stay(frames: np.ndarray, tmp_path: Path, there: Path) -> None:
    options = {"crf": "12", "preset": "ultrafast", "x265-params": f"log-level=none:{MASTERING}"}
    source = films.film(
        tmp_path / "hdr.mp4", frames, codec="libx265", pixels="yuv420p10le", options=options, **PQ
    )  # fmt: skip
    marked = kept(source, there / "marked.mp4")
    assert (marked.codec, marked.pixel_format) == ("libx265", "yuv420p10le")
    new, old = films.pictures(there / "marked.mp4")[2], films.pictures(source)[2]
    assert new.format.name == "yuv420p10le"
    for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"):
        assert recoding.side_data(new)[name] == recoding.side_data(old)[name], name


def test_full_range_stays(frames: np.ndarray, tmp_path: Path, there: Path) -> None:
    source = films.film(tmp_path / "full.mp4", frames, pixels="yuvj420p", colorspace=1, color_range=2)
    assert kept(source, there / "marked.mp4").pixel_format == "yuvj420p"


def test_odd_sizes_keep_every_pixel(clip, tmp_path: Path, there: Path) -> None:
    odd = clip(4, frames=24, size=(256, 260))[:, :253, :259]
    source = films.film(tmp_path / "odd.mkv", np.ascontiguousarray(odd), codec="ffv1", options={"level": "3"})
    marked = kept(source, there / "marked.mkv")
    assert (marked.width, marked.height, marked.pixel_format) == (259, 253, "yuv444p")


def test_webm_stays_webm(frames: np.ndarray, tmp_path: Path, there: Path) -> None:
    options = {"crf": "12", "b": "0", "deadline": "realtime", "cpu-used": "8"}
    source = films.film(tmp_path / "a.webm", frames, codec="libvpx-vp9", options=options, sound="libopus")
    assert kept(source, there / "marked.webm").codec == "libvpx-vp9"


def test_ten_bits_stay_in_webm(frames: np.ndarray, tmp_path: Path, there: Path, capfd) -> None:
    options = {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"}
    source = films.film(
        tmp_path / "deep.mkv", frames, codec="libx265", pixels="yuv420p10le", options=options, sound="libopus", **PQ
    )  # fmt: skip
    capfd.readouterr()
    marked = kept(source, there / "marked.webm")
    assert (marked.codec, marked.pixel_format) == ("libsvtav1", "yuv420p10le")
    assert capfd.readouterr().err == ""


def test_subtitles_and_fonts_stay(plain_film: Path, tmp_path: Path, there: Path) -> None:
    source = films.with_extras(plain_film, tmp_path / "extras.mkv")
    kept(source, there / "marked.mkv")
    with av.open(str(there / "marked.mkv")) as new:
        assert [s.type for s in new.streams] == ["video", "audio", "subtitle", "attachment"]
        assert new.streams[2].metadata["language"] == "ita" and new.streams[2].metadata["title"] == "for everybody"
        assert new.streams[3].metadata["filename"] == "letters.ttf"
    subtitles = films.packets(source, "subtitles")
    assert [text for text, _, _ in subtitles] == [b"Hello", b"World"]
    assert films.packets(there / "marked.mkv", "subtitles") == subtitles
    with pytest.raises(InputError, match="subtitles .* cannot be kept in mp4; .* or in .mkv"):
        marking.mark_file(source, there / "other.mp4", PAYLOAD, again=True)


def test_old_formats_are_taken_to_new_ones(frames: np.ndarray, tmp_path: Path, there: Path) -> None:
    source = films.film(
        tmp_path / "old.avi", frames, codec="mpeg4", options={"qmax": "2"}, sound="libmp3lame"
    )  # fmt: skip
    assert kept(source, there / "marked.mp4").codec == "libx264"


def test_a_private_key_hides_the_mark(plain_film: Path, there: Path) -> None:
    seen = []
    marking.mark_file(
        plain_film, there / "m.mp4", PAYLOAD, key=b"mine", again=True, progress=lambda *step: seen.append(step)
    )  # fmt: skip
    assert marking.detect_file(there / "m.mp4", key=b"mine", fast=True).payload == PAYLOAD
    assert marking.detect_file(there / "m.mp4", key=b"mire", fast=True).payload is None
    assert seen == [(i + 1, 24) for i in range(24)]


def test_a_marked_video_is_not_marked_again_unasked(marked: Path, there: Path) -> None:
    with pytest.raises(InputError, match=f"carries the watermark {PAYLOAD.hex()} already.*--again"):
        marking.mark_file(marked, there / "twice.mp4", b"another!")
    assert os.listdir(there) == []


def test_credentials_are_not_broken_unasked(signed: Path, there: Path) -> None:
    with pytest.raises(InputError, match="carries credentials.*--drop-credentials"):
        marking.mark_file(signed, there / "marked.mp4", PAYLOAD)
    assert os.listdir(there) == []
    marking.mark_file(signed, there / "marked.mp4", b"another!", key=b"mine", again=True, drop_credentials=True)
    assert not marking.video.has_manifest_box(there / "marked.mp4")


def test_what_cannot_be_marked_is_said_before_anything_is_written(plain_film: Path, clip, tmp_path, there) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    small = films.film(tmp_path / "small.mp4", clip(1, frames=3, size=(96, 128)), sound=None)
    voice = tmp_path / "voice.mp4"
    with av.open(str(plain_film)) as old, av.open(str(voice), "w") as out:
        stream = out.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(old.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    target = there / "marked.mp4"
    for source, goal, payload, kind, says in [
        (plain_film, target, b"short", InputError, "payload is 8 bytes, not 5"),
        (small, target, PAYLOAD, InputError, rf"small\.mp4.*128x96 are too small.*{watermark.MIN_SIZE}x"),
        (tmp_path / "text.mp4", target, PAYLOAD, MediaError, r"text\.mp4: not a video or picture file"),
        (tmp_path / "no.mp4", target, PAYLOAD, MediaError, r"no\.mp4: no such file"),
        (voice, target, PAYLOAD, MediaError, r"voice\.mp4: has no video stream"),
        (plain_film, there / "marked.txt", PAYLOAD, InputError, r"must end in one of \.mp4"),
        (plain_film, there / "no" / "marked.mp4", PAYLOAD, InputError, "folder .* does not exist"),
        (plain_film, there, PAYLOAD, InputError, "must end in"),
        (plain_film, plain_film, PAYLOAD, InputError, "is the source itself"),
        (small, plain_film, PAYLOAD, InputError, "exists already"),
    ]:
        with pytest.raises(kind, match=says) as caught:
            marking.mark_file(source, goal, payload)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="key is empty"):
        marking.mark_file(plain_film, target, PAYLOAD, key=b"")
    with pytest.raises(InputError, match=r"sound \(aac\) cannot be kept in webm"):
        marking.mark_file(plain_film, there / "marked.webm", PAYLOAD, again=True)
    assert os.listdir(there) == []


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(plain_film: Path, there: Path) -> None:
    there.chmod(0o500)
    with pytest.raises(InputError, match="choose a folder that can be written"):
        marking.mark_file(plain_film, there / "marked.mp4", PAYLOAD, again=True)


@pytest.mark.parametrize(
    ("light", "count", "why"), [(0, 3, "too dark"), (128, 3, r"too short \(3 pictures"), (128, 24, "too small")]
)
def test_a_mark_that_cannot_be_read_is_not_published(light, count, why, tmp_path, there, monkeypatch) -> None:
    flat = np.full((count, 160, 160, 3), light, np.uint8)
    source = films.film(tmp_path / "flat.mp4", flat, sound=None)
    monkeypatch.setattr(watermark, "mark", lambda frames, payload, key: frames)
    with pytest.raises(MarkingError, match=rf"flat\.mp4: the watermark cannot be read back.*{why}"):
        marking.mark_file(source, there / "marked.mp4", PAYLOAD, again=True)
    assert os.listdir(there) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("moment", ["progress", "publish"])
def test_an_interruption_leaves_nothing(error, moment, plain_film: Path, there: Path, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise error

    if moment == "publish":
        monkeypatch.setattr(marking.outputs, "publish", stop)
    with pytest.raises((KeyboardInterrupt, MarkingError), match="No space left|^$"):
        marking.mark_file(
            plain_film, there / "m.mp4", PAYLOAD, again=True, progress=stop if moment == "progress" else None
        )  # fmt: skip
    assert os.listdir(there) == []


def test_damage_is_said_in_one_line(plain_film: Path, tmp_path: Path, there: Path) -> None:
    broken = tmp_path / "broken.mp4"
    shutil.copy(plain_film, broken)
    with broken.open("r+b") as file:
        at, size = next((at, size) for kind, at, size in marking.video.boxes(file) if kind == b"mdat")
        file.seek(at + 8)
        file.write(bytes(size - 8))
    with pytest.raises(MediaError, match=r"broken\.mp4: .*decoded") as caught:
        marking.mark_file(broken, there / "marked.mp4", PAYLOAD)
    assert "\n" not in str(caught.value) and os.listdir(there) == []
