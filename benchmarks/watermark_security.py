"""What an adversary can do to the watermark: forge, copy, overwrite, collude, estimate and remove. Prints one table.

    python benchmarks/watermark_security.py [--folder FOLDER] [--clips GLOB] [--frames 48]

Each row says how many of the clips gave the payload in question; PSNR is against the clip as it was before the attack.
"""

import argparse
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import watermark_clips as clips
from numpy.typing import NDArray

from provenance import watermark

Frames = NDArray[np.uint8]
ONE, OTHER = b"payload1", b"payload2"
SECRET = b"a private key that nobody else has"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Attack the watermark knowingly.")
    parser.add_argument("--folder", type=Path, default=clips.FOLDER, help="where clips are kept")
    parser.add_argument("--clips", default="*", help="names to take, as a pattern")
    parser.add_argument("--frames", type=int, default=48)
    arguments = parser.parse_args()
    found = clips.load(arguments.folder, "large")
    chosen = {name: path for name, (path, _, _) in found.items() if fnmatch(name, arguments.clips)}
    names = list(chosen)

    def frames(name: str) -> Frames:
        return np.load(chosen[name], mmap_mode="r")[: arguments.frames]

    rows: dict[str, list[tuple[bool, float]]] = {}
    for i, name in enumerate(names):
        for attack, measured in _attacks(frames(name), frames(names[i - 1])).items():
            rows.setdefault(attack, []).append(measured)
            print(f"{name}: {attack}: {measured[0]}", flush=True)
    print("\n| what is done, and what is looked for | clips where it is read | PSNR of the attack, dB, median |")
    print("|---|---|---|")
    for attack, results in rows.items():
        quality = float(np.median([q for _, q in results]))
        print(f"| {attack} | {sum(hit for hit, _ in results)} of {len(results)} | {quality:.1f} |")


def _attacks(frames: Frames, stranger: Frames) -> dict[str, tuple[bool, float]]:
    """{what: (whether the payload is read, PSNR)}. ``stranger`` is another clip, cut or repeated to fit."""
    public = watermark.embed(frames, ONE)
    private = watermark.embed(frames, ONE, SECRET)
    other = watermark.embed(frames, OTHER)
    stranger = _fitted(stranger, frames.shape)

    def reads(clip: Frames, payload: bytes, key: bytes | None = None) -> bool:
        return watermark.detect(clip, key, thorough=False).payload == payload

    estimate = _estimate(public)
    change = public.astype(np.int16) - frames
    copied = np.clip(stranger + change, 0, 255).astype(np.uint8)
    guessed = np.clip(stranger + estimate, 0, 255).astype(np.uint8)
    removed = np.clip(public - estimate, 0, 255).astype(np.uint8)
    overwritten = watermark.embed(public, OTHER)
    both = ((public.astype(np.uint16) + other) // 2).astype(np.uint8)
    switched = np.where(np.arange(len(frames))[:, None, None, None] % 2, public, other)
    overwritten_private = watermark.embed(private, OTHER)
    return {
        "public key known: forge any payload on an unmarked clip": (reads(public, ONE), _psnr(public, frames)),
        "private key: a stranger with the public key reads it": (reads(private, ONE), _psnr(private, frames)),
        "private key: the owner reads it": (reads(private, ONE, SECRET), _psnr(private, frames)),
        "copy, original known: the difference added to another clip": (reads(copied, ONE), _psnr(copied, stranger)),
        "copy, original unknown: estimated from the marked clip": (reads(guessed, ONE), _psnr(guessed, stranger)),
        "remove, original unknown: the estimate subtracted; first payload": (
            reads(removed, ONE),
            _psnr(removed, public),
        ),
        "overwrite with the public key; first payload": (reads(overwritten, ONE), _psnr(overwritten, public)),
        "overwrite with the public key; second payload": (reads(overwritten, OTHER), _psnr(overwritten, public)),
        "overwrite a private mark with the public key; the owner's payload": (
            reads(overwritten_private, ONE, SECRET),
            _psnr(overwritten_private, private),
        ),
        "collude: mean of two copies; either payload": (
            reads(both, ONE) or reads(both, OTHER),
            _psnr(both, public),
        ),
        "collude: frames of two copies in turn; either payload": (
            reads(switched, ONE) or reads(switched, OTHER),
            _psnr(switched, public),
        ),
    }


def _estimate(marked: Frames) -> NDArray[np.int16]:
    """What does not move: each frame minus a blurred copy, averaged over the clip; the same for every frame."""
    total = np.zeros(marked.shape[1:], np.float64)
    for frame in marked:
        plane = frame.astype(np.float64)
        blurred = plane
        for axis in (0, 1):
            blurred = sum(np.roll(blurred, i, axis) for i in range(-4, 5)) / 9
        total += np.clip(plane - blurred, -6, 6)
    return np.rint(total / len(marked)).astype(np.int16)


def _fitted(clip: Frames, shape: tuple[int, ...]) -> Frames:
    """Another clip's frames, repeated in space and time until they fill the shape."""
    times = [-(-want // have) for want, have in zip(shape, clip.shape, strict=True)]
    return np.tile(clip, times)[tuple(slice(n) for n in shape)]


def _psnr(a: Frames, b: Frames) -> float:
    error = np.mean([np.mean((x.astype(np.float64) - y) ** 2) for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(255**2 / max(float(error), 1e-9)))


if __name__ == "__main__":
    main()
