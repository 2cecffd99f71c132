"""One pass over a video: where its scenes begin and end, and what each is like, from small pictures of all frames."""

import statistics
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import imagehash
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Interpolation
from numpy.typing import NDArray
from PIL import Image
from scenedetect import AdaptiveDetector, FrameTimecode

from sorajax.errors import InputError
from sorajax.footage.sources import Source

CUTS = 128
"""Width in pixels of the picture of each frame in which cuts are sought; its height follows."""
LOOKS = 8
"""Pictures a second from which motion and text are judged,"""
WIDTH = 256
"""and their width."""
EDGE = 24
"""Grey levels between neighbours that make an edge."""


@dataclass(frozen=True)
class Scene:
    """A stretch of a video without a cut, and its figures."""

    start: float
    """Seconds of its first frame, in the video's own time."""
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


def scan(source: Source) -> list[Scene]:
    """The scenes of a video, or the one of a picture.

    Raises InputError, in a line, where there is no video in it or it cannot be decoded at all. One that breaks off has
    the scenes up to there.
    """
    try:
        with source.open() as file, av.open(named(file)) as container:
            if not container.streams.video:
                raise InputError(f"{source.name} has no video in it; take it out")
            return _Scanner(source).run(container)
    except FFmpegError as error:
        raise InputError(
            f"{source.name} cannot be decoded ({error.strerror}); encode it again or take it out"
        ) from None
    except OSError as error:
        raise InputError(f"{source.name} cannot be read: {error.strerror}") from None


class _Scanner:
    """What is gathered while frames go by."""

    def __init__(self, source: Source):
        self.source = source
        self.detector = AdaptiveDetector(min_scene_len=8)
        self.times: list[float] = []
        self.cuts: list[int] = []
        self.pictures: list[tuple[int, NDArray[np.uint8]]] = []
        self.lumas: list[float] = []

    def run(self, container: Any) -> list[Scene]:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # files are scanned side by side
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        step = max(1, round(float(rate) / LOOKS))
        shape, turned = (0, 0), 0
        try:
            for frame in container.decode(stream):
                time = float(frame.time) if frame.time is not None else len(self.times) / float(rate)
                if time >= self.source.end:
                    break
                if time < self.source.start:
                    continue
                number = len(self.times)
                if not number:
                    shape, turned = (frame.width, frame.height), frame.rotation
                self.times.append(time)
                small = _small(frame, CUTS)
                self.lumas.append(cv2.mean(small)[1])
                if not self.source.is_image:
                    found = self.detector.process_frame(FrameTimecode(number, fps=float(rate)), small)
                    self.cuts += [cut.frame_num for cut in found]
                if number % step == 0:
                    self.pictures.append((number, np.rot90(_small(frame, WIDTH), turned // 90)))
        except FFmpegError:
            if not self.times:
                raise
        if not self.times:
            raise InputError(f"{self.source.name} has no frame between its start and end; correct them or take it out")
        width, height = shape if turned % 180 == 0 else shape[::-1]
        return self._scenes(float(rate), width, height)

    def _scenes(self, rate: float, width: int, height: int) -> list[Scene]:
        count = len(self.times)
        if not self.source.is_image:
            self.cuts += [cut.frame_num for cut in self.detector.post_process(FrameTimecode(count, fps=rate))]
        borders = sorted({0, count, *(cut for cut in self.cuts if 0 < cut < count)})
        steps = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        usual = statistics.median(steps) if steps else 1 / rate
        scenes = []
        for first, last in zip(borders, borders[1:], strict=False):
            inside = [picture for number, picture in self.pictures if first <= number < last]
            inside = inside or [min(self.pictures, key=lambda pair: abs(pair[0] - first))[1]]
            end = self.times[last] if last < count else self.times[-1] + usual
            middle = inside[len(inside) // 2][..., ::-1]
            scenes.append(
                Scene(
                    start=self.times[first],
                    end=end,
                    frames=last - first,
                    fps=1 / usual if usual > 0 else rate,
                    width=width,
                    height=height,
                    luma=statistics.fmean(self.lumas[first:last]),
                    motion=_motion(inside),
                    text=_text(inside),
                    hash=str(imagehash.phash(Image.fromarray(np.ascontiguousarray(middle)))),
                    thumbnail=np.stack([inside[i][..., ::-1] for i in (0, len(inside) // 2, -1)]),
                )
            )
        return scenes


def _small(frame: av.VideoFrame, width: int) -> NDArray[np.uint8]:
    height = max(2, round(width * frame.height / frame.width / 2) * 2)
    how = Interpolation.FAST_BILINEAR
    return frame.to_ndarray(width=width, height=height, format="bgr24", interpolation=how)  # pyright: ignore


def _motion(pictures: list[NDArray[np.uint8]]) -> float:
    grey = [cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_BGR2GRAY) for p in pictures]
    changes = [float(cv2.absdiff(a, b).mean()) for a, b in zip(grey, grey[1:], strict=False)]
    return statistics.fmean(changes) if changes else 0.0


def _text(pictures: list[NDArray[np.uint8]]) -> float:
    """Strong edges that are in every picture with the same sign, where a band of the picture has most of them."""
    edges = []
    for picture in pictures[:: max(1, len(pictures) // 12)]:
        grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2GRAY).astype(np.int16)
        edges.append(grey[1:, 1:] - grey[1:, :-1])
    stack = np.stack(edges)
    still = ((stack > EDGE).mean(0) > 0.9) | ((stack < -EDGE).mean(0) > 0.9)
    height, width = still.shape
    bands = cv2.blur(still.astype(np.float32), (width // 6 | 1, max(3, height // 16 | 1)))
    row = int(np.unravel_index(bands.argmax(), bands.shape)[0])
    elsewhere = np.abs(np.arange(height) - row) > height // 8
    moving = (np.abs(stack) > EDGE)[:, elsewhere].mean(0).sum()
    if still[elsewhere].sum() > 0.5 * moving:
        return 0.0
    return float(bands.max())


def named(file: Any) -> str | Any:
    """What to open: the path of a file that is one, as FFmpeg tells some kinds by their names; else the file."""
    return str(Path(file.name)) if isinstance(getattr(file, "name", None), str) else file
