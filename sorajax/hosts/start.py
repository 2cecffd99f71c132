"""Joining the processes of a job: by flags, by environment, or as the cluster says."""

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping

from sorajax.errors import HostsError, SorajaxError
from sorajax.hosts import links
from sorajax.hosts.clusters import cluster
from sorajax.hosts.links import Links

LIMIT = 300.0
"""Seconds for all processes to come; ``SORAJAX_START_SECONDS`` sets another number."""
LINK_LIMIT = 20.0
"""Seconds for the links of processes that a cluster's own means have brought together already."""
NAMES = {"coordinator": "SORAJAX_COORDINATOR", "processes": "SORAJAX_PROCESSES", "process": "SORAJAX_PROCESS"}


@contextlib.contextmanager
def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Links | None]:
    """Make this process one of ``processes``, before the first JAX computation; leaves them at the end.

    coordinator is HOST:PORT of process 0, as the others reach it; process counts from 0. What is not given is read
    from SORAJAX_COORDINATOR, SORAJAX_PROCESSES and SORAJAX_PROCESS, and if nothing is there, from the cluster (Slurm,
    GKE, a TPU pod, Kubernetes). A process that is alone is left as it is, and None is given.

    While it is open, a process that dies or is cut off ends all others: one line on stderr names it, exit code 1. An
    error that leaves the context ends the others too, with its message. Raises HostsError.
    """
    given = _given(coordinator, processes, process, environment)
    if given is None and cluster(environment) is None:
        yield None
        return
    joined = _by_cluster(_limit(environment)) if given is None else _by_hand(*given, _limit(environment))
    joined.watch()
    try:
        yield joined
    except BaseException as error:
        if not isinstance(error, SorajaxError | KeyboardInterrupt):
            time.sleep(links.GRACE)  # a collective may have failed because a peer is lost: the watch then ends us
        lines = str(error).strip().splitlines() or [type(error).__name__]
        joined.leave("interrupted" if isinstance(error, KeyboardInterrupt) else lines[0])
        atexit.register(links.exit_now, 1)  # else JAX waits at exit for the processes that this one has ended
        raise
    import jax

    jax.distributed.shutdown()  # waits until all have come here
    joined.leave()


def _given(
    coordinator: str | None, processes: int | None, process: int | None, environment: Mapping[str, str]
) -> tuple[str, int, int, int] | None:
    """Host, port, number of processes and own number, or None if nothing is given. Flags go before variables."""
    values: dict[str, str | int | None] = {"coordinator": coordinator, "processes": processes, "process": process}
    values = {k: environment.get(NAMES[k]) or None if v is None else v for k, v in values.items()}
    absent = [f"--{name} (or {NAMES[name]})" for name, value in values.items() if value is None]
    if len(absent) == len(values):
        return None
    if absent:
        raise HostsError(f"{' and '.join(absent)} is missing; several processes need all three of {_flags()}")
    try:
        count, number = int(str(values["processes"])), int(str(values["process"]))
    except ValueError:
        raise HostsError(
            f"processes {values['processes']!r} and process {values['process']!r} have to be numbers"
        ) from None
    if count < 1:
        raise HostsError(f"--processes {count} is too small; it is the number of all processes, at least 1")
    if not 0 <= number < count:
        raise HostsError(f"--process {number} is out of range; of {count} processes it is 0 to {count - 1}")
    host, colon, port = str(values["coordinator"]).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise HostsError(f"--coordinator {values['coordinator']!r} is not HOST:PORT, for example 10.0.0.2:8476")
    return host, int(port), count, number


def _flags() -> str:
    return ", ".join(f"--{name}" for name in NAMES)


def _limit(environment: Mapping[str, str]) -> float:
    text = environment.get("SORAJAX_START_SECONDS", str(LIMIT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise HostsError(f"SORAJAX_START_SECONDS is {text!r}; it is a number of seconds above 0")
    return seconds


def _by_hand(host: str, port: int, processes: int, process: int, limit: float) -> Links:
    """All meet at the coordinator's port; there they learn the port on which JAX coordinates them.

    Not on JAX's own port at once, since JAX aborts with a stack trace if somebody does not come.
    """
    if process == 0:
        listener = links.listen(host, port)
        with links.listen(host, 0) as free:
            chosen = free.getsockname()[1]
        found = links.accept_all(listener, processes, limit=limit, answer={"port": chosen, "name": links.own_name()})
    else:
        found, answer = links.connect(host, port, processes, process, limit=limit)
        chosen = answer["port"]
    bracketed = f"[{host}]" if ":" in host else host
    address = f"{bracketed}:{chosen}"
    loopback = host in ("localhost", "::1") or host.startswith("127.")
    _initialize(
        coordinator_address=address,
        num_processes=processes,
        process_id=process,
        cluster_detection_method="deactivate",
        initialization_timeout=max(int(limit), 10),
        **({"coordinator_bind_address": address} if loopback else {}),
    )
    return found


def _by_cluster(limit: float) -> Links:
    """JAX brings the processes together by its knowledge of the cluster; then they are linked.

    Where a network lets JAX's port through and no other, there are no links, and JAX's heartbeats remain: a lost
    process then ends the others after 100 seconds, with JAX's own message.
    """
    _initialize(initialization_timeout=max(int(limit), 10))
    import jax
    import numpy as np
    from jax._src.distributed import global_state  # the one place that knows by which name all reached process 0
    from jax.experimental import multihost_utils

    processes, process = jax.process_count(), jax.process_index()
    host = str(global_state.coordinator_address).rpartition(":")[0].removeprefix("[").removesuffix("]")
    listener = links.listen(host, 0) if process == 0 else None
    port = int(multihost_utils.broadcast_one_to_all(np.int32(listener.getsockname()[1] if listener else 0)))
    try:
        if listener is not None:
            return links.accept_all(listener, processes, limit=LINK_LIMIT, answer={"name": links.own_name()})
        return links.connect(host, port, processes, process, limit=LINK_LIMIT)[0]
    except HostsError as error:
        print(f"sorajax: {error}; a lost process will be noticed by JAX alone, after 100 s", file=sys.stderr)
        return Links(process, [])


def _initialize(**options: object) -> None:
    """``jax.distributed.initialize``, and what a user may see of its failures in a line."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(**options)  # pyright: ignore[reportArgumentType] - the callers' keywords
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HostsError(f"JAX could not join the processes on {socket.gethostname()} ({reason})") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # JAX has taken it, and would swallow it
