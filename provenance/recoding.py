"""A new file like an old one but for its pictures: encoder, colour tags, display matrix, HDR values, other streams.

What cannot be taken along is named in ``notes``, never left out in silence.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import planes, video
from provenance.errors import InputError, MarkingError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""FFmpeg's name of a file's format by its suffix."""

_ISO = ("mp4", "mov")
_FULL = 2  # AVColorRange
_INTERLACED = (1 << 18) | (1 << 29)  # AV_CODEC_FLAG_INTERLACED_DCT and _ME
# Qualities at which the encoder's own error is well below the watermark's, in each codec's own units.
_ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "17", "preset": "fast"},
    "libx265": {"crf": "17", "preset": "fast"},
    "libvpx-vp9": {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"},
    "libsvtav1": {"crf": "18", "preset": "8"},
}
# Written by a muxer about the file it makes, so of the old one they would be wrong.
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps", "number_of_frames")


@dataclass(kw_only=True)
class Recoder:
    """An output that is being written: ``video`` takes pictures, ``copies`` maps old streams to their copies."""

    out: "OutputContainer"
    video: "VideoStream"
    codec: str
    pixel_format: str
    copies: "dict[int, Stream]" = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_suffix(dst: Path) -> str:
    """FFmpeg's name of the container.

    Raises:
        InputError: another suffix than those of ``CONTAINERS``.
    """
    try:
        return CONTAINERS[dst.suffix.lower()]
    except KeyError:
        raise InputError(f"the destination {dst} must end in one of {', '.join(CONTAINERS)}") from None


def open_output(part: Path, container: str, source: "InputContainer", main: "VideoStream") -> "OutputContainer":
    """The empty new file, with the old one's tags and chapters."""
    import av

    tags = _tags(source.metadata)
    options = {}
    if container in _ISO:
        options["movflags"] = "+faststart"
        if any("." in key for key in tags):  # phones: com.apple.quicktime.*, com.android.*
            options["movflags"] += "+use_metadata_tags"
        if main.time_base and main.time_base.denominator < 2**31:
            options["video_track_timescale"] = str(main.time_base.denominator)
    out = av.open(str(part), "w", format=container, options=options)
    out.metadata.update(tags)
    out.set_chapters(source.chapters())
    return out


def recoder(
    out: "OutputContainer",
    container: str,
    source: "InputContainer",
    main: "VideoStream",
    first: "VideoFrame",
    side: dict[str, bytes],
) -> Recoder:
    """Streams of the new file, in the order of the old one.

    Args:
        out: from ``open_output``.
        container: FFmpeg's name of its format.
        source: the old file.
        main: its stream of moving pictures.
        first: the first picture of that: it has what the stream's header does not say.
        side: what comes with the first pictures, from ``side_data``.

    Raises:
        InputError: a stream that ``container`` cannot hold, pictures with transparency, or a rotation that this
            PyAV cannot write.
    """
    if planes.has_alpha(first.format):
        raise InputError(
            f"its pictures are partly transparent ({first.format.name}), which would be lost; flatten them first"
        )
    made: Recoder | None = None
    pairs: list[tuple[Stream, Any]] = []
    notes: list[str] = []
    chapters = len(source.chapters()) > 0
    for stream in source.streams:
        if stream.index == main.index:
            made = _add_video(out, container, main, first, side)
        elif stream.type in ("audio", "subtitle", "video"):
            pairs.append((stream, _add_copy(out, container, stream)))
            if stream.type == "video" and not video.is_cover(stream):
                notes.append(f"a second video stream (number {stream.index}) was copied without a watermark")
        elif stream.type == "attachment" and container == "matroska":
            out.add_stream_from_template(stream)
        elif stream.type == "data" and chapters:
            chapters = False  # the titles of chapters are a stream in MP4, and written anew
        else:
            notes.append(f"a stream of {stream.type} (number {stream.index}) was left out")
    assert made is not None
    for old, new in pairs:
        new.metadata.update(_tags(old.metadata))
        new.disposition = video.disposition(old)
        made.copies[old.index] = new
    made.notes += notes
    _begin(out, container, [stream.codec_context.name for stream, _ in pairs if stream.codec_context])
    return made


def _begin(out: "OutputContainer", container: str, copied: list[str]) -> None:
    """Write the header, which some muxers refuse although they know every codec in it."""
    import av.error

    try:
        out.start_encoding()
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError) as error:
        raise InputError(
            f"its streams ({', '.join(copied) or 'pictures only'}) cannot be kept in {container} ({error.strerror}); "
            "choose a name that ends like the source's, or in .mkv"
        ) from None


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in _OF_THE_FILE and not key.upper().startswith("_STATISTICS")
    }


def _add_copy(out: "OutputContainer", container: str, stream: "Stream") -> "Stream":
    name = stream.codec_context.name if stream.codec_context is not None else "unknown"
    try:
        if stream.codec_context is None:
            raise ValueError
        return out.add_stream_from_template(stream, opaque=True)
    except ValueError:
        what = {"audio": "sound", "subtitle": "subtitles"}.get(stream.type, "second video stream")
        raise InputError(
            f"its {what} ({name}) cannot be kept in {container}; choose a name that ends like the source's, or in .mkv"
        ) from None


def _codec(container: str, first: "VideoFrame") -> tuple[str, str]:
    """(encoder, pixel format): H.264; H.265 for more than 8 bits; VP9 or AV1 in WebM.

    H.264 and H.265 store 4:2:0 with even sides only. Odd ones are stored as 4:4:4, which keeps every pixel.
    """
    name = planes.nearest(first.format)
    deep = name.endswith("le")
    if container == "webm":
        if not deep:
            name = name.replace("yuvj", "yuv")
            return "libvpx-vp9", "yuv420p" if name == "gray" else name
        if "422" in name or "444" in name:
            raise InputError(f"WebM cannot hold its pictures ({name}); choose a name that ends in .mkv or .mp4")
        return "libsvtav1", "yuv420p10le"
    if ("420" in name and (first.width % 2 or first.height % 2)) or ("422" in name and first.width % 2):
        name = name.replace("420", "444").replace("422", "444")
    return ("libx265" if deep else "libx264"), name


def _add_video(
    out: "OutputContainer", container: str, main: "VideoStream", first: "VideoFrame", side: dict[str, bytes]
) -> Recoder:
    codec, name = _codec(container, first)
    average = main.average_rate or main.guessed_rate
    rate = Fraction(average.numerator, average.denominator) if average else Fraction(25)
    stream: Any = out.add_stream(
        codec, rate=rate, options=dict(_ENCODERS[codec]), width=first.width,
        height=first.height,
    )  # fmt: skip
    context = stream.codec_context
    stream.pix_fmt = name
    base = Fraction(main.time_base.numerator, main.time_base.denominator) if main.time_base else 1 / rate
    stream.time_base = context.time_base = base
    if shape := main.codec_context.sample_aspect_ratio:
        context.sample_aspect_ratio = Fraction(shape.numerator, shape.denominator)
    for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
        # What the pictures say goes before what the stream says; PyAV 16 does not tell all of a picture.
        said, unsaid = int(getattr(first, tag, 0) or 0), (0,) if tag == "color_range" else (0, 2)
        setattr(context, tag, getattr(main.codec_context, tag) if said in unsaid else said)
    if first.format.is_rgb or first.format.has_palette:
        context.colorspace, context.color_range = planes.RGB_BECOMES, 1
    elif planes.is_full(first):
        context.color_range = _FULL
    if hasattr(context, "chroma_sample_location") and "420" in name:
        context.chroma_sample_location = int(first.chroma_location)
    made = Recoder(out=out, video=stream, codec=codec, pixel_format=name)
    if codec == "libx265":
        context.options["x265-params"] = ":".join(["log-level=none", *_hdr(side)])
        if container in _ISO:
            context.codec_tag = "hvc1"  # Apple's players want the parameter sets in the header
    elif codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # it writes its settings to stderr, and nothing else stops it
    elif codec == "libx264" and first.interlaced_frame:
        context.flags |= _INTERLACED
    if matrix := side.get("DISPLAYMATRIX"):
        if not hasattr(stream, "set_display_matrix"):
            raise InputError("its pictures are shown turned, which this PyAV cannot write; install av 17.1 or newer")
        stream.set_display_matrix(struct.unpack("9i", matrix[:36]))
    stream.metadata.update(_tags(main.metadata))
    stream.disposition = video.disposition(main)
    lost = [said for kind, said in _LOST.items() if kind in side]
    made.notes += [f"{said} cannot be kept and were left out" for said in lost]
    return made


_LOST = {
    "DOVI_METADATA": "Dolby Vision's data",
    "DYNAMIC_HDR_PLUS": "HDR10+ data",
    "SPHERICAL": "the marks of a spherical video",
    "STEREO3D": "the marks of a stereoscopic video",
    "FILM_GRAIN_PARAMS": "film grain parameters",
}


def side_data(frame: "VideoFrame") -> dict[str, bytes]:
    """What comes with a picture, by FFmpeg's name of it."""
    found = {}
    for index in range(len(frame.side_data)):
        try:
            data = frame.side_data[index]
            found[data.type.name] = bytes(data)
        except (ValueError, KeyError):  # newer than this PyAV
            continue
    return found


def _hdr(side: dict[str, bytes]) -> list[str]:
    """The mastering display (SMPTE ST 2086) and light levels (CTA-861.3) in x265's words."""
    said = []
    if (data := side.get("MASTERING_DISPLAY_METADATA")) and len(data) >= 88:
        *numbers, has_primaries, has_luminance = struct.unpack("22i", data[:88])
        value = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
        if has_primaries and has_luminance:
            rx, ry, gx, gy, bx, by, wx, wy = (round(v * 50000) for v in value[:8])
            low, high = (round(v * 10000) for v in value[8:])
            said.append(f"master-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})")
    if (data := side.get("CONTENT_LIGHT_LEVEL")) and len(data) >= 8:
        most, average = struct.unpack("2I", data[:8])
        said.append(f"max-cll={most},{average}")
    return said


def encoding(encode: Callable[[], Any]) -> Any:
    """Run a step of the encoder or the muxer; what it says becomes one line.

    Raises:
        MarkingError: it failed, other than by the file system's fault (OSError).
    """
    import av.error

    try:
        return encode()
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and not isinstance(error, ValueError):
            raise
        raise MarkingError(f"the new file could not be written: {error.strerror or error}") from None
