"""``provenance watermark``: embed, detect, bench."""

import argparse
import json
import math
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from provenance.errors import InputError, KeyFileError, MediaError
from provenance.report import escape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from provenance.attacks import Attack
    from provenance.watermark import Detection

BENCH_FRAMES = 72
_LONGEST_KEY = 65536


def add_commands(commands: Any) -> None:
    """Add ``watermark`` and its own commands to the subparsers of ``provenance``."""
    group = commands.add_parser(
        "watermark",
        help="mark videos, find marks, measure what a mark survives",
        description="An invisible mark of 8 bytes in the pictures of a video. It says where to ask, and proves nothing "
        "by itself: with the public key anyone can write one.",
    )
    group = group.add_subparsers(required=True, metavar="COMMAND")

    command = group.add_parser(
        "embed",
        help="write a marked copy of a video",
        description="Writes a marked copy: sound, subtitles, tags, chapters, timing and colours stay as they are, the "
        "pictures are encoded anew at high quality. The mark is read back before the file appears.",
    )
    command.add_argument("source", metavar="SRC", help="MP4, MOV, MKV, WebM or AVI")
    command.add_argument("-o", "--output", required=True, metavar="DST", help=".mp4, .m4v, .mov, .mkv or .webm")
    payload = command.add_mutually_exclusive_group()
    payload.add_argument("--payload", metavar="HEX", help="16 hexadecimal digits; default: drawn by chance")
    payload.add_argument("--text", metavar="TEXT", help="the payload as a text of 8 bytes")
    command.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    command.add_argument("--again", action="store_true", help="mark a video that carries a mark already")
    command.add_argument(
        "--drop-credentials", action="store_true", help="leave out C2PA credentials, which would break"
    )
    command.set_defaults(run=_embed)
    _add_common(command)

    command = group.add_parser(
        "detect",
        help="look for a mark in videos",
        epilog="Exit codes: 0 found in all, 3 not found in some, 2 some cannot be read.",
    )
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument(
        "--fast", action="store_true", help="the first 48 pictures only, as they are: not cropped, turned or mirrored"
    )
    command.set_defaults(run=_detect)
    _add_common(command)

    command = group.add_parser(
        "bench",
        help="measure what a mark survives in your own video",
        description="Marks the first pictures of a video in memory, does to them what happens to video on its way "
        "through the internet, and says when the mark can still be read. Writes no file.",
    )
    command.add_argument("file", metavar="FILE")
    command.add_argument("--attacks", metavar="GLOB", default="*", help="names or groups of attacks, such as 'h264*'")
    command.add_argument("--frames", type=int, default=BENCH_FRAMES, metavar="N", help=f"default {BENCH_FRAMES}")
    command.set_defaults(run=_bench)
    _add_common(command)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--key", metavar="FILE", help="a private key: the bytes of this file; default: the public key")
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def _key(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            key = file.read(_LONGEST_KEY + 1)
    except (OSError, ValueError) as error:
        raise KeyFileError(f"cannot read the key {path}: {getattr(error, 'strerror', None) or error}") from None
    if not key:
        raise KeyFileError(f"the key {path} is empty; make one: head -c 32 /dev/urandom > {path}")
    if len(key) > _LONGEST_KEY:
        raise KeyFileError(f"the key {path} is longer than {_LONGEST_KEY} bytes; is it the right file?")
    return key


def _payload(arguments: argparse.Namespace) -> bytes:
    from provenance.watermark import PAYLOAD_BYTES

    if arguments.text is not None:
        payload = arguments.text.encode(errors="surrogateescape")
        if len(payload) != PAYLOAD_BYTES:
            raise InputError(f"--text {arguments.text!r} is {len(payload)} bytes; a payload is {PAYLOAD_BYTES}")
        return payload
    if arguments.payload is None:
        return secrets.token_bytes(PAYLOAD_BYTES)
    digits = arguments.payload.removeprefix("0x")
    if len(digits) != 2 * PAYLOAD_BYTES or set(digits.lower()) - set("0123456789abcdef"):
        raise InputError(f"--payload {arguments.payload!r} is not {2 * PAYLOAD_BYTES} hexadecimal digits")
    return bytes.fromhex(digits)


def _embed(arguments: argparse.Namespace) -> int:
    from provenance.marking import mark_file

    payload, key = _payload(arguments), _key(arguments.key)
    with progress_bar("marking", "picture") as bar:
        marked = mark_file(
            arguments.source,
            arguments.output,
            payload,
            key=key,
            overwrite=arguments.overwrite,
            progress=bar,
            again=arguments.again,
            drop_credentials=arguments.drop_credentials,
        )
    if arguments.json:
        _print_json(
            {
                "path": marked.path,
                "payload": payload.hex(),
                "text": _as_text(payload),
                "p_value": marked.p_value,
                "frames": marked.frames,
                "size": [marked.width, marked.height],
                "codec": marked.codec,
                "pixel_format": marked.pixel_format,
                "notes": list(marked.notes),
            }
        )
    else:
        size = f"{marked.frames} pictures of {marked.width}x{marked.height}"
        print(f"{escape(marked.path)}: marked {_shown(payload)}, read back from {size}, {_p(marked.p_value)}")
        for note in marked.notes:
            print(f"  - {escape(note)}")
    return 0


def _detect(arguments: argparse.Namespace) -> int:
    from provenance.marking import detect_file

    key, codes = _key(arguments.key), []
    for path in arguments.files:
        try:
            found: Detection | None = detect_file(path, key=key, fast=arguments.fast)
            trouble = None
        except MediaError as error:
            found, trouble = None, str(error)
        codes.append(2 if found is None else 0 if found.payload is not None else 3)
        if arguments.json:
            payload = found.payload if found else None
            _print_json(
                {
                    "path": path,
                    "found": payload is not None,
                    "payload": payload.hex() if payload else None,
                    "text": _as_text(payload) if payload else None,
                    "p_value": found.p_value if found else None,
                    "how": found.how if found and payload else None,
                    "error": trouble,
                }
            )
        else:
            print(f"{escape(path)}: {_said(found, trouble)}", flush=True)
    return 2 if 2 in codes else max(codes)


def _said(found: "Detection | None", trouble: str | None) -> str:
    from provenance.watermark import FALSE_ALARM

    if found is None:
        return f"unreadable: {escape(trouble or '')}"
    if found.payload is not None:
        return f"found {_shown(found.payload)}, {_p(found.p_value)}, {found.how}"
    if found.p_value < FALSE_ALARM:
        return f"traces of a watermark whose payload cannot be read, {_p(found.p_value)}"
    return f"no watermark found, {_p(found.p_value)}"


def _bench(arguments: argparse.Namespace) -> int:
    from provenance import watermark

    key = _key(arguments.key)
    chosen = _chosen(arguments.attacks)
    if arguments.frames < 1:
        raise InputError(f"--frames {arguments.frames} is not possible; give 1 or more, {BENCH_FRAMES} is usual")
    frames, fps = _first_frames(arguments.file, arguments.frames)
    payload = secrets.token_bytes(watermark.PAYLOAD_BYTES)
    start = time.perf_counter()
    marked = watermark.embed(frames, payload, key)
    took = time.perf_counter() - start
    count, height, width = frames.shape[:3]
    quality = _psnr(frames, marked)
    del frames
    head = {
        "path": arguments.file, "frames": count, "size": [width, height], "fps": fps, "payload": payload.hex(),
        "psnr": quality, "embedding_ms": 1e3 * took / count,
    }  # fmt: skip
    if arguments.json:
        _print_json(head)
    else:
        print(f"{escape(arguments.file)}: {count} pictures of {width}x{height}, payload {payload.hex()}")
        print(f"  PSNR {quality:.1f} dB, embedding {1e3 * took / count:.0f} ms a picture")
        widest = max(len(attack.name) for attack in chosen)
        print(f"\n  {'attack':<{widest}}  recovered  p-value   target  attacking  detecting", flush=True)
    recovered, wrong = 0, 0
    for attack in chosen:
        row = _try(attack, marked, fps, payload, key)
        recovered += row["recovered"]
        wrong += row["found"] and not row["recovered"]
        if arguments.json:
            _print_json(row)
            continue
        result = "yes" if row["recovered"] else "WRONG" if row["found"] else "no"
        if row["error"]:
            print(f"  {attack.name:<{widest}}  could not be tried: {escape(row['error'])}", flush=True)
        else:
            print(
                f"  {attack.name:<{widest}}  {result:<9}  {row['p_value']:<8.1e}  {attack.target:>5.0%}  "
                f"{row['attack_seconds']:>7.1f} s  {row['detect_seconds']:>7.1f} s",
                flush=True,
            )
    if not arguments.json:
        print(f"\n  recovered after {recovered} of {len(chosen)}" + (f"; WRONG payload after {wrong}" if wrong else ""))
        print("  target: the share of clips that should be recovered, over many clips; this is one")
    return 0


def _chosen(pattern: str) -> "list[Attack]":
    from provenance.attacks import ATTACKS

    chosen = [a for a in ATTACKS.values() if fnmatchcase(a.name, pattern) or fnmatchcase(a.group, pattern)]
    if not chosen:
        groups = ", ".join(dict.fromkeys(attack.group for attack in ATTACKS.values()))
        raise InputError(f"no attack is named {pattern!r}; the groups are: {groups}")
    return chosen


def _first_frames(path: str, most: int) -> "tuple[NDArray[np.uint8], float]":
    import numpy as np

    from provenance import video, watermark

    try:
        info = video.probe(path)
        if min(info.width, info.height) < watermark.MIN_SIZE:
            raise InputError(
                f"{path}: pictures of {info.width}x{info.height} are too small for a watermark; the smallest that work "
                f"are {watermark.MIN_SIZE}x{watermark.MIN_SIZE}"
            )
        frames = []
        for frame in video.read_frames(path):
            frames.append(frame)
            if len(frames) == most:
                break
    except MediaError as error:
        raise MediaError(f"{path}: {error}") from None
    if not frames:
        raise MediaError(f"{path}: it holds no frame that can be decoded")
    frames = [frame for frame in frames if frame.shape == frames[0].shape]
    return np.stack(frames), info.fps if math.isfinite(info.fps) and info.fps > 0 else 24.0


def _psnr(before: "NDArray[np.uint8]", after: "NDArray[np.uint8]") -> float:
    """Over all pictures, channels alike, in dB; a picture at a time, for they are large."""
    import numpy as np

    squares = sum(float(np.mean((a.astype(np.float32) - b) ** 2)) for a, b in zip(before, after, strict=True))
    return 10 * math.log10(255**2 * len(before) / squares) if squares else math.inf


def _try(
    attack: "Attack", marked: "NDArray[np.uint8]", fps: float, payload: bytes, key: bytes | None
) -> dict[str, Any]:
    from provenance.watermark import Detector

    row: dict[str, Any] = {"attack": attack.name, "group": attack.group, "target": attack.target}
    empty = {"found": False, "recovered": False, "p_value": None, "attack_seconds": None, "detect_seconds": None}
    start = time.perf_counter()
    try:
        changed = attack.apply(marked, fps)
    except (InputError, MediaError) as error:
        return {**row, **empty, "error": str(error)}
    middle = time.perf_counter()
    detector = Detector(key)
    for frame in changed:
        detector.add(frame)
    found = detector.result()
    return row | {
        "found": found.payload is not None,
        "recovered": found.payload == payload,
        "p_value": found.p_value,
        "attack_seconds": middle - start,
        "detect_seconds": time.perf_counter() - middle,
        "error": None,
    }


def _as_text(payload: bytes) -> str | None:
    """A payload of printable ASCII as text."""
    return payload.decode("ascii") if all(32 <= byte < 127 for byte in payload) else None


def _p(value: float) -> str:
    """A p-value for people; 0 is one too small for a number."""
    return "p < 1e-300" if value < 1e-300 else f"p = {value:.1e}" if value < 0.001 else f"p = {value:.2g}"


def _shown(payload: bytes) -> str:
    text = _as_text(payload)
    return payload.hex() + (f' ("{text}")' if text is not None else "")


def _print_json(said: dict[str, Any]) -> None:
    print(json.dumps(said, ensure_ascii=True).replace("\x7f", "\\u007f"), flush=True)


@contextmanager
def progress_bar(what: str, unit: str) -> "Iterator[Any]":
    """A progress bar on stderr, drawn from the first step on; none where stderr is no terminal."""
    from tqdm import tqdm

    with tqdm(desc=what, unit=f" {unit}s", file=sys.stderr, disable=None, leave=False, delay=0.5) as bar:

        def step(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        yield step
