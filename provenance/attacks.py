"""What a watermark is measured against: changes of ``distortions`` by name, with the share of clips to be recovered.

changed = attacks.ATTACKS["h264_crf30"].apply(frames, fps)
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import ImageFilter

from provenance import distortions as distort
from provenance.distortions import Frames, Transform
from provenance.errors import InputError

MOST_FPS = 1000
MIN_SIZE = 64
"""Least height and width, in pixels: what the AV1 encoder takes."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way to change a clip. ``target`` is the share of clips whose payload should be recovered exactly."""

    name: str
    group: str
    target: float
    transform: Transform

    def apply(self, frames: Frames, fps: float) -> Frames:
        """uint8 [t, h, w, 3] at ``fps`` frames a second -> uint8 [t', h', w', 3], a new array.

        Raises:
            InputError: frames of another type or shape, too small, or a frame rate beyond 1 to 1000.
        """
        if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            what = f"{frames.dtype} {list(frames.shape)}" if isinstance(frames, np.ndarray) else type(frames).__name__
            raise InputError(f"frames to attack must be uint8 [t, h, w, 3], not {what}")
        if len(frames) == 0 or min(frames.shape[1:3]) < MIN_SIZE:
            size = f"{len(frames)} of {frames.shape[2]}x{frames.shape[1]}"
            raise InputError(f"frames to attack must be at least one of {MIN_SIZE}x{MIN_SIZE} pixels, not {size}")
        if not 1 <= fps <= MOST_FPS:
            raise InputError(f"fps {fps!r} is not possible here; give a number from 1 to {MOST_FPS}, such as 24")
        changed = np.ascontiguousarray(self.transform(frames, fps))
        return changed.copy() if np.may_share_memory(changed, frames) else changed


def _attacks() -> dict[str, Attack]:
    brightness_half = distort.curve(lambda x: 0.5 * x)
    rows: list[tuple[str, float, dict[str, Transform]]] = [
        (
            "codecs",
            1.0,
            {
                "none": lambda frames, _: frames,
                "h264_crf23": distort.encoded("h264", 23),
                "h264_crf30": distort.encoded("h264", 30),
                "h265_crf30": distort.encoded("h265", 30),
                "vp9_crf37": distort.encoded("vp9", 37),
                "av1_crf40": distort.encoded("av1", 40),
                "h264_crf23_h265_crf28": distort.chain(distort.encoded("h264", 23), distort.encoded("h265", 28)),
                "h264_crf30_twice": distort.chain(distort.encoded("h264", 30), distort.encoded("h264", 30)),
            },
        ),
        ("hard codecs", 0.95, {"h264_crf40": distort.encoded("h264", 40)}),
        ("hard codecs", 0.4, {"h264_crf50": distort.encoded("h264", 50)}),
        ("resize", 0.9, {"resize_.25": distort.resized(0.25, 0.25)}),
        (
            "resize",
            1.0,
            {f"resize_{s}": distort.resized(float(s), float(s)) for s in (".55", ".71", "1.5", "2")}
            | {
                "width_+10%": distort.resized(1, 1.1),
                "width_-10%": distort.resized(1, 0.9),
                "resize_.5_and_back": distort.resized_and_back(0.5),
                "resize_.55_and_back": distort.resized_and_back(0.55),
            },
        ),
        ("crop", 1.0, {"crop_.71": distort.cropped(0.71), "crop_.55": distort.cropped(0.55)}),
        ("crop", 0.8, {"crop_.35": distort.cropped(0.35)}),
        (
            "rotation and flip",
            1.0,
            {f"rotate_{d:+d}": distort.rotated(d) for a in (1, 2, 5, 10, 15) for d in (a, -a)}
            | {
                "rotate_90": lambda frames, _: np.rot90(frames, 1, (1, 2)),
                "rotate_180": lambda frames, _: frames[:, ::-1, ::-1],
                "flip_horizontal": lambda frames, _: frames[:, :, ::-1],
                "flip_vertical": lambda frames, _: frames[:, ::-1],
            },
        ),
        (
            "colour",
            1.0,
            {
                "brightness_.5": brightness_half,
                "brightness_1.5": distort.curve(lambda x: 1.5 * x),
                "contrast_.5": distort.contrast(0.5),
                "contrast_1.5": distort.contrast(1.5),
                "saturation_.5": distort.saturation(0.5),
                "saturation_1.5": distort.saturation(1.5),
                "gamma_.6": distort.curve(lambda x: 255 * (x / 255) ** 0.6),
                "gamma_1.6": distort.curve(lambda x: 255 * (x / 255) ** 1.6),
                "hue_60": distort.hue(60),
                "hue_180": distort.hue(180),
                "greyscale": distort.saturation(0),
                "inversion": lambda frames, _: 255 - frames,
            },
        ),
        (
            "noise and filters",
            1.0,
            {
                "noise_10": distort.noise(10),
                "blur_1.5": distort.filtered(ImageFilter.GaussianBlur(1.5)),
                "median_3": distort.filtered(ImageFilter.MedianFilter(3)),
                "sharpen": distort.filtered(ImageFilter.UnsharpMask(2, 150, 0)),
                "jpeg_60": distort.jpeg(60),
            },
        ),
        ("noise and filters", 0.9, {"jpeg_30": distort.jpeg(30)}),
        (
            "time",
            1.0,
            {
                "every_second": lambda frames, _: frames[::2],
                "random_half": distort.random_half,
                "repeated": lambda frames, _: np.repeat(frames, 2, axis=0),
                "shuffled": distort.shuffled,
                "averaged_5": distort.averaged(5),
                "speed_.8": distort.faster(0.8),
                "speed_1.25": distort.faster(1.25),
                "fps_24_nearest": distort.frame_rate(24, blend=False),
                "fps_24_blend": distort.frame_rate(24, blend=True),
                "fps_15_nearest": distort.frame_rate(15, blend=False),
                "fps_15_blend": distort.frame_rate(15, blend=True),
                "reversed": lambda frames, _: frames[::-1],
                "first_half": lambda frames, _: frames[: math.ceil(len(frames) / 2)],
                "last_half": lambda frames, _: frames[len(frames) // 2 :],
                "one_second": distort.one_second,
            },
        ),
        (
            "layout",
            0.95,
            {
                "letterbox_4:3": distort.canvas(4, 3),
                "letterbox_1:1": distort.canvas(1, 1),
                "logo": distort.logo,
                "subtitles": distort.subtitles,
                "picture_in_picture": distort.picture_in_picture,
                "blurred_sides": distort.blurred_sides,
            },
        ),
        (
            "combined",
            0.95,
            {
                "crop_brightness_h264": distort.chain(
                    distort.cropped(0.71), brightness_half, distort.encoded("h264", 30)
                ),
                "h264_crop_brightness": distort.chain(
                    distort.encoded("h264", 30), distort.cropped(0.71), brightness_half
                ),
                "resize_rotate_h264": distort.chain(
                    distort.resized(0.55, 0.55), distort.rotated(5), distort.encoded("h264", 30)
                ),
                "social": distort.social,
            },
        ),
        ("one frame", 0.9, {"one_frame_png": distort.middle}),
        ("one frame", 0.7, {"one_frame_jpeg": distort.chain(distort.middle, distort.jpeg(80))}),
    ]
    return {
        name: Attack(name=name, group=group, target=target, transform=transform)
        for group, target, transforms in rows
        for name, transform in transforms.items()
    }


ATTACKS = _attacks()
"""Every attack that the benchmark measures, by name."""
