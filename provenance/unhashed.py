"""What C2PA leaves out of its hash of an MP4 or MOV: the boxes ftyp, free and skip, and the rest of its own box.

Anyone can change those and the signature holds. They carry no pictures, but can carry messages, or another file. So a
digest of each is signed along, in an assertion of our own, and compared; in files that others signed, what is not zero
there is pointed at. (mfra is left out, too: it repeats where fragments begin, which signing itself moves.)
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from provenance import video
from provenance.errors import MediaError

LABEL = "io.sorajax.unhashed"
"""Of the assertion."""

_KINDS = (b"ftyp", b"free", b"skip")
_SPACE = ("free", "skip")
_MOST = 1000
"""Boxes that are told apart; a file with more is odd enough to say so."""
_TOO_MANY = f"has more than {_MOST} boxes of free space"
_EXCLUDED = {"/uuid", "/ftyp", "/mfra", "/free", "/skip"}
_KNOWN = {
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"moof", b"mfra", b"sidx", b"styp", b"meta", b"emsg",
    b"prft", b"pdin", b"meco", b"ssix", b"imda", b"pnot", b"PICT", b"udta",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Box:
    """One that is not hashed."""

    kind: str
    at: int
    size: int
    """Bytes of content."""
    digest: str
    """SHA-256 of the content, in hexadecimal."""
    filled: int
    """How many bytes of the content are not zero."""


def boxes(path: Path) -> list[Box]:
    """Those at the top level, in order; of more than 1000 the first 1001.

    Raises:
        MediaError: as ``video.boxes``.
    """
    found = []
    with path.open("rb") as file:
        for kind, at, size in video.boxes(file):
            if kind in _KINDS:
                found.append(_box(file, kind.decode(), at, size))
                if len(found) > _MOST:
                    break
    return found


def assertion(path: Path) -> dict[str, Any]:
    """The digests, for a manifest.

    Raises:
        MediaError: as ``boxes``, or too many of them.
    """
    found = boxes(path)
    if len(found) > _MOST:
        raise MediaError(f"{path} {_TOO_MANY}")
    said = [{"type": box.kind, "size": box.size, "hash": box.digest} for box in found]
    return {"label": LABEL, "created": True, "data": {"alg": "sha256", "boxes": said}}


def compare(path: Path, signed: Any, binding: dict[str, Any] | None) -> tuple[list[str], list[str]]:
    """(contradictions, notes) about what the hash does not cover.

    Args:
        path: an MP4 or MOV with credentials.
        signed: the data of our assertion, None in a manifest without one. A stranger wrote it.
        binding: the assertion that binds the manifest to the content.

    Raises:
        MediaError: as ``boxes``.
    """
    now = boxes(path)
    reasons, notes = _left_out(binding)
    hidden, inside = _inside_own_box(path)
    said = _signed(signed)
    if len(now) > _MOST:
        (notes if said is None else reasons).append(f"it {_TOO_MANY}, which were not gone through")
        return reasons, notes
    if said is None:
        notes += [
            _describe(box) + ", which the credentials do not cover" for box in now if box.kind in _SPACE and box.filled
        ]
        notes += hidden
        notes += inside
        return reasons, notes
    left = Counter(said)
    for box in now:
        key = (box.kind, box.size, box.digest)
        if left[key] > 0:
            left[key] -= 1
        elif box.kind == "ftyp":
            notes.append(
                "its ftyp box, which names the kind of file, was changed after signing; no picture depends on it"
            )
        elif box.filled:
            reasons.append(f"{_describe(box)}, which was put there after signing")
        else:
            notes.append(f"a {box.kind} box of {box.size} empty bytes was put in after signing; nothing depends on it")
    for (kind, size, _), count in left.items():
        if count > 0 and kind in _SPACE:
            notes.append(f"a {kind} box of {size} bytes was taken out or changed after signing; nothing depends on it")
    return reasons + hidden, notes + inside


def unknown(path: Path) -> list[str]:
    """Notes about boxes that no player knows.

    Raises:
        MediaError: as ``video.boxes``.
    """
    with path.open("rb") as file:
        found = [(kind, size) for kind, _, size in video.boxes(file) if kind not in _KNOWN]
    return [
        f"it holds an unknown box {kind.decode('ascii', 'replace')} of {size} bytes, which players skip"
        for kind, size in found[:8]
    ]


def _left_out(binding: dict[str, Any] | None) -> tuple[list[str], list[str]]:
    """What the signer excluded from the hash besides what C2PA does (specification, 9.2.1 and 18.7)."""
    reasons, notes = [], []
    listed = (binding or {}).get("exclusions")
    chunks = bool((binding or {}).get("merkle"))
    for exclusion in listed if isinstance(listed, list) else []:
        path = exclusion.get("xpath") if isinstance(exclusion, dict) else None
        if path is None or path in _EXCLUDED or (path == "/mdat" and chunks):
            continue
        said = f"the signer left {str(path)[:80]} out of the hash, so that it can be changed without notice"
        (reasons if str(path).startswith(("/mdat", "/moov", "/moof")) else notes).append(said)
    return reasons, notes


def _inside_own_box(path: Path) -> tuple[list[str], list[str]]:
    """(hidden content, notes) of the C2PA box: what follows its manifest is not hashed, a second one is not read."""
    hidden: list[str] = []
    count = 0
    with path.open("rb") as file:
        for kind, at, size in video.boxes(file):
            file.seek(at)
            header = file.read(48 if size >= 48 else size)
            if kind != b"uuid" or video.C2PA_UUID not in header:
                continue
            count += 1
            start = header.index(video.C2PA_UUID) + 16 + 4
            purpose = header[start:].split(b"\0")[0]
            start += len(purpose) + 1 + (8 if purpose == b"manifest" else 0)
            file.seek(at + start)
            length = int.from_bytes(file.read(4), "big")
            rest = size - start - length
            if purpose == b"manifest" and length >= 8 and rest > 0:
                file.seek(at + start + length)
                filled, _ = _read(file, rest)
                if filled:
                    hidden.append(f"{filled} bytes are hidden behind the manifest in its box")
    return hidden, ["it has a second C2PA box, which is not read"] if count > 1 else []


def _describe(box: Box) -> str:
    return f"a {box.kind} box at byte {box.at} holds {box.filled} bytes that are not zero"


def _signed(data: Any) -> list[tuple[str, int, str]] | None:
    try:
        return [(str(box["type"]), int(box["size"]), str(box["hash"])) for box in data["boxes"][:_MOST]]
    except (KeyError, TypeError, ValueError):
        return None


def _box(file: BinaryIO, kind: str, at: int, size: int) -> Box:
    file.seek(at)
    header = 16 if file.read(4) == b"\0\0\0\1" else 8
    file.seek(at + header)
    filled, digest = _read(file, size - header)
    return Box(kind=kind, at=at, size=size - header, digest=digest, filled=filled)


def _read(file: BinaryIO, size: int) -> tuple[int, str]:
    """(bytes that are not zero, SHA-256) of the next ``size`` bytes."""
    digest, filled = hashlib.sha256(), 0
    while size > 0 and (data := file.read(min(size, 2**20))):
        digest.update(data)
        filled += len(data) - data.count(0)
        size -= len(data)
    return filled, digest.hexdigest()
