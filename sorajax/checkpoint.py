"""Training state on disk, by Orbax: written whole or not at all, restored onto any mesh."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from sorajax.errors import CheckpointError, ConfigError
from sorajax.hosts.arrays import broadcast, is_primary


class Checkpoints:
    """The newest checkpoints of a run in one folder."""

    def __init__(self, folder: Path, *, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        handlers = {"state": ocp.StandardCheckpointHandler(), "about": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)
        self.folder = folder

    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, about: dict[str, Any]) -> None:
        """Write ``state`` (a pytree of arrays) and ``about`` (plain values) in the background."""
        args = ocp.args.Composite(state=ocp.args.StandardSave(_flat(state)), about=ocp.args.JsonSave(about))
        self._manager.save(step, args=args)

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
        """The plain values saved with a state."""
        saved = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        return json.loads(json.dumps(saved))

    def close(self) -> None:
        """Wait for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()


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
