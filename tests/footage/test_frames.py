"""Frames come at the times, the size and the way up that were asked for."""

import numpy as np
import pytest
from PIL import Image

from sorajax.errors import InputError
from sorajax.footage.frames import read
from sorajax.footage.sources import find
from tests.footage import films


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """48 frames at 16 a second, each brighter than the one before by five levels."""
    frames = np.stack([np.full((films.HEIGHT, films.WIDTH, 3), 5 * i, np.uint8) for i in range(48)])
    (source,) = find([films.write(tmp_path_factory.mktemp("grey") / "grey.mp4", frames)])
    return source


def numbers(frames) -> list[int]:
    return [round(float(frame.mean()) / 5) for frame in frames]


@pytest.mark.parametrize(
    ("start", "fps", "expected"),
    [
        (0.0, 16, [0, 1, 2, 3, 4]),
        (0.0, 8, [0, 2, 4, 6, 8]),
        (1.0, 8, [16, 18, 20, 22, 24]),
        (2.0, 4, [32, 36, 40, 44, 48]),
        (0.5, 32, [8, 8, 9, 9, 10]),
    ],
)
def test_frames_are_those_shown_at_their_times(grey, start, fps, expected):
    found = numbers(read(grey, start, fps, 5, (64, 48)))
    assert np.abs(np.subtract(found, np.minimum(expected, 47))).max() <= (1 if start == 0.5 else 0)


def test_a_stretch_beyond_the_end_is_refused(grey):
    with pytest.raises(InputError, match="grey.mp4 ends before 5.00 s"):
        read(grey, 2.0, 8, 25, (64, 48))


@pytest.mark.parametrize("size", [(64, 64), (96, 32), (32, 96), (200, 100)])
def test_a_frame_covers_the_size_and_is_cut_alike_on_both_sides(tmp_path, size):
    y, x = np.mgrid[:90, :120]
    frame = np.stack([x * 2, y * 2, np.zeros_like(x)], -1).astype(np.uint8)
    Image.fromarray(frame).save(tmp_path / "a.png")
    (source,) = find([tmp_path])
    (found,) = read(source, 0.0, 8, 1, size)
    assert found.shape == (size[1], size[0], 3)
    scale = max(size[0] / 120, size[1] / 90)
    middle = found[size[1] // 2, size[0] // 2].astype(int)
    assert abs(middle[0] - 120) < 4 and abs(middle[1] - 90) < 4
    assert found[0, 0, 0] == pytest.approx(120 - size[0] / scale, abs=6)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("place", [(0.0, 0.0), (1.0, 0.0), (0.25, 1.0)])
def test_a_crop_is_a_part_of_the_picture_at_its_place(tmp_path, monkeypatch, place, turned):
    y, x = np.mgrid[:90, :120]
    frame = np.stack([x * 2, y * 2, np.zeros_like(x)], -1).astype(np.uint8)
    Image.fromarray(np.rot90(frame, -turned)).save(tmp_path / "a.png")
    monkeypatch.setattr("sorajax.footage.frames._turned", lambda _: turned)
    (source,) = find([tmp_path])
    (found,) = read(source, 0.0, 8, 1, (64, 48), crop=(0.5, *place))
    left, top = place[0] * 60, place[1] * 45
    assert found.shape == (48, 64, 3)
    assert found[0, 0, 0] == pytest.approx(2 * left, abs=6) and found[-1, -1, 0] == pytest.approx(2 * left + 118, abs=6)
    assert found[0, 0, 1] == pytest.approx(2 * top, abs=6) and found[-1, -1, 1] == pytest.approx(2 * top + 88, abs=6)


def test_pictures_of_a_phone_are_turned_upright(tmp_path, monkeypatch):
    import av

    path = films.write(tmp_path / "a.mp4", films.scene(0, 8))
    (source,) = find([path])
    plain = read(source, 0.0, 16, 2, (48, 64))
    monkeypatch.setattr("sorajax.footage.frames._turned", lambda frame: 1)
    turned = read(source, 0.0, 16, 2, (48, 64))
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24", width=64, height=48)
    assert plain.shape == turned.shape == (2, 64, 48, 3)
    assert np.abs(turned[0].astype(int) - np.rot90(first)).mean() < 6
