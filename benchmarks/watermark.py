"""Does every generated clip keep its watermark as saved, and how visible is it? Prints one table.

    python benchmarks/watermark.py [--model mini] [--count 24]

Clips of the held-out combinations are saved (H.264) and read back; PSNR is against the same frames unmarked.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import provenance
import sorajax
from sorajax.data import captions
from sorajax.data.world import World
from sorajax.media.post import to_uint8, upscale
from sorajax.media.video import read_mp4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="mini")
    parser.add_argument("--count", type=int, default=24)
    arguments = parser.parse_args()
    pipe = sorajax.load(arguments.model)
    recovered, quality = 0, []
    specs = World().held_out_specs()[: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        for i, spec in enumerate(specs):
            prompt = captions.plain(spec, "en")
            clip = pipe(prompt, seed=i)
            bare = upscale(to_uint8(np.asarray(pipe.decode(pipe.sample([prompt], seed=i)))[0]))
            error = np.mean((bare.astype(np.float64) - clip.frames) ** 2)
            quality.append(10 * np.log10(255**2 / error))
            path = Path(folder) / f"{i}.mp4"
            clip.save(path)
            recovered += provenance.watermark.detect(read_mp4(path)[0]).payload == clip.payload
    print("| clips | payload recovered as saved | PSNR of the watermark, dB: least | mean |\n|---|---|---|---|")
    print(f"| {len(specs)} | {recovered} | {min(quality):.2f} | {np.mean(quality):.2f} |")


if __name__ == "__main__":
    main()
