"""Work on the machines of a Ray cluster: files are scanned, and clips encoded, by Ray Data.

Ray's own retries are off, as a task whose process always dies was seen to be retried without end. What a lost process,
node or block took along is given out in another round instead, until it is there or two rounds in succession have
brought nothing.
"""

import contextlib
import dataclasses
import logging
import os
import pickle
import socket
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sorajax
from sorajax.errors import InputError, SorajaxError
from sorajax.footage.pools import FELLED, Scan
from sorajax.footage.sources import Source

BLOCKS = 10_000
"""Parts in which work is given out in a round; of more tasks than that several go together."""
FRUITLESS = 2
"""Rounds without a result, one after the other, after which what is left is given up."""


@dataclass(frozen=True)
class Ray:
    """A cluster that was joined, as a pool."""

    workers: int | None = None
    """Processes that scan, or that encode, at most."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What each process that encodes asks for, as in GPU: 1; without any there is one on each node."""

    def scan(
        self, function: Scan, missing: Sequence[tuple[Source, str]]
    ) -> Iterator[tuple[Source, str, dict[str, Any]]]:
        """As ``pools.Pool`` says. Warns of nodes that do not see the files."""
        unseen: dict[str, list[str]] = defaultdict(list)
        tasks = [dataclasses.replace(source, path=source.path.absolute()) for source, _ in missing]
        for number, found in self._results(_Scan(function), tasks):
            record = dict(FELLED) if found is None else found
            if (node := record.pop("unseen", None)) is not None:
                unseen[node].append(str(tasks[number].path))
            yield *missing[number], record
        for node, paths in unseen.items():
            warnings.warn(
                f"node {node} does not see {len(paths)} of the files, the first {paths[0]}; have it see them under the "
                "same path, and run the same command again",
                stacklevel=2,
            )

    def make(self, maker: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """What ``maker`` gives for each task, once, with the task's number, in any order.

        Each process has a copy of the maker for all its tasks, which may keep a model. Raises InputError where the
        maker does, and where a task brings its process down each time.
        """
        given_up = f"a process went down {FRUITLESS} times or more at one task, for want of memory perhaps"
        for number, found in self._results(_Make(maker), tasks, actors=True):
            made, problem = (None, given_up) if found is None else found
            if problem is not None:
                raise InputError(problem)
            yield number, made

    def _results(self, function: Any, tasks: Sequence[Any], *, actors: bool = False) -> Iterator[tuple[int, Any]]:
        """Results by the numbers of their tasks; None is that of a task which is given up."""
        import ray
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        left, fruitless, rounds = dict(enumerate(tasks)), 0, None
        # Ray Data runs in an actor: so it works through Ray Client too, and its log lines stay in the cluster.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor: Any = ray.remote(_Rounds).options(num_cpus=0, scheduling_strategy=here)
        try:
            while left and fruitless < FRUITLESS:
                before, failed = len(left), None
                rows = [{"number": number, "task": pickle.dumps(task)} for number, task in left.items()]
                options = self._places(len(left)) if actors else {"max_retries": 0, "concurrency": self.workers}
                rounds = actor.remote() if rounds is None else rounds
                try:
                    ray.get(rounds.begin.remote(rows, function, options, actors))
                    while (found := ray.get(rounds.more.remote())) is not None:
                        for row in found:
                            if left.pop(row["number"], self) is not self:
                                yield row["number"], pickle.loads(row["result"])
                except RayError as error:  # it was lost itself, or a block with its node
                    ray.kill(rounds)
                    rounds, failed = None, error
                fruitless = 0 if len(left) < before else fruitless + 1
                if fruitless == FRUITLESS and failed is not None:
                    raise InputError(f"Ray Data cannot run: {_line(failed)}; see its logs in the cluster") from None
        finally:
            if rounds is not None:
                ray.kill(rounds)
        for number in left:
            yield number, None

    def _places(self, tasks: int) -> dict[str, Any]:
        """How many processes encode, and what each asks for."""
        import ray
        from ray.data import ActorPoolStrategy

        if self.resources:
            there = ray.cluster_resources()
            places = min(int(there.get(name, 0) // amount) for name, amount in self.resources.items())
        else:
            there = {"nodes": len(_nodes())}
            places = there["nodes"]
        if not places:
            asked, has = (", ".join(f"{name}={x:g}" for name, x in r.items()) for r in (self.resources, there))
            raise InputError(f"no node of the cluster can give {asked}: all of it is {has}; ask for what it has")
        others = {name: x for name, x in self.resources.items() if name not in ("CPU", "GPU")}
        return {
            # One task at a time: a process that is ready early would else keep several for itself.
            "compute": ActorPoolStrategy(
                size=min(places, tasks, self.workers or places), max_tasks_in_flight_per_actor=1
            ),
            "num_cpus": self.resources.get("CPU", 1),
            "max_restarts": 0,
            **({"num_gpus": self.resources["GPU"]} if "GPU" in self.resources else {}),
            **({"resources": others} if others else {}),
        }


@contextlib.contextmanager
def join(address: str, *, workers: int | None = None, resources: Mapping[str, float] | None = None) -> Iterator[Ray]:
    """A cluster by its address: "auto" for the one that this machine is of, HOST:PORT, ray://HOST:PORT, or "local" for
    one of this machine alone, which ends with the block.

    Raises InputError where Ray is not installed, no cluster answers, or a node has another sorajax.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # else all of the folder that one is in is sent to the nodes
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise InputError(f"--ray needs {error.name}, which is missing: pip install 'sorajax[ray]'") from None
    _reach(address)
    own: Any = {"include_dashboard": False} if address == "local" else {}
    quiet: Any = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Whatever the level, Ray prints the loss of a worker; there is no option for it.
    printer: Any = sys.modules["ray._private.worker"]
    printed, printer._worker_logs_enabled = printer._worker_logs_enabled, False
    try:
        try:
            ray.init(address, **own, **quiet)
        except (ConnectionError, ImportError, RuntimeError, ValueError, OSError) as error:
            reason = _line(error).partition(". ")[0]
            remedy = CLIENT if address.startswith("ray://") else START
            raise InputError(f"--ray {address}: {reason}; {remedy}") from None
        try:
            _check()
            yield Ray(workers, resources or {})
        finally:
            ray.shutdown()
    finally:
        printer._worker_logs_enabled = printed


START = "start a cluster with ray start --head and name it, or say --ray local"
CLIENT = "Ray Client needs pip install 'ray[client]', and RAY_AUTH_MODE=token where the cluster asks for a token"


def _reach(address: str) -> None:
    """Ray itself tries for half a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        if address in ("auto", "local"):
            return
        raise InputError(f"--ray {address} is no address; give auto, local, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--ray {address}: nothing answers there ({reason}); {START}") from None


def _check() -> None:
    """Raises InputError that names a node without this sorajax."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked: Any = ray.remote(_version)
    answers = []
    for node in _nodes():
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers.append((node, asked.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()))
    for node, answer in answers:
        try:
            version = ray.get(answer)
        except RayError as error:
            raise InputError(
                f"node {node['NodeManagerAddress']} cannot run sorajax ({_line(error)}); install sorajax[data,ray] "
                f"{sorajax.__version__} on each node"
            ) from None
        if version != sorajax.__version__:
            raise InputError(
                f"node {node['NodeManagerAddress']} has sorajax {version}, this machine {sorajax.__version__}; install "
                "the same on each node"
            )


def _version() -> str:
    from sorajax.footage import scan  # noqa: F401 - what scanning needs is there

    return sorajax.__version__


def _nodes() -> list[dict[str, Any]]:
    """Those that are up and take work."""
    import ray

    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _line(error: BaseException) -> str:
    """The last line of an error, which says what it is; those above are where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


class _Rounds:
    """An actor in which Ray Data gives tasks out and collects results."""

    def begin(self, rows: list[dict[str, Any]], function: Any, options: dict[str, Any], actors: bool) -> None:
        """With other tasks, or those that are left."""
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # those of lost processes
        data: Any = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS))
        if actors:
            found = data.map(_Copy, fn_constructor_args=(function,), **options)
        else:
            found = data.map(_run, fn_args=(function,), **options)
        self.found = iter(found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))

    def more(self) -> list[dict[str, Any]] | None:
        """Results that have come, or None after the last."""
        table = next(self.found, None)
        return None if table is None else table.to_pylist()


class _Copy:
    """A process's copy of what makes results."""

    def __init__(self, function: Any):
        self.function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return _run(row, self.function)


def _run(row: dict[str, Any], function: Any) -> dict[str, Any]:
    return {"number": row["number"], "result": pickle.dumps(function(pickle.loads(row["task"])))}


@dataclass(frozen=True)
class _Scan:
    function: Scan

    def __call__(self, source: Source) -> dict[str, Any]:
        if os.path.exists(source.path):
            return self.function(source)
        node = node_name()
        return {"problem": f"{source.path} is not there on node {node}", "passing": True, "unseen": node}


@dataclass(frozen=True)
class _Make:
    maker: Callable[[Any], Any]

    def __call__(self, task: Any) -> tuple[Any, str | None]:
        try:
            return self.maker(task), None
        except Exception as error:  # as a result: an error of Ray Data's would be taken for a lost process
            said = str(error) if isinstance(error, SorajaxError) else f"{type(error).__name__}: {_line(error)}"
            return None, f"node {node_name()}: {said}"


def node_name() -> str:
    """The address of the node that this runs on."""
    import ray.util

    return ray.util.get_node_ip_address()
