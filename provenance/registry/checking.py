"""Does the registry hold what it says? Missing and damaged blobs, and blobs that nobody names."""

from dataclasses import dataclass

from provenance.errors import InputError, RegistryError
from provenance.fingerprint import Fingerprint
from provenance.registry.store import Registry

_FRESH = 3600.0
"""Seconds: younger orphans may belong to a writer that is at work."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found."""

    clips: int
    blobs: int
    problems: tuple[str, ...]
    """A line each: something that was registered cannot be had any more."""
    orphans: tuple[str, ...]
    """Paths of blobs and unfinished writes that no clip names, as a writer that was killed leaves them."""


def check(registry: Registry) -> Check:
    """Read every blob that is named, and look for others.

    Raises:
        RegistryError: the registry cannot be read at all.
    """
    named: dict[str, list[str]] = {}
    fingerprints: set[str] = set()
    clips = 0
    for entry in registry.entries():
        clips += 1
        wanted = [entry.manifest_sha256, entry.fingerprint_sha256, *(p.sha256 for p in entry.pictures)]
        for name in wanted:
            if name is not None:
                named.setdefault(name, []).append(entry.title or entry.manifest_id)
        if entry.fingerprint_sha256 is not None:
            fingerprints.add(entry.fingerprint_sha256)
    problems = []
    for name, titles in named.items():
        try:
            data = registry.blobs.get(name)
            if name in fingerprints:
                Fingerprint.from_bytes(data)
        except (RegistryError, InputError) as error:
            problems.append(f"{error} (of {titles[0]!r}{f' and {len(titles) - 1} more' if len(titles) > 1 else ''})")
    present = set(registry.blobs.names())
    orphans = [registry.blobs.path_of(name) for name in sorted(present - set(named))]
    return Check(
        clips=clips,
        blobs=len(present),
        problems=tuple(problems),
        orphans=(*orphans, *registry.blobs.leftovers()),
    )


def prune(registry: Registry, found: Check) -> int:
    """Remove the orphans of a check that are older than an hour; how many."""
    removed = 0
    for path in found.orphans:
        if registry.blobs.age(path) > _FRESH:
            registry.blobs.remove(path)
            removed += 1
    return removed
