"""Clips of a prepared folder as latents and text states of a model, in shards that training reads."""

import hashlib
import json
import math
import os
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sorajax.config import ModelConfig, digest
from sorajax.data import shards
from sorajax.data.shards import Sample, Shape
from sorajax.errors import InputError
from sorajax.footage import frames as frames_of
from sorajax.footage.augment import Augment, Change, apply, changes, texts
from sorajax.footage.on_ray import Ray
from sorajax.footage.prepare import CLIPS
from sorajax.footage.sources import Source
from sorajax.pipeline import Pipeline, load
from sorajax.weights import folder as folders
from sorajax.weights.find import find

SHARD = 256
"""Samples in a file."""
PIXELS = 1 << 22
"""That are encoded at once, unless one clip has more."""


@dataclass(frozen=True)
class Stretch:
    """What becomes one sample."""

    clip: Mapping[str, Any]
    start: float
    frames: int
    size: tuple[int, int]
    """Width and height in pixels."""
    change: Change = Change()


Part = tuple[Path, list[Stretch]]
"""A file of shards, and what it is made of."""
Make = Callable[[list[Part], Any], Iterator[tuple[Path, dict[str, Any]]]]
"""Makes files, advances a bar, and gives what is known of each as it is finished."""


def encode(
    pipe: Pipeline, folder: Path, *, augment: Augment | None = None, pixels: bool = False, progress: bool = True
) -> Path:
    """Encode what ``prepare`` kept in ``folder``, and return the folder of the shards, one below it for each model.

    A clip goes to the model's size whose proportions are nearest, at its frame rate, in as many parts as the model's
    longest clip asks for. ``augment`` adds copies, and ``pixels`` keeps the frames too, for training the
    autoencoder. Files that are there and whole are not made again. A clip that cannot be decoded is left out with a
    warning.

    Raises InputError for a folder that was not prepared, where nothing is long enough for the model, and where the disk
    is full.
    """

    def make(parts: list[Part], bar: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path, part in parts:
            yield path, _make(pipe, path, part, bar, pixels)

    return _encode(pipe.config, pipe.digest, pipe.part_digest, folder, make, augment, pixels, progress)


def encode_on(
    ray: Ray, model: str, folder: Path, *, augment: Augment | None = None, pixels: bool = False, progress: bool = True
) -> Path:
    """The same on the nodes of a cluster, each of which loads the model, once, and writes its files into the folder.

    Raises InputError too for a node that does not see the folder or has another model, and where a file of shards
    brings down each process that makes it.
    """
    found, folder = find(model), folder.absolute()
    config, name = folders.load_config(found), folders.model_digest(found)
    model = str(found.absolute()) if found == Path(model).expanduser() else model

    def make(parts: list[Part], bar: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
        with tempfile.NamedTemporaryFile(prefix=".seen-", dir=folder) as seen:
            for number, made in ray.make(Maker(model, name, seen.name, pixels=pixels), parts):
                for line in made["left_out"]:
                    warnings.warn(f"left out: {line}", stacklevel=2)
                bar.update(len(parts[number][1]))
                yield parts[number][0], made

    return _encode(config, name, partial(folders.part_digest, found), folder, make, augment, pixels, progress)


class Maker:
    """Makes files of shards in a process of its own, with a model that it loads first."""

    def __init__(self, model: str, digest: str, seen: str, *, pixels: bool = False):
        self.model, self.digest, self.seen, self.pixels = model, digest, seen, pixels
        self.pipe: Pipeline | None = None

    def __call__(self, part: Part) -> dict[str, Any]:
        """Raises InputError where the folder or the model is not what it is elsewhere."""
        if self.pipe is None:
            if not os.path.exists(self.seen):
                raise InputError(f"{Path(self.seen).parent} is not seen here; name a folder that all nodes share")
            self.pipe = load(self.model)
            if self.pipe.digest != self.digest:
                raise InputError(f"{self.model} has other weights here; give each node the same model")
        with warnings.catch_warnings(action="ignore"):  # what is left out is told where it was asked for
            return _make(self.pipe, *part, tqdm(disable=True), self.pixels)


def _encode(
    config: ModelConfig,
    name: str,
    digest_of: Callable[[str], str],
    folder: Path,
    make: Make,
    augment: Augment | None,
    pixels: bool,
    progress: bool,
) -> Path:
    """With the digest of the model and of its parts."""
    planned = plan(_clips(folder), config, augment)
    if not planned:
        raise InputError(f"{folder}: no clip is long enough for one frame of {config.name}; prepare longer ones")
    out = folder / f"{config.name}-{name.removeprefix('sha256:')[:12]}"
    parts: dict[Path, tuple[Shape, list[Stretch]]] = {}
    for shape, stretches in planned.items():
        for number, first in enumerate(range(0, len(stretches), SHARD)):
            parts[out / shards.file(shape, number)] = shape, stretches[first : first + SHARD]
    made = {path: found for path, (_, part) in parts.items() if (found := _made(path, part, pixels)) is not None}
    missing = [(path, part) for path, (_, part) in parts.items() if path not in made]
    total, there = sum(len(part) for _, part in parts.values()), sum(len(parts[path][1]) for path in made)
    with tqdm(total=total, initial=there, desc="encode", file=sys.stderr, disable=not progress) as bar:
        if missing:
            shards.begin(out)  # until all is there again it is not to be trained on
            made.update(make(missing, bar))
    done: dict[Shape, dict[str, int]] = defaultdict(dict)
    sources: dict[str, list[str]] = defaultdict(list)
    left_out: list[str] = []
    for path, (shape, _) in parts.items():  # in this order, whatever was finished first
        done[shape][path.name] = made[path]["size"]
        sources["x".join(map(str, shape))] += made[path]["sources"]
        left_out += made[path]["left_out"]
    if not any(sources.values()):
        raise InputError(f"{folder}: no clip could be decoded; the first: {left_out[0]}")
    about = {"model": config.name, "vae": digest(config.vae), "text": digest(config.text), "fps": config.sample.fps}
    about |= {"beside": config.sample.image == "beside"}
    about |= {"pixels": True} if all(one["pixels"] for one in made.values()) else {}
    about |= {f"{part}_weights": digest_of(part) for part in ("vae", "text_encoder")}
    for stale in out.glob("*/*.part"):  # of processes that were lost
        stale.unlink(missing_ok=True)
    about |= {"of": {f"{path.parent.name}/{path.name}": made[path]["of"] for path in parts}}
    shards.finish(out, done, about | {"left_out": left_out, "sources": sources})
    return out


def _made(path: Path, part: list[Stretch], pixels: bool) -> dict[str, Any] | None:
    """What is known of a file that is whole and was made of just this, with ``pixels`` if they are asked for."""
    try:
        made = {"pixels": False, **json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))}
        whole = made["pixels"] >= pixels and made["of"] == _digest(part) and made["size"] == path.stat().st_size
        return made if whole and not made["left_out"] else None  # what was left out may be there again
    except (OSError, ValueError, KeyError):
        return None


def _make(pipe: Pipeline, path: Path, part: list[Stretch], bar: Any, pixels: bool) -> dict[str, Any]:
    written: list[str] = []
    left_out: list[str] = []

    def samples() -> Iterator[Sample]:
        for sample in _samples(pipe, part, bar, left_out, pixels):
            written.append(sample.about["source"])
            yield sample

    size = shards.write(path, samples())
    made = {"of": _digest(part), "size": size, "sources": written, "left_out": left_out, "pixels": pixels}
    shards.write_text(path.with_suffix(".json"), json.dumps(made))
    return made


def plan(
    clips: list[dict[str, Any]], config: ModelConfig, augment: Augment | None = None
) -> dict[Shape, list[Stretch]]:
    """Which stretches of which clips are encoded, by the shape of their latents, in the clips' order.

    Clips have 1 + ``temporal_factor`` times a power of two frames, or the model's most, so that there are few shapes.
    Copies that ``augment`` adds come after all the rest, so that files without them stay as they are.
    """
    augment, own, factor = augment or Augment(), config.sample, config.vae.temporal_factor
    sizes = own.sizes or ((own.width, own.height), (own.height, own.width))
    longest = own.max_frames or own.frames
    lengths = sorted({longest, 1, *(1 + factor * 2**i for i in range(12) if 1 + factor * 2**i <= longest)})
    planned: dict[Shape, list[tuple[tuple[int, int], Stretch]]] = defaultdict(list)
    for clip in clips:
        ratio = clip["width"] / clip["height"]
        size = min(sizes, key=lambda s: abs(math.log(s[0] / s[1] / ratio)))
        for stride in sorted(set(augment.strides)) if not clip["image"] else (1,):
            for start, count in _stretches(clip, own.fps / stride, lengths):
                shape = (
                    1 + (count - 1) // factor,
                    size[1] // config.vae.spatial_factor,
                    size[0] // config.vae.spatial_factor,
                )
                copies = changes(augment, clip, start, count) if stride == 1 else [Change(stride=stride)]
                for number, change in enumerate(copies):
                    if texts(clip["captions"], change) is not None:
                        planned[shape].append(((stride, number), Stretch(clip, start, count, size, change)))
    return {shape: [one for _, one in sorted(found, key=lambda f: f[0])] for shape, found in planned.items()}


def _stretches(clip: Mapping[str, Any], fps: float, lengths: list[int]) -> Iterator[tuple[float, int]]:
    """Where parts of a clip begin, in seconds, and their frames: of the ``lengths`` the most that fit."""
    start, fits = clip["start"], 1 if clip["image"] else int((clip["end"] - clip["start"]) * fps + 1e-6)
    count = max((n for n in lengths if n <= fits), default=0)
    while count > 1 or (count and clip["image"]):
        yield start, count
        start, fits = start + count / fps, fits - count
        count = max((n for n in lengths if n <= fits), default=0) if count == lengths[-1] else 0


def _samples(pipe: Pipeline, part: list[Stretch], bar: Any, left_out: list[str], pixels: bool) -> Iterator[Sample]:
    batch = min(8, max(1, PIXELS // (part[0].frames * math.prod(part[0].size))))
    told = [texts(stretch.clip["captions"], stretch.change) or [""] for stretch in part]
    # All texts first: where memory is small, text encoder and autoencoder take turns on the devices.
    known = {text: _state(pipe, text) for text in dict.fromkeys(text for said in told for text in said)}
    for first in range(0, len(part), batch):
        stretches, frames = [], []
        for stretch, said in zip(part[first : first + batch], told[first : first + batch], strict=True):
            try:
                frames.append(_frames(stretch, pipe.config.sample.fps))
                stretches.append((stretch, said))
            except InputError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                left_out.append(str(error))
        bar.update(min(batch, len(part) - first))
        if not frames:
            continue
        padded = np.stack(frames + frames[-1:] * (batch - len(frames)))  # one shape is compiled
        video = padded.astype(np.float32) / 127.5 - 1
        latents = np.asarray(pipe.encode_video(video), np.float16)
        beside = _beside(pipe, video)
        for i, ((stretch, said), one) in enumerate(zip(stretches, latents, strict=False)):
            about = {"source": stretch.clip["source"], "start": round(stretch.start, 4), "captions": said}
            about |= {"change": stretch.change.about()}
            states = tuple(known[text] for text in said)
            yield Sample(one, states, about, None if beside is None else beside[i], frames[i] if pixels else None)


def _beside(pipe: Pipeline, video: np.ndarray) -> np.ndarray | None:
    """Latents of the first frames and then grey, for models that take a picture so."""
    if pipe.config.sample.image != "beside":
        return None
    grey = np.zeros_like(video)
    grey[:, 0] = video[:, 0]
    return np.asarray(pipe.encode_video(grey), np.float16)


def _frames(stretch: Stretch, fps: float) -> np.ndarray:
    clip = stretch.clip
    member = None if clip["member"] is None else (clip["member"][0], clip["member"][1])
    source = Source(clip["source"], Path(clip["path"]), member=member)
    change = stretch.change
    return apply(
        frames_of.read(source, stretch.start, fps / change.stride, stretch.frames, stretch.size, crop=change.crop),
        change,
    )


def _state(pipe: Pipeline, text: str) -> np.ndarray:
    """States f16 [l, d] of a text, cut after its last token."""
    _, mask = pipe.tokenizer.encode([text], pipe.config.text.length)
    return np.asarray(pipe.encode_text([text])[0, : max(1, int(mask.sum()))], np.float16)


def _clips(folder: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in (folder / CLIPS).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        raise InputError(f"{folder} holds no {CLIPS}; make it with sorajax data prepare") from None


def _digest(part: list[Stretch]) -> str:
    """Tells what is in a file. Paths and times of files are left out: a copy of the data is the same data."""
    plain = [
        [s.clip["source"], s.clip.get("content"), s.clip["captions"], s.start, s.frames, s.size, s.change.about()]
        for s in part
    ]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()
