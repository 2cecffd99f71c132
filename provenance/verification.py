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
- no manifest, but a watermark or a likeness that leads to a registered clip: ``recovered`` (``provenance.recovery``);
- no manifest, but a watermark that leads nowhere: ``absent``, with a finding that gives the payload. Not ``altered``:
  pictures can be marked and never signed, and the public key lets anyone mark them, so nothing proves that credentials
  were removed.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import credentials, formats, keys, localise, recovery, stills, unhashed, video
from provenance.credentials import Credentials
from provenance.errors import MediaError
from provenance.keys import Trust
from provenance.localise import Span
from provenance.report import Report

if TYPE_CHECKING:
    from provenance.watermark import Detection

MOST_FRAMES = 32
"""Longer videos are sampled evenly: more frames hardly help the watermark."""

_MISMATCH = "assertion.bmffHash.mismatch"
_SIGNED_HASHES_HOLD = {_MISMATCH, "signingCredential.expired", "signingCredential.invalid"}
_TAKES_IN = ("c2pa.opened", "c2pa.placed")
_TAKEN_IN = ("parentOf", "componentOf")


def verify(
    path: str | os.PathLike,
    trust: Trust | str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    *,
    watermark_key: bytes | None = None,
    manifest: str | os.PathLike | None = None,
    registry: str | os.PathLike | None = None,
    resolver: str | None = None,
) -> Report:
    """Verify one file.

    Args:
        path: a video or a picture, see ``provenance.formats``. Credentials that it does not carry itself are looked for
            in the sidecar beside it, which has its name and ends in .c2pa.
        trust: PEM file or files with roots of signers to believe, besides this machine's own and ``$SORAJAX_TRUST``;
            or a whole policy, see ``provenance.keys.trust_policy``.
        watermark_key: a private watermark key; None is the public one.
        manifest: a sidecar to use instead of what the file carries.
        registry: where signed clips are registered: a folder, a database URL, "off"; None is ``$SORAJAX_REGISTRY``,
            else the user's own.
        resolver: address of a C2PA soft binding resolver to ask about a watermark; None asks nobody.

    Raises:
        KeyFileError: a trust list that cannot be read. Nothing else: a file that cannot be read is ``unreadable``.
    """
    name = os.fspath(path)
    name = os.fsdecode(name) if isinstance(name, bytes) else name
    findings: list[str] = []
    policy = trust if isinstance(trust, Trust) else keys.trust_policy(trust)
    findings += policy.notes
    try:
        format = formats.of(path)
        _ = video.probe(path) if format.container else stills.probe(path)
        held = credentials.read(Path(path), format, policy, None if manifest is None else Path(manifest))
        # A crop or a mirror image of a marked clip needs a search. Where a signer says that existing material was taken
        # in, what is found would change nothing.
        mark, trouble = _look(path, format, watermark_key, thorough=held.said is None or not _takes_in(held.said))
        if trouble and held.state is None:
            raise MediaError(trouble)
    except MediaError as error:
        return Report(path=name, status="unreadable", findings=(str(error), *findings))
    if trouble:
        findings.append(f"the pictures could not be searched for a watermark: {trouble}")
    findings += held.notes
    said, state = held.said, held.state
    if state is None:
        outcome = recovery.recover(path, mark, policy, registry=registry, resolver=resolver)
        absent = () if outcome.recovered is not None or outcome.explained else _without_manifest(mark)
        return Report(
            path=name,
            status="absent" if outcome.recovered is None else "recovered",
            recovered=outcome.recovered,
            watermark=mark,
            findings=(*outcome.findings, *absent, *findings),
        )
    contradictions, notes = _compare(said, mark) if said is not None else ([], [])
    if contradictions and mark.payload is not None:
        notes = [*recovery.named(mark.payload, policy, registry), *notes]
    hidden, placed, spans = _examine(Path(path), format, held)
    reasons = [*held.failures, *hidden, *contradictions]
    if reasons or state == "Invalid":
        status = "altered"
    elif state == "Trusted":
        status = "authentic"
    else:
        status = "untrusted"
    found = (*reasons, *placed, *_about_signer(said or {}, status), *_about_sources(said or {}), *notes, *findings)
    return Report(path=name, status=status, manifest=said, watermark=mark, findings=found, altered=spans)


def _examine(path: Path, format: formats.Format, held: Credentials) -> tuple[list[str], list[str], tuple[Span, ...]]:
    """(contradictions, notes, what was altered when) of the parts of a video that C2PA's verdict says nothing about."""
    if not format.is_bmff or held.said is None:
        return [], [], ()
    try:
        reasons, notes = unhashed.compare(path, held.said["unhashed"], held.binding)
        if _MISMATCH not in held.codes:
            return reasons, notes, ()
        notes += unhashed.unknown(path)
    except (MediaError, OSError) as error:
        return [], [f"the boxes that C2PA does not hash could not be examined: {error}"], ()
    if held.codes - _SIGNED_HASHES_HOLD:
        return reasons, notes, ()  # whoever changed the manifest may have changed the hashes in it
    located = localise.locate(path, held.binding)
    return reasons, [*located.findings, *notes], located.spans


def _look(
    path: str | os.PathLike, format: formats.Format, key: bytes | None, thorough: bool
) -> tuple["Detection", str | None]:
    """Search the pictures, and what kept them from being decoded."""
    from provenance.watermark import Detector

    detector, trouble, seen = Detector(key), None, 0
    try:
        if format.container:
            step = max(1, math.ceil(video.count_frames(path) / MOST_FRAMES))
            frames = video.read_frames(path, step=step)
        else:
            frames = stills.read_frames(path)
        for frame in frames:
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
    for source in manifest.get("ingredients") or []:
        brought = [b["payload"] for b in source["soft_bindings"] if b["alg"] == ALGORITHM]
        if source["relationship"] in _TAKEN_IN and carried in brought:
            return [], [f"the pictures carry the watermark {carried}, that of their source {source['title']}"]
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


def _about_sources(manifest: dict[str, Any]) -> list[str]:
    said = []
    for source in manifest.get("ingredients") or []:
        if source["status"] == "altered":
            why = ", ".join(source["failures"] or ["they are missing"])
            said.append(f"the credentials of its source {source['title']} did not hold when it was taken in: {why}")
        elif source["status"] == "untrusted":
            said.append(f"no trust list given here vouches for the signer of its source {source['title']}")
    return said


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
