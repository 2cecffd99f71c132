"""Small video files of every kind, with sound, to be marked."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 24


def film(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    base: Fraction = Fraction(1, RATE),
    times: Sequence[int] | None = None,
    sound: str | None = "aac",
    matrix: Sequence[int] | None = None,
    container: str | None = None,
    **tags: Any,
) -> Path:
    """Encode RGB frames, with noise for sound.

    Args:
        path: its suffix says the container.
        frames: uint8 [t, h, w, 3].
        codec: the encoder, as is ``sound``.
        pixels: the pixel format.
        options: of the encoder.
        base: the unit of ``times``, in seconds.
        times: of each frame; evenly spaced if None.
        matrix: the display matrix, as nine numbers.
        container: FFmpeg's name of the format, where the suffix does not say it.
        tags: attributes of the encoder: colorspace, color_trc and so on.
    """
    with av.open(str(path), "w", format=container) as out:
        out.metadata.update({"title": "a film", "creation_time": "2024-05-06T07:08:09.000000Z"})
        video = out.add_stream(codec, rate=RATE, options=options or {"crf": "12", "preset": "veryfast"})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], pixels
        video.time_base = video.codec_context.time_base = base
        video.metadata["language"] = "deu"
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        if matrix is not None:
            video.set_display_matrix(matrix)
        voice = out.add_stream(sound, rate=48000) if sound else None
        if voice is not None:
            voice.metadata["language"] = "fra"
        if path.suffix in (".mp4", ".mkv"):
            unit = Fraction(1, 1000)
            chapters = [("one", 0, 400), ("two", 400, 900)]
            out.set_chapters(
                [
                    {"id": i + 1, "start": start, "end": end, "time_base": unit, "metadata": {"title": title}}
                    for i, (title, start, end) in enumerate(chapters)
                ]
            )
        for i, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pixels, dst_colorspace=tags.get("colorspace"), dst_color_range=tags.get("color_range")
            )
            picture.pts, picture.time_base = times[i] if times is not None else i, base
            out.mux(video.encode(picture))
        if voice is not None:
            noise = np.random.default_rng(0).normal(0, 3000, 48000 * len(frames) // RATE).astype(np.int16)
            for start in range(0, len(noise), 1024):
                both = np.repeat(noise[start : start + 1024], 2)[None]
                samples = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
                samples.rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                out.mux(voice.encode(samples))
            out.mux(voice.encode(None))
        out.mux(video.encode(None))
    return path


def fragmented(source: Path, path: Path) -> Path:
    """A copy of ``source`` in fragments, one for each whole picture."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(str(source)) as old, av.open(str(path), "w", format="mp4", options=options) as out:
        copies = {s.index: out.add_stream_from_template(s) for s in (*old.streams.video, *old.streams.audio)}
        for packet in old.demux(*(old.streams[index] for index in copies)):
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    return path


def with_extras(source: Path, path: Path) -> Path:
    """A Matroska copy of ``source`` with subtitles and a font."""
    lines = io.BytesIO(b"1\n00:00:00,100 --> 00:00:00,400\nHello\n\n2\n00:00:00,500 --> 00:00:00,900\nWorld\n")
    with av.open(str(source)) as old, av.open(lines, format="srt") as titles, av.open(str(path), "w") as out:
        copies = {
            s.index: out.add_stream_from_template(s, opaque=True) for s in (*old.streams.video, *old.streams.audio)
        }
        subtitles = out.add_stream_from_template(titles.streams[0])
        subtitles.metadata.update({"language": "ita", "title": "for everybody"})
        out.add_attachment("letters.ttf", "application/x-truetype-font", b"letters")
        for packet in titles.demux():
            if packet.size:
                packet.stream = subtitles
                out.mux(packet)
        for packet in old.demux(*(old.streams[index] for index in copies)):
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    return path


def packets(path: Path, kind: str) -> list[tuple[bytes, Fraction, Fraction]]:
    """(bytes, time, duration in seconds) of everything in the first stream of a kind."""
    with av.open(str(path)) as file:
        stream = getattr(file.streams, kind)[0]
        unit = Fraction(stream.time_base.numerator, stream.time_base.denominator)
        return [(bytes(p), p.pts * unit, p.duration * unit) for p in file.demux(stream) if p.size]


def pictures(path: Path) -> tuple[list[Fraction], np.ndarray, av.VideoFrame]:
    """Times in seconds, uint8 [t, h, w, 3], and the last picture as decoded."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        unit = Fraction(stream.time_base.numerator, stream.time_base.denominator)
        frames = list(file.decode(stream))
        rgb = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
        return [frame.pts * unit for frame in frames], rgb, frames[-1]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """In dB, over everything."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float32) - b) ** 2)))
