"""A registry as one file, to move, to back up and to merge: a tar of ``clips.jsonl`` and the blobs that it names.

Whoever wrote an archive is a stranger: nothing is unpacked to a path that it names, each blob must have the SHA-256
that it is called by, and each manifest store a good signature and the label and watermark that its entry claims, or the
entry is left out.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from provenance import outputs, stores
from provenance.errors import InputError, RegistryError
from provenance.fingerprint import Fingerprint
from provenance.keys import Trust
from provenance.registry.blobs import digest
from provenance.registry.entry import Entry, described
from provenance.registry.store import Registry
from provenance.watermark import ALGORITHM, PAYLOAD_BYTES

VERSION = 1
LARGEST_BLOB = 64 * 2**20
_LIST = "clips.jsonl"
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_LARGEST_LINE = 1 << 20
_MOST_STILLS = 64

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import."""

    added: int
    known: int
    """Clips that were here already."""
    refused: tuple[str, ...] = ()
    """A line each, of those left out."""


def export(registry: Registry, dst: str | os.PathLike, *, overwrite: bool = False) -> int:
    """Write every clip to a tar at ``dst``, which appears whole or not at all; how many.

    Raises:
        InputError: ``dst`` cannot be used.
        RegistryError: a blob is missing or damaged: an archive would only hide that.
    """
    dst = Path(dst)
    outputs.check(dst, overwrite=overwrite)
    entries = list(registry.entries())
    lines = [json.dumps({"registry": VERSION, "clips": len(entries)}), *(json.dumps(e.to_dict()) for e in entries)]
    names = dict.fromkeys(name for entry in entries for name in _named(entry))
    try:
        with outputs.hidden(dst) as part:
            with tarfile.open(part, "w") as tar:
                _add(tar, _LIST, ("\n".join(lines) + "\n").encode())
                for name in names:
                    _add(tar, f"blobs/{name}", registry.blobs.get(name))
            outputs.sync(part)
            outputs.publish(part, dst, overwrite)
    except OSError as error:
        raise outputs.cannot_write(dst, error, RegistryError) from None
    return len(entries)


def load(registry: Registry, src: str | os.PathLike, progress: Progress | None = None) -> Imported:
    """Add the clips of an archive that hold. Those that are here already stay as they are.

    Raises:
        InputError: ``src`` is no archive of a registry, or of a newer version, or damaged as a whole.
        RegistryError: the registry cannot be written.
    """
    try:
        with tarfile.open(src, "r:") as tar:
            members, entries = _contents(tar, os.fspath(src))
            added = known = 0
            refused = []
            for done, entry in enumerate(entries, 1):
                name = str(entry.title or entry.manifest_id)[:80]
                if registry.by_digest(entry.manifest_sha256):
                    known += 1
                elif why := _take(registry, tar, members, entry):
                    refused.append(f"{name!r} was left out: {why}")
                else:
                    added += 1
                if progress is not None:
                    progress(done, len(entries))
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{src} is no archive of a registry, or is damaged: {error}") from None
    except OSError as error:
        raise InputError(f"{src} cannot be read: {error.strerror or error}") from None
    return Imported(added=added, known=known, refused=tuple(refused))


def _named(entry: Entry) -> Iterator[str]:
    for name in (entry.manifest_sha256, entry.fingerprint_sha256, *(p.sha256 for p in entry.pictures)):
        if name is not None:
            yield name


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _contents(tar: tarfile.TarFile, src: str) -> tuple[dict[str, tarfile.TarInfo], list[Entry]]:
    """Members by blob name, and the entries; whatever else is in there is an error."""
    members: dict[str, tarfile.TarInfo] = {}
    listed: tarfile.TarInfo | None = None
    for member in tar:
        found = _BLOB.fullmatch(member.name)
        if not member.isreg() or not (found or member.name == _LIST):
            raise InputError(
                f"{src} holds {member.name[:200]!r}, which no archive of a registry does; it was not imported"
            )
        if found:
            members[found[1]] = member
        else:
            listed = member
    if listed is None:
        raise InputError(f"{src} is no archive of a registry: it has no {_LIST}")
    file = tar.extractfile(listed)
    assert file is not None
    head = json.loads(file.readline(_LARGEST_LINE))
    version = head.get("registry") if isinstance(head, dict) else None
    if version != VERSION:
        raise InputError(f"{src} has version {version!r} of the archive, and this is for version {VERSION}")
    try:
        return members, [Entry.from_dict(json.loads(line)) for line in iter(lambda: file.readline(_LARGEST_LINE), b"")]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{src} is damaged: an entry is none ({error})") from None


def _take(registry: Registry, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], entry: Entry) -> str | None:
    """Add one clip; why not, if it does not hold."""
    blobs: dict[str, bytes] = {}
    for name in _named(entry):
        member = members.get(name)
        if member is None:
            return f"the archive lacks its blob {name[:80]}"
        if member.size > LARGEST_BLOB:
            return f"its blob {name} has {member.size} bytes; the limit is {LARGEST_BLOB}"
        file = tar.extractfile(member)
        blobs[name] = file.read() if file is not None else b""
        if digest(blobs[name]) != name:
            return f"its blob {name} is damaged"
    if len(entry.pictures) > _MOST_STILLS:
        return f"it has {len(entry.pictures)} pictures"
    store = stores.validate(blobs[entry.manifest_sha256], Trust())
    if not store.intact:
        return f"its credentials do not hold: {store.failures[0]}"
    if store.label != entry.manifest_id:
        return "its credentials are of another clip"
    bound = store.bound(ALGORITHM)
    if entry.payload != (bound.hex() if bound is not None and len(bound) == PAYLOAD_BYTES else None):
        return f"its credentials do not name the watermark {entry.payload}"
    fingerprint = blobs[entry.fingerprint_sha256] if entry.fingerprint_sha256 is not None else None
    try:
        if fingerprint is not None:
            Fingerprint.from_bytes(fingerprint)
    except InputError as error:
        return str(error)
    if any(not blobs[picture.sha256].startswith(b"\xff\xd8\xff") for picture in entry.pictures):
        return "one of its pictures is no JPEG"
    title, signer, signed_at = described(store.said or {})
    registry.add(
        replace(entry, algorithm=entry.payload and ALGORITHM, title=title, signer=signer, signed_at=signed_at),
        manifest=blobs[entry.manifest_sha256],
        fingerprint=fingerprint,
        pictures=[(picture.seconds, blobs[picture.sha256]) for picture in entry.pictures],
    )
    return None
