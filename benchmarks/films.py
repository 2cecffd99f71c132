"""From real films to a model that was trained on them: what mini's autoencoder and transformer learn, and the cost.

    PYTHONPATH=. python benchmarks/films.py [--folder runs/films] [--eye 600] [--steps 300]

The films are those of ``benchmarks/footage.py``: a city at night, cyclists, a cartoon and a driver, half a minute in
all. The commands are those of docs/training.md: prepared with mirrored and cropped copies, the autoencoder trained,
prepared anew, the transformer trained. Each goes on where it was broken off. Prints what the autoencoder gives back of
whole clips before and after, the transformer's loss, and of each run the longest wait for input and the energy. Clips
are also trained on: there are too few films to keep some apart. Sheets and clips are in ``runs`` below the folder.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import footage

import sorajax
from sorajax.cli import main as run
from sorajax.train import config as configs
from sorajax.train.frames import FramesObjective
from sorajax.weights.find import find

CAPTIONS = {
    "cityCC0.mpg": "tall buildings of a city at night",
    "bikes.mp4": "cyclists on a road",
    "bigbuckbunny.mp4": "a rabbit in a meadow, animated",
    "carphone_pristine.mp4": "a man talks in a car",
}
EYE = """
base = "mini-vae"
start = "mini"
warm_start = true
steps = {steps}
evaluate_every = {steps}
batch = 8
[model]
name = "films"
[video]
data = ["{shards}"]
[optimizer]
learning_rate = 2e-3
warmup_steps = 50
decay_steps = {half}
"""
WHOLE = """
base = "mini"
warm_start = true
steps = {steps}
evaluate_every = {steps}
batch = 12
sample_prompts = {prompts}
[model]
name = "films"
[video]
data = ["{shards}"]
foreground = 0.0
[optimizer]
learning_rate = 1e-3
warmup_steps = 30
decay_steps = {half}
ema = 0.99
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/films"))
    parser.add_argument("--eye", type=int, default=600, help="steps of the autoencoder (default: 600)")
    parser.add_argument("--steps", type=int, default=300, help="steps of the transformer (default: 300)")
    arguments = parser.parse_args()
    films = arguments.folder / "films"
    if not films.is_dir():
        films.mkdir(parents=True)
        for path in footage.fetch(films):
            path.with_suffix(".txt").write_text(CAPTIONS[path.name] + "\n")
        for wheel in films.glob("*.whl"):
            wheel.unlink()
    with contextlib.chdir(arguments.folder):
        shards = prepare("mini", "--pixels")
        before = psnr(Path("eye.toml"), EYE.format(shards=shards, steps=arguments.eye, half=arguments.eye // 2))
        eye = train(Path("eye.toml"), "vae")
        shards, prompts = prepare("runs/films/model"), json.dumps(list(CAPTIONS.values()))
        values = {"shards": shards, "steps": arguments.steps, "half": arguments.steps // 2, "prompts": prompts}
        Path("whole.toml").write_text(WHOLE.format(**values))
        whole = train(Path("whole.toml"), "video")
    print("| | before | after | minutes | Wh | longest wait for input |")
    print("|---|---|---|---|---|---|")
    after = eye[-1]["eval_psnr"]
    print(f"| autoencoder, {arguments.eye} steps: PSNR | {before:.1f} dB | {after:.1f} dB | {cost(eye)} |")
    losses = [record["loss"] for record in whole if "loss" in record]
    print(f"| transformer, {arguments.steps} steps: loss | {losses[0]:.2f} | {losses[-1]:.2f} | {cost(whole)} |")


def prepare(model: str, *options: str) -> str:
    """The folder of shards for a model."""
    kind = ["--augment", "flips", "crops=4", "crop_share=0.3"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        check(["data", "prepare", "films", "--out", "prepared", "--model", model, *kind, *options])
    return said.getvalue().splitlines()[-1]


def psnr(path: Path, config: str) -> float:
    """Of what the shipped autoencoder gives back of the clips that it is judged by; writes the config."""
    path.write_text(config)
    pipe = sorajax.load("mini", dtype="float32")
    path.parent.joinpath("before").mkdir(exist_ok=True)
    return FramesObjective(configs.load(path), find("mini")).evaluate(pipe.vae, 0, Path("before"))["psnr"]


def train(path: Path, stage: str) -> list[dict[str, float]]:
    """The log of a run."""
    check(["train", str(path)])
    lines = (Path("runs/films") / stage / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if "event" not in record]


def cost(log: list[dict[str, float]]) -> str:
    """Minutes, energy and the longest wait for input, as cells of a table."""
    steps = [record for record in log if "loss" in record]
    wait = max(record["input_wait"] for record in steps[1:])  # the first has the compiling
    return f"{steps[-1]['device_seconds'] / 60:.0f} | {1000 * steps[-1]['kwh']:.1f} | {100 * wait:.1f} %"


def check(command: list[str]) -> None:
    """Run a command of sorajax's, which has to succeed."""
    if code := run(command):
        raise SystemExit(code)


if __name__ == "__main__":
    main()
