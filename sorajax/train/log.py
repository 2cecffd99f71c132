"""A run's record: JSON lines, each step once however often the run was broken off; TensorBoard's, if it is there."""

import importlib.util
import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sorajax.hosts.arrays import is_primary


class Log:
    """One file of records ``{"step": ..., ...}``, written by process 0. A value that is not finite becomes null.

    Where tensorboardX is installed the figures go to ``tensorboard/`` beside it as well.
    """

    def __init__(self, path: Path, start: int):
        """Lines of steps after ``start``, which will be made again, and half lines are taken out of what is there."""
        self.path = path
        self._waiting: list[str] = []
        self._board: Any = None
        if is_primary() and importlib.util.find_spec("tensorboardX"):
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(path.parent / "tensorboard"), purge_step=start + 1)
        if is_primary() and path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if (step := _step(line)) is not None and step <= start]
            if len(kept) != len(lines):
                draft = path.with_suffix(".part")
                draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
                os.replace(draft, path)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a record. One that cannot be written waits for the next, with a warning: a full disk ends no run."""
        if not is_primary():
            return
        if self._board is not None and "event" not in values:
            for name, value in values.items():
                self._board.add_scalar(name.replace("eval_", "eval/"), value, step)
        self._waiting.append(json.dumps({"step": step} | {k: _finite(v) for k, v in values.items()}) + "\n")
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(self._waiting)
            self._waiting.clear()
        except OSError as error:
            if len(self._waiting) == 1:
                warnings.warn(f"{self.path} cannot be written ({error.strerror}); its lines wait", stacklevel=2)
            if self.path.exists():
                os.truncate(self.path, size)

    def close(self) -> None:
        """Everything is on disk."""
        if self._board is not None:
            self._board.close()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None
