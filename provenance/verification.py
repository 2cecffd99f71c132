"""Is this file what it says it is? ``verify`` looks and reports; it never raises for what a file may hold.

Order: can it be read at all; is there a manifest and does everything in it hold; do the pictures carry a watermark; do
the two agree. No network address is followed. What the statuses mean and do not mean: ``provenance.report``.

Manifest and watermark, together:

- the manifest names a payload and the pictures carry another: ``altered``;
- the manifest claims that everything in the pictures was created by it, names no watermark, and they carry one:
  ``altered``, for they came from elsewhere;
- the manifest says that existing material was opened or placed (``c2pa.opened``, ``c2pa.placed``, or an ingredient that
  is a parent or a component), created or not, and the pictures carry a watermark it does not name: as the manifest
  stands, with a finding, for honest edits and compositions of marked clips look like this;
- the manifest names a payload and none is found in the pictures: as the manifest stands, with a finding. The hash of
  the content already says whether these are the signed bits;
- no manifest, but a watermark: ``absent``, with a finding that gives the payload. Not ``altered``: pictures can be
  marked and never signed, and the public key lets anyone mark them, so nothing proves that credentials were removed.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import credentials, keys, video
from provenance.errors import KeyFileError, MediaError
from provenance.report import Report

if TYPE_CHECKING:
    from provenance.watermark import Detection

MOST_FRAMES = 32
"""Longer videos are sampled evenly: more frames hardly help the watermark."""

_BMFF = ("mp4", "mov")
_TAKES_IN = ("c2pa.opened", "c2pa.placed")
_TAKEN_IN = ("parentOf", "componentOf")


def verify(
    path: str | os.PathLike,
    trust: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    *,
    watermark_key: bytes | None = None,
) -> Report:
    """Verify one file.

    Args:
        path: a video file.
        trust: PEM file or files with roots to believe, besides this machine's own and ``$SORAJAX_TRUST``.
        watermark_key: a private watermark key; None is the public one.

    Raises:
        KeyFileError: a trust list that cannot be read. Nothing else: a file that cannot be read is ``unreadable``.
    """
    name = os.fspath(path)
    name = os.fsdecode(name) if isinstance(name, bytes) else name
    findings: list[str] = []
    try:
        anchors = keys.trust_anchors(trust)
    except KeyFileError:
        if trust is not None or os.environ.get("SORAJAX_TRUST"):
            raise
        anchors = ""
        findings.append("this machine's own development root is damaged and was left out")
    try:
        info = video.probe(path)
        manifest, state, failures = None, None, []
        if info.container in _BMFF:
            manifest, state, failures = credentials.read(Path(path), anchors)
        else:
            findings.append(f"credentials are read from MP4 and MOV only; this is {info.container}")
        # A crop or a mirror image of a marked clip needs a search. Where a signer says that existing material was taken
        # in, what is found would change nothing.
        mark, trouble = _look(path, watermark_key, thorough=manifest is None or not _takes_in(manifest))
        if trouble and state is None:
            raise MediaError(trouble)
    except MediaError as error:
        return Report(path=name, status="unreadable", findings=(str(error), *findings))
    if trouble:
        findings.append(f"the pictures could not be searched for a watermark: {trouble}")
    if state is None:
        return Report(path=name, status="absent", watermark=mark, findings=(*_without_manifest(mark), *findings))
    contradictions, notes = _compare(manifest, mark) if manifest is not None else ([], [])
    reasons = failures + contradictions
    if reasons or state == "Invalid":
        status = "altered"
    elif state == "Trusted":
        status = "authentic"
    else:
        status = "untrusted"
    found = (*reasons, *_about_signer(manifest or {}, status), *notes, *findings)
    return Report(path=name, status=status, manifest=manifest, watermark=mark, findings=found)


def _look(path: str | os.PathLike, key: bytes | None, thorough: bool) -> tuple["Detection", str | None]:
    """Search the pictures, and what kept them from being decoded."""
    from provenance.watermark import Detector

    detector, trouble, seen = Detector(key), None, 0
    try:
        step = max(1, math.ceil(video.count_frames(path) / MOST_FRAMES))
        for frame in video.read_frames(path, step=step):
            if seen == MOST_FRAMES:  # a packet may hold more than one frame
                break
            detector.add(frame)
            seen += 1
    except MediaError as error:
        trouble = str(error)
    if not seen and trouble is None:
        trouble = "it holds no frame that can be decoded"
    return detector.result(thorough), trouble


def _without_manifest(mark: "Detection") -> list[str]:
    if mark.payload is not None:
        return [
            f"no credentials, but its pictures carry the sorajax watermark {mark.payload.hex()}: they come from a "
            "marked clip, whose credentials may have been removed; its maker can be asked about this number"
        ]
    if mark.p_value < 1e-9:
        return ["no credentials, but traces of a sorajax watermark whose number can no longer be read"]
    return ["no credentials and no watermark: nothing is known about where it comes from"]


def _compare(manifest: dict[str, Any], mark: "Detection") -> tuple[list[str], list[str]]:
    """(contradictions, notes) between what the manifest names and what the pictures carry."""
    from provenance.watermark import ALGORITHM

    named = [b["payload"] for b in manifest.get("soft_bindings") or [] if b["alg"] == ALGORITHM]
    carried = mark.payload.hex() if mark.payload is not None else None
    if carried is None:
        return [], ["the manifest names a watermark that was not found in the pictures"] if named else []
    if carried in named:
        return [], []
    if named:
        return [f"the pictures carry the watermark {carried}, of another clip than the manifest's ({named[0]})"], []
    actions = [a["action"] for a in manifest.get("actions") or []]
    # What was opened or placed may have brought its watermark along.
    if "c2pa.created" in actions and not _takes_in(manifest):
        return [
            f"the manifest claims to have created the pictures, but they carry another clip's watermark {carried}"
        ], []
    return [], [f"the pictures carry the sorajax watermark {carried}, which the manifest does not mention"]


def _takes_in(manifest: dict[str, Any]) -> bool:
    """Whether the manifest says that existing material was opened or placed."""
    actions = [a["action"] for a in manifest.get("actions") or []]
    relationships = [i["relationship"] for i in manifest.get("ingredients") or []]
    return any(a in _TAKES_IN for a in actions) or any(r in _TAKEN_IN for r in relationships)


def _about_signer(manifest: dict[str, Any], status: str) -> list[str]:
    signer = manifest.get("signer") or {}
    if status == "altered":
        return []
    if not signer.get("development"):
        return ["no trust list given here vouches for the signer"] if status == "untrusted" else []
    if status == "authentic":
        return [
            "signed with a development identity: it proves that the file is as it was signed, on this machine or by a "
            "root you chose to trust; it names no person, and other machines do not know it"
        ]
    return ["signed with a development identity, which anyone can make: it names no person that could be trusted"]
