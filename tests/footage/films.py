"""Small videos whose scenes, colours and captions are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from sorajax.footage.prepare import prepare

WIDTH, HEIGHT, FPS = 128, 96, 16


def scene(seed: int, frames: int, *, speed: float = 2.0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """uint8 [t, h, w, 3]: coloured blobs that wander, as different from other seeds' as real scenes are."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    ground = rng.integers(40, 200, 3)
    places, moves = rng.uniform(0, 1, (6, 2)) * (width, height), rng.normal(0, speed, (6, 2))
    colours, radii = rng.integers(0, 256, (6, 3)), rng.uniform(8, 24, 6)
    out = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        out[t] = ground
        for place, move, colour, radius in zip(places, moves, colours, radii, strict=True):
            cx, cy = (place + t * move) % (width, height)
            out[t][(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = colour
    return out


def write(path: Path, *scenes: np.ndarray, fps: int = FPS, tags: Mapping[str, str] | None = None) -> Path:
    """Scenes one after the other as H.264, or whatever the name asks for; ``tags`` are the file's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.concatenate(scenes)
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        codec = "mpeg4" if path.suffix == ".avi" else "libx264"
        stream = container.add_stream(codec, rate=fps, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def prepared(root: Path, lengths: Sequence[int], *, still: bool = False) -> Path:
    """The folder that ``prepare`` leaves of films of so many frames, with two captions each, and of a picture."""
    for i, frames in enumerate(lengths):
        write(root / "in" / f"{i}.mp4", scene(i, frames))
        (root / "in" / f"{i}.txt").write_text(f"a dog, film {i}\na pet\n")
    if still:
        Image.fromarray(scene(9, 1)[0]).save(root / "in" / "still.png")
        (root / "in" / "still.txt").write_text("a still dog")
    prepare([root / "in"], root / "out", workers=1, progress=False)
    return root / "out"
