"""One pass over a video: where its scenes begin and end, and what each is like, from small pictures of all frames."""

import dataclasses
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import imagehash
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image
from scenedetect import AdaptiveDetector, FrameTimecode

from sorajax.errors import InputError
from sorajax.footage import captions as captions_of
from sorajax.footage.sources import Source

CUTS = 128
"""Width in pixels of the pictures in which cuts are sought; their height follows."""
RATE = 15
"""Of these, about so many a second. What is between the two around a cut belongs to neither scene."""
LOOKS = 8
"""Pictures a second from which motion and text are judged,"""
WIDTH = 256
"""and their width."""
MOST = 256
"""Pictures that are kept of a scene; of a longer one every second is given up."""
MOST_TAG = 2000
"""Characters that are kept of a title or description."""
EDGE = 24
"""Grey levels between neighbours that make an edge."""
LEVELS = 219 / 255
"""Levels of brightness in video to a grey level."""
ALONE: Any = {} if av.__version__.startswith("16.") else {"threads": 1}
"""Pictures are made by one thread, as PyAV 16 always does; files are scanned side by side."""


@dataclass(frozen=True)
class Scene:
    """A stretch of a video without a cut, and its figures."""

    start: float
    """Seconds of its first frame, from the video's beginning."""
    end: float
    """Seconds after its last frame."""
    frames: int
    fps: float
    width: int
    height: int
    """As it is shown, turned upright."""
    luma: float
    """Mean brightness, 0 to 255."""
    motion: float
    """Mean difference of pictures an eighth of a second apart, in grey levels."""
    text: float
    """Share of the most crowded band of the picture that edges which never move cover: writing laid over it, frames.
    0 where all stands still, as under a fixed camera: writing cannot be told from what is there."""
    hash: str
    """Perceptual hash of the middle, 64 bits in hexadecimal."""
    thumbnail: NDArray[np.uint8] = field(repr=False, compare=False)
    """Small frames from beginning, middle and end, uint8 [3, h, w, 3]."""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What the file's own metadata has as title, description and comment."""


class PassingError(InputError):
    """A file that could not be read for a reason outside of it, such as a share that is away: it may be read later."""


def scan(source: Source) -> list[Scene]:
    """The scenes of a video, or the one of a picture.

    Raises InputError, in a line, where there is no video in it or it cannot be decoded at all, PassingError where its
    bytes cannot be had. One that breaks off has the scenes up to there.
    """
    try:
        with source.open() as file, av.open(named(file)) as container:
            if not container.streams.video:
                raise InputError(f"{source.name} has no video in it; take it out")
            return _Scanner(source).run(container)
    except (OSError, MemoryError) as error:  # FFmpeg's own as well
        reason = getattr(error, "strerror", None) or "out of memory"
        raise PassingError(f"{source.name} cannot be read: {reason}; the next run tries again") from None
    except FFmpegError as error:
        raise InputError(
            f"{source.name} cannot be decoded ({error.strerror}); encode it again or take it out"
        ) from None


class _Scanner:
    """What is gathered while frames go by; pictures of one scene at a time, and no more of them than ``MOST``."""

    def __init__(self, source: Source):
        self.source = source
        self.detector = Cuts(min_scene_len=8)
        self.scalers = VideoReformatter(), VideoReformatter()
        """For small and larger pictures: what they set up for one frame serves the next."""
        self.times: list[float] = []
        self.lumas: list[tuple[int, float]] = []
        self.scenes: list[Scene] = []
        self.first = 0
        """Frame with which the present scene begins."""
        self.pictures: list[tuple[int, NDArray[np.uint8]]] = []
        """In planes, not yet turned upright."""
        self.changes: list[tuple[int, float]] = []
        """From one picture to the next, by the frame of the later."""
        self.shape, self.turned, self.stride = (0, 0, 0), 0, 1
        self.origin = 0
        """Frame from which on pictures have this shape: width, height and rotation."""

    def run(self, container: Any) -> list[Scene]:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # files are scanned side by side
        stream.codec_context.options = {"skip_loop_filter": "noref"}  # not of frames from which no other is made
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        zero, clock = begins(stream), FrameTimecode(0, fps=rate)
        self.stride = max(1, round(rate / RATE))
        step = self.stride * max(1, round(rate / LOOKS / self.stride))
        try:
            for frame in container.decode(stream):
                time = float(frame.time) - zero if frame.time is not None else len(self.times) / rate
                if time >= self.source.end:
                    break
                if time >= self.source.start:
                    self._take(frame, time, clock, step)
        except FFmpegError as error:
            if not self.times or isinstance(error, OSError):
                raise
        if not self.times:
            raise InputError(f"{self.source.name} has no frame between its start and end; correct them or take it out")
        count = len(self.times)
        steps = [b - a for a, b in zip(self.times, self.times[1:], strict=False) if b > a]
        usual = statistics.median(steps) if steps else 1 / rate
        if not self.source.is_image:
            self._cut(self.detector.post_process(FrameTimecode(count, fps=rate)))
        self._close(count, count, self.times[-1] + usual)
        found = {key.lower(): value[:MOST_TAG] for key, value in container.metadata.items()}
        tags = {key: found[key] for key in captions_of.TAGS if key in found}
        return [dataclasses.replace(scene, fps=1 / usual, tags=tags) for scene in self.scenes]

    def _take(self, frame: av.VideoFrame, time: float, clock: FrameTimecode, step: int) -> None:
        number = len(self.times)
        if (shape := (frame.width, frame.height, frame.rotation)) != self.shape:
            if number:  # a scene has one size: another begins
                self._close(number, number, time)
                self.detector, self.pictures = Cuts(min_scene_len=8), []
            self.shape, self.turned, self.origin = shape, frame.rotation // 90 % 4, number
        self.times.append(time)
        if (number - self.origin) % self.stride:
            return
        small = _small(self.scalers[0], frame, CUTS)
        self.lumas.append((number, (cv2.mean(_luma(small))[0] - 16) / LEVELS))
        if (number - self.origin) % step == 0:
            picture = _small(self.scalers[1], frame, WIDTH)
            if self.pictures and self.pictures[-1][0] >= self.first:
                last, now = _luma(self.pictures[-1][1]), _luma(picture)
                self.changes.append((number, cv2.norm(last, now, cv2.NORM_L1) / now.size / LEVELS))
            self.pictures.append((number, picture))
        if not self.source.is_image:
            self._cut(self.detector.process_frame(FrameTimecode(number, fps=clock), small))
        if len(self.pictures) > MOST:
            del self.pictures[1:-1:2]

    def _cut(self, cuts: list[FrameTimecode]) -> None:
        for number in (cut.frame_num for cut in cuts):
            if self.first < number < len(self.times):
                sure = number - self.stride + 1
                self._close(number, sure, self.times[sure])

    def _close(self, last: int, sure: int, end: float) -> None:
        """End the present scene before frame ``sure``, at ``end``; the next begins with frame ``last``."""
        inside = [picture for number, picture in self.pictures if self.first <= number < last]
        inside = inside or [self.pictures[0][1]]
        changes = [change for number, change in self.changes if number < last]
        middle = inside[len(inside) // 2]
        width, height = self.shape[:2] if self.turned % 2 == 0 else self.shape[1::-1]
        scene = Scene(
            start=self.times[self.first],
            end=end,
            frames=sure - self.first,
            fps=0.0,
            width=width,
            height=height,
            luma=statistics.fmean(luma for number, luma in self.lumas if number < last),
            motion=statistics.fmean(changes) if changes else 0.0,
            text=_text([np.rot90(_luma(one), self.turned) for one in inside[:: -(-len(inside) // 12)]]),
            hash=str(imagehash.phash(Image.fromarray(np.rot90(_luma(middle), self.turned)))),
            thumbnail=np.stack([np.rot90(_rgb(one), self.turned) for one in (inside[0], middle, inside[-1])]),
        )
        self.scenes.append(scene)
        kept = [pair for pair in self.pictures if pair[0] >= last] or self.pictures[-1:]
        self.pictures, self.first = kept, last
        self.lumas = [pair for pair in self.lumas if pair[0] >= last]
        self.changes = [pair for pair in self.changes if pair[0] > kept[0][0] >= last]


class Cuts(AdaptiveDetector):
    """PySceneDetect's detector, whose score is found in a sixth of its time: the mean difference in hue, saturation and
    value, of all three at once. It is given pictures in planes."""

    before: Any = None

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: NDArray[np.uint8]) -> float:
        picture = cv2.cvtColor(cv2.cvtColor(frame_img, cv2.COLOR_YUV2BGR_I420), cv2.COLOR_BGR2HSV)
        before, self.before = self.before, picture
        return 0.0 if before is None else cv2.norm(picture, before, cv2.NORM_L1) / picture.size


def _small(scaler: VideoReformatter, frame: av.VideoFrame, width: int) -> NDArray[np.uint8]:
    """A frame at most ``width`` wide, its planes of yuv420p one below the other: uint8 [h * 3 / 2, w]."""
    width = max(2, min(width, frame.width) // 2 * 2)
    height = max(2, round(width * frame.height / frame.width / 2) * 2)
    small: Any = scaler.reformat(
        frame,
        width,
        height,
        "yuv420p",
        interpolation=Interpolation.FAST_BILINEAR,
        dst_color_range=ColorRange.MPEG,
        **ALONE,
    )
    y, u, v = small.planes  # to_ndarray takes three times as long
    flat, brightness, colour = np.empty(height * width * 3 // 2, np.uint8), height * width, height * width // 4
    flat[:brightness].reshape(height, width)[:] = _plane(y)[:height, :width]
    flat[brightness:-colour].reshape(height // 2, width // 2)[:] = _plane(u)[: height // 2, : width // 2]
    flat[-colour:].reshape(height // 2, width // 2)[:] = _plane(v)[: height // 2, : width // 2]
    return flat.reshape(-1, width)


def _plane(plane: Any) -> NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def _luma(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness [h, w] of a picture in planes, in ``LEVELS`` of the grey levels of others."""
    return picture[: len(picture) * 2 // 3]


def _rgb(picture: NDArray[np.uint8]) -> Any:
    return cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420)


def _text(looked: list[NDArray[np.uint8]]) -> float:
    """Strong edges that are in every picture with the same sign, where a band of the picture has most of them."""
    edge = int(EDGE * LEVELS)
    rising, falling = np.zeros((2, looked[0].shape[0] - 1, looked[0].shape[1] - 1), np.uint8)
    for grey in looked:
        left, right = grey[1:, :-1], grey[1:, 1:]
        rising += cv2.subtract(right, left) > edge  # a difference below 0 is 0
        falling += cv2.subtract(left, right) > edge
    still = (rising > 0.9 * len(looked)) | (falling > 0.9 * len(looked))
    height, width = still.shape
    bands = cv2.blur(still.astype(np.float32), (width // 6 | 1, max(3, height // 16 | 1)))
    row = int(np.unravel_index(bands.argmax(), bands.shape)[0])
    elsewhere = np.abs(np.arange(height) - row) > height // 8
    moving = (rising[elsewhere].sum() + falling[elsewhere].sum()) / len(looked)
    if still[elsewhere].sum() > 0.5 * moving:
        return 0.0
    return float(bands.max())


def begins(stream: Any) -> float:
    """Seconds at which a stream's clock stands when it begins; times of lists and subtitles count from there."""
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0


def named(file: Any) -> str | Any:
    """What to open: the path of a file that is one, as FFmpeg tells some kinds by their names; else the file."""
    return str(Path(file.name)) if isinstance(getattr(file, "name", None), str) else file
