"""One function over many items, each in a process that can be killed. What a hostile file does to the process that
reads it, it does to no other: the run goes on.

    for number, outcome in run(check, paths, jobs=8): ...     # outcome: what check returned, or Failed

Processes are started anew by the *spawn* method, so they inherit no lock and no thread, and serve several items each.
They write nothing to the terminal, and end by themselves should the process that started them be gone.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from provenance.errors import ProvenanceError

Item = TypeVar("Item")
Result = TypeVar("Result")

TIMEOUT = 60.0
"""Seconds for one item."""
MEMORY = 1 << 30
"""Bytes that a process may take beyond what it has when it starts."""

_SERVES = 100
"""Items until a process is replaced: what leaks in it stays small."""
_GRACE = 5.0
_START = 120.0
"""Seconds to start in, on a busy machine."""


@dataclass(frozen=True)
class Failed:
    """An item without a result; ``reason`` is one line that says why."""

    reason: str


def default_jobs() -> int:
    """As many as this process may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    check: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
    ordered: bool = True,
) -> Generator[tuple[int, Result | Failed], None, None]:
    """Call ``check`` for each item in ``jobs`` processes.

    Args:
        check: a function that can be pickled.
        items: what it is called with.
        jobs: how many processes, at least 1.
        timeout: seconds for one item; a process that takes longer is killed.
        memory: bytes for one process beyond what it has at the start, where the system can limit it (Linux).
        ordered: results in the order of the items, or else as they come.

    Yields:
        (number of the item from 0, its result or ``Failed``). Closing the iterator kills what still runs.

    Raises:
        ProvenanceError: one that ``check`` raised: it is about how it was called, not about the item.
        RuntimeError: processes cannot be started.
    """
    waiting: dict[int, Result | Failed] = {}
    following = 0
    with contextlib.closing(_outcomes(check, items, jobs, timeout, memory)) as outcomes:
        for number, outcome in outcomes:
            if not ordered:
                yield number, outcome
                continue
            waiting[number] = outcome
            while following in waiting:
                yield following, waiting.pop(following)
                following += 1


def _outcomes(
    check: Callable, items: Sequence, jobs: int, timeout: float, memory: int
) -> Generator[tuple[int, Any], None, None]:
    """As they come."""
    tasks = deque(enumerate(items))
    workers: list[_Worker] = []
    noted = _Interruption()
    try:
        while True:
            noted.check()
            busy = [w for w in workers if w.number is not None]
            workers += [
                _Worker(check, timeout, memory) for _ in range(min(jobs, len(busy) + len(tasks)) - len(workers))
            ]
            if not tasks and not busy:
                return
            soonest = min(worker.deadline for worker in workers)
            ready = wait([worker.pipe for worker in workers], timeout=max(0.0, soonest - time.monotonic()))
            for worker in list(workers):
                number = worker.number
                if worker.pipe in ready:
                    outcome = worker.collect()
                elif worker.deadline <= time.monotonic():
                    worker.kill()
                    outcome = Failed(f"checking it took longer than {timeout:g} s, so it was stopped")
                else:
                    continue
                if number is not None:
                    yield number, outcome
                elif not worker.alive:
                    raise RuntimeError(f"a process to check files in cannot be started: {outcome.reason}")
                if worker.alive and worker.serves > 0 and tasks:
                    worker.give(*tasks.popleft(), timeout)
                else:
                    worker.kill()
                    workers.remove(worker)
    finally:
        noted.close()
        for worker in workers:
            worker.kill()


class _Interruption:
    """Remembers Ctrl-C. Python drops the exception when it happens to come in a finalizer: nobody would stop."""

    def __init__(self) -> None:
        self._seen = False
        self._before: Any = None
        # Only the main thread may handle signals, and a handler that is not Python's own knows what it wants.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            with contextlib.suppress(ValueError):
                self._before = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, *_: object) -> None:
        self._seen = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self._seen:
            raise KeyboardInterrupt

    def close(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


class _Worker:
    """One process, as its starter sees it. Its first message says that it is ready."""

    def __init__(self, check: Callable, timeout: float, memory: int):
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, check, timeout, memory), daemon=True)
        with _uninterrupted():
            self._process.start()
        theirs.close()
        self._memory = memory
        self.number: int | None = None
        self.deadline = time.monotonic() + _START
        self.serves = _SERVES
        self.alive = True

    def give(self, number: int, item: Any, timeout: float) -> None:
        # One that died meanwhile says so when its answer is collected.
        with contextlib.suppress(OSError):
            self.pipe.send(item)
        self.number, self.deadline = number, time.monotonic() + timeout
        self.serves -= 1

    def collect(self) -> Any:
        """Its answer, or why there is none.

        Raises:
            ProvenanceError: what the check raised.
        """
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self._process.join(_GRACE)
            outcome = Failed(_cause(self._process.exitcode, self._memory))
            self.kill()
        self.number = None
        if isinstance(outcome, ProvenanceError):
            raise outcome
        return outcome

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            self._process.kill()
            self._process.join()
            self._process.close()
            self.pipe.close()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits; what is started meanwhile inherits that, and is not hit before it is ready to ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cause(exitcode: int | None, memory: int) -> str:
    """Why a process ended unasked, in a line."""
    if exitcode is not None and exitcode < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-exitcode).name
            # An allocation that fails ends in abort; the system's own memory guard kills.
            perhaps = f", perhaps for want of more than {memory >> 20} MB" if name in ("SIGABRT", "SIGKILL") else ""
            return f"checking it broke down ({name}{perhaps})"
    return f"checking it broke down (exit code {exitcode})"


def _serve(pipe: Connection, check: Callable[[Any], Any], timeout: float, memory: int) -> None:
    """What the process does: answer until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's to handle
    _hush()
    _limit(memory)
    pipe.send(None)
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        _die_after(timeout + _GRACE)
        try:
            outcome = check(item)
        except ProvenanceError as error:
            outcome = error
        except MemoryError:
            outcome = Failed(f"checking it needs more than {memory >> 20} MB, so it was stopped")
        except Exception as error:
            outcome = Failed(f"checking it failed ({type(error).__name__})")
        _die_after(0)
        pipe.send(outcome)


def _hush() -> None:
    """Libraries that complain on their own do so to nobody."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _die_after(seconds: float) -> None:
    """End the process then, come what may, for the one that would kill it may be gone; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit(memory: int) -> None:
    """Cap what may be allocated. Counts writable memory, not addresses: libraries and threads reserve many of those."""
    try:
        import resource

        with open("/proc/self/status") as file:
            has = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        cap = has + memory if hard == resource.RLIM_INFINITY else min(has + memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))
    except (ImportError, OSError, ValueError, StopIteration):
        pass  # not Linux
