"""Ways in which a video changes on its way through the internet, as functions (frames, fps) -> frames.

Frames are uint8 [t, h, w, 3], RGB; time, height and width may change. Noise and random choices have fixed seeds and
encoders a fixed number of threads, so the same clip is changed in the same way every time; except by x264, whose
AVX-512 code was seen to decide differently from one run to the next at small sizes. ``attacks`` lists what is measured.
"""

import contextlib
import io
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Frames = NDArray[np.uint8]
Transform = Callable[[Frames, float], Frames]

_BT709 = 1  # ITU-T H.273: primaries, transfer and matrix share the number
_THREADS = 2  # fixed, as x264 decides differently for another number
# Threads of swscale were seen to write over each other's lines at some widths; PyAV 16 does not have the choice.
_ALONE: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_ENCODERS = {
    "h264": ("libx264", {"preset": "medium"}),
    "h265": ("libx265", {"preset": "fast", "x265-params": "log-level=none:pools=2:frame-threads=1"}),
    "vp9": ("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "5"}),
    "av1": ("libsvtav1", {"preset": "9", "svtav1-params": "lp=2"}),
}


# --- codecs -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _tamed() -> Iterator[None]:
    """SVT-AV1 writes its settings to stderr, which only its environment variable stops, and where it may, it makes its
    caller a real-time thread that leaves nothing to anybody else."""
    before = os.environ.get("SVT_LOG")
    os.environ["SVT_LOG"] = "1"
    schedule = (os.sched_getscheduler(0), os.sched_getparam(0)) if hasattr(os, "sched_getscheduler") else None
    try:
        yield
    finally:
        os.environ.pop("SVT_LOG", None)
        if before is not None:
            os.environ["SVT_LOG"] = before
        if schedule is not None and schedule[0] != os.sched_getscheduler(0):
            os.sched_setscheduler(0, *schedule)


def encoded(codec: str, crf: int) -> Transform:
    """There and back through an mp4 in yuv420p, BT.709; an odd side loses its last pixel."""
    name, options = _ENCODERS[codec]

    def transform(frames: Frames, fps: float) -> Frames:
        frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
        rate = Fraction(fps).limit_denominator(1001)
        file = io.BytesIO()
        with _tamed(), av.open(file, "w", format="mp4") as container:
            stream = container.add_stream(name, rate=rate, options={**options, "crf": str(crf)})
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            stream.time_base = 1 / rate
            context = stream.codec_context
            context.thread_count = _THREADS
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = ColorRange.MPEG
            for index, pixels in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG,
                    interpolation=Interpolation.BICUBIC,
                    **_ALONE,
                )
                picture.pts, picture.time_base = index, 1 / rate
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        file.seek(0)
        with av.open(file, "r") as container:
            decoded = [
                np.asarray(frame.to_ndarray(format="rgb24", **_ALONE), np.uint8) for frame in container.decode(0)
            ]
        return np.stack(decoded)

    return transform


# --- geometry ---------------------------------------------------------------------------------------------------------


def _each(frames: Frames, change: Callable[[Image.Image], Image.Image]) -> Frames:
    return np.stack([np.asarray(change(Image.fromarray(frame))) for frame in frames])


def _fit(frames: Frames, height: int, width: int) -> Frames:
    return _each(frames, lambda image: image.resize((width, height), Image.Resampling.LANCZOS))


def resized(height: float, width: float) -> Transform:
    """Both sides by factors, Lanczos."""
    return lambda frames, _: _fit(frames, round(frames.shape[1] * height), round(frames.shape[2] * width))


def resized_and_back(factor: float) -> Transform:
    """Both sides by a factor, and back to what they were."""

    def transform(frames: Frames, _: float) -> Frames:
        height, width = frames.shape[1:3]
        return _fit(_fit(frames, round(height * factor), round(width * factor)), height, width)

    return transform


def cropped(side: float) -> Transform:
    """A part ``side`` times as high and as wide, off centre: three tenths down, eight tenths to the right."""

    def transform(frames: Frames, _: float) -> Frames:
        height, width = round(frames.shape[1] * side), round(frames.shape[2] * side)
        top, left = int(0.3 * (frames.shape[1] - height)), int(0.8 * (frames.shape[2] - width))
        return frames[:, top : top + height, left : left + width]

    return transform


def rotated(degrees: float) -> Transform:
    """About the centre, anticlockwise, bicubic; the frame keeps its size, corners are black."""
    return lambda frames, _: _each(frames, lambda image: image.rotate(degrees, Image.Resampling.BICUBIC))


# --- colour -----------------------------------------------------------------------------------------------------------


def _round(x: NDArray[np.floating]) -> Frames:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def curve(function: Callable[[NDArray[np.floating]], NDArray[np.floating]]) -> Transform:
    """The same function of 0..255 for every value."""
    table = _round(function(np.arange(256.0)))
    return lambda frames, _: table[frames]


def _mixed(factor: float, anchor: Callable[[Frames], NDArray[np.floating]]) -> Transform:
    """Away from (factor > 1) or towards (factor < 1) what ``anchor`` makes of each frame [h, w, 3]."""

    def transform(frames: Frames, _: float) -> Frames:
        return np.stack([_round(anchor(f) * (1 - factor) + f * np.float32(factor)) for f in frames])

    return transform


def contrast(factor: float) -> Transform:
    """About each frame's mean luma."""
    return _mixed(factor, lambda frame: np.asarray(np.mean(frame @ _LUMA)))


def saturation(factor: float) -> Transform:
    """About each pixel's luma; 0 is greyscale."""
    return _mixed(factor, lambda frame: (frame @ _LUMA)[..., None])


def hue(degrees: float) -> Transform:
    """Turn the hue of HSV."""
    turn = np.uint8(round(degrees * 256 / 360) % 256)

    def change(image: Image.Image) -> Image.Image:
        h, s, v = image.convert("HSV").split()
        turned = Image.fromarray(np.asarray(h) + turn)  # uint8 wraps, as hue does
        return Image.merge("HSV", (turned, s, v)).convert("RGB")

    return lambda frames, _: _each(frames, change)


# --- noise and filters ------------------------------------------------------------------------------------------------


def noise(sigma: float) -> Transform:
    """Gaussian, independent in every value."""

    def transform(frames: Frames, _: float) -> Frames:
        rng = np.random.default_rng(10)
        return np.stack([_round(f + sigma * rng.standard_normal(f.shape, np.float32)) for f in frames])

    return transform


def filtered(image_filter: ImageFilter.Filter) -> Transform:
    """One of Pillow's filters on every frame."""
    return lambda frames, _: _each(frames, lambda image: image.filter(image_filter))


def jpeg(quality: int) -> Transform:
    """Every frame as a JPEG, 4:2:0."""

    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return lambda frames, _: _each(frames, change)


# --- time -------------------------------------------------------------------------------------------------------------


def random_half(frames: Frames, _: float) -> Frames:
    """A random choice of half the frames, in order."""
    kept = np.random.default_rng(20).permutation(len(frames))[: math.ceil(len(frames) / 2)]
    return frames[np.sort(kept)]


def shuffled(frames: Frames, _: float) -> Frames:
    """In random order."""
    return frames[np.random.default_rng(21).permutation(len(frames))]


def averaged(length: int) -> Transform:
    """Moving average over ``length`` frames, without the ends where they are not all there."""

    def transform(frames: Frames, _: float) -> Frames:
        n = min(length, len(frames))
        return np.stack([_round(frames[i : i + n].mean(0, dtype=np.float32)) for i in range(len(frames) - n + 1)])

    return transform


def _at(frames: Frames, times: NDArray[np.floating], *, blend: bool) -> Frames:
    """Frames at ``times``, counted in frames: the nearest, or a blend of the two neighbours."""
    times = np.clip(times, 0, len(frames) - 1)
    if not blend:
        return frames[np.floor(times + 0.5).astype(int)]
    low = np.floor(times).astype(int)
    high, share = np.minimum(low + 1, len(frames) - 1), (times - low).astype(np.float32)
    mixed = (_round(frames[a] * (1 - s) + frames[b] * s) for a, b, s in zip(low, high, share, strict=True))
    return np.stack(list(mixed))


def faster(factor: float) -> Transform:
    """Played ``factor`` times as fast at the same frame rate: the nearest frames."""

    def transform(frames: Frames, _: float) -> Frames:
        return _at(frames, np.arange(max(1, round(len(frames) / factor))) * factor, blend=False)

    return transform


def frame_rate(target: float, *, blend: bool) -> Transform:
    """The same length in seconds at ``target`` frames a second."""

    def transform(frames: Frames, fps: float) -> Frames:
        return _at(frames, np.arange(max(1, round(len(frames) * target / fps))) * (fps / target), blend=blend)

    return transform


def one_second(frames: Frames, fps: float) -> Frames:
    """A second out of the first half; all if it is shorter."""
    length = min(max(1, round(fps)), len(frames))
    start = (len(frames) - length) // 3
    return frames[start : start + length]


def middle(frames: Frames, _: float) -> Frames:
    """One frame."""
    return frames[len(frames) // 2 : len(frames) // 2 + 1]


# --- layout -----------------------------------------------------------------------------------------------------------


def canvas(width: int, height: int) -> Transform:
    """Black bars, above and below or on both sides, up to an aspect ratio of width : height."""

    def transform(frames: Frames, _: float) -> Frames:
        t, h, w, _c = frames.shape
        full_h, full_w = max(h, round(w * height / width)), max(w, round(h * width / height))
        out = np.zeros((t, full_h, full_w, 3), np.uint8)
        top, left = (full_h - h) // 2, (full_w - w) // 2
        out[:, top : top + h, left : left + w] = frames
        return out

    return transform


def logo(frames: Frames, _: float) -> Frames:
    """An opaque sign over a tenth of the area, near the upper right corner."""
    h, w = frames.shape[1:3]
    height, width = math.ceil(h * math.sqrt(0.1)), math.ceil(w * math.sqrt(0.1))
    image = Image.new("RGB", (width, height), (200, 30, 40))
    draw = ImageDraw.Draw(image)
    radius = 0.4 * min(height, width)
    draw.circle((width / 2, height / 2), radius, fill=(250, 250, 245))
    draw.regular_polygon((width / 2, height / 2, 0.8 * radius), 3, rotation=-90, fill=(20, 30, 120))
    top, left = h // 40, w - width - w // 40
    out = frames.copy()
    out[:, top : top + height, left : left + width] = np.asarray(image)
    return out


def subtitles(frames: Frames, fps: float) -> Frames:
    """White text, new every two seconds, on an opaque black strip over the lowest 15 % of the height."""
    h, w = frames.shape[1:3]
    height = math.ceil(0.15 * h)
    font = ImageFont.load_default(max(6, height // 2))
    out = frames.copy()
    for index, frame in enumerate(out):
        image = Image.new("RGB", (w, height))
        text = ("What did you see from the hill?", "Nothing at first. Then the lights.")[int(index / fps / 2) % 2]
        ImageDraw.Draw(image).text((w / 2, height / 2), text, anchor="mm", font=font, fill=(255, 255, 255))
        frame[-height:] = np.asarray(image)
    return out


def _texture(t: int, height: int, width: int) -> Frames:
    """Coloured clouds of several sizes that drift, each size in a direction of its own."""
    rng = np.random.default_rng(30)
    layers = []
    for cells, strength in ((4, 90), (12, 60), (40, 35), (120, 20)):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        layers.append(((large / 127.5 - 1) * strength, *rng.integers(-4, 5, 2)))
    moved = ([np.roll(x, (i * dy, i * dx), (0, 1)) for x, dy, dx in layers] for i in range(t))
    return np.stack([_round(128 + np.sum(parts, axis=0)) for parts in moved])


def picture_in_picture(frames: Frames, _: float) -> Frames:
    """The clip at half its size, in the lower right of another of the full size."""
    t, h, w, _c = frames.shape
    out = _texture(t, h, w)
    small = _fit(frames, h // 2, w // 2)
    top, left = h - h // 2 - h // 16, w - w // 2 - w // 16
    out[:, top : top + h // 2, left : left + w // 2] = small
    return out


def blurred_sides(frames: Frames, _: float) -> Frames:
    """Fitted into 720x1280 (9:16), over a blurred copy that is enlarged to fill it."""
    width, height = 720, 1280

    def change(image: Image.Image) -> Image.Image:
        cover = max(width / image.width, height / image.height)
        # Blurred at a quarter of the size: the same picture, sooner.
        small = image.resize((math.ceil(image.width * cover / 4), math.ceil(image.height * cover / 4)))
        x, y = (small.width - width // 4) // 2, (small.height - height // 4) // 2
        small = small.crop((x, y, x + width // 4, y + height // 4)).filter(ImageFilter.GaussianBlur(5))
        out = small.resize((width, height), Image.Resampling.BICUBIC)
        fit = min(width / image.width, height / image.height)
        inner = image.resize((round(image.width * fit), round(image.height * fit)), Image.Resampling.LANCZOS)
        out.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
        return out

    return _each(frames, change)


# --- chains -----------------------------------------------------------------------------------------------------------


def chain(*steps: Transform) -> Transform:
    """One after another; ``fps`` stays what it was."""

    def transform(frames: Frames, fps: float) -> Frames:
        for step in steps:
            frames = step(frames, fps)
        return frames

    return transform


def social(frames: Frames, fps: float) -> Frames:
    """At most 480 lines, 24 frames a second, H.264 at CRF 32."""
    height, width = frames.shape[1:3]
    if height > 480:
        frames = _fit(frames, 480, round(width * 480 / height))
    return encoded("h264", 32)(frame_rate(24, blend=False)(frames, fps), 24)
