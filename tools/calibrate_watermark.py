"""How well the best codeword fits noise: the table in ``provenance/watermark/statistics.py``, drawn anew.

    python tools/calibrate_watermark.py [--draws 1000000]

Prints the natural logarithm of P(fit > x) for x in steps of 1/4; the last entries rest on few draws and are left out.
"""

import argparse

import numpy as np
from tqdm import tqdm

from provenance.watermark import coding

_BATCH = 250
_STEP = 0.25
_LEAST = 100
"""Draws beyond x without which its logarithm is not worth printing."""


def main() -> None:
    """Draw, count, print."""
    parser = argparse.ArgumentParser(description="Draw the distribution of the watermark's fit to noise.")
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    edges = np.arange(4.0, 12.0, _STEP)
    beyond, draws = np.zeros(len(edges), np.int64), 0
    for _ in tqdm(range(0, arguments.draws, _BATCH)):
        _, fit = coding.decode(rng.normal(size=(_BATCH, coding.CODE_BITS)) / np.sqrt(coding.CODE_BITS))
        beyond += (fit[:, None] > edges).sum(axis=0)
        draws += _BATCH
    for x, count in zip(edges, beyond, strict=True):
        if count >= _LEAST:
            print(f"{x:.2f} {np.log(count / draws):.4f}")


if __name__ == "__main__":
    main()
