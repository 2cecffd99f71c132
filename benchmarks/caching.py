"""What keeping velocities for several steps saves, and how far the clips are from those of all steps.

    PYTHONPATH=. python benchmarks/caching.py [--model mini] [--prompts 8] [--repeats 3]

Samples the same prompts from the same noise with each setting, alternating with the full run, and decodes. Prints steps
computed, seconds of sampling as a ratio of medians, and PSNR of the decoded clips: mean and worst.
"""

import argparse
import statistics
import time

import numpy as np

import sorajax
from sorajax.diffusion.caching import Caching

PROMPTS = (
    "a dog runs to the left on a beach at sunset",
    "a red car drives through a city at night",
    "a cat sits in a forest in the rain",
    "a blue ball bounces on a beach",
    "two birds fly over mountains",
    "a boat sails to the right on the sea at dawn",
    "a woman walks in the snow",
    "a yellow star spins in space",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    pipe = sorajax.load(arguments.model)
    prompts = PROMPTS[: arguments.prompts]
    noise, steps = pipe.noise(len(prompts), 11), pipe.config.sample.steps

    def timed(cache: Caching | None) -> tuple[float, np.ndarray]:
        began = time.perf_counter()
        latents = pipe.sample(prompts, noise=noise, cache=cache).block_until_ready()
        return time.perf_counter() - began, np.asarray(latents)

    frames = np.asarray(pipe.decode(timed(None)[1]))
    print("| one computed in | steps computed | faster | PSNR, mean | PSNR, worst |\n|---|---|---|---|---|")
    for every in (2, 3, 4):
        cache = Caching(every=every)
        _, latents = timed(cache)
        pairs = [(timed(None)[0], timed(cache)[0]) for _ in range(arguments.repeats)]
        full, fast = (statistics.median(side) for side in zip(*pairs, strict=True))
        squares = np.mean((np.asarray(pipe.decode(latents)) - frames) ** 2, axis=(1, 2, 3, 4))
        psnr = 10 * np.log10(4 / squares)
        print(
            f"| {every} | {sum(cache.computed(steps))} of {steps} | {full / fast:.2f}x | {psnr.mean():.1f} dB "
            f"| {psnr.min():.1f} dB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
