"""What keeping kernels, or making products, in eight bits changes.

    PYTHONPATH=. python benchmarks/int8.py [--model mini] [--weights w8a8]

Prints the relative error (norms) of text states and of one velocity, the PSNR of clips from the same noise, mean and
worst, and the bytes of each part's weights, against the same model with its kernels as they are.
"""

import argparse

import numpy as np

import sorajax
from benchmarks.caching import PROMPTS
from sorajax.weights import memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--weights", default="int8")
    arguments = parser.parse_args()
    exact, rounded = sorajax.load(arguments.model), sorajax.load(arguments.model, weights=arguments.weights)
    noise = exact.noise(len(PROMPTS), 11)
    texts = [np.asarray(pipe.encode_text(PROMPTS)) for pipe in (exact, rounded)]
    half = np.full(len(PROMPTS), 500, np.float32)
    velocities = [np.asarray(pipe.velocity(noise, half, texts[0])) for pipe in (exact, rounded)]
    clips = [np.asarray(pipe.decode(pipe.sample(PROMPTS, noise=noise))) for pipe in (exact, rounded)]
    for name, (one, other) in (("text states", texts), ("velocity", velocities)):
        print(f"{name}: {np.linalg.norm(other - one) / np.linalg.norm(one):.4f} relative")
    psnr = 10 * np.log10(4 / np.mean((clips[0] - clips[1]) ** 2, axis=(1, 2, 3, 4)))
    print(f"clips: {psnr.mean():.1f} dB, worst {psnr.min():.1f} dB")
    for part in exact.stages.names:
        before, after = (memory.resting(pipe.stages.abstract[part]) for pipe in (exact, rounded))
        print(f"{part}: {before / 1e6:.1f} -> {after / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
