"""From a stripped copy back to its credentials: how often, after what, and how long does it take?

    python benchmarks/provenance_recovery.py [--clips GLOB] [--attacks GLOB] [--jobs 2]

Each clip of ``watermark_clips.py`` is marked, signed and registered. Copies are made by the attacks of
``provenance.attacks`` and written to mp4, which strips the credentials, and ``provenance.verify`` is asked about each.
Right is the status ``recovered`` with the manifest of that very clip; wrong would be another one's. Times: signing,
with and without registration, and verifying, of 5 s at 1280x720.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import watermark_clips as clips
import watermark_measure as measure
from tqdm import tqdm

import provenance
from provenance import watermark
from provenance.attacks import ATTACKS
from sorajax.media.video import write_mp4

_LENIENT = 14  # crf of what an attack leaves, so that the attack and not the file is measured


def main() -> None:
    """Sign, attack, ask, print."""
    parser = argparse.ArgumentParser(description="Measure how often stripped copies are led back to their credentials.")
    parser.add_argument("--folder", type=Path, default=clips.FOLDER, help="where clips are kept")
    parser.add_argument("--clips", default="*", help="names to take, as a pattern")
    parser.add_argument("--attacks", default="*", help="names to take, as a pattern")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    measure.quiet_threads()
    found = {n: c for n, c in clips.load(arguments.folder, "large").items() if fnmatch(n, arguments.clips)}
    attacks = [name for name in ATTACKS if fnmatch(name, arguments.attacks)]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SORAJAX_KEYS"] = str(Path(scratch) / "keys")
        registry = Path(scratch) / "registry"
        for name, (file, fps, _) in tqdm(found.items(), desc="signing"):
            _signed(Path(scratch), name, np.load(file), fps, registry)
        tasks = [(a, n, f, fps, scratch) for a in attacks for n, (f, fps, _) in found.items()]
        with multiprocessing.get_context("spawn").Pool(arguments.jobs, maxtasksperchild=16) as pool:
            answers = list(tqdm(pool.imap_unordered(_asked, tasks), total=len(tasks), desc="asking"))
        _print(attacks, len(found), answers)
        _times(Path(scratch), registry)


def _signed(scratch: Path, name: str, frames: np.ndarray, fps: float, registry: Path) -> Path:
    payload = measure.payload_of(name)
    bare, path = scratch / f"{name}-bare.mp4", scratch / f"{name}.mp4"
    write_mp4(bare, watermark.embed(_even(frames), payload), fps)
    facts = provenance.Facts(title=name, model_name="none", model_digest="", seed=0, payload=payload)
    provenance.sign(bare, path, facts=facts, registry=registry)
    return path


def _asked(task: tuple[str, str, Path, float, str]) -> tuple[str, str]:
    """The attack, and what came of it: recovered, wrong, or the status."""
    attack, name, file, fps, scratch = task
    marked = watermark.embed(_even(np.load(file)), measure.payload_of(name))
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "copy.mp4"
        write_mp4(path, _even(ATTACKS[attack].apply(marked, fps)), fps, crf=_LENIENT)
        report = provenance.verify(path, registry=Path(scratch) / "registry")
    if report.recovered is None:
        return attack, report.status
    right = report.recovered.manifest["title"] == name
    return attack, f"recovered by {report.recovered.basis}" if right else "wrong"


def _even(frames: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2])


def _print(attacks: list[str], clips_in_all: int, answers: list[tuple[str, str]]) -> None:
    counts = Counter(answers)
    print(f"\n| attack | of {clips_in_all}: by watermark | by likeness | not found | wrong |\n|---|---|---|---|---|")
    total = Counter()
    for attack in attacks:
        row = Counter({what: counts[attack, what] for _, what in counts})
        total += row
        print(_row(attack, row))
    print(_row("all", total))


def _row(name: str, row: Counter) -> str:
    led = [row["recovered by watermark"], row["recovered by likeness"]]
    lost = sum(row.values()) - sum(led) - row["wrong"]
    return f"| {name} | {led[0]} | {led[1]} | {lost} | {row['wrong']} |"


def _times(scratch: Path, registry: Path) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (1, 45, 80, 3), np.uint8).repeat(16, 1).repeat(16, 2)
    frames = np.concatenate([np.roll(small, 4 * i, axis=2) for i in range(125)])
    payload = b"8 bytes!"
    bare, path, bare_copy = scratch / "long-bare.mp4", scratch / "long.mp4", scratch / "copy.mp4"
    write_mp4(bare, watermark.embed(frames, payload), 25)
    facts = provenance.Facts(title="long", model_name="none", model_digest="", seed=0, payload=payload)
    rows = [
        ("sign and register", lambda: provenance.sign(bare, path, facts=facts, registry=registry, overwrite=True)),
        ("sign, registry off", lambda: provenance.sign(bare, path, facts=facts, registry="off", overwrite=True)),
        ("verify what is signed", lambda: provenance.verify(path, registry=registry)),
        ("verify a stripped copy", lambda: provenance.verify(bare_copy, registry=registry)),
    ]
    write_mp4(bare_copy, watermark.embed(frames, payload), 25, crf=28)
    print("\n| 5 s of 1280x720 | s |\n|---|---|")
    for name, run in rows:
        run()
        started = time.perf_counter()
        run()
        print(f"| {name} | {time.perf_counter() - started:.2f} |")


if __name__ == "__main__":
    main()
