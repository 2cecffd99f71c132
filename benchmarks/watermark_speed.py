"""How fast is the watermark, and how much memory does it take? One 1280x720 clip of 5 s; prints one table.

    python benchmarks/watermark_speed.py [--folder FOLDER]

Times are of whole calls in this process, after a first call on a few frames; the file is decoded on the way.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import watermark_clips as clips
from numpy.typing import NDArray

from provenance import video, watermark

CLIP, FRAMES, FPS = "bunny", 125, 25
PAYLOAD = b"8 bytes!"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the watermark on a 1280x720 clip of 5 s.")
    parser.add_argument("--folder", type=Path, default=clips.FOLDER, help="where clips are kept")
    path, _, _ = clips.load(parser.parse_args().folder, "large")[CLIP]
    stored = np.load(path, mmap_mode="r")
    there_and_back = [*range(len(stored)), *range(len(stored) - 1, -1, -1)]
    frames = [np.ascontiguousarray(stored[there_and_back[i % len(there_and_back)]]) for i in range(FRAMES)]
    list(watermark.mark(frames[:3], PAYLOAD))
    rows = []
    started = time.perf_counter()
    marked = list(watermark.mark(frames, PAYLOAD))
    seconds = time.perf_counter() - started
    rows.append(("mark", f"{FRAMES / seconds:.0f} frames a second"))
    with tempfile.TemporaryDirectory() as folder:
        plain, file = Path(folder) / "plain.mp4", Path(folder) / "marked.mp4"
        _write(plain, frames)
        _write(file, marked)
        for what, source, thorough in (
            ("find, as it is", file, True),
            ("no mark, a quick look", plain, False),
            ("no mark, everything searched", plain, True),
        ):
            started = time.perf_counter()
            found = _detect(video.read_frames(source), thorough)
            rows.append((what, f"{time.perf_counter() - started:.1f} s, p = {found.p_value:.2g}"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(("memory for searching, decoder included", f"{pool.apply(_memory, (plain,)):.0f} MiB"))
    print(f"| 1280x720, {FRAMES} frames, {FRAMES / FPS:.0f} s | measured |\n|---|---|")
    for what, measured in rows:
        print(f"| {what} | {measured} |")


def _detect(frames: Iterator[NDArray[np.uint8]], thorough: bool) -> watermark.Detection:
    detector = watermark.Detector()
    for frame in frames:
        detector.add(frame)
    return detector.result(thorough)


def _memory(path: Path) -> float:
    """MiB by which the most that this process uses rises above what it uses at first (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what is in use now
    before = _most()
    _detect(video.read_frames(path), thorough=True)
    return (_most() - before) / 1024


def _most() -> int:
    """KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _write(path: Path, frames: list[NDArray[np.uint8]]) -> None:
    """H.264 at CRF 23."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": "23", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
