"""Write the model card of a trained model from its runs: ``python tools/model_card.py runs/mini docs/mini.md``.

Figures come from the logs; what the model can and cannot do is read from the file's own section and kept.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw

WATTS_PER_CORE = 8.0
"""Assumed draw of one busy server core with its share of memory; the card says so."""
CORES = 2
KEPT = "## What it can and cannot do"


def records(run: Path) -> list[dict]:
    """The log of one stage; of steps logged twice, the later."""
    lines = (json.loads(line) for line in (run / "log.jsonl").read_text().splitlines())
    merged: dict[int, dict] = {}
    for line in lines:
        merged[line["step"]] = merged.get(line["step"], {}) | line
    return [merged[step] for step in sorted(merged)]


def curve(stages: dict[str, list[dict]], path: Path) -> None:
    """Loss against steps, one panel a stage, as a PNG."""
    width, height, edge = 320, 200, 30
    picture = Image.new("RGB", (width * len(stages), height), "white")
    pen = ImageDraw.Draw(picture)
    for i, (name, log) in enumerate(stages.items()):
        points = [(r["step"], r["loss"]) for r in log if "loss" in r]
        most, last = max(p[1] for p in points), points[-1][0]
        box = (i * width + edge, edge, (i + 1) * width - 10, height - edge)
        pen.rectangle(box, outline="grey")
        at = [(box[0] + s / last * (box[2] - box[0]), box[3] - v / most * (box[3] - box[1])) for s, v in points]
        pen.line(at, fill="navy", width=2)
        pen.text((box[0], 8), f"{name}: loss 0 to {most:.2f}, steps 0 to {last}", fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def main(runs: Path, card: Path) -> None:
    """Write the card and its curves."""
    stages = {name: records(runs / name) for name in ("text", "vae", "video")}
    curve(stages, card.parent / "images" / f"{card.stem}-loss.png")
    rows, hours = [], 0.0
    for name, log in stages.items():
        seconds = max(r.get("seconds", 0.0) for r in log)
        hours += seconds / 3600
        final = next(r for r in reversed(log) if "loss" in r)
        evaluated = [f"{k.removeprefix('eval_')} {v:.3g}" for k, v in log[-1].items() if k.startswith("eval_")]
        rows.append(
            f"| {name} | {log[-1]['step']} | {seconds / 3600:.2f} | {final['loss']:.3f} | {', '.join(evaluated[:8])} |"
        )
    size = sum(p.stat().st_size for p in (runs / "model").rglob("*.safetensors")) / 2**20
    kept = card.read_text().partition(KEPT)[2] if card.exists() else "\n"
    energy = hours * CORES * WATTS_PER_CORE
    card.write_text(
        f"# Model card: {runs.name}\n\n"
        "Trained from nothing by this repository on its own procedural world (`sorajax/data/world.py`): drawn\n"
        "scenes, animated sprites (Fluent Emoji, MIT; see NOTICE), captions in four languages. No\n"
        "footage of people or places was used. Weights: Apache-2.0.\n\n"
        f"Size: {size:.1f} MiB in bf16. Training: {hours:.2f} hours on {CORES} shared CPU cores, "
        f"about {energy:.0f} Wh\n"
        f"(estimate: hours x {CORES} cores x {WATTS_PER_CORE:.0f} W).\n\n"
        "| stage | steps | hours | last loss | evaluation |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"![loss curves](images/{card.stem}-loss.png)\n\n"
        "`sorajax train mini-text`, `mini-vae`, then `mini` repeat the training; the same commands with more steps\n"
        "go on with it. Where the run itself is gone, copy `sorajax/weights_data/mini` to `runs/mini/model` and set\n"
        "`warm_start = true`.\n\n"
        f"{KEPT}{kept}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
