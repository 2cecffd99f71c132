"""How well a fingerprint finds and recognises copies, and how often it errs. Prints Markdown.

    python benchmarks/fingerprint.py [--clips DIR] [--searched N] [--registered N] [--attacks NAME,...]

DIR holds NAME.npy, uint8 [t, h, w, 3], and clips.json with frame rates (see watermark_clips.py). Two questions are
asked of each attack: does the registry's index find the clip (without a watermark), and do the pictures agree (with
one)? And of pairs of different clips: how much do they agree by chance, compared in place, and after a search for a
part?
"""

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from provenance import attacks, fingerprint, likeness, registry
from provenance.fingerprint import Fingerprint
from provenance.registry.entry import Entry
from provenance.registry.store import Registry

_RATES = {"fps_24_nearest": 24.0, "fps_24_blend": 24.0, "fps_15_nearest": 15.0, "fps_15_blend": 15.0, "social": 24.0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a fingerprint is worth.")
    parser.add_argument("--clips", type=Path, default=Path("clips"), metavar="DIR")
    parser.add_argument("--searched", type=int, default=60, metavar="N", help="pairs of different clips to search")
    parser.add_argument("--registered", type=int, default=10_000, metavar="N", help="clips to time the index with")
    parser.add_argument("--attacks", default=",".join(attacks.ATTACKS), metavar="NAME,...")
    arguments = parser.parse_args()
    facts = json.loads((arguments.clips / "clips.json").read_text())
    paths = sorted(arguments.clips.glob("*.npy"))
    if not paths:
        sys.exit(f"no clip in {arguments.clips}; make them with benchmarks/watermark_clips.py")
    rates = {path.stem: float(facts.get(path.stem, {}).get("fps", 8)) for path in paths}
    prints = {path.stem: _print(np.load(path), rates[path.stem]) for path in tqdm(paths, desc="clips")}
    names = [name for name in arguments.attacks.split(",") if name]
    if unknown := set(names) - set(attacks.ATTACKS):
        sys.exit(f"there is no attack {unknown.pop()}; see provenance.attacks")
    with tempfile.TemporaryDirectory() as folder, registry.opened(folder) as known:
        for name, found in prints.items():
            entry = Entry(manifest_sha256="", manifest_id=name)
            known.add(entry, manifest=name.encode(), fingerprint=found)
        if names:
            _copies(known, paths, rates, prints, names)
    _strangers(prints, arguments.searched)
    _index(prints, arguments.registered)


def _print(frames: np.ndarray, fps: float) -> Fingerprint:
    found = fingerprint.of_frames(frames, fps)
    assert found is not None
    return found


def _copies(
    known: Registry, paths: list[Path], rates: dict[str, float], prints: dict[str, Fingerprint], names: list[str]
) -> None:
    print("| attack | found by likeness | same, by comparing | least agreement | seconds |\n|---|---|---|---|---|")
    totals = np.zeros(3, int)
    for name in tqdm(names, desc="attacks"):
        found, same, agreements, began = 0, 0, [], 0.0
        for path in paths:
            changed = attacks.ATTACKS[name].apply(np.load(path), rates[path.stem])
            copy = _print(changed, _RATES.get(name, rates[path.stem]))
            start = time.perf_counter()
            alike = likeness.compare(copy, prints[path.stem])
            began += time.perf_counter() - start
            same += alike.same
            agreements.append(alike.agreement)
            found += _found(known, copy, prints, path.stem)
        n = len(paths)
        totals += (found, same, n)
        print(f"| {name} | {found} of {n} | {same} of {n} | {min(agreements):.2f} | {began / n:.1f} |", flush=True)
    print(f"| all | {totals[0] / totals[2]:.1%} | {totals[1] / totals[2]:.1%} | | |\n")


def _found(known: Registry, copy: Fingerprint, prints: dict[str, Fingerprint], name: str) -> bool:
    """Whether ``verify`` would recover the clip without a watermark: the first near one whose pictures agree is it."""
    for near in known.alike(copy):
        label = near.entry.manifest_id
        if likeness.compare(copy, prints[label], search=False).agreement >= likeness.CERTAIN:
            return label == name
    return False


def _strangers(prints: dict[str, Fingerprint], searched: int) -> None:
    pairs = list(itertools.permutations(prints, 2))
    for pairs_, search in ((pairs, False), (random.Random(1).sample(pairs, min(searched, len(pairs))), True)):
        if not pairs_:
            continue
        alike = [likeness.compare(prints[a], prints[b], search=search) for a, b in tqdm(pairs_, desc="different clips")]
        agreements = np.sort([found.agreement for found in alike])
        same, certain = sum(f.same for f in alike), sum(f.agreement >= likeness.CERTAIN for f in alike)
        how = "after a search" if search else "in place"
        print(
            f"{len(pairs_)} pairs of different clips, {how}: {same} taken for the same with a watermark, "
            f"{certain} without; agreement: median {np.median(agreements):.2f}, largest {agreements[-1]:.2f}",
            flush=True,
        )


def _index(prints: dict[str, Fingerprint], count: int) -> None:
    """Time of one look-up among clips of random hashes, and false alarms among them."""
    rng = np.random.default_rng(0)
    some = next(iter(prints.values()))
    with tempfile.TemporaryDirectory() as folder, registry.opened(folder) as known:
        for i in tqdm(range(count), desc="registering"):
            hashes = rng.integers(1, 2**63, 20, np.uint64)
            rows = Fingerprint(
                hashes=hashes, pictures=some.pictures[:1], every=1, ratio=some.ratio, duration=some.duration
            )
            known.add(Entry(manifest_sha256="", manifest_id=str(i)), manifest=str(i).encode(), fingerprint=rows)
        start, wrong = time.perf_counter(), 0
        for copy in prints.values():
            wrong += bool(known.alike(copy))
        seconds = (time.perf_counter() - start) / len(prints)
    print(f"\n{count} clips of 20 hashes: {seconds:.2f} s a look-up; {wrong} of {len(prints)} look-ups found one")


if __name__ == "__main__":
    main()
