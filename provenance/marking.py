"""The watermark in any video file: sound, subtitles, tags, chapters, timing and colours stay as they are.

Every picture is decoded, the watermark's change to its 8-bit RGB view is added to the stored planes at their own depth
(``provenance.planes``), and the result is encoded anew at high quality: H.264, or H.265 for more than 8 bits; VP9, or
AV1 for more than 8 bits, in WebM. Of the rest:

- sound, subtitles, covers and fonts are copied bit for bit, with their times, languages and titles; streams of other
  data (GPS tracks, time codes) are left out, which ``Marked.notes`` says;
- the pictures' times are kept: exactly, or in Matroska and WebM to the millisecond that these store (with PyAV before
  19 the start may move by a millisecond);
- phone video is marked as stored, and its rotation kept as one (with PyAV 17.1 or newer);
- pictures with an odd width or height, which H.264 and H.265 cannot store as 4:2:0, are stored as 4:4:4: no pixel is
  lost, but some players cannot show it. WebM keeps them as 4:2:0;
- matrix, primaries, transfer (PQ, HLG), range, pixel shape and static HDR values are kept; Dolby Vision and HDR10+ are
  not, which ``Marked.notes`` says;
- RGB pictures become BT.709 4:4:4; pictures with transparency are refused.
"""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import outputs, recoding, video, watermark
from provenance.errors import InputError, MarkingError, MediaError
from provenance.planes import Planes
from provenance.rewriting import Progress, Rewriter

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

    from provenance.watermark import Detection

MOST_FRAMES = 300
"""A longer video is searched in this many pictures, evenly spread: more hardly help."""
FAST_FRAMES = 48
"""How many pictures, from the first on, a fast search looks at."""

_FEW, _SMALL, _DARK, _FLAT = 24, 256, 24.0, 4.0


@dataclass(frozen=True, kw_only=True)
class Marked:
    """What ``mark_file`` wrote."""

    path: str
    payload: bytes
    frames: int
    width: int
    height: int
    codec: str
    """The encoder: libx264, libx265, libvpx-vp9 or libsvtav1."""
    pixel_format: str
    p_value: float
    """Of the watermark as read back from the file."""
    notes: tuple[str, ...] = ()
    """What could not be kept."""


def mark_file(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    payload: bytes,
    *,
    key: bytes | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    again: bool = False,
    drop_credentials: bool = False,
) -> Marked:
    """Write a watermarked copy of a video. It is read back before it appears, and appears whole or not at all.

    Args:
        src: MP4, MOV, MKV, WebM or AVI.
        dst: the new file, ending in .mp4, .m4v, .mov, .mkv or .webm.
        payload: 8 bytes.
        key: a private key; None is the public one, so that anyone can read the payload.
        overwrite: replace ``dst`` if it exists.
        progress: called with (pictures done, pictures in all) after each; the latter is 0 where not known.
        again: mark a file that carries a watermark already.
        drop_credentials: leave out C2PA credentials, which hold for the pictures of ``src`` only.

    Raises:
        InputError: a payload, key or path that cannot be used, pictures too small, or a stream that ``dst`` cannot
            hold; credentials or a watermark in ``src``, without the word that allows it.
        MediaError: ``src`` is not readable video.
        MarkingError: encoding failed, or the watermark cannot be read back. Nothing is left at ``dst``.
    """
    src, dst = Path(src), Path(dst)
    container = _check(src, dst, payload, key, overwrite, drop_credentials)
    if not again:
        _check_unmarked(src, key)
    try:
        with outputs.hidden(dst) as part:
            writer = _Writer(bytes(payload), key, progress)
            made, size = writer.write(src, part, container)
            marked = Marked(
                path=str(dst),
                payload=bytes(payload),
                frames=writer.done,
                width=size[0],
                height=size[1],
                codec=made.codec,
                pixel_format=made.pixel_format,
                p_value=1.0,
                notes=tuple(made.notes),
            )
            marked = _read_back(marked, writer, part, key)
            outputs.sync(part)
            outputs.publish(part, dst, overwrite)
    except MarkingError as error:
        raise MarkingError(f"{src}: {error}") from None
    except OSError as error:
        raise outputs.cannot_write(dst, error, MarkingError) from None
    return marked


def detect_file(path: str | os.PathLike, *, key: bytes | None = None, fast: bool = False) -> "Detection":
    """Look for a watermark in a video file: in up to 300 pictures, evenly spread, which may have been cropped, turned
    or mirrored; if ``fast`` in the first 48 and as they are, which takes a fraction of the time where there is none.

    Raises:
        MediaError: the file cannot be read or its pictures cannot be decoded.
    """
    return _search(path, [key], beginning=fast, thorough=not fast)[0]


def _search(
    path: str | os.PathLike, keys: Iterable[bytes | None], *, beginning: bool, thorough: bool
) -> "list[Detection]":
    """What each key finds, decoding once."""
    detectors = [watermark.Detector(key) for key in keys]
    most = FAST_FRAMES if beginning else MOST_FRAMES
    step = 1 if beginning else max(1, math.ceil(video.count_frames(path) / most))
    seen = 0
    for frame in video.read_frames(path, step=step):
        if seen == most:  # a packet may hold more than one frame
            break
        for detector in detectors:
            detector.add(frame)
        seen += 1
    if not seen:
        raise MediaError("it holds no frame that can be decoded")
    return [detector.result(thorough=thorough) for detector in detectors]


def _check(src: Path, dst: Path, payload: bytes, key: bytes | None, overwrite: bool, drop_credentials: bool) -> str:
    """Everything that can be said before any work is done; the new file's container."""
    if not isinstance(payload, (bytes, bytearray)):
        raise InputError(f"a watermark payload is {watermark.PAYLOAD_BYTES} bytes, not {type(payload).__name__}")
    if len(payload) != watermark.PAYLOAD_BYTES:
        raise InputError(f"a watermark payload is {watermark.PAYLOAD_BYTES} bytes, not {len(payload)}")
    if key is not None and not key:
        raise InputError("the watermark key is empty; give at least a byte, better 16 random ones")
    container = recoding.check_suffix(dst)
    try:
        info = video.probe(src)
        signed = info.container in ("mp4", "mov") and video.has_manifest_box(src)
    except MediaError as error:
        raise MediaError(f"{src}: {error}") from None
    if dst.exists() and os.path.samefile(src, dst):
        raise InputError(f"the destination {dst} is the source itself; choose another name")
    outputs.check(dst, overwrite=overwrite)
    if min(info.width, info.height) < watermark.MIN_SIZE:
        raise InputError(
            f"{src}: pictures of {info.width}x{info.height} are too small for a watermark; the smallest that work are "
            f"{watermark.MIN_SIZE}x{watermark.MIN_SIZE}"
        )
    if signed and not drop_credentials:
        raise InputError(
            f"{src} carries credentials (C2PA), which hold for exactly these pictures: a watermark would break them. "
            "Mark the file it was made from, or leave them out (--drop-credentials) and sign the result anew "
            "(provenance sign)"
        )
    return container


def _check_unmarked(src: Path, key: bytes | None) -> None:
    """Two watermarks disturb each other."""
    try:
        results = _search(src, dict.fromkeys([key, None]), beginning=True, thorough=False)
    except MediaError as error:
        raise MediaError(f"{src}: {error}") from None
    for found in results:
        if found.payload is not None:
            raise InputError(
                f"{src} carries the watermark {found.payload.hex()} already, and two disturb each other; mark the "
                "unmarked original, or mark it all the same (--again)"
            )


class _Writer(Rewriter["NDArray[np.uint8]"]):
    """Marks the pictures of a file; keeps what is needed to say why a watermark cannot be read."""

    def __init__(self, payload: bytes, key: bytes | None, progress: Progress | None):
        super().__init__(progress)
        self._payload, self._key = payload, key
        self.light, self.spread = 0.0, 0.0

    def changes(self, views: "Iterator[NDArray[np.uint8]]") -> "Iterator[NDArray[np.uint8]]":
        return watermark.mark(self._observed(views), self._payload, self._key)

    def apply(
        self, stored: Planes, frame: "VideoFrame", view: "NDArray[np.uint8]", change: "NDArray[np.uint8]"
    ) -> "VideoFrame":
        return stored.add(frame, view, change)

    def _observed(self, views: "Iterator[NDArray[np.uint8]]") -> "Iterator[NDArray[np.uint8]]":
        for view in views:
            some = view[::16, ::16].mean(axis=-1)
            self.light += float(some.mean())
            self.spread += float(some.std())
            yield view

    def why(self, size: int) -> str:
        """The likeliest reason for a watermark that cannot be read."""
        n = max(1, self.done)
        if self.light / n < _DARK:
            return f"the pictures are too dark (mean {self.light / n:.0f} of 255) to carry it"
        if self.done < _FEW:
            return f"the video is too short ({self.done} pictures; {_FEW} or more are better)"
        if size < _SMALL:
            return f"the pictures are too small ({size} pixels at the shorter side; {_SMALL} or more are better)"
        if self.spread / n < _FLAT:
            return "the pictures are too flat to carry it"
        return "the pictures do not carry it through encoding"


def _read_back(marked: Marked, writer: _Writer, part: Path, key: bytes | None) -> Marked:
    try:
        (found,) = _search(part, [key], beginning=False, thorough=False)
    except MediaError as error:
        raise MarkingError(f"the new file cannot be read: {error}; it was not kept") from None
    if found.payload != marked.payload:
        why = writer.why(min(marked.width, marked.height))
        raise MarkingError(f"the watermark cannot be read back from the new file, so it was not kept: {why}")
    return replace(marked, p_value=found.p_value)
