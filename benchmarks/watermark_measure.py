"""One method on one clip: mark it, attack it, read it; and how visible the mark is. Every result is one JSON line."""

import ast
import fcntl
import hashlib
import inspect
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import provenance
from provenance import attacks, watermark

Frames = NDArray[np.uint8]
OURS = "sorajax"
_LUMA = np.array([0.299, 0.587, 0.114])
_SSIM_STEP = 8  # frames from one to the next whose SSIM is taken


@dataclass(frozen=True)
class Peer:
    """How another method is run. ``marked`` frames of a clip are marked and attacked, ``read`` of them pooled."""

    bits: int
    marked: int
    read: int
    largest: int
    """Pixels a frame; larger clips are left out: it would take hours."""


PEERS = {
    "RivaGAN": Peer(32, 16, 4, 330_000),
    "dwtDct": Peer(32, 72, 8, 1_000_000),
    "dwtDctSvd": Peer(32, 72, 8, 1_000_000),
    "blind-watermark": Peer(64, 16, 4, 450_000),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker does in one go."""

    method: str
    clip: str
    file: Path
    fps: float
    attacks: tuple[str, ...]
    code: str
    """Results of other code are not mixed with these."""
    results: Path
    peers_python: str


def payload_of(clip: str) -> bytes:
    """Another payload for every clip."""
    return hashlib.sha256(clip.encode()).digest()[: watermark.PAYLOAD_BYTES]


def code_of(method: str, versions: dict[str, str]) -> str:
    """Changes with the watermark (or the peers' versions) and the distortions, but not with comments in them, nor with
    the list of attacks: the name of an attack says what it does.
    """
    trees = _trees("distortions") | (_trees("watermark") if method == OURS else {})
    what = [sorted(trees.items()), {} if method == OURS else versions]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _trees(name: str) -> dict[str, str]:
    """Syntax trees of ``provenance.name``, a module or package, and of all that it imports of provenance."""
    home, seen, left = Path(inspect.getfile(provenance)).parent, {}, [name]
    while left:
        name = left.pop()
        folder = home / name
        for file in sorted(folder.glob("*.py")) if folder.is_dir() else [home / f"{name}.py"]:
            tree = ast.parse(file.read_text())
            seen[f"{name}/{file.name}"] = ast.dump(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "provenance":
                    inner = node.module.split(".")[1:2] or [a.name for a in node.names]
                    left += [n for n in inner if not any(key.startswith(f"{n}/") for key in seen)]
    return seen


def append(results: Path, record: dict) -> None:
    """One line at the end of a file that other processes write to."""
    with results.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(record) + "\n")


def records(results: Path) -> list[dict]:
    """What is there; a line that was cut off is as if it were not."""
    found = []
    for line in results.read_text().splitlines() if results.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


class PeerProcess:
    """``watermark_peers.py`` in another environment."""

    def __init__(self, python: str, folder: str):
        script = Path(__file__).with_name("watermark_peers.py")
        self._process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._folder = Path(folder)

    def ask(self, **request: object) -> dict:
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        return json.loads(line) if line else {"error": "it ended without an answer"}

    def send(self, frames: Frames) -> str:
        path = self._folder / "frames.npy"
        np.save(path, frames)
        return str(path)

    def embed(self, method: str, frames: Frames, bits: list[int]) -> tuple[Frames, float]:
        out = self._folder / "marked.npy"
        answer = self.ask(do="embed", method=method, threads=1, frames=self.send(frames), bits=bits, out=str(out))
        if "error" in answer:
            raise RuntimeError(f"{method} cannot mark: {answer['error']}")
        return np.load(out), answer["seconds"]

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def peer_process(python: str) -> Iterator[PeerProcess]:
    with tempfile.TemporaryDirectory() as folder:
        process = PeerProcess(python, folder)
        try:
            yield process
        finally:
            process.close()


def measure(task: Task) -> str:
    """Do a task; what came out is in its results file. Returns what was done, in a line."""
    frames = np.load(task.file)
    head = {"method": task.method, "clip": task.clip, "code": task.code}
    started = time.perf_counter()
    if task.method == OURS:
        _measure_ours(task, frames, head)
    else:
        with peer_process(task.peers_python) as process:
            _measure_peer(task, frames, head, process)
    seconds = time.perf_counter() - started
    return f"{task.method} on {task.clip}: {len(task.attacks)} attacks in {seconds:.0f} s"


def _measure_ours(task: Task, frames: Frames, head: dict) -> None:
    payload = payload_of(task.clip)
    started = time.perf_counter()
    marked = watermark.embed(frames, payload)
    append(task.results, head | quality(frames, marked, time.perf_counter() - started))
    for name in task.attacks:
        changed = attacks.ATTACKS[name].apply(marked, task.fps)
        started = time.perf_counter()
        seen = watermark.detect(changed)
        result = {"ok": seen.payload == payload, "found": seen.found, "p": seen.p_value}
        append(task.results, head | result | {"attack": name, "seconds": time.perf_counter() - started})


def _measure_peer(task: Task, frames: Frames, head: dict, process: PeerProcess) -> None:
    peer = PEERS[task.method]
    bits = np.unpackbits(np.frombuffer(payload_of(task.clip), np.uint8))[: peer.bits].tolist()
    frames = frames[: peer.marked]
    marked, seconds = process.embed(task.method, frames, bits)
    append(task.results, head | quality(frames, marked, seconds))
    for name in task.attacks:
        changed = attacks.ATTACKS[name].apply(marked, task.fps)
        read = changed[np.unique(np.linspace(0, len(changed) - 1, peer.read).round().astype(int))]
        started = time.perf_counter()
        answer = process.ask(do="detect", method=task.method, threads=1, frames=process.send(read), length=peer.bits)
        right = float(np.mean(np.array(answer["bits"]) == bits)) if "bits" in answer else 0.0
        result = {"ok": right == 1.0, "right": right, "error": answer.get("error")}
        seconds = answer.get("seconds", time.perf_counter() - started)
        append(task.results, head | result | {"attack": name, "seconds": seconds, "frames": len(read)})


def quality(frames: Frames, marked: Frames, seconds: float) -> dict:
    """PSNR over all pixels in dB, SSIM of luma and the mean of R, G and B, milliseconds a frame."""
    errors = [np.mean((a.astype(np.float32) - b) ** 2, dtype=np.float64) for a, b in zip(frames, marked, strict=True)]
    some = range(0, len(frames), _SSIM_STEP)
    return {
        "psnr": psnr(float(np.mean(errors))),
        "psnr_least": psnr(float(np.max(errors))),
        "ssim_luma": float(np.mean([ssim(frames[i] @ _LUMA, marked[i] @ _LUMA) for i in some])),
        "ssim_rgb": float(np.mean([ssim(frames[i, ..., c], marked[i, ..., c]) for i in some for c in range(3)])),
        "frames": len(frames),
        "pixels": int(frames[0, ..., 0].size),
        "embed_ms": 1000 * seconds / len(frames),
    }


def psnr(error: float) -> float:
    """dB of a mean squared error in grey levels; 99 if there is none."""
    return min(99.0, float(10 * np.log10(255**2 / error))) if error else 99.0


def ssim(a: NDArray, b: NDArray) -> float:
    """Mean structural similarity of two planes [h, w] of 0..255 (Wang et al., 2004): Gaussian window of 11x11 with a
    standard deviation of 1.5, K1 = .01, K2 = .03, where the window lies inside the picture.
    """
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window /= window.sum()

    def local(x: NDArray) -> NDArray:
        for axis in (0, 1):
            n = x.shape[axis] - 10
            x = sum(w * x.take(range(i, i + n), axis) for i, w in enumerate(window))  # pyright: ignore
        return x

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = local(a), local(b)
    var_a, var_b = local(a * a) - mean_a**2, local(b * b) - mean_b**2
    covariance = local(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (var_a + var_b + c2)))


@dataclass(frozen=True, kw_only=True)
class Windows:
    """``count`` windows of unmarked video from number ``first`` on."""

    first: int
    count: int
    files: tuple[Path, ...]


def false_alarms(windows: Windows) -> list[float]:
    """p-value of each window: a random part of a random frame of a random clip, with a key of its own. Of one frame, as
    several would be tried together and each alone, which is much the same and makes p-values larger than they are.
    """
    clips = [np.load(path, mmap_mode="r") for path in windows.files]
    values = []
    for i in range(windows.first, windows.first + windows.count):
        rng = np.random.default_rng(i)
        clip = clips[rng.integers(len(clips))]
        t, h, w, _ = clip.shape
        height, width = rng.integers(160, min(h, 400) + 1), rng.integers(160, min(w, 400) + 1)
        start = rng.integers(0, t)
        top, left = rng.integers(0, h - height + 1), rng.integers(0, w - width + 1)
        window = np.array(clip[start : start + 1, top : top + height, left : left + width])
        values.append(watermark.detect(window, b"%d" % i, thorough=False).p_value)
    return values


def versions_of_peers(python: str) -> dict[str, str]:
    """The packages' versions, or {"error": why they cannot be used}."""
    try:
        with peer_process(python) as process:
            return process.ask(do="versions")
    except OSError as error:
        return {"error": str(error)}


def quiet_threads() -> None:
    """One thread for each process, before any starts: they share the cores already."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
