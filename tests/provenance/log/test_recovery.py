"""An append that is cut short at any point is there whole or not at all, and nothing is left of it."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provenance import log
from provenance.errors import LogError
from provenance.log.appending import Log
from provenance.log.files import Files
from tests.provenance.log.faults import Died, Dying, PowerLoss, Refusing

# Sizes before and after: the first entry, within a tile, to its end, through it, and through several.
STEPS = [(0, 1), (3, 5), (250, 256), (255, 257), (250, 800)]


def entries(start: int, end: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(start, end)]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory):
    """Logs of several sizes, and a way to have a copy of one."""
    home = tmp_path_factory.mktemp("begun")
    for size in {before for before, _ in STEPS}:
        made = log.create(home / f"{size}", origin="example.com/log")
        for i in range(0, size, 50):
            made.append_many(entries(i, min(size, i + 50)))

    def copy(size: int, target: Path) -> Path:
        shutil.copytree(home / f"{size}", target)
        shutil.copy(log.key_path(home / f"{size}"), log.key_path(target))
        return target

    return copy


def opened(folder: Path, disk: Files) -> Log:
    return Log(folder, log.open_log(folder)._signer, disk)


def operations(copy, before: int, after: int, folder: Path) -> int:
    """How many operations on disk this append takes."""
    copy(before, folder)
    disk = Dying(folder)
    opened(folder, disk).append_many(entries(before, after))
    assert disk.count > 10
    return disk.count


def check(folder: Path, sizes: set[int], since: log.Checkpoint) -> int:
    """The log is one of these sizes, whole, consistent with its past, without leftovers, and goes on."""
    again = log.open_log(folder)
    size = again.size
    assert size in sizes
    found = log.audit(folder, key=again.verifier, since=since)
    assert found.holds, found.findings
    with again.reader() as reader:
        assert list(reader.entries()) == entries(0, size)
    assert os.listdir(folder / ".incoming") == [] and (folder / ".lock").read_bytes() == b""
    for path in leftovers(folder, size):
        raise AssertionError(f"{path} was left in a log of {size}")
    assert again.append_many(entries(size, size + 3)) == range(size, size + 3)
    assert log.audit(folder, key=again.verifier, since=found.checkpoint).holds
    return size


def leftovers(folder: Path, size: int) -> list[str]:
    """Files of tiles that belong to no tree of up to ``size`` entries."""
    found = []
    for path in (folder / "tile").rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            level, index, width = re.fullmatch(r"tile/(\w+)/([x\d/]+)(?:\.p/(\d+))?", name).groups()
            span = 256 ** (0 if level == "entries" else int(level))
            n = int(re.sub("[x/]", "", index))
            if (n * 256 + int(width or 256)) * span > size:
                found.append(name)
    return found


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_the_process_dies_at_every_operation(before: int, after: int, begun, tmp_path: Path) -> None:
    count = operations(begun, before, after, tmp_path / "counted")
    ends = []
    for at in range(count):
        folder = begun(before, tmp_path / f"{at}")
        with log.Reader(folder) as reader:
            since = reader.checkpoint
        with pytest.raises(Died):
            opened(folder, Dying(folder, at)).append_many(entries(before, after))
        assert log.audit(folder, since=since).holds  # for readers too, who do not wait for the repair
        ends.append(check(folder, {before, after}, since))
        full = [path for path in (folder / "tile").rglob("*") if path.is_file() and ".p" not in path.parent.name]
        assert not [path for path in full if Path(f"{path}.p").exists()]  # no partial tile beside the full one
        shutil.rmtree(folder)
    assert ends == sorted(ends) and set(ends) == {before, after}  # undone up to a point, and finished from there on


@pytest.mark.parametrize(("before", "after"), [(3, 5), (250, 800)])
def test_another_process_repairs_what_a_dead_one_left(before: int, after: int, begun, tmp_path: Path) -> None:
    """A process that had opened the log before notices at its next append."""
    count = operations(begun, before, after, tmp_path / "counted")
    for at in range(0, count, 3):
        folder = begun(before, tmp_path / f"{at}")
        witness = log.open_log(folder)
        with pytest.raises(Died):
            opened(folder, Dying(folder, at)).append_many(entries(before, after))
        size = witness.append(b"by another") + 1
        assert size - 1 in (before, after)
        assert leftovers(folder, size) == [] and os.listdir(folder / ".incoming") == []
        assert log.audit(folder, key=witness.verifier).holds
        shutil.rmtree(folder)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (250, 800)])
def test_the_power_goes_at_every_operation(before: int, after: int, begun, tmp_path: Path) -> None:
    """What was not forced to disk is lost, in whole or in part; what had been acknowledged never is."""
    count = operations(begun, before, after, tmp_path / "counted")
    for at in range(count + 1):
        folder = begun(before, tmp_path / f"{at}")
        with log.Reader(folder) as reader:
            since = reader.checkpoint
        disk = PowerLoss(folder, at)
        try:
            opened(folder, disk).append_many(entries(before, after))
            sizes = {after}
        except Died:
            sizes = {before, after}
        for seed in (None, at):
            left = tmp_path / f"left-{at}-{seed}"
            left.mkdir()
            shutil.copy(log.key_path(folder), log.key_path(left))
            disk.remains(left, None if seed is None else random.Random(seed))
            check(left, sizes, since)
            shutil.rmtree(left)
        shutil.rmtree(folder)


@pytest.mark.parametrize("lasting", [False, True])
def test_the_disk_is_full_at_every_operation(lasting: bool, begun, tmp_path: Path) -> None:
    """One clear line, and the log as before. Where only the last move fails, a second try does it, or the line says
    that the entries are signed already and will come."""
    before, after = 250, 260
    count = operations(begun, before, after, tmp_path / "counted")
    refused = 0
    for at in range(count):
        folder = begun(before, tmp_path / f"{at}")
        with log.Reader(folder) as reader:
            since = reader.checkpoint
        disk = Refusing(folder, at, lasting=lasting)
        ledger = opened(folder, disk)
        try:
            assert ledger.append_many(entries(before, after)) == range(before, after)
            size = after
        except LogError as error:
            assert "No space left on device" in str(error) and "\n" not in str(error)
            refused += 1
            size = after if "do not append them again" in str(error) else before
        disk.at = 10**9  # there is room again
        assert ledger.append_many(entries(size, after + 1)) == range(size, after + 1)
        check(folder, {after + 1}, since)
        shutil.rmtree(folder)
    assert refused > count / 2


@pytest.mark.parametrize("fail", [ValueError("no"), KeyboardInterrupt(), ConnectionRefusedError(111, "no key server")])
def test_a_signer_that_fails_leaves_the_log_as_it_was(fail: BaseException, begun, tmp_path: Path) -> None:
    folder = begun(250, tmp_path / "log")
    own = log.open_log(folder)._signer

    def refuse(_: bytes) -> bytes:
        raise fail

    ledger = log.open_log(folder, signer=log.Signer(own.verifier, refuse))
    with pytest.raises(type(fail)) as raised:
        ledger.append_many(entries(250, 600))
    assert raised.value is fail  # not taken for a trouble of the log's disk
    assert ledger.size == 250 and leftovers(folder, 250) == []
    with log.Reader(folder) as reader:
        check(folder, {250}, reader.checkpoint)


def test_a_signed_checkpoint_without_its_tiles_does_not_take_its_place(begun, tmp_path: Path) -> None:
    """No append leaves this behind; a disk that lies about what it has written could."""
    folder = begun(250, tmp_path / "log")
    shutil.copytree(folder, tmp_path / "further")
    shutil.copy(log.key_path(folder), log.key_path(tmp_path / "further"))
    further = log.open_log(tmp_path / "further")
    further.append_many(entries(250, 260))
    (folder / ".incoming" / "checkpoint").write_text(further.checkpoint().signed)
    with log.Reader(folder) as reader:
        check(folder, {250}, reader.checkpoint)


@pytest.mark.parametrize("fail", [ZeroDivisionError(), FileNotFoundError(2, "no such clip")])
def test_an_iterator_that_fails_leaves_the_log_as_it_was(fail: Exception, begun, tmp_path: Path) -> None:
    folder = begun(250, tmp_path / "log")
    ledger = log.open_log(folder)

    def failing():
        yield from entries(250, 700)
        raise fail

    with pytest.raises(type(fail), match=str(fail.args[-1]) if fail.args else None):
        ledger.append_many(failing())
    assert ledger.size == 250 and leftovers(folder, 250) == []
    assert ledger.append_many(entries(250, 300)) == range(250, 300)


APPENDER = """
import sys
from provenance import log
ledger = log.open_log(sys.argv[1])
for i in range(int(sys.argv[3])):
    entries = [f"{sys.argv[2]} {i} {j}".encode() for j in range(1 + 97 * i % 300)]
    print(ledger.append_many(entries)[-1], flush=True)
"""


def appender(folder: Path, name: str, rounds: int) -> subprocess.Popen:
    command = [sys.executable, "-c", APPENDER, str(folder), name, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_processes_lose_nothing_that_they_acknowledged(tmp_path: Path) -> None:
    """SIGKILL, at moments drawn by chance, while another process goes on appending."""
    folder = tmp_path / "log"
    ledger = log.create(folder, origin="example.com/log")
    chance = random.Random(5)
    acknowledged = -1
    since = ledger.checkpoint()
    for round_ in range(6):
        with appender(folder, f"victim {round_}", 10_000) as victim:
            victim.stdout.readline()
            time.sleep(chance.uniform(0, 0.1))
            os.kill(victim.pid, signal.SIGKILL)
            said = victim.stdout.read().split()
        acknowledged = max([acknowledged, *map(int, said[:-1])])
        acknowledged = max(acknowledged, ledger.append(b"survivor"))
        found = log.audit(folder, key=ledger.verifier, since=since)
        assert found.holds and found.checkpoint.size > acknowledged
        since = found.checkpoint
        assert leftovers(folder, since.size) == []


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    ledger = log.create(folder, origin="example.com/log")
    running = [appender(folder, name, 8) for name in ("a", "b", "c")]
    for process in running:
        process.communicate()
        assert process.returncode == 0
    expected = {f"{name} {i} {j}".encode() for name in "abc" for i in range(8) for j in range(1 + 97 * i % 300)}
    with ledger.reader() as reader:
        kept = list(reader.entries())
    assert len(kept) == len(expected) and set(kept) == expected
    assert log.audit(folder, key=ledger.verifier).holds
