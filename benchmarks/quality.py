"""How often a model shows what is asked: the 24 combinations of object, motion and scene held out of training.

    python benchmarks/quality.py [--model mini] [--languages en zh es ar] [--seed 7] [-o quality.png]

Prints a table a language, with the totals, and writes a contact sheet a language, to be looked at: the judge
(sorajax/evaluate/adherence.py) compares with the drawn sprites and scenes and shares nothing with the model.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sorajax
from sorajax.data import captions
from sorajax.data.world import ClipSpec, World, WorldConfig
from sorajax.evaluate.adherence import Judgement, judge
from sorajax.media.post import to_uint8
from sorajax.media.sheet import contact_sheet

ASPECTS = ("object", "motion", "scene")
BATCH = 8


def prompts_for(specs: Sequence[ClipSpec], language: str, phrasing: int | None) -> list[str]:
    """A caption of each spec: the plainest, or a random one that follows from `phrasing`."""
    if phrasing is None:
        return [captions.plain(spec, language) for spec in specs]
    return [captions.caption(s, language, np.random.default_rng([phrasing, i])) for i, s in enumerate(specs)]


def generate(pipe: Any, prompts: Sequence[str], seed: int, steps: int | None, guidance: float | None) -> np.ndarray:
    """Frames uint8 [b, t, h, w, 3] as the model makes them: neither upscaled nor watermarked."""
    videos = []
    for start in range(0, len(prompts), BATCH):
        batch = list(prompts[start : start + BATCH])
        # One shape for all batches, so that everything compiles once.
        padded = batch + [batch[-1]] * (min(BATCH, len(prompts)) - len(batch))
        latents = pipe.sample(padded, seed=seed + start, steps=steps, guidance=guidance)
        videos.append(to_uint8(np.asarray(pipe.decode(latents)))[: len(batch)])
    return np.concatenate(videos)


def table(prompts: Sequence[str], specs: Sequence[ClipSpec], judgements: Sequence[Judgement]) -> str:
    """A line a prompt, with what was seen where it is not what was asked, and the totals."""
    lines = [f"{'object':22} {'motion':22} {'scene':22} likeness  shape  prompt"]
    for prompt, spec, found in zip(prompts, specs, judgements, strict=True):
        agrees = found.agrees(spec)
        asked = {"object": spec.objects[0], "motion": spec.motion, "scene": spec.scene}
        cells = [f"{asked[a]} ✓" if agrees[a] else f"{asked[a]} ✗ {getattr(found, a) or '-'}" for a in ASPECTS]
        lines.append(f"{cells[0]:22} {cells[1]:22} {cells[2]:22} {found.likeness:8.2f} {found.shape:6.2f}  {prompt}")
    right = totals(specs, judgements)
    lines.append("right: " + ", ".join(f"{a} {right[a]} of {len(specs)}" for a in (*ASPECTS, "all three")))
    return "\n".join(lines)


def totals(specs: Sequence[ClipSpec], judgements: Sequence[Judgement]) -> dict[str, int]:
    """How many clips show the right object, motion and scene, and all three; and the nearest object, blobs too."""
    agreed = [found.agrees(spec) for spec, found in zip(specs, judgements, strict=True)]
    right = {aspect: sum(a[aspect] for a in agreed) for aspect in ASPECTS}
    right["all three"] = sum(all(a.values()) for a in agreed)
    right["nearest"] = sum(f.nearest == s.objects[0] for s, f in zip(specs, judgements, strict=True))
    return right


def main(arguments: Sequence[str] | None = None, load: Callable[[str], Any] | None = None) -> dict[str, dict[str, int]]:
    """Run from the command line; `load` stands in for sorajax.load in tests. Returns the totals by language."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--languages", nargs="+", default=["en"], choices=captions.LANGUAGES)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--guidance", type=float, default=None)
    parser.add_argument("--phrasing", type=int, default=None, help="seed of random phrasings; the plainest without it")
    parser.add_argument("--count", type=int, default=None, help="only the first so many combinations")
    parser.add_argument("-o", "--output", type=Path, default=Path("quality.png"), help="contact sheet")
    parser.add_argument("--json", type=Path, default=None, help="also write the totals here")
    args = parser.parse_args(arguments)

    world = World(WorldConfig())
    specs = world.held_out_specs()[: args.count]
    pipe = (load or sorajax.load)(args.model)
    results = {}
    for language in args.languages:
        prompts = prompts_for(specs, language, args.phrasing)
        videos = generate(pipe, prompts, args.seed, args.steps, args.guidance)
        judgements = [judge(video, world) for video in videos]
        results[language] = totals(specs, judgements)
        print(f"\n{args.model}, {language}, seed {args.seed}\n{table(prompts, specs, judgements)}")
        # Pillow's own font has Latin letters only: the labels name what was asked, whatever the language.
        labels = [
            f"{spec.objects[0]} {spec.motion} {spec.scene}: "
            + " ".join(aspect if right else f"no {aspect}" for aspect, right in found.agrees(spec).items())
            for spec, found in zip(specs, judgements, strict=True)
        ]
        one = len(args.languages) == 1
        path = args.output if one else args.output.with_stem(f"{args.output.stem}-{language}")
        large = videos.repeat(2, axis=2).repeat(2, axis=3) if videos.shape[2] <= 64 else videos
        print("sheet:", contact_sheet(list(large), path, frames=5, columns=2, labels=labels))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
