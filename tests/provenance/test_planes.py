"""Changes seen as RGB, added to pictures as they are stored."""

import av
import numpy as np
import pytest

from provenance import planes

MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}  # (kr, kb) of BT.709 and BT.601
SIZE = (96, 130)  # [h, w]; 130 leaves padding at the end of lines


def picture(name: str, matrix: int, seed: int = 0) -> av.VideoFrame:
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 215, (SIZE[0] // 8 + 1, SIZE[1] // 8 + 1, 3), np.uint8)
    rgb = np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1)[: SIZE[0], : SIZE[1]])
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    frame = frame.reformat(format=name, dst_colorspace=matrix)
    frame.colorspace, frame.pts = matrix, 7
    return frame


def samples(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = np.uint16 if frame.format.name.endswith("le") else np.uint8
    return [
        np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width].astype(int) for p in frame.planes
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(planes.FORMATS))
def test_no_change_changes_no_sample(name: str) -> None:
    frame, stored = picture(name, 1), planes.Planes(name)
    view = stored.view(frame)
    before = samples(frame)
    after = stored.add(frame, view, view)
    assert after.pts == 7 and after.format.name == name
    assert all(np.array_equal(a, b) for a, b in zip(before, samples(after), strict=True))


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize(
    "name", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le"]
)
def test_a_change_is_turned_with_the_stream_s_matrix_range_and_depth(name: str, matrix: int) -> None:
    bits = int(name[-4:-2]) if name.endswith("le") else 8
    frame, stored = picture(name, matrix), planes.Planes(name)
    view = stored.view(frame)
    blocks = np.random.default_rng(1).integers(-9, 10, (SIZE[0] // 8, SIZE[1] // 8 + 1, 3))
    change = blocks.repeat(8, 0).repeat(8, 1)[:, : SIZE[1]]
    before = samples(frame)
    after = samples(stored.add(frame, view, (view + change).astype(np.uint8)))
    kr, kb = MATRICES[matrix]
    luma = change @ np.array([kr, 1 - kr - kb, kb])
    scale = 1.0 if name.startswith("yuvj") else 219 / 255 * 2 ** (bits - 8)
    np.testing.assert_allclose(after[0] - before[0], scale * luma, atol=0.75)
    blue = (change[..., 2] - luma) / (2 * (1 - kb))
    scale = 1.0 if name.startswith("yuvj") else 224 / 255 * 2 ** (bits - 8)
    down, across = SIZE[0] // after[1].shape[0], SIZE[1] // after[1].shape[1]
    # In the middle of a block of 8 x 8 no neighbour is mixed in.
    rows, columns = (slice(4 // step, None, 8 // step) for step in (down, across))
    np.testing.assert_allclose(
        (after[1] - before[1])[rows, columns], scale * blue[4::8, 4::8], atol=0.9
    )  # fmt: skip


def test_the_bits_below_the_eighth_stay() -> None:
    frame, stored = picture("yuv420p10le", 1), planes.Planes("yuv420p10le")
    luma = np.frombuffer(frame.planes[0], np.uint16).reshape(SIZE[0], -1)
    luma[:, : SIZE[1]] = 400 + np.arange(SIZE[1]) % 4  # four steps that 8 bits cannot tell apart
    view = stored.view(frame)
    after = samples(stored.add(frame, view, view + np.uint8(2)))[0]
    assert np.array_equal(after % 4, (np.full(SIZE, 400 + round(2 * 4 * 219 / 255)) + np.arange(SIZE[1]) % 4) % 4)


def test_samples_stop_at_the_ends_of_their_range() -> None:
    frame, stored = picture("yuvj444p", 1), planes.Planes("yuvj444p")
    np.frombuffer(frame.planes[0], np.uint8)[:] = 255
    view = np.full((*SIZE, 3), 100, np.uint8)
    assert samples(stored.add(frame, view, view + np.uint8(9)))[0].min() == 255


@pytest.mark.parametrize(
    ("stored", "nearest"),
    [
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("rgb24", "yuv444p"),
        ("pal8", "yuv444p"),
        ("gbrp10le", "yuv444p10le"),
        ("yuv411p", "yuv422p"),
        ("yuv440p", "yuv444p"),
        ("yuv420p16le", "yuv420p12le"),
        ("monow", "gray"),
        ("yuvj422p", "yuvj422p"),
    ],
)
def test_other_formats_become_the_nearest(stored: str, nearest: str) -> None:
    assert planes.nearest(av.VideoFormat(stored)) == nearest
    assert not planes.has_alpha(av.VideoFormat(stored))


def test_transparency_is_seen() -> None:
    assert planes.has_alpha(av.VideoFormat("yuva420p")) and planes.has_alpha(av.VideoFormat("rgba"))
