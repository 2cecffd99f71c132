"""Arrays between one process's memory and a mesh over several: rows in, results out, and a question to all.

Everything here is called by every process alike. With one process it does nothing that was not done before.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from sorajax.mesh import batch_sharding

PART = 1 << 28
"""Bytes that are gathered at once, as each device holds them whole for a moment."""


def is_primary() -> bool:
    """Whether this is process 0, the one that writes logs, pictures, models and clips."""
    return jax.process_index() == 0


def place(x: Any, sharding: Sharding) -> jax.Array:
    """An array that every process holds whole, laid out on the mesh; each sends its own devices their parts.

    ``jax.device_put`` would do, but lets all processes compare the values first, over the network.
    """
    if jax.process_count() == 1 or (isinstance(x, jax.Array) and not x.is_fully_addressable):
        return jax.device_put(jnp.asarray(x), sharding)
    whole = np.asarray(x)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def local_rows(mesh: Mesh, total: int) -> np.ndarray | None:
    """Which rows of a batch of ``total`` this process's devices hold, ascending; None for all of them."""
    if jax.process_count() == 1:
        return None
    parts = batch_sharding(mesh, (total,)).addressable_devices_indices_map((total,)).values()
    return np.unique(np.concatenate([np.arange(total)[index] for index in parts]))  # pyright: ignore[reportArgumentType]


def place_rows(batch: Mapping[str, np.ndarray], mesh: Mesh, total: int) -> Mapping[str, Any]:
    """Batch arrays [b, ...] on the mesh from each process's ``local_rows``; the order of the whole batch is kept."""
    mine = local_rows(mesh, total)
    if mine is None:
        return batch
    where = np.full(total, -1)
    where[mine] = np.arange(len(mine))

    def one(values: np.ndarray) -> jax.Array:
        shape = (total, *values.shape[1:])
        part = lambda index: values[(where[index[0]], *index[1:])]  # noqa: E731
        return jax.make_array_from_callback(shape, batch_sharding(mesh, shape), part)

    return {name: one(values) for name, values in batch.items()}


def gather(x: Any) -> np.ndarray:
    """The whole array in each process's memory, moved in parts of at most 256 MiB."""
    if not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    sharding: Any = x.sharding
    spread = [*sharding.spec, *(None,) * (x.ndim - len(sharding.spec))]
    whole = [axis for axis in range(x.ndim) if spread[axis] is None and x.shape[axis] > 1]  # cut without moving
    axis = max(whole, key=lambda axis: x.shape[axis], default=0)
    count = max(1, min(x.shape[axis], PART * x.shape[axis] // max(x.nbytes, 1)))
    out = np.empty(x.shape, x.dtype)
    for start in range(0, x.shape[axis], count):
        size = min(count, x.shape[axis] - start)
        part = _cut(x, start, size, axis, NamedSharding(sharding.mesh, P()))
        out[(slice(None),) * axis + (slice(start, start + size),)] = np.asarray(part)
    return out


@partial(jax.jit, static_argnums=(2, 3, 4))
def _cut(x: jax.Array, start: int, size: int, axis: int, where: NamedSharding) -> jax.Array:
    return jax.lax.with_sharding_constraint(jax.lax.dynamic_slice_in_dim(x, start, size, axis), where)


def gather_to_primary(tree: Any) -> Any:
    """The tree with its arrays in process 0's memory; the others take part and get it with empty arrays."""
    if jax.process_count() == 1:
        return tree

    def one(x: jax.Array) -> np.ndarray:
        whole = gather(x)
        return whole if is_primary() else np.empty((0,), whole.dtype)

    return jax.tree.map(one, tree)


def replicate(x: jax.Array) -> jax.Array:
    """The array whole on every device, so that every process can read it."""
    if jax.process_count() == 1 or x.is_fully_replicated:
        return x
    sharding: Any = x.sharding
    return jax.device_put(x, NamedSharding(sharding.mesh, P()))


def broadcast(number: int) -> int:
    """Process 0's number in [0, 2**31), for all."""
    return int(number) if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def total(number: float) -> float:
    """The sum of all processes' numbers, to seven digits."""
    return (
        float(number)
        if jax.process_count() == 1
        else float(multihost_utils.process_allgather(np.float32(number)).sum())
    )


class StopFlag:
    """Asked once a step by every process: has any of them been told to stop? All get the same answer at the same step.

    With several processes it is that of the step before: waiting for this step's would leave the devices idle.
    JAX's own (``reached_preemption_sync_point``) hears SIGTERM alone, and neither Ctrl-C nor a time that is up.
    """

    def __init__(self, mesh: Mesh):
        self._sharding = NamedSharding(mesh, P(mesh.axis_names))
        self._any = jax.jit(jnp.any, out_shardings=NamedSharding(mesh, P()))
        self._before: jax.Array | None = None

    def __call__(self, told: bool) -> bool:
        """The answer; ``told`` is what this process adds."""
        if jax.process_count() == 1:
            return told
        answer = self._before is not None and bool(self._before)
        count = self._sharding.mesh.size
        flags = jax.make_array_from_callback((count,), self._sharding, lambda index: np.full(count, told)[index])
        self._before = self._any(flags)
        return answer
