"""What does the watermark survive, beside others, how visible is it, and how often is it seen where there is none?

    python benchmarks/watermark.py [--clips GLOB] [--attacks GLOB] [--methods NAME ...] [--peers-python PATH]
                                   [--small] [--saved 24] [--false-alarms 100000]
                                   [--json FILE] [--plot FILE.png] [--jobs 2] [--report]

The share of clips whose payload is recovered exactly, for every clip and attack of ``provenance.attacks``; PSNR, SSIM
and times. Clips come from ``watermark_clips.py``. The peers (RivaGAN, dwtDct, dwtDctSvd, blind-watermark) live in an
environment of their own and are left out where it is missing. ``--json`` names a file of JSON lines with every single
result: what is in it from the same code is not measured again, so a run can be stopped and continued.

``--small`` adds the mini model's own clips, ``--saved`` asks whether they keep their watermark as saved (H.264), and
``--false-alarms`` how p-values of unmarked windows are distributed.
"""

import argparse
import multiprocessing
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import watermark_clips as clips
import watermark_measure as measure
import watermark_report as report
from tqdm import tqdm

import provenance
from provenance.attacks import ATTACKS

SMALL_ATTACKS = (
    "none",
    "h264_crf23",
    "h264_crf30",
    "resize_.55_and_back",
    "crop_.71",
    "flip_horizontal",
    "flip_vertical",
    "brightness_.5",
    "brightness_1.5",
)
_WINDOWS = 100  # in one go


def main() -> None:
    """Measure what is missing, and print."""
    arguments = _arguments()
    results = arguments.json or Path(tempfile.mkdtemp()) / "results.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    measure.quiet_threads()
    versions = measure.versions_of_peers(arguments.peers_python)
    methods = [m for m in (measure.OURS, *measure.PEERS) if m in arguments.methods]
    if "error" in versions and len(methods) > (measure.OURS in methods):
        print(f"Peers are left out ({versions['error']}); name their interpreter: --peers-python", file=sys.stderr)
        methods = [m for m in methods if m == measure.OURS]
    codes = {method: measure.code_of(method, versions) for method in methods}
    sets = {"large": tuple(n for n in ATTACKS if fnmatch(n, arguments.attacks))}
    if arguments.small:
        sets["small"] = tuple(n for n in SMALL_ATTACKS if fnmatch(n, arguments.attacks))
    found = {names: clips.load(arguments.folder, names) for names in sets}
    found = {names: {n: c for n, c in of.items() if fnmatch(n, arguments.clips)} for names, of in found.items()}
    with multiprocessing.get_context("spawn").Pool(arguments.jobs, maxtasksperchild=8) as pool:
        tasks = [t for n in sets for t in _missing(found[n], sets[n], codes, results, arguments.peers_python)]
        tasks = [] if arguments.report else tasks
        progress = tqdm(pool.imap_unordered(measure.measure, tasks), total=len(tasks), unit="task", disable=not tasks)
        for line in progress:
            progress.write(line, file=sys.stderr)
        if arguments.false_alarms:
            everything = {**clips.load(arguments.folder, "large"), **clips.load(arguments.folder, "small")}
            _false_alarms(pool, arguments.false_alarms, everything, results)
    rows = [r for r in measure.records(results) if r.get("code") == codes.get(r.get("method", ""))]
    for names, of in ((names, of) for names, of in found.items() if of):
        print(report.clip_table(names, {name: facts for name, (_, _, facts) in of.items()}))
        chosen = [r for r in rows if r["clip"] in of]
        print(report.quality_table(chosen, methods))
        print(report.recovery_table(chosen, methods, sets[names]))
    print(report.published())
    if arguments.plot:
        large = [r for r in rows if r["clip"] in found["large"]]
        report.plot_recovery(large, methods, sets["large"], arguments.plot)
    if arguments.false_alarms:
        values = _p_values(results)[: arguments.false_alarms]
        print(report.false_alarm_table(values))
        if arguments.plot:
            report.plot_p_values(values, arguments.plot.with_stem(arguments.plot.stem + "-p-values"))
    if arguments.saved:
        _saved(arguments.saved)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the watermark, beside others.")
    parser.add_argument("--folder", type=Path, default=clips.FOLDER, help="where clips are kept")
    parser.add_argument("--clips", default="*", help="names to take, as a pattern")
    parser.add_argument("--attacks", default="*", help="names to take, as a pattern")
    everything = (measure.OURS, *measure.PEERS)
    parser.add_argument("--methods", nargs="+", default=everything, choices=everything, metavar="NAME")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter that has the peers' packages")
    parser.add_argument("--small", action="store_true", help="the mini model's own clips too")
    parser.add_argument("--saved", type=int, default=0, metavar="N", help="this many generated clips as saved")
    parser.add_argument("--false-alarms", type=int, default=0, metavar="N", help="windows of unmarked video")
    parser.add_argument("--json", type=Path, help="JSON lines with every result, to continue from")
    parser.add_argument("--plot", type=Path, help="a picture of the table (PNG)")
    parser.add_argument("--report", action="store_true", help="measure nothing, print what the JSON file holds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    return parser.parse_args()


def _missing(of: dict, attacks: tuple[str, ...], codes: dict[str, str], results: Path, python: str) -> list:
    """A task for each method and clip of which something is missing."""
    done = {(r["code"], r["method"], r["clip"], r["attack"]) for r in measure.records(results) if "attack" in r}
    tasks = []
    for method, code in codes.items():
        for name, (file, fps, facts) in of.items():
            if method in measure.PEERS and int(np.prod(facts["size"])) > measure.PEERS[method].largest:
                continue
            left = tuple(a for a in attacks if (code, method, name, a) not in done)
            if left:
                tasks.append(
                    measure.Task(
                        method=method,
                        clip=name,
                        file=file,
                        fps=fps,
                        attacks=left,
                        code=code,
                        results=results,
                        peers_python=python,
                    )
                )
    return tasks


def _false_alarms(pool, count: int, of: dict, results: Path) -> None:
    code = measure.code_of(measure.OURS, {})
    done = {r["first"] for r in measure.records(results) if "p_values" in r and r["code"] == code}
    files = tuple(file for file, _, _ in of.values())
    windows = [
        measure.Windows(first=first, count=_WINDOWS, files=files)
        for first in range(0, count, _WINDOWS)
        if first not in done
    ]
    values = pool.imap(measure.false_alarms, windows)
    for window, some in zip(windows, tqdm(values, total=len(windows), unit=f"x{_WINDOWS} windows"), strict=True):
        measure.append(results, {"first": window.first, "p_values": some, "code": code})


def _p_values(results: Path) -> np.ndarray:
    code = measure.code_of(measure.OURS, {})
    parts = {r["first"]: r["p_values"] for r in measure.records(results) if "p_values" in r and r["code"] == code}
    return np.concatenate([parts[first] for first in sorted(parts)]) if parts else np.empty(0)


def _saved(count: int) -> None:
    """Does every generated clip keep its watermark as saved?"""
    import sorajax
    from sorajax.media.video import read_mp4

    pipe = sorajax.load("mini")
    recovered, quality = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for prompt, seed, bare in clips.generated(0, count):
            clip = pipe(prompt, seed=seed)
            quality.append(measure.psnr(float(np.mean((bare.astype(np.float64) - clip.frames) ** 2))))
            path = Path(folder) / f"{seed}.mp4"
            clip.save(path)
            recovered += provenance.watermark.detect(read_mp4(path)[0]).payload == clip.payload
    print("\n| generated clips | payload recovered as saved | PSNR, dB: least | mean |\n|---|---|---|---|")
    print(f"| {count} | {recovered} | {min(quality):.2f} | {np.mean(quality):.2f} |")


if __name__ == "__main__":
    main()
