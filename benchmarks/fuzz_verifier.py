"""Does the verifier survive what it is given? Verifies mutants of signed clips, and prints a table.

    PYTHONPATH=. python benchmarks/fuzz_verifier.py --count 50000 --jobs 2

Each mutant is made from its number, so a finding can be made again: --only NUMBER. Mutants are verified in processes
that may take 10 s and 1 GB each. The search for a watermark is left out: it looks at decoded pictures only, takes most
of the time, and cannot make a verdict better. Reading, C2PA and decoding are what runs otherwise.

A mutant must not verify, unless only what C2PA leaves unhashed or unsigned was changed: then every other box must be
the original's, its pictures and sound must decode to the same, and the report must say the same.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

import provenance
from benchmarks import fuzz_mutants
from provenance import batch, watermark

TIMEOUT, MEMORY = 10.0, 1 << 30
HOLDS = ("authentic", "untrusted")


class Blind:
    """A detector that looks at nothing."""

    def __init__(self, key: bytes | None = None):
        pass

    def add(self, frame: Any) -> None:
        pass

    def result(self, thorough: bool = True) -> watermark.Detection:
        return watermark.NOTHING


@dataclass(frozen=True)
class Outcome:
    kind: str
    status: str
    unjustified: str | None = None
    """Why a mutant that verifies should not."""
    memory: int = 0
    """Bytes that the process held at its most."""


@dataclass(frozen=True)
class Fuzz:
    """Make and verify the mutant of a number."""

    seeds: tuple[str, ...]
    """Signed clips."""

    def __call__(self, number: int) -> Outcome:
        watermark.Detector = Blind
        original = Path(self.seeds[number % len(self.seeds)])
        kind, data = fuzz_mutants.mutant(original.read_bytes(), number)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mutant.mp4"
            path.write_bytes(data)
            report = provenance.verify(path)
            report.to_text(), report.to_json()
            unjustified = None
            if report.status in HOLDS:
                unjustified = why_not(original, path, provenance.verify(original), report)
        return Outcome(kind, report.status, unjustified, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)


def why_not(original: Path, mutant: Path, before: provenance.Report, after: provenance.Report) -> str | None:
    """What speaks against a mutant that verifies; None if nothing does."""
    if before.manifest != after.manifest or before.status != after.status:
        return "the report says something else"
    if _hashed(original) != _hashed(mutant):
        return "a box that is hashed was changed"
    if decoded(original) != decoded(mutant):
        return "pictures or sound decode to something else"
    return None


def _hashed(path: Path) -> list[bytes]:
    """The boxes that C2PA hashes."""
    data, boxes = path.read_bytes(), []
    with path.open("rb") as file:
        for kind, at, size in provenance.video.boxes(file):
            if kind not in fuzz_mutants.UNHASHED and fuzz_mutants.C2PA_UUID not in data[at : at + 32]:
                boxes.append(data[at : at + size])
    return boxes


def decoded(path: Path) -> str:
    """SHA-256 over every picture and sound, with their times."""
    digest = hashlib.sha256()
    with path.open("rb") as file, av.open(file, format="mov") as media:
        for frame in media.decode():
            digest.update(f"{type(frame).__name__} {frame.pts}".encode() + frame.to_ndarray().tobytes())
    return digest.hexdigest()


def clip() -> bytes:
    """A small H.264 clip with sound."""
    y, x = np.mgrid[0:64, 0:64]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        video = out.add_stream("libx264", rate=8, options={"crf": "28", "preset": "veryfast", "threads": "1"})
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        voice = out.add_stream("aac", rate=16000)
        for t in range(4):
            rgb = np.stack([(x * 3 + t * 9) % 256, (y * 2 + t * 30) % 256, (x + y) % 256], -1).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        samples = np.rint(3000 * np.sin(np.arange(8192) / 9)).astype(np.int16)
        for start in range(0, len(samples), 1024):
            sound = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
            sound.rate, sound.pts = 16000, start
            out.mux(voice.encode(sound))
        out.mux(voice.encode())
        out.mux(video.encode())
    return buffer.getvalue()


def seeds(folder: Path) -> tuple[str, ...]:
    """Signed clips: one as it is, one that says it was generated."""
    (folder / "clip.mp4").write_bytes(clip())
    facts = provenance.Facts(
        title="a clip", model_name="mini", model_digest="sha256:0", prompt="a dog", seed=1, payload=None, settings={},
        generator_version="0",
    )  # fmt: skip
    detector, watermark.Detector = watermark.Detector, Blind
    try:
        provenance.sign(folder / "clip.mp4", folder / "as it is.mp4", overwrite=True)
        provenance.sign(folder / "clip.mp4", folder / "generated.mp4", facts=facts, overwrite=True)
    finally:
        watermark.Detector = detector
    return str(folder / "as it is.mp4"), str(folder / "generated.mp4")


def table(outcomes: Counter) -> str:
    """Markdown: mutants by kind and status."""
    columns = [status for status in provenance.report.EXIT_CODES if any(s == status for _, s in outcomes)]
    columns += sorted({status for _, status in outcomes} - set(columns))
    lines = ["| mutation | " + " | ".join(columns) + " |", "|-|" + "-:|" * len(columns)]
    for kind in fuzz_mutants.MUTATIONS:
        lines.append(f"| {kind} | " + " | ".join(f"{outcomes[kind, status]:,}" for status in columns) + " |")
    sums = [sum(n for (_, s), n in outcomes.items() if s == status) for status in columns]
    return "\n".join([*lines, "| all | " + " | ".join(f"{n:,}" for n in sums) + " |"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--start", type=int, default=0, help="the first mutant's number")
    parser.add_argument("--only", type=int, help="say what one mutant is, and keep it as mutant.mp4")
    parser.add_argument("--jobs", type=int, default=batch.default_jobs())
    parser.add_argument("--json", help="write the counts here too")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SORAJAX_KEYS"] = f"{folder}/keys"
        fuzz = Fuzz(seeds(Path(folder)))
        if arguments.only is not None:
            original = Path(fuzz.seeds[arguments.only % len(fuzz.seeds)])
            Path("mutant.mp4").write_bytes(fuzz_mutants.mutant(original.read_bytes(), arguments.only)[1])
            print(fuzz(arguments.only))
            print(provenance.verify("mutant.mp4").to_text())
            return 0
        return _run(fuzz, arguments)


def _run(fuzz: Fuzz, arguments: argparse.Namespace) -> int:
    numbers = range(arguments.start, arguments.start + arguments.count)
    outcomes: Counter = Counter()
    bad, highest = [], 0
    results = batch.run(fuzz, numbers, jobs=arguments.jobs, timeout=TIMEOUT, memory=MEMORY, ordered=False)
    for done, (number, outcome) in enumerate(results, 1):
        if isinstance(outcome, batch.Failed):
            kind = fuzz_mutants.mutant(Path(fuzz.seeds[numbers[number] % 2]).read_bytes(), numbers[number])[0]
            bad.append((numbers[number], kind, outcome.reason))
            outcomes[kind, "FAILED"] += 1
        else:
            outcomes[outcome.kind, outcome.status] += 1
            highest = max(highest, outcome.memory)
            if outcome.unjustified:
                bad.append((numbers[number], outcome.kind, outcome.unjustified))
        if done % 1000 == 0:
            _save(arguments.json, done, bad, highest, outcomes)
            print(f"{done:,} of {arguments.count:,}, {len(bad)} bad", file=sys.stderr, flush=True)
    print(table(outcomes))
    held = sum(n for (_, status), n in outcomes.items() if status in HOLDS)
    failed = sum(n for (_, status), n in outcomes.items() if status == "FAILED")
    print(f"\n{arguments.count:,} mutants; {held:,} verify, {len(bad) - failed} of them without justification.")
    print(
        f"Crashes, hangs over {TIMEOUT:g} s, memory over 1 GB: {failed}. Most memory of a process: {highest >> 20} MB"
    )
    for number, kind, reason in bad:
        print(f"  {number} ({kind}): {reason}")
    _save(arguments.json, arguments.count, bad, highest, outcomes)
    return 1 if bad else 0


def _save(path: str | None, count: int, bad: list, highest: int, outcomes: Counter) -> None:
    if path:
        counts = [[*key, n] for key, n in outcomes.items()]
        Path(path).write_text(json.dumps({"count": count, "bad": bad, "memory": highest, "outcomes": counts}))


if __name__ == "__main__":
    sys.exit(main())
