"""Kill a training run again and again; the losses of what is left must be those of a run that nobody touched.

    make chaos        or        PYTHONPATH=. python benchmarks/chaos.py [--kills 20] [--processes 1] [--seed 0]

``sorajax train`` trains a small transformer on clips of the drawn world, as the shipped text encoder and autoencoder
see them. It is run twice: left alone, and killed at random moments (while it starts, between steps, while a checkpoint
is being written; now and then by SIGTERM instead of SIGKILL) and started anew with the same command. After some kills a
byte of the newest checkpoint is flipped. Prints each kill, and compares the loss of every step and the weights in the
end, bit by bit. Exit code 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sorajax.seal import NAME as SEAL

STEPS, EVERY = 160, 5
CONFIG = f"""
base = "mini"
steps = {STEPS}
batch = 4
log_every = 1
checkpoint_every = {EVERY}
evaluate_every = 100000
[model.dit]
num_layers = 2
[video]
clips = 64
[guard]
policy = "skip"
spike = 6.0
"""
MOMENTS = ("while starting", "between steps", "while saving")


class Run:
    """``sorajax train`` on one folder, in one process or several."""

    def __init__(self, folder: Path, processes: int):
        self.folder, self.processes = folder, processes
        self.running: list[subprocess.Popen[bytes]] = []
        self.stage = folder / "mini" / "video"
        shipped = Path(__file__).parent.parent / "sorajax" / "weights_data" / "mini"
        shutil.copytree(shipped, folder / "mini" / "model", ignore=shutil.ignore_patterns("transformer"))
        (folder / "chaos.toml").write_text(CONFIG)

    def start(self) -> None:
        """The same command, every time."""
        command = [sys.executable, "-c", "import sys; from sorajax.cli import main; sys.exit(main())", "train"]
        command += [str(self.folder / "chaos.toml"), "--runs", str(self.folder)]
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(self.folder.parent / "programs")}
        with (self.folder / "output.txt").open("ab") as output:
            for i in range(self.processes):
                several = [
                    "--coordinator",
                    f"localhost:{port}",
                    "--processes",
                    str(self.processes),
                    "--process",
                    str(i),
                ]
                self.running.append(
                    subprocess.Popen(
                        command + (several if self.processes > 1 else []),
                        stdout=output,
                        stderr=output,
                        env=environment,
                    )
                )

    def end(self) -> int:
        """Wait for all of them; the worst exit code."""
        codes = [process.wait() for process in self.running]
        self.running.clear()
        return max(codes, key=abs)

    def losses(self) -> dict[int, str]:
        """The exact loss of each step in the log."""
        lines = self.stage.joinpath("log.jsonl")
        records = [_record(line) for line in lines.read_text().splitlines()] if lines.exists() else []
        return {r["step"]: float(r["loss"]).hex() for r in records if r.get("loss") is not None and "event" not in r}

    def reached(self) -> int:
        """The last step in the log."""
        return max(self.losses(), default=0)

    def saved(self) -> list[int]:
        """Steps of the checkpoints, ascending."""
        folder = self.stage / "checkpoints"
        return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit()) if folder.exists() else []

    def weights(self) -> str:
        """Digest of the exported weights."""
        path = self.folder / "mini" / "model" / "transformer" / "diffusion_pytorch_model.safetensors"
        return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        alone = Run(Path(name) / "alone", arguments.processes)
        alone.start()
        if alone.end():
            sys.exit((alone.folder / "output.txt").read_text()[-2000:])
        torn = Run(Path(name) / "torn", arguments.processes)
        print("| kill | signal | when | at step | checkpoints left | then |")
        print("|---|---|---|---|---|---|", flush=True)
        for number in range(1, arguments.kills + 1):
            sent, when = kill(torn, chance)
            step, saved = torn.reached(), torn.saved()
            then = flip(torn, chance) if number % 5 == 0 and len(saved) > 1 else ""
            left = ", ".join(map(str, saved)) or "none"
            print(f"| {number} | {sent} | {when} | {step} | {left} | {then} |", flush=True)
        torn.start()
        code = torn.end()
        verdict(alone, torn, code)


def kill(run: Run, chance: random.Random) -> tuple[str, str]:
    """Start the run and kill it at a random moment: the signal, and when it was."""
    before, began = run.reached(), time.monotonic()
    when = chance.choice(MOMENTS)
    sent = signal.SIGTERM if chance.random() < 0.2 else signal.SIGKILL
    goal = before + chance.randint(1, 2 * EVERY)
    run.start()
    delay = chance.uniform(0.0, 8.0)
    while all(process.poll() is None for process in run.running):
        time.sleep(0.002)
        if when == MOMENTS[0] and time.monotonic() - began > delay:
            break
        if when == MOMENTS[1] and run.reached() >= goal:
            time.sleep(chance.uniform(0.0, 0.1))
            break
        if when == MOMENTS[2] and run.reached() >= goal and list(run.stage.glob("checkpoints/*tmp*")):
            time.sleep(chance.uniform(0.0, 0.05))
            break
    victim = chance.choice(run.running)
    victim.send_signal(sent)
    run.end()  # the others end by themselves
    return sent.name, when


def flip(run: Run, chance: random.Random) -> str:
    """Flip one bit of the newest checkpoint."""
    newest = run.stage / "checkpoints" / str(run.saved()[-1])
    listed = json.loads((newest / SEAL).read_text())
    path = newest / chance.choice([name for name, (size, _) in listed.items() if size])
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"a bit of {newest.name}/{path.relative_to(newest).parts[0]} flipped"


def verdict(alone: Run, torn: Run, code: int) -> None:
    """Print what is equal, and exit."""
    ours, theirs = torn.losses(), alone.losses()
    same = [step for step in theirs if ours.get(step) == theirs[step]]
    aside = torn.stage / "damaged"
    put = len(list(aside.iterdir())) if aside.exists() else 0
    weights = torn.weights() == alone.weights()
    print(f"\nsteps with the same loss, bit by bit: {len(same)} of {STEPS}; weights in the end: ", end="")
    print(f"{'the same' if weights else 'NOT the same'}; damaged checkpoints found and put aside: {put}")
    if code or len(same) != STEPS or len(ours) != STEPS or not weights:
        print((torn.folder / "output.txt").read_text()[-3000:], file=sys.stderr)
        sys.exit(1)


def _record(line: str) -> dict:
    try:
        return json.loads(line)
    except ValueError:  # being written
        return {}


if __name__ == "__main__":
    main()
