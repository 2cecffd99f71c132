"""Training state on disk, by Orbax: written whole or not at all, checked before it is read, restored onto any mesh."""

import json
import logging
import secrets
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from sorajax.errors import CheckpointError, ConfigError
from sorajax.hosts.arrays import broadcast, is_primary
from sorajax.seal import broken, seal

FORMAT = 3
"""Of what is saved. Raised when an older sorajax could not go on from it."""
UNFINISHED = ".orbax-checkpoint-tmp"
DAMAGED = "damaged"
FULL = "No space left on device"


class Checkpoints:
    """The newest checkpoints of a run in one folder. Each is sealed before it gets its name, and checked when read."""

    def __init__(self, folder: Path, *, keep: int = 2):
        """Raises CheckpointError where the folder cannot be written."""
        # Orbax calls this when all is written and the folder still has its name of a draft.
        finishing = ocp.AsyncOptions(post_finalization_callback=self._seal)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, async_options=finishing
        )
        handlers = {"state": ocp.StandardCheckpointHandler(), "about": ocp.JsonCheckpointHandler()}
        logging.getLogger("absl").addFilter(_unraised)
        try:
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be used for checkpoints: {_reason(error)}") from error
        self.folder = folder
        self._pending: int | None = None

    def latest(self) -> int | None:
        """Step of the newest complete checkpoint, whether or not it was damaged since."""
        return self._manager.latest_step()

    def newest_whole(self) -> int | None:
        """Step of the newest checkpoint that is as it was written, or None if none was ever written.

        Damaged ones that are newer are moved into the folder ``damaged``, and a warning says what is wrong with each.
        Raises CheckpointError where there were some and none is whole: to start anew is for the user to decide.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        whole, damaged = None, {}
        for step in steps if is_primary() else ():
            if (wrong := broken(self.folder / str(step))) is None:
                whole = step
                break
            damaged[step] = wrong
        for step, wrong in damaged.items() if whole is not None else ():  # else nothing is touched
            moved = self.folder.parent / DAMAGED / f"{step}-{int(time.time())}"
            moved.parent.mkdir(exist_ok=True)
            (self.folder / str(step)).rename(moved)
            warnings.warn(f"checkpoint {self.folder}/{step} is damaged ({wrong}); moved to {moved}", stacklevel=2)
        found = broadcast(0 if not steps else 1 if whole is None else whole + 2)  # what process 0 saw
        if found == 1:
            raise CheckpointError(
                f"no checkpoint in {self.folder} is whole{_first(damaged)}; put one back from a copy, or move "
                f"{self.folder.parent} away to start anew"
            )
        self._manager.reload()
        return found - 2 if found else None

    def save(self, step: int, state: Any, about: dict[str, Any]) -> bool:
        """Write ``state`` (a pytree of arrays) and ``about`` (plain values) in the background.

        What cannot be written, now or of the save before, is warned about and leaves nothing; the return value says
        whether this one was begun. With several processes it is a CheckpointError, as they could not go on alike.
        """
        self.wait()
        flat = _flat(state)
        needed, free = sum(leaf.nbytes for leaf in flat.values()), shutil.disk_usage(self.folder).free
        if jax.process_count() == 1 and free < needed:
            return self._failed(step, f"it takes {_size(needed)}, and {_size(free)} are free")
        about = {"format": FORMAT, **about}
        args = ocp.args.Composite(state=ocp.args.StandardSave(flat), about=ocp.args.JsonSave(about))
        self._pending = step
        try:
            self._manager.save(step, args=args)
        except (OSError, ValueError) as error:  # tensorstore's are ValueError
            return self._failed(step, _reason(error))
        return True

    def wait(self) -> bool:
        """Wait for what is being written, and say whether it was; if not there is a warning, as of ``save``."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            return self._failed(self._pending, _reason(error))
        return True

    def restore(self, step: int, like: Any) -> Any:
        """The state saved at ``step``, laid out as ``like`` (arrays, or shapes with shardings).

        Raises CheckpointError, naming what differs, if it was saved from another shape.
        """
        want = _flat(jax.tree.map(ocp.utils.to_shape_dtype_struct, like))
        found = self._manager.item_metadata(step)["state"]
        found = {} if found is None else dict(found)
        wrong = [
            f"{name}: saved {getattr(found.get(name), 'shape', 'nothing')}, expected {one.shape}"
            for name, one in want.items()
            if tuple(getattr(found.get(name), "shape", ("missing",))) != tuple(one.shape)
        ]
        if wrong:
            raise CheckpointError(f"checkpoint {self.folder}/{step} does not fit: {'; '.join(wrong[:4])}")
        args = ocp.args.Composite(state=ocp.args.StandardRestore(want))
        restored = self._manager.restore(step, args=args)["state"]
        return jax.tree.unflatten(jax.tree.structure(like), [restored[name] for name in want])

    def about(self, step: int) -> dict[str, Any]:
        """The plain values saved with a state. Raises CheckpointError if a newer sorajax saved it."""
        saved = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        saved = json.loads(json.dumps(saved))
        if (found := saved.get("format", 1)) > FORMAT:
            raise CheckpointError(
                f"checkpoint {self.folder}/{step} has format {found}, and this sorajax reads up to {FORMAT}: "
                "a newer one saved it; upgrade sorajax to go on from it"
            )
        return saved

    def close(self) -> None:
        """Wait for what is being written."""
        self.wait()
        self._manager.close()

    def _seal(self) -> None:
        for draft in self.folder.glob(f"{self._pending}{UNFINISHED}*"):
            seal(draft)

    def _failed(self, step: int | None, reason: str) -> bool:
        """Warn of a checkpoint that could not be written, and take away what there is of it."""
        for draft in self.folder.glob(f"*{UNFINISHED}*"):
            shutil.rmtree(draft, ignore_errors=True)
        kept = self.latest()
        message = (
            f"the checkpoint of step {step} could not be written to {self.folder}: {reason}; "
            f"{'none was written before' if kept is None else f'that of step {kept} is kept'}"
        )
        if jax.process_count() > 1:
            raise CheckpointError(message)
        warnings.warn(message, stacklevel=3)
        return False


def _unraised(record: logging.LogRecord) -> bool:
    """Keep Orbax from printing the traces of errors of its threads: it raises them as well."""
    return not (record.exc_info and "orbax" in record.pathname)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return str(error.strerror)
    if FULL in str(error):  # at the end of a long line of tensorstore's
        return FULL
    return next((line for line in str(error).splitlines() if line), type(error).__name__)


def _first(damaged: dict[int, str]) -> str:
    return "".join(f" ({step}: {wrong})" for step, wrong in list(damaged.items())[:1])


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def check_shared(folder: Path, *, limit: float = 10.0) -> None:
    """Raise ConfigError unless all processes see the same ``folder``: each writes its part of a checkpoint there.

    A file system over a network gets ``limit`` seconds to show what process 0 has written.
    """
    if jax.process_count() == 1:
        return
    mark = folder / f".shared-{broadcast(secrets.randbelow(2**31)):08x}"
    if is_primary():
        mark.touch()
    end = time.monotonic() + limit
    multihost_utils.sync_global_devices("shared folder marked")
    while not (found := mark.exists()) and time.monotonic() < end:
        time.sleep(0.1)
    seen = multihost_utils.process_allgather(np.bool_(found))
    if is_primary():
        mark.unlink()
    if not seen.all():
        blind = ", ".join(str(i) for i in np.flatnonzero(~seen))
        raise ConfigError(
            f"{folder.absolute()} of process 0 is another folder in process {blind}; put --runs on a file system that "
            "all hosts share"
        )


def _flat(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
