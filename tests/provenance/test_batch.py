"""A process that dies, hangs or eats memory takes its item down and nothing else."""

import contextlib
import multiprocessing
import os
import signal
import time

import pytest

from provenance import batch
from provenance.errors import InputError


def act(what: str) -> str:
    """Be the kind of item that it is called."""
    match what:
        case "hangs":
            time.sleep(1000)
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "ends":
            os._exit(7)
        case "raises":
            raise ZeroDivisionError("oh")
        case "grows":
            return str(len(bytes(400 << 20)))
        case "talks":
            os.write(1, b"\x1b[2J")
            os.write(2, b"\x1b[2J")
        case "asks amiss":
            raise InputError("no such trust list; check the path")
    return what.upper()


def outcomes(items: list[str], **options) -> list:
    return [outcome for _, outcome in batch.run(act, items, **({"jobs": 2, "timeout": 5.0} | options))]


def test_the_rest_goes_on_in_order_and_each_failure_says_why() -> None:
    items = ["a", "crashes", "b", "hangs", "c", "ends", "d", "raises", "e"]
    found = outcomes(items)
    assert [o for o in found if isinstance(o, str)] == ["A", "B", "C", "D", "E"]
    assert [isinstance(o, batch.Failed) for o in found] == [len(item) > 1 for item in items]
    reasons = [o.reason for o in found if isinstance(o, batch.Failed)]
    assert reasons == [
        "checking it broke down (SIGSEGV)",
        "checking it took longer than 5 s, so it was stopped",
        "checking it broke down (exit code 7)",
        "checking it failed (ZeroDivisionError)",
    ]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is limited on Linux only")
def test_memory_is_limited_beyond_what_a_process_starts_with() -> None:
    found = outcomes(["grows", "a"], jobs=1, memory=300 << 20)
    assert found == [batch.Failed("checking it needs more than 300 MB, so it was stopped"), "A"]
    assert outcomes(["grows"], jobs=1, memory=500 << 20) == [str(400 << 20)]


def test_results_come_as_they_are_ready_when_order_does_not_matter() -> None:
    found = list(batch.run(act, ["hangs", *"abcdef"], jobs=2, timeout=3.0, ordered=False))
    assert found[-1][0] == 0 and sorted(number for number, _ in found) == list(range(7))


def test_a_wrong_call_ends_the_run_with_its_error() -> None:
    with pytest.raises(InputError, match="no such trust list"):
        outcomes(["a", "asks amiss", "hangs"])
    assert multiprocessing.active_children() == []


def test_nothing_is_left_when_the_reader_goes_away() -> None:
    with contextlib.closing(batch.run(act, ["a", "hangs", "hangs"], jobs=3)) as found:
        assert next(found) == (0, "A")
    assert multiprocessing.active_children() == []


def test_what_libraries_print_does_not_reach_the_terminal(capfd) -> None:
    assert outcomes(["talks"], jobs=1) == ["TALKS"]
    assert capfd.readouterr() == ("", "")


def test_processes_are_replaced_before_they_grow_old(monkeypatch) -> None:
    monkeypatch.setattr(batch, "_SERVES", 2)
    pids = [outcome for _, outcome in batch.run(_pid, range(6), jobs=1)]
    assert len(set(pids)) == 3


def _pid(_: int) -> int:
    return os.getpid()


def test_no_items_start_no_process() -> None:
    assert outcomes([]) == []


def test_ctrl_c_is_not_forgotten_when_python_drops_it() -> None:
    """As it does when the signal comes while a finalizer runs."""
    with contextlib.closing(batch.run(act, ["a"] * 50, jobs=1)) as running:
        next(running)
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        with pytest.raises(KeyboardInterrupt):
            list(running)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
