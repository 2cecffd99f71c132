"""mp4 files that players, browsers and editors read as meant."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sorajax.errors import InputError
from sorajax.media.video import check_video, read_mp4, write_mp4


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A bright disc that moves over a coloured gradient: 9 frames of 64 x 96."""
    t, y, x = np.mgrid[:9, :64, :96]
    disc = (x - 12 - 9 * t) ** 2 + (y - 32) ** 2 < 100
    background = np.stack([x * 2, y * 3, 200 - x], -1)
    return np.where(disc[..., None], [250, 240, 90], background).astype(np.uint8)


@pytest.fixture(scope="module")
def file(frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_mp4(path, frames, 16)
    return path


def test_frames_and_rate_come_back(file: Path, frames: np.ndarray) -> None:
    read, fps = read_mp4(file)
    assert read.shape == frames.shape and read.dtype == np.uint8
    assert fps == 16
    luma = [0.2126, 0.7152, 0.0722]
    error = np.mean((read @ luma - frames @ luma) ** 2)
    assert 10 * np.log10(255**2 / error) > 36


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (255, 255, 255)])
def test_colours_are_bt709_in_video_range(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    """Y = 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B), from ITU-R BT.709-6 section 3."""
    plain = np.broadcast_to(np.array(colour, np.uint8), (2, 32, 32, 3)).copy()
    write_mp4(tmp_path / "plain.mp4", plain, 8)
    with av.open(str(tmp_path / "plain.mp4")) as container:
        luma = next(container.decode(video=0)).to_ndarray(format="yuv420p")[:32]
    assert np.abs(luma - (16 + 219 * np.dot(colour, [0.2126, 0.7152, 0.0722]) / 255)).max() < 2


def test_the_stream_says_what_it_is(file: Path) -> None:
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (codec.color_primaries, codec.color_trc, codec.colorspace, int(codec.color_range)) == (1, 1, 1, 1)
        assert stream.duration is not None and stream.time_base is not None
        assert stream.duration * stream.time_base == Fraction(9, 16)


def test_the_index_comes_before_the_pictures(file: Path) -> None:
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_same_frames_give_the_same_bytes(file: Path, frames: np.ndarray, tmp_path: Path) -> None:
    write_mp4(tmp_path / "again.mp4", frames, 16)
    assert (tmp_path / "again.mp4").read_bytes() == file.read_bytes()


def test_a_higher_crf_makes_a_smaller_file(file: Path, frames: np.ndarray, tmp_path: Path) -> None:
    write_mp4(tmp_path / "small.mp4", frames, 16, crf=35)
    assert (tmp_path / "small.mp4").stat().st_size < file.stat().st_size


def test_an_image_is_a_video_of_one_frame(frames: np.ndarray, tmp_path: Path) -> None:
    write_mp4(tmp_path / "image.mp4", frames[:1], 16)
    assert read_mp4(tmp_path / "image.mp4")[0].shape == (1, 64, 96, 3)


@pytest.mark.parametrize(
    ("fps", "exact"), [(8, Fraction(8)), (23.976, Fraction(24000, 1001)), (29.97, Fraction(30000, 1001)), (12.5, 12.5)]
)
def test_frame_rates_are_exact_fractions(frames: np.ndarray, fps: float, exact: Fraction) -> None:
    assert check_video(frames, fps) == exact


@pytest.mark.parametrize("fps", [0, -1, 241, float("nan"), float("inf"), True, "16"])
def test_frame_rates_that_cannot_be_are_refused(frames: np.ndarray, tmp_path: Path, fps: float) -> None:
    with pytest.raises(InputError, match="fps .* is not possible"):
        write_mp4(tmp_path / "clip.mp4", frames, fps)
    assert not list(tmp_path.iterdir())


def test_odd_sizes_are_refused_before_anything_is_written(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="95x63.*even"):
        write_mp4(tmp_path / "clip.mp4", frames[:, :63, :95], 16)
    assert not list(tmp_path.iterdir())


def test_a_quality_that_does_not_exist_is_refused(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="crf 52"):
        write_mp4(tmp_path / "clip.mp4", frames, 16, crf=52)


def test_a_failing_disk_is_an_os_error(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_mp4(tmp_path / "missing" / "clip.mp4", frames, 16)


def test_what_is_not_video_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "note.mp4").write_text("hello")
    for path in (tmp_path / "note.mp4", tmp_path, tmp_path / "missing.mp4"):
        with pytest.raises(InputError) as error:
            read_mp4(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
