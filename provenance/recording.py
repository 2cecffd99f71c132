"""From a signed file to the registry: what is kept, and what happens if it cannot be.

A clip is never lost because the registry is: it is registered once it is signed, verified and in its place, and a
registration that fails is a finding of its report, with the way to do it later.
"""

import hashlib
import mmap
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import credentials, formats, ledger, scenes, stores, video
from provenance import registry as registries
from provenance.errors import InputError, MediaError, RegistryError
from provenance.keys import Trust
from provenance.watermark import ALGORITHM

if TYPE_CHECKING:
    from provenance.registry.entry import Entry
    from provenance.registry.store import Registry
    from provenance.scenes import Scenes


def seen(path: str | os.PathLike) -> "Scenes | None":
    """Fingerprint and stills of a file; None if it has no moving pictures that can be decoded."""
    try:
        return scenes.look(path)
    except MediaError:
        return None


def register(
    path: str | os.PathLike,
    store: bytes,
    said: Mapping[str, Any],
    looked: "Scenes | None",
    registry: str | os.PathLike | None,
) -> str | None:
    """Register a file that was just signed, and log it; why it could not be, as a finding, or None if it was or need
    not be.

    Args:
        path: the signed file, in its place.
        store: its manifest store.
        said: what its manifest says (``describe``).
        looked: at its pictures, or those it was made from.
        registry: as in ``provenance.registry.place``.
    """
    try:
        where = registries.place(registry)
        if where is None:
            return None
        with registries.opened(where) as known:
            return ledger.enter(known, keep(known, path, store, said, looked))
    except RegistryError as error:
        return f"signed, but not registered: {error}. Register it later: provenance registry add {os.fspath(path)}"


def keep(
    known: "Registry", path: str | os.PathLike, store: bytes, said: Mapping[str, Any], looked: "Scenes | None"
) -> "Entry":
    """Add a signed file's credentials, fingerprint and stills.

    Raises:
        RegistryError: the registry cannot be used, or the file is gone.
    """
    from provenance.registry.entry import Entry, described

    payload = next((b["payload"] for b in said.get("soft_bindings") or [] if b["alg"] == ALGORITHM), None)
    title, signer, signed_at = described(said)
    info = None if looked is None else looked.info
    entry = Entry(
        manifest_sha256="",
        manifest_id=str(said.get("label")),
        payload=payload if isinstance(payload, str) and len(payload) == 16 else None,
        algorithm=ALGORITHM if payload else None,
        title=title,
        signer=signer,
        signed_at=signed_at,
        registered_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        file_sha256=_sha256(path),
        width=info and info.width,
        height=info and info.height,
        fps=info and info.fps,
        duration=None if looked is None else looked.fingerprint.duration,
    )
    fingerprint, stills = (None, ()) if looked is None else (looked.fingerprint, looked.stills)
    return known.add(entry, manifest=store, fingerprint=fingerprint, pictures=stills)


def add_file(known: "Registry", path: str | os.PathLike) -> "Entry":
    """Register a file that was signed before, here or elsewhere, if its credentials hold.

    Raises:
        InputError: it carries no credentials, or they do not hold.
        RegistryError: the registry cannot be used.
    """
    from provenance.verification import verify

    path = Path(path)
    report = verify(path, registry=registries.OFF)
    if report.status not in ("authentic", "untrusted") or report.manifest is None:
        why = report.findings[0] if report.findings else report.summary
        raise InputError(f"{path} cannot be registered: it is {report.status} ({why}); give a file as it was signed")
    store = _store(path)
    checked = stores.validate(store, Trust()) if store is not None else None
    if store is None or checked is None or checked.label != report.manifest["label"] or checked.state == "Invalid":
        raise InputError(
            f"{path} cannot be registered: its manifest store does not lie in it in one piece; sign it once more "
            "(--again), with a sidecar or with the registry named"
        )
    entry = keep(known, path, store, report.manifest, seen(path))
    if trouble := ledger.enter(known, entry):
        raise RegistryError(trouble)
    return known.by_digest(entry.manifest_sha256)[0]  # with its proof


def _store(path: Path) -> bytes | None:
    """A file's manifest store: in its C2PA box, anywhere else in one piece, or in the sidecar beside it."""
    with path.open("rb") as file:
        if formats.of(path).is_bmff:
            for kind, at, size in video.boxes(file):
                file.seek(at)
                if kind == b"uuid" and size <= 2 * stores.LARGEST and (found := stores.find(file.read(size))):
                    return found
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if found := stores.find(data):
                    return found
    beside = formats.sidecar_of(path)
    return stores.find(credentials.load(beside)) if beside.is_file() else None


def _sha256(path: str | os.PathLike) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RegistryError(f"{os.fspath(path)} cannot be read: {error.strerror or error}") from None
