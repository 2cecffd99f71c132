"""The pictures of a file changed one by one, and all else in it kept: what marking and labelling have in common."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from provenance import recoding, video
from provenance.errors import InputError, MediaError
from provenance.planes import Planes

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_BEGINNING = 4

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all); the latter is 0 where not known."""
Change = TypeVar("Change")


class Rewriter(ABC, Generic[Change]):
    """Decodes, changes and encodes one file. Subclasses say what is changed, and how that is done to a picture."""

    def __init__(self, progress: Progress | None):
        self._progress = progress
        self.done = 0
        self._waiting: deque[tuple[VideoFrame, NDArray[np.uint8]]] = deque()
        self._copied: deque[Packet] = deque()
        self._time: int | None = None

    @abstractmethod
    def changes(self, views: "Iterator[NDArray[np.uint8]]") -> Iterator[Change]:
        """A change for each picture, uint8 [h, w, 3], in order; more of them make more pictures at the end, each like
        the last."""

    @abstractmethod
    def apply(self, stored: Planes, frame: "VideoFrame", view: "NDArray[np.uint8]", change: Change) -> "VideoFrame":
        """The picture with the change in it; ``view`` is what it showed."""

    def began(self, first: "VideoFrame", main: "VideoStream") -> None:  # noqa: B027 - not everybody cares
        """Told the first picture and its stream before any change is asked for."""

    def write(self, src: Path, part: Path, container: str) -> tuple[recoding.Recoder, tuple[int, int]]:
        """The whole file at ``part``; what was made, and the pictures' (width, height).

        Raises:
            InputError, MediaError, MarkingError: see ``provenance.marking.mark_file``.
        """
        try:
            total = video.count_frames(src)
            first, side = _beginning(src)
            with video.opened(src) as source:
                main = video.main_stream(source)
                main.thread_type = "AUTO"
                with recoding.open_output(part, container, source, main) as out:
                    made = recoding.recoder(out, container, source, main, first, side)
                    self.began(first, main)
                    recoding.encoding(lambda: self._encode(made, source, main, total))
        except InputError as error:
            raise InputError(f"{src}: {error}") from None
        except MediaError as error:
            raise MediaError(f"{src}: {error}") from None
        return made, (first.width, first.height)

    def _encode(self, made: recoding.Recoder, source: "InputContainer", main: "VideoStream", total: int) -> None:
        stored = Planes(made.pixel_format)
        last: tuple[VideoFrame, NDArray[np.uint8]] | None = None
        for change in self.changes(self._views(stored, source, main, list(made.copies))):
            if self._waiting:
                frame, view = self._waiting.popleft()
            else:
                assert last is not None
                frame, view = last
                frame.pts = (frame.pts or 0) + _step(frame, main)
            frame = self.apply(stored, frame, view, change)
            frame.pict_type = 0  # or the encoder repeats the old one's choices
            made.out.mux(made.video.encode(frame))
            self._mux_copied(made)
            last = frame, view
            self.done += 1
            if self._progress is not None:
                self._progress(self.done, max(total, self.done) if total else 0)
        made.out.mux(made.video.encode(None))
        self._mux_copied(made)

    def _mux_copied(self, made: recoding.Recoder) -> None:
        while self._copied:
            packet = self._copied.popleft()
            packet.stream = made.copies[packet.stream_index]
            made.out.mux(packet)

    def _views(
        self, stored: Planes, source: "InputContainer", main: "VideoStream", copied: list[int]
    ) -> "Iterator[NDArray[np.uint8]]":
        size: tuple[int, int] | None = None
        for packet in source.demux(main, *(source.streams[index] for index in copied)):
            if packet.stream_index != main.index:
                if packet.size:
                    self._copied.append(packet)
                continue
            for frame in _decoded(packet):
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    raise MediaError(
                        f"its pictures change from {size[0]}x{size[1]} to {frame.width}x{frame.height}; split it there"
                    )
                self._set_time(frame)
                view = stored.view(frame)
                self._waiting.append((frame, view))
                yield view

    def _set_time(self, frame: "VideoFrame") -> None:
        """Encoders want times that grow; a file that lacks some counts on from the last."""
        if frame.pts is None:
            frame.pts = frame.dts
        if frame.pts is None or (self._time is not None and frame.pts <= self._time):
            frame.pts = 0 if self._time is None else self._time + 1
        self._time = frame.pts


def _step(frame: "VideoFrame", main: "VideoStream") -> int:
    """The time from one picture to the next, in the frame's units."""
    rate = main.average_rate or main.guessed_rate or 25
    return max(1, round(1 / float(rate) / float(frame.time_base or main.time_base or 1)))


def _beginning(src: Path) -> "tuple[VideoFrame, dict[str, bytes]]":
    """The first picture, and the side data of the first few: some decoders give light levels from the second on."""
    first: VideoFrame | None = None
    side: dict[str, bytes] = {}
    with video.opened(src) as media:
        frames = (frame for packet in media.demux(video.main_stream(media)) for frame in _decoded(packet))
        for frame in islice(frames, _BEGINNING):
            first = first or frame
            side = recoding.side_data(frame) | side
    if first is None:
        raise MediaError("it holds no frame that can be decoded")
    return first, side


def _decoded(packet: "Packet") -> "list[VideoFrame]":
    import av.error

    try:
        return packet.decode()
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise MediaError(f"its video cannot be decoded: {str(error).splitlines()[0]}") from None
