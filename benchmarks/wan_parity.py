"""How far whole models of Wan's shapes are from diffusers, part by part, in float32 on this CPU.

    PYTHONPATH=. python benchmarks/wan_parity.py [--live] [--seeds 3]

Folders of small random models in diffusers layout, of both families, are loaded; compared with the stored arrays of
tests/golden, or with ``--live`` with diffusers itself (torch==2.13.0 diffusers transformers beside sorajax). Prints the
largest error of each part over all runs, absolute and relative to the largest value.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import sorajax
from tests import tiny
from tests.golden import make_pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", action="store_true", help="run diffusers rather than read what it gave")
    parser.add_argument("--seeds", type=int, default=3, help="models and noises for each family, with --live")
    arguments = parser.parse_args()
    print("| family | part | largest error | relative |\n|---|---|---|---|")
    for family in tiny.WAN:
        worst: dict[str, tuple[float, float]] = {}
        for seed in range(arguments.seeds if arguments.live else 1):
            with tempfile.TemporaryDirectory() as name:
                folder = tiny.write_wan(Path(name) / "model", family, seed)
                theirs = (
                    make_pipeline.reference(folder, family, seed) if arguments.live else make_pipeline.stored(family)
                )
                ours = make_pipeline.ours(sorajax.load(folder), family, seed, theirs["frames"])
            for part, value in theirs.items():
                mine = np.asarray(ours[part])[:, : value.shape[1]]
                error = float(np.abs(mine - value).max()), tiny.relative(mine, value)
                worst[part] = max(error, worst.get(part, error))
        for part, (absolute, relative) in worst.items():
            print(f"| {family} | {part} | {absolute:.1e} | {relative:.1e} |")


if __name__ == "__main__":
    main()
