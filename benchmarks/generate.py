"""How long a prompt takes to become a verified clip, and what it takes: prints one table.

    python benchmarks/generate.py [--model mini]

Each row is a process of its own but the warm one: first run (empty compile cache), a fresh process with a warm cache,
a clip in a process that has made one, ``provenance verify`` and ``import sorajax``. Wall and CPU seconds; the CPU
seconds (all threads) tell how much of the wall time was waiting for a busy machine.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPT = "a dog runs to the left on a beach at sunset"
WARM = """
import sys, time, numpy as np, sorajax, provenance
from sorajax import compile_cache
compile_cache.enable()
pipe = sorajax.load(sys.argv[1])
pipe({prompt!r}, seed=1).save(sys.argv[2] + "/warm-up.mp4")
wall, cpu = time.perf_counter(), time.process_time()
pipe({prompt!r}, seed=7).save(sys.argv[2] + "/warm.mp4")
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and output of a process; fails with its error text."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="mini")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"SORAJAX_CACHE": f"{folder}/cache", "SORAJAX_KEYS": f"{folder}/keys"}
        generate = [sys.executable, "-m", "sorajax.cli", "generate", PROMPT, "--seed", "7", "--model", model]
        rows = []
        for name in ("first run", "fresh process, warm cache"):
            clip = Path(folder) / f"{name[:5]}.mp4"
            rows.append((f"generate, {name}", *timed([*generate, "-o", str(clip)], environment)[:2]))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        script = [sys.executable, "-c", WARM.format(prompt=PROMPT), model, folder]
        rows.append(("generate, warm process", *map(float, timed(script, environment)[2].split()[-2:])))
        verify = [sys.executable, "-m", "provenance.cli", "verify", str(clip)]
        rows.append(("provenance verify", *timed(verify, environment)[:2]))
        rows.append(("import sorajax", *timed([sys.executable, "-c", "import sorajax"], environment)[:2]))
    print("| what | wall s | CPU s |\n|---|---|---|")
    for name, wall, cpu in rows:
        print(f"| {name} | {wall:.2f} | {cpu:.2f} |")
    print(f"\npeak memory of generate: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
