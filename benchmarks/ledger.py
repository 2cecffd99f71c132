"""How fast is the ledger, and how much memory does it take? Appends, proves and audits; prints one table.

    python benchmarks/ledger.py [--entries N] [--batch N] [--folder FOLDER]

Entries are 300 bytes drawn by chance. Every append ends with a signed checkpoint forced to disk, so the rates of single
appends and of batches say as much of the disk under FOLDER (a new folder in it is used, and deleted) as of the code.
Memory is the most that the process had resident at any time, Python and libraries included.
"""

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from provenance import log

ENTRY_BYTES = 300
SINGLES = 200
PROOFS = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the ledger.")
    parser.add_argument("--entries", type=int, default=1_000_000, metavar="N", help="default 1,000,000")
    parser.add_argument("--batch", type=int, default=1000, metavar="N", help="entries under one checkpoint")
    parser.add_argument("--folder", type=Path, help="where to make the log; default: the folder for temporary files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = list(_measure(Path(folder) / "log", arguments.entries, arguments.batch))
    print(f"| {arguments.entries:,} entries of {ENTRY_BYTES} bytes | measured |\n|---|---|")
    for what, measured in rows:
        print(f"| {what} | {measured} |")


def _measure(folder: Path, count: int, batch: int) -> Iterator[tuple[str, str]]:
    chance = random.Random(1)
    ledger = log.create(folder, origin="example.com/benchmark")
    started = time.perf_counter()
    for start in range(0, count, batch):
        ledger.append_many(chance.randbytes(ENTRY_BYTES) for _ in range(min(batch, count - start)))
        _progress("appending", start + batch, count)
    seconds = time.perf_counter() - started
    yield f"append, {batch} entries a checkpoint", f"{count / seconds:,.0f} entries a second"
    yield "memory after appending", _memory()
    early = ledger.checkpoint()
    seconds = _seconds(lambda: ledger.append(chance.randbytes(ENTRY_BYTES)), SINGLES)
    yield "append, one entry a checkpoint", f"{1 / seconds:,.0f} entries a second"
    with ledger.reader() as reader:
        picked = {index: reader.entry(index) for index in (chance.randrange(count) for _ in range(PROOFS))}
    proofs = {}
    times = []
    for index in picked:
        started = time.perf_counter()
        proofs[index] = ledger.prove(index)
        times.append(time.perf_counter() - started)
    yield "prove one entry, the log opened each time", _spread(times)
    times = []
    for index, entry in picked.items():
        started = time.perf_counter()
        log.verify_inclusion(entry, proofs[index], ledger.verifier)
        times.append(time.perf_counter() - started)
    yield "verify a proof", _spread(times)
    yield "length of a proof", f"{statistics.mean(len(proof.to_text()) for proof in proofs.values()):,.0f} bytes"
    yield "prove consistency", f"{1e3 * _seconds(lambda: ledger.consistency(chance.randrange(1, count)), 100):.1f} ms"
    last = next(reversed(picked.values()))
    with ledger.reader() as reader:
        yield "find the place of an entry", f"{_seconds(lambda: reader.find(last), 1):.2f} s"
    started = time.perf_counter()
    log.open_log(folder)
    yield "open, leftovers looked for", f"{1e3 * (time.perf_counter() - started):.0f} ms"
    started = time.perf_counter()
    found = log.audit(folder, key=ledger.verifier, since=early, progress=lambda *step: _progress("auditing", *step))
    assert found.holds, found.findings
    yield "audit everything, from the folder", f"{time.perf_counter() - started:.1f} s"
    yield "memory after the audit", _memory()
    files = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    hashes = sum(files) - (count + SINGLES) * (ENTRY_BYTES + 2)
    yield (
        "on disk",
        f"{sum(files) / 1e6:,.0f} MB in {len(files):,} files; {hashes / count:.0f} bytes an entry are hashes",
    )


def _seconds(call: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times


def _spread(times: list[float]) -> str:
    times = sorted(1e3 * seconds for seconds in times)
    return f"{statistics.median(times):.2f} ms; 99 of 100 within {times[len(times) * 99 // 100]:.2f} ms"


def _memory() -> str:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{most / (1 << 20 if sys.platform == 'darwin' else 1 << 10):.0f} MiB"


def _progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what} {done:,} of {total:,}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
