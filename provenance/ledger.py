"""Registered clips in a transparency log, so that what was signed when cannot be changed unnoticed afterwards.

What is logged of a clip are digests and its watermark, never its title, prompt or pictures, so the log can be
published. Whoever has a clip's registry entry can make the logged bytes anew, and its proof shows that they are in the
log.

Where: the folder that ``$SORAJAX_LOG`` names ("off" for none), else ``log`` in a registry that is a folder. A registry
in a database has no log unless one is named.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import InputError, KeyFileError, LogError, ProofError, RegistryError

if TYPE_CHECKING:
    from provenance.log import Log
    from provenance.registry.entry import Entry
    from provenance.registry.places import Place
    from provenance.registry.store import Registry

OFF = "off"
_LOGGED = ("file_sha256", "manifest_id", "manifest_sha256", "payload")


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What a proof shows."""

    origin: str
    """The log's name."""
    index: int
    """The entry's place in it."""
    size: int
    """How many entries the log had when the proof was made."""


def folder_of(place: "Place") -> Path | None:
    """Where a registry's log is, or would be; None for none."""
    chosen = os.environ.get("SORAJAX_LOG") or ""
    if chosen == OFF:
        return None
    if chosen:
        return Path(chosen).absolute()
    return None if place.folder is None else place.folder / "log"


def logged_bytes(entry: "Entry") -> bytes:
    """What is logged of a clip: JSON with sorted keys and no spaces, pure ASCII."""
    return json.dumps({name: getattr(entry, name) for name in _LOGGED}, separators=(",", ":"), sort_keys=True).encode()


def enter(known: "Registry", entry: "Entry") -> str | None:
    """Log a registered clip and keep the proof beside it; why that could not be, as a finding.

    A clip whose entry has a proof already is not logged once more.
    """
    folder = folder_of(known.place)
    if folder is None or entry.proof is not None:
        return None
    try:
        log = _opened(folder)
        proof = log.prove(log.append(logged_bytes(entry)))
        known.set_proof(entry.manifest_sha256, proof.to_text())
    except (LogError, ProofError, InputError, KeyFileError, RegistryError, OSError) as error:
        return f"registered, but not entered in the log {folder}: {error}"
    return None


def check(known: "Registry", entry: "Entry") -> Logged:
    """Whether the proof beside a clip holds, by the key of the registry's own log.

    Raises:
        ProofError: it does not.
        LogError: there is no proof or no log here, or one of them cannot be read.
    """
    from provenance import log

    folder = folder_of(known.place)
    if entry.proof is None or folder is None or not folder.is_dir():
        raise LogError("it was not entered in a log")
    proof = log.Proof.from_text(entry.proof)
    try:
        key = log.own_verifier(folder)
        if key is None:
            raise LogError(f"the key of {folder} is not here; verify it with the public key (provenance log verify)")
        if proof.checkpoint.origin != key.name:
            raise LogError(f"it is in the log {proof.checkpoint.origin}, whose key is not here")
        checkpoint = log.verify_inclusion(logged_bytes(entry), proof, key)
    except KeyFileError as error:
        raise LogError(str(error)) from None
    return Logged(origin=checkpoint.origin, index=proof.index, size=checkpoint.size)


def _opened(folder: Path) -> "Log":
    """The log in a folder, begun if need be; where two processes begin it at once, the first one's."""
    from provenance import log
    from provenance.log.checkpoints import PATH

    if not (folder / PATH).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            return log.create(folder, origin=f"sorajax-registry/{secrets.token_hex(8)}")
        except InputError:
            if not (folder / PATH).exists():
                raise
    return log.open_log(folder)
