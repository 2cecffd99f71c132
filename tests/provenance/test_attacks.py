"""Each attack does what its name says, and the same every time."""

from collections.abc import Callable

import numpy as np
import pytest

from provenance.attacks import ATTACKS
from provenance.distortions import averaged, encoded, frame_rate
from provenance.errors import InputError

HEIGHT, WIDTH, LENGTH, FPS = 90, 131, 12, 12.0  # odd width: 4:2:0 needs an even one

TARGETS_BELOW_ALL = {
    "h264_crf40": 0.95,
    "h264_crf50": 0.4,
    "resize_.25": 0.9,
    "crop_.35": 0.8,
    "jpeg_30": 0.9,
    "letterbox_4:3": 0.95,
    "letterbox_1:1": 0.95,
    "logo": 0.95,
    "subtitles": 0.95,
    "picture_in_picture": 0.95,
    "blurred_sides": 0.95,
    "crop_brightness_h264": 0.95,
    "h264_crop_brightness": 0.95,
    "resize_rotate_h264": 0.95,
    "social": 0.95,
    "one_frame_png": 0.9,
    "one_frame_jpeg": 0.7,
}

SIZES = {
    "resize_.25": (22, 33),
    "resize_.55": (50, 72),
    "resize_.71": (64, 93),
    "resize_1.5": (135, 196),
    "resize_2": (180, 262),
    "width_+10%": (90, 144),
    "width_-10%": (90, 118),
    "crop_.71": (64, 93),
    "crop_.55": (50, 72),
    "crop_.35": (round(0.35 * HEIGHT), round(0.35 * WIDTH)),
    "rotate_90": (131, 90),
    "letterbox_4:3": (98, 131),
    "letterbox_1:1": (131, 131),
    "blurred_sides": (1280, 720),
    "crop_brightness_h264": (64, 92),
    "h264_crop_brightness": (64, 92),
    "resize_rotate_h264": (50, 72),
    "social": (90, 130),
    "h264_crf23": (90, 130),
    "h264_crf23_h265_crf28": (90, 130),
    "h264_crf30_twice": (90, 130),
    **{name: (90, 130) for name in ("h264_crf30", "h264_crf40", "h264_crf50", "h265_crf30", "vp9_crf37", "av1_crf40")},
}

LENGTHS = {
    "every_second": 6,
    "random_half": 6,
    "repeated": 24,
    "averaged_5": 8,
    "speed_.8": 15,
    "speed_1.25": 10,
    "fps_24_nearest": 24,
    "fps_24_blend": 24,
    "fps_15_nearest": 15,
    "fps_15_blend": 15,
    "first_half": 6,
    "last_half": 6,
    "social": 24,
    "one_frame_png": 1,
    "one_frame_jpeg": 1,
}


@pytest.fixture(scope="module")
def frames(clip: Callable[..., np.ndarray]) -> np.ndarray:
    return clip(3, frames=LENGTH, size=(96, 136))[:, :HEIGHT, :WIDTH]


@pytest.fixture(scope="module")
def attacked(frames: np.ndarray) -> dict[str, np.ndarray]:
    return {name: attack.apply(frames, FPS) for name, attack in ATTACKS.items()}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_targets() -> None:
    assert {name: a.target for name, a in ATTACKS.items() if a.target < 1} == TARGETS_BELOW_ALL


@pytest.mark.parametrize("name", ATTACKS)
def test_shape(name: str, frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    out = attacked[name]
    assert ATTACKS[name].name == name
    assert out.dtype == np.uint8
    assert out.shape == (LENGTHS.get(name, LENGTH), *SIZES.get(name, (HEIGHT, WIDTH)), 3)
    assert out.flags.c_contiguous and not np.may_share_memory(out, frames)


@pytest.mark.parametrize("name", [n for n in ATTACKS if "h264" not in n and n not in ("social", "blurred_sides")])
def test_same_every_time(name: str, frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(ATTACKS[name].apply(frames, FPS), attacked[name])


@pytest.mark.parametrize("codec", ["h264", "h265", "vp9", "av1"])
def test_codecs(codec: str, frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    even = frames[:, :, :130]
    fine, coarse = encoded(codec, 15)(frames, FPS), encoded(codec, 50)(frames, FPS)
    assert psnr(fine, even) > psnr(coarse, even) + 3
    assert psnr(fine, even) > 33  # colours and order of frames are right


def test_coarser_and_coarser(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    quality = [psnr(attacked[f"h264_crf{crf}"], frames[:, :, :130]) for crf in (23, 30, 40, 50)]
    assert quality == sorted(quality, reverse=True)


@pytest.mark.parametrize(("name", "side"), [("crop_.71", 0.71), ("crop_.55", 0.55), ("crop_.35", 0.35)])
def test_crop_is_a_part_of_the_picture(name: str, side: float, frames: np.ndarray, attacked: dict) -> None:
    height, width = attacked[name].shape[1:3]
    top, left = int(0.3 * (HEIGHT - height)), int(0.8 * (WIDTH - width))
    assert abs(height / HEIGHT - side) < 0.01 and abs(width / WIDTH - side) < 0.01
    assert (top, left) != ((HEIGHT - height) // 2, (WIDTH - width) // 2)
    np.testing.assert_array_equal(attacked[name], frames[:, top : top + height, left : left + width])


@pytest.mark.parametrize("name", ["none", "flip_horizontal", "flip_vertical", "rotate_180", "inversion", "reversed"])
def test_twice_is_nothing(name: str, frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(ATTACKS[name].apply(attacked[name], FPS), frames)
    assert name == "none" or (attacked[name] != frames).any()


def test_flips_and_turns(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(attacked["flip_horizontal"][:, :, 0], frames[:, :, -1])
    np.testing.assert_array_equal(attacked["flip_vertical"][:, 0], frames[:, -1])
    np.testing.assert_array_equal(attacked["rotate_90"][:, -1, 0], frames[:, 0, 0])  # anticlockwise


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 15])
def test_rotation(degrees: int, frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    there = attacked[f"rotate_{degrees:+d}"]
    back = ATTACKS[f"rotate_{-degrees:+d}"].apply(there, FPS)
    middle = (slice(None), slice(30, 60), slice(40, 90))
    assert psnr(back[middle], frames[middle]) > 40 > psnr(there[middle], frames[middle])
    assert not there[:, 0, 0].any() and not there[:, -1, -1].any()


def test_resize_keeps_the_whole_picture(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    for name in ("resize_.25", "resize_.55", "resize_2", "width_+10%", "width_-10%"):
        small = attacked[name]
        rows = ((np.arange(HEIGHT) + 0.5) * small.shape[1] / HEIGHT).astype(int)
        columns = ((np.arange(WIDTH) + 0.5) * small.shape[2] / WIDTH).astype(int)
        assert psnr(small[:, rows][:, :, columns], frames) > 25, name
    assert 25 < psnr(attacked["resize_.5_and_back"], frames) < psnr(attacked["resize_.55_and_back"], frames)


def test_colours(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    x = frames.astype(float)
    luma = (x @ [0.299, 0.587, 0.114])[..., None]
    expected = {
        "brightness_.5": 0.5 * x,
        "brightness_1.5": 1.5 * x,
        "contrast_.5": luma.mean((1, 2, 3), keepdims=True) * 0.5 + 0.5 * x,
        "contrast_1.5": luma.mean((1, 2, 3), keepdims=True) * -0.5 + 1.5 * x,
        "saturation_.5": 0.5 * luma + 0.5 * x,
        "saturation_1.5": -0.5 * luma + 1.5 * x,
        "gamma_.6": 255 * (x / 255) ** 0.6,
        "gamma_1.6": 255 * (x / 255) ** 1.6,
        "greyscale": luma + 0 * x,
        "inversion": 255 - x,
    }
    for name, value in expected.items():
        assert np.abs(attacked[name] - np.clip(value, 0, 255)).max() <= 0.51, name


def test_hue() -> None:
    red = np.zeros((1, 64, 64, 3), np.uint8)
    red[..., 0] = 200
    for name, colour in (("hue_60", (200, 200, 0)), ("hue_180", (0, 200, 200))):
        assert np.abs(ATTACKS[name].apply(red, FPS).astype(int) - colour).max() <= 4, name


def test_noise_and_filters(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    grey = np.full((2, 64, 64, 3), 128, np.uint8)
    assert np.std(ATTACKS["noise_10"].apply(grey, FPS).astype(float)) == pytest.approx(10, rel=0.03)
    dot = grey.copy()
    dot[:, 32, 32] = 255
    np.testing.assert_array_equal(ATTACKS["median_3"].apply(dot, FPS), grey)
    assert 128 < ATTACKS["blur_1.5"].apply(dot, FPS)[0, 32, 32, 0] < 150
    edge = grey.copy()
    edge[:, :, 32:] = 160
    assert np.ptp(ATTACKS["sharpen"].apply(edge, FPS).astype(int)) > np.ptp(edge.astype(int))
    assert psnr(attacked["jpeg_60"], frames) > psnr(attacked["jpeg_30"], frames) > 25


def test_time(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    def which(name: str) -> list[int]:
        return [int(np.argmin([np.abs(f.astype(int) - g).mean() for g in frames])) for f in attacked[name]]

    assert which("every_second") == [0, 2, 4, 6, 8, 10]
    assert which("repeated") == [i // 2 for i in range(24)]
    assert which("first_half") == list(range(6)) and which("last_half") == list(range(6, 12))
    assert sorted(which("shuffled")) == list(range(12)) != which("shuffled")
    kept = which("random_half")
    assert kept == sorted(set(kept)) != which("every_second")
    assert which("speed_1.25") == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    assert which("fps_15_nearest") == [0, 1, 2, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 10, 11]
    assert which("one_frame_png") == [6]


def test_one_second(frames: np.ndarray) -> None:
    np.testing.assert_array_equal(ATTACKS["one_second"].apply(frames, 4.0), frames[2:6])
    np.testing.assert_array_equal(ATTACKS["one_second"].apply(frames, 60.0), frames)


def test_blends(frames: np.ndarray) -> None:
    doubled = frame_rate(24, blend=True)(frames, 12.0)
    np.testing.assert_array_equal(doubled[::2], frames)
    assert np.abs(doubled[1].astype(float) - (frames[0].astype(float) + frames[1]) / 2).max() <= 0.51
    mean = averaged(5)(frames, FPS)[2]
    assert np.abs(mean - frames[2:7].mean(0)).max() <= 0.51


def test_layout(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    tall = attacked["letterbox_1:1"]
    np.testing.assert_array_equal(tall[:, 20:110], frames)
    assert not tall[:, :20].any() and not tall[:, 110:].any()
    for name, share in (("logo", 0.1), ("subtitles", 0.15)):
        touched = (attacked[name] != frames).any((0, 3))
        rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
        area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / touched.size
        assert area == pytest.approx(share, abs=0.015), name
    inner = attacked["picture_in_picture"][:, 40:85, 58:123]
    half = attacked["resize_.55"]
    assert inner.shape[1:3] == (45, 65)
    assert abs(inner.astype(float).mean() - half.astype(float).mean()) < 1
    assert (attacked["picture_in_picture"][0, :40] != attacked["picture_in_picture"][1, :40]).any()


def test_blurred_sides(frames: np.ndarray, attacked: dict[str, np.ndarray]) -> None:
    inner = attacked["blurred_sides"][:, 393:888]  # 720 x 495
    rows = ((np.arange(HEIGHT) + 0.5) * 495 / HEIGHT).astype(int)
    columns = ((np.arange(WIDTH) + 0.5) * 720 / WIDTH).astype(int)
    assert psnr(inner[:, rows][:, :, columns], frames) > 28
    assert attacked["blurred_sides"][:, 10].std() > 0  # no bars


@pytest.mark.parametrize(
    ("bad", "fps", "message"),
    [
        (np.zeros((2, 80, 80, 3), np.float32), 24, "uint8"),
        (np.zeros((2, 80, 80), np.uint8), 24, "uint8"),
        ([1, 2], 24, "list"),
        (np.zeros((0, 80, 80, 3), np.uint8), 24, "0 of 80x80"),
        (np.zeros((2, 80, 63, 3), np.uint8), 24, "63x80"),
        (np.zeros((2, 80, 80, 3), np.uint8), 0, "fps 0"),
        (np.zeros((2, 80, 80, 3), np.uint8), float("nan"), "fps nan"),
    ],
)
def test_bad_input(bad: np.ndarray, fps: float, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ATTACKS["none"].apply(bad, fps)
    assert "\n" not in str(caught.value)
