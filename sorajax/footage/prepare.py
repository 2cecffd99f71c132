"""From videos as they are to clips worth training on: scanned once, judged, listed, and a report of what was dropped.

The folder that it writes holds ``scans.jsonl`` (what was found in each file; a run that is broken off goes on from
there), ``pictures/``, and in the end ``clips.jsonl``, ``dropped.jsonl`` and ``report.html``.
"""

import dataclasses
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from sorajax.data import shards
from sorajax.errors import InputError
from sorajax.footage import captions as captions_of
from sorajax.footage import report as reports
from sorajax.footage import sources as sources_of
from sorajax.footage.filters import FilterConfig, Likenesses, judge, parts
from sorajax.footage.pools import Pool, Processes
from sorajax.footage.scan import PassingError, Scene, scan
from sorajax.footage.sources import Source

SCANS, CLIPS, DROPPED, REPORT, PICTURES = "scans.jsonl", "clips.jsonl", "dropped.jsonl", "report.html", "pictures"
Check = Callable[[Scene], str | None]
"""A filter of the user's: why a scene is dropped, in a few words, or None."""
Captioner = Callable[[Scene], Sequence[str]]
"""Gives captions to a scene that has none."""


@dataclass
class Summary:
    """What became of everything."""

    files: int = 0
    scenes: int = 0
    seconds: float = 0.0
    clips: int = 0
    kept_seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    """How many files or scenes were dropped, by reason."""

    def __str__(self) -> str:
        why = ", ".join(f"{count} {word}" for word, count in self.reasons.most_common()) or "nothing"
        return (
            f"{self.clips} clips ({self.kept_seconds:.0f} s) of {self.scenes} scenes ({self.seconds:.0f} s) in "
            f"{self.files} files; dropped: {why}"
        )


def prepare(
    paths: Sequence[Path],
    out: Path,
    config: FilterConfig | None = None,
    *,
    workers: int | None = None,
    pool: Pool | None = None,
    checks: Sequence[Check] = (),
    tags: Sequence[str] = (),
    captioner: Captioner | None = None,
    progress: bool = True,
) -> Summary:
    """Scan, judge and list everything in ``paths`` (``sources.find``) into the folder ``out``.

    Files that were scanned before and are unchanged are not read again, whatever the limits of ``config`` are now,
    unless their pictures are gone. A file that cannot be read, or that brings the process down that reads it, is listed
    as such and stops nothing; only what cannot be decoded is remembered so, the rest is tried again by the next run.

    Where nothing beside a file or in a list says what it shows, those of its own ``tags`` ("title", "description",
    "comment") do that are named, and then ``captioner``.

    ``pool`` is where files are scanned, by default in ``workers`` processes of this machine.

    Raises InputError where there is no video at all, and, after the report is written, where nothing was kept.
    """
    config = config or FilterConfig()
    found = sources_of.find(paths)
    if not found:
        kinds = " ".join(sources_of.VIDEOS + sources_of.IMAGES)
        raise InputError(f"no video in {', '.join(map(str, paths))}; files that are taken end in {kinds}")
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    scans = _scans(found, out, pool or Processes(workers or os.cpu_count() or 1), progress)
    summary, kept, dropped = Summary(files=len(found)), [], []
    known = Likenesses()
    for source in found:
        for record in _judged(source, scans[source.key], config, known, checks, tags, captioner, out):
            (dropped if "reason" in record else kept).append(record)
    scenes = [scene for source in found for scene in scans[source.key].get("scenes", ())]
    summary.scenes, summary.seconds = len(scenes), sum(scene["end"] - scene["start"] for scene in scenes)
    summary.clips, summary.kept_seconds = len(kept), sum(record["end"] - record["start"] for record in kept)
    summary.reasons.update(record["reason"] for record in dropped)
    _write(out / CLIPS, kept)
    _write(out / DROPPED, dropped)
    reports.write(out / REPORT, str(summary), kept, dropped)
    if not kept:
        raise InputError(f"nothing was kept: {summary}; {out / REPORT} shows each, and the limits can be moved")
    return summary


def _judged(
    source: Source,
    scanned: dict[str, Any],
    config: FilterConfig,
    known: Likenesses,
    checks: Sequence[Check],
    tags: Sequence[str],
    captioner: Captioner | None,
    out: Path,
) -> Iterator[dict[str, Any]]:
    """A record for each clip of a source, and for each scene that is dropped, with its reason."""
    if "problem" in scanned:
        yield {"source": source.name, "reason": "unreadable", "why": scanned["problem"]}
        return
    for number, values in enumerate(scanned["scenes"]):
        scene = _scene(values, out)
        where = {"source": source.name, "start": scene.start, "end": scene.end, "picture": values["picture"]}
        verdict = judge(scene, config, is_image=source.is_image)
        if verdict is None and config.likeness >= 0:
            twin = known.find(scene.hash, config.likeness)
            verdict = None if twin is None else ("copy", f"like {twin}")
        for check in checks if verdict is None else ():
            said = check(scene)
            verdict = verdict or (None if said is None else (getattr(check, "__name__", "check"), said))
        if verdict is not None:
            yield where | {"reason": verdict[0], "why": verdict[1]}
            continue
        for start, end in parts(scene, config):
            said = captions_of.within(source.captions, start, end)
            if not source.captions:
                said = captions_of.of_tags(scene.tags, tags, source.name)
            if not said and captioner is not None:
                given = captioner(scene)
                said = [captions_of.Caption(text) for text in ([given] if isinstance(given, str) else given)]
            if not said and config.captioned:
                beside = (
                    "its subtitles say nothing of it" if source.captions else "no text, JSON or subtitles beside it"
                )
                why = source.problem or beside
                yield where | {"start": start, "end": end, "reason": "without caption", "why": why}
                continue
            known.add(scene.hash, f"{source.name} at {scene.start:.2f} s")
            texts = [{"text": c.text, "language": c.language} for c in said]
            figures = {key: values[key] for key in ("width", "height", "fps", "luma", "motion", "text", "hash")}
            file = {"path": os.path.abspath(source.path), "member": source.member, "image": source.is_image}
            file["content"] = scanned["content"]
            yield where | file | {"start": start, "end": end, "scene": number, "captions": texts} | figures


def _scans(found: list[Source], out: Path, pool: Pool, progress: bool) -> dict[str, dict[str, Any]]:
    """What each source has in it, by name: from ``scans.jsonl`` where it is unchanged, else by reading it."""
    pictures = {entry.name for entry in os.scandir(out / PICTURES) if entry.stat().st_size}
    before = {(r["source"], r["version"]): r for r in _lines(out / SCANS) if _is_whole(r, pictures)}
    done, missing = {}, []
    for source in found:
        try:
            version = source.version()
        except OSError as error:
            done[source.key] = {"problem": f"{source.path} cannot be read: {error.strerror}"}
            continue
        if (record := before.get((source.key, version))) is not None:
            done[source.key] = record
        else:
            missing.append((source, version))
    if (out / SCANS).exists() and not (out / SCANS).read_bytes().endswith(b"\n"):
        with (out / SCANS).open("a") as file:
            file.write("\n")  # after half a line
    with (
        (out / SCANS).open("a", encoding="utf-8") as file,
        tqdm(total=len(found), initial=len(done), desc="scan", file=sys.stderr, disable=not progress) as bar,
    ):
        for source, version, record in pool.scan(_scanned, missing):
            for name, data in record.pop("pictures", {}).items():
                (out / PICTURES / name).write_bytes(data)
            done[source.key] = record = {"source": source.key, "version": version, **record}
            if not record.get("passing"):
                file.write(json.dumps(record) + "\n")
                file.flush()
            bar.update()
    return done


def _scanned(source: Source) -> dict[str, Any]:
    """In a process of its own: scenes as plain values with their pictures as files, or what is wrong with it."""
    try:
        scenes, content = scan(source), source.content()
    except (PassingError, OSError, MemoryError) as error:
        return {"problem": str(error) or f"{source.name} cannot be read: out of memory", "passing": True}
    except InputError as error:
        return {"problem": str(error)}
    except Exception as error:  # of a library, about a file that is like no other: it stops nothing
        return {"problem": f"{source.name} cannot be scanned ({type(error).__name__}: {error}); take it out"}
    plain, pictures = [], {}
    for number, scene in enumerate(scenes):
        values = {f.name: getattr(scene, f.name) for f in dataclasses.fields(scene) if f.name != "thumbnail"}
        name = f"{reports.short(source.key)}-{number}.jpg"
        strip, file = scene.thumbnail.transpose(1, 0, 2, 3), io.BytesIO()
        Image.fromarray(strip.reshape(len(strip), -1, 3)).save(file, "jpeg", quality=80)
        pictures[name] = file.getvalue()
        plain.append({k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()} | {"picture": name})
    return {"content": content, "scenes": plain, "pictures": pictures}


def _is_whole(record: dict[str, Any], pictures: set[str]) -> bool:
    """Whether a scan can be used: its pictures are there, and it says all that is asked for."""
    if "problem" in record:
        return True
    return "content" in record and all("tags" in s and s["picture"] in pictures for s in record["scenes"])


def _scene(values: dict[str, Any], out: Path) -> Scene:
    figures = {f.name: values[f.name] for f in dataclasses.fields(Scene) if f.name != "thumbnail"}
    with Image.open(out / PICTURES / values["picture"]) as picture:
        strip = np.asarray(picture.convert("RGB"))
    return Scene(**figures, thumbnail=strip.reshape(len(strip), 3, -1, 3).swapaxes(0, 1))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a file; the last one may be half written."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if "source" in record:
            yield record


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    shards.write_text(path, "".join(json.dumps(r) + "\n" for r in records))
