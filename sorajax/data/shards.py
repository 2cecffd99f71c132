"""Samples on disk: latents and text states of real clips, in ArrayRecord files that are read at random.

A folder of them holds ``index.json``, written last, and a folder for each shape of latents. A record is a safetensors
file: ``latents`` f16 [t, h, w, c], ``text.0``, ``text.1``, ... f16 [l, d] of its captions, for some models ``beside``
f16 [t, h, w, c], where they were asked for ``frames`` u8 [T, H, W, 3], and metadata in JSON.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sorajax.errors import InputError

INDEX = "index.json"
Shape = tuple[int, int, int]
"""Latent frames, rows and columns."""


@dataclass(frozen=True)
class Sample:
    """One clip."""

    latents: np.ndarray
    """f16 [t, h, w, c], normalised."""
    text: tuple[np.ndarray, ...]
    """States f16 [l, d] of each caption, as long as the caption is."""
    about: Mapping[str, Any]
    """source, start in seconds, captions, and the change that was made of the clip, if it was."""
    beside: np.ndarray | None = None
    """f16 [t, h, w, c], latents of the first frame and then grey, of models that take a picture so."""
    frames: np.ndarray | None = None
    """u8 [T, H, W, 3], what the latents are of, for an autoencoder to learn from."""


class Shards:
    """Samples of one folder, by the shape of their latents."""

    def __init__(self, folder: Path):
        """Raises InputError where the folder was not finished, or a file of it is missing or cut short."""
        self.folder = folder
        try:
            self.index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(
                f"{folder} holds no finished shards ({INDEX}); make them with sorajax data prepare --model"
            ) from None
        self._sources: dict[Shape, Any] = {}
        for name, files in self.index["shards"].items():
            for file, size in files.items():
                found = (folder / name / file).stat().st_size if (folder / name / file).is_file() else None
                if found != size:
                    what = "is missing" if found is None else f"has {found} bytes instead of {size}"
                    raise InputError(
                        f"{folder / name / file} {what}; run sorajax data prepare again, which makes that one anew"
                    )
            shape = _shape(name)
            self._sources[shape] = ArrayRecordDataSource([str(folder / name / file) for file in files])

    def digest(self) -> str:
        """SHA-256 of the index, which has a digest of what each file was made of (``of``)."""
        return hashlib.sha256((self.folder / INDEX).read_bytes()).hexdigest()

    def files(self) -> set[str]:
        """Names of the videos that the samples are of."""
        return {name for names in self.index["sources"].values() for name in names}

    def shapes(self) -> dict[Shape, int]:
        """How many samples there are of each shape."""
        return {shape: len(source) for shape, source in self._sources.items()}

    def read(self, shape: Shape, numbers: Sequence[int]) -> list[Sample]:
        """Samples of a shape. Raises InputError that names a record which cannot be read."""
        try:
            records = self._sources[shape].__getitems__([int(i) for i in numbers])
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            raise InputError(
                f"{self.folder / _name(shape)} is damaged ({reason}); delete it and prepare it anew"
            ) from None
        return [self._sample(record, shape, number) for record, number in zip(records, numbers, strict=True)]

    def _sample(self, record: bytes, shape: Shape, number: int) -> Sample:
        try:
            tensors, about = load(record), json.loads(_metadata(record)["about"])
        except (SafetensorError, ValueError, KeyError):
            where = self.folder / _name(shape)
            raise InputError(
                f"{where}: record {number} cannot be read; delete its files and prepare them anew"
            ) from None
        text = tuple(tensors[f"text.{i}"] for i in range(sum(name.startswith("text.") for name in tensors)))
        return Sample(tensors["latents"], text, about, tensors.get("beside"), tensors.get("frames"))


def write(path: Path, samples: Iterable[Sample]) -> int:
    """Write one file, which appears when it is whole; its size in bytes.

    Raises InputError, and leaves nothing there, where the disk is full or cannot be written.
    """
    draft = _draft(path)
    writer = None
    try:
        with _of_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = ArrayRecordWriter(str(draft), "group_size:1")
        for record in map(_record, samples):
            with _of_disk(path):
                writer.write(record)
        with _of_disk(path):
            writer.close()
            os.replace(draft, path)
        return path.stat().st_size
    except BaseException:
        with contextlib.suppress(RuntimeError):  # it may not be closed twice
            if writer is not None:
                writer.close()
        draft.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text that appears when it is whole. Raises InputError, and leaves nothing there, as ``write`` does."""
    draft = _draft(path)
    try:
        with _of_disk(path):
            draft.write_text(text, encoding="utf-8")
            os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _draft(path: Path) -> Path:
    """A name of one's own: another machine, taken for lost, may be at the same file."""
    return path.with_suffix(f".{uuid.uuid4().hex}.part")


def begin(folder: Path) -> None:
    """Files of this folder are about to be made anew: it is not finished any more."""
    (folder / INDEX).unlink(missing_ok=True)


def finish(folder: Path, shards: Mapping[Shape, Mapping[str, int]], about: Mapping[str, Any]) -> None:
    """Write the index: the sizes in bytes of a shape's files, and what they were made with."""
    values = {**about, "shards": {_name(shape): dict(files) for shape, files in sorted(shards.items())}}
    write_text(folder / INDEX, json.dumps(values, indent=1))


def file(shape: Shape, number: int) -> Path:
    """Where the file of that number is, below the folder."""
    return Path(_name(shape)) / f"{number:05d}.array_record"


@contextlib.contextmanager
def _of_disk(path: Path) -> Iterator[None]:
    """What goes wrong in the block is the disk's doing."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # the second is ArrayRecord's
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0]
        raise InputError(
            f"{path} cannot be written: {reason}; make room there and run the same command, which keeps what is whole"
        ) from error


def _record(sample: Sample) -> bytes:
    tensors = {"latents": sample.latents} | {f"text.{i}": states for i, states in enumerate(sample.text)}
    tensors |= {} if sample.beside is None else {"beside": sample.beside}
    tensors |= {} if sample.frames is None else {"frames": sample.frames}
    tensors = {name: np.ascontiguousarray(x) for name, x in tensors.items()}  # safetensors takes them for such
    return save(tensors, {"about": json.dumps(dict(sample.about))})


def _name(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _shape(name: str) -> Shape:
    t, h, w = map(int, name.split("x"))
    return t, h, w


def _metadata(record: bytes) -> dict[str, str]:
    """Of a safetensors file: its header's length in eight bytes, and the header."""
    return json.loads(record[8 : 8 + int.from_bytes(record[:8], "little")])["__metadata__"]
