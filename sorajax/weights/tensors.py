"""Tensors in safetensors files, read one at a time: their names and shapes are known before any is read."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from sorajax.errors import CheckpointError

INDEX = ".safetensors.index.json"
PICKLED = (".pth", ".pt", ".bin", ".ckpt")
CONVERT = (
    "python -c \"import torch, safetensors.torch as s; t = torch.load('{old}', weights_only=True); "
    "s.save_file({{k: v.contiguous() for k, v in t.items()}}, '{new}.safetensors')\""
)
HELD = 2**28
"""Bytes read from a file before it is opened anew: what was read from a mapped file counts as this process's memory."""
TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class File:
    """A safetensors file, of which little stays mapped in memory."""

    def __init__(self, path: Path):
        self._path, self._open, self._held = path, safe_open(path, framework="np"), 0

    def keys(self) -> list[str]:
        return self._open.keys()

    def get_slice(self, name: str) -> Any:
        return self._open.get_slice(name)

    def get_tensor(self, name: str) -> np.ndarray:
        if self._held > HELD:
            self._open, self._held = safe_open(self._path, framework="np"), 0
        tensor = self._open.get_tensor(name)
        self._held += tensor.nbytes
        return tensor


class Tensors(Mapping[str, np.ndarray]):
    """The tensors of some files by name, each read when it is asked for and kept by none."""

    def __init__(self, files: Mapping[str, File], names: Mapping[str, str] | None = None):
        """files: name in a file -> the open file. names: name here -> name in a file (default: the same)."""
        self._files = files
        self._names = {name: name for name in files} if names is None else names

    def __getitem__(self, name: str) -> np.ndarray:
        theirs = self._names[name]
        try:
            return self._files[theirs].get_tensor(theirs)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"tensor {theirs} cannot be read ({error}); fetch the file again") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def header(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and type, by NumPy's name, of a tensor, without reading it.

        Raises CheckpointError for one that is not of a floating-point type.
        """
        theirs = self._names[name]
        found = self._files[theirs].get_slice(theirs)
        kind = found.get_dtype()
        if kind not in TYPES:
            raise CheckpointError(f"tensor {theirs} is of type {kind}; weights are of {', '.join(TYPES)}")
        return tuple(found.get_shape()), TYPES[kind]

    def renamed(self, rename: Callable[[str], str]) -> "Tensors":
        """The same tensors under other names."""
        return Tensors(self._files, {rename(name): theirs for name, theirs in self._names.items()})


def find(folder: Path) -> list[Path]:
    """The safetensors files of one part of a model, whole or in shards.

    Raises CheckpointError, with the remedy, if there are none, if some that the index names are missing, or if the
    weights are pickled: unpickling runs code, so that is never done here.
    """
    indexes = sorted(folder.glob(f"*{INDEX}"))
    if indexes:
        names = sorted(set(_weight_map(indexes[0]).values()))
        absent = [name for name in names if not (folder / name).is_file()]
        if absent:
            listed = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
            raise CheckpointError(
                f"{folder} is incomplete: {len(absent)} of {len(names)} files missing ({listed}); resume its download"
            )
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickled = [path for path in sorted(folder.glob("*")) if path.suffix in PICKLED]
    if pickled:
        raise CheckpointError(
            f"{pickled[0]} is pickled and could run any code, so it is not read; convert it where you trust it: "
            f"{CONVERT.format(old=pickled[0].name, new=pickled[0].stem)}"
        )
    raise CheckpointError(f"no weights in {folder}; train this part first or name a complete model folder")


def read(folder: Path) -> Tensors:
    """The tensors of one part of a model. Raises CheckpointError as ``find`` does, and for a damaged file."""
    files: dict[str, File] = {}
    for path in find(folder):
        try:
            file = File(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is not a readable safetensors file ({error}); fetch or export it again"
            ) from None
        files |= dict.fromkeys(file.keys(), file)
    return Tensors(files)


def _weight_map(index: Path) -> dict[str, str]:
    try:
        values = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if all(isinstance(name, str) and Path(name).name == name for name in values.values()):
            return values
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise CheckpointError(f"{index} is not an index of safetensors files; fetch it again")
