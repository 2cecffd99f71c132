"""Credentials for a file that has none, from a registry or a resolver: ``recovered``.

The file's watermark, or else what its pictures look like, leads to registered clips. Nothing that the registry says
counts as proof:

- the manifest store is validated anew, against the roots believed today; an invalid one is a finding;
- its soft binding must name the watermark that was found: else a finding;
- the pictures must be those of the registered clip, by its fingerprint, which the manifest store holds signed. A
  watermark can be copied on to other pictures by anyone who has the public key, so one whose pictures are others is
  ``absent``.

What this cannot show: that the copy says what the original said. It may be cut, cropped or edited within what likeness
forgives; the report says what differs as far as it can be seen.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from provenance import likeness, scenes, stores
from provenance import registry as registries
from provenance.errors import InputError, MediaError, RegistryError
from provenance.fingerprint import ALGORITHM as FINGERPRINT
from provenance.fingerprint import Fingerprint
from provenance.keys import Trust
from provenance.likeness import Likeness
from provenance.watermark import ALGORITHM

if TYPE_CHECKING:
    from provenance.registry.entry import Entry
    from provenance.registry.store import Registry
    from provenance.watermark import Detection

MOST_CANDIDATES = 16
"""Clips under one watermark that are looked at, newest first."""
_WHOSE = "the watermark is that"


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The credentials that a file was found to be a copy of. Their text was written by strangers: escape it."""

    source: str
    """The registry or resolver that had them."""
    basis: str
    """watermark, or likeness alone."""
    manifest: dict[str, Any]
    """What the original's manifest says, as in ``Report.manifest``."""
    trusted: bool
    """Whether somebody believed here vouches for its signer, today."""
    agreement: float
    """Of the pictures' structure, at most 1."""
    start: float
    """Seconds in the original, from which on the copy shows it."""
    end: float
    duration: float
    """Of the original, seconds."""
    differences: tuple[str, ...] = ()
    """What was done to it, as far as can be seen."""
    signed_likeness: bool = True
    """Whether the fingerprint compared with was signed, or only the registry's word."""
    registered: int = 1
    """How many registered clips have this watermark."""
    proof: str | None = None
    """Of inclusion in a transparency log, as the registry keeps it; not checked here."""
    pairs: tuple[tuple[float, float], ...] = ()
    """(seconds in the copy, seconds in the original) of pictures that belong together."""
    stills: tuple[tuple[float, bytes], ...] = field(default=(), repr=False)
    """Of the original: (seconds, JPEG), as the registry keeps them."""

    @property
    def sentence(self) -> str:
        """What it is, in one."""
        title = self.manifest.get("title") or "a registered clip"
        part = f"from {self.start:.1f} to {self.end:.1f} s of {self.duration:.1f} s"
        what = "; ".join((part, *self.differences))
        return f"a copy of {str(title)[:200]!r}, {what}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; without the stills."""
        return {
            "source": self.source,
            "basis": self.basis,
            "manifest": self.manifest,
            "trusted": self.trusted,
            "agreement": self.agreement,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "duration": round(self.duration, 3),
            "differences": list(self.differences),
            "signed_likeness": self.signed_likeness,
            "registered": self.registered,
            "proof": self.proof,
            "pairs": [[round(a, 3), round(b, 3)] for a, b in self.pairs],
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of looking."""

    recovered: Recovery | None = None
    findings: tuple[str, ...] = ()
    explained: bool = False
    """Whether the findings say whose watermark it is, and why that does not make the file a copy."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A registered clip, wherever it was found."""

    store: bytes
    source: str
    fingerprint: Fingerprint | None = None
    fingerprint_sha256: str | None = None
    entry: "Entry | None" = None
    stills: Callable[[], tuple[tuple[float, bytes], ...]] = tuple


def recover(
    path: str | os.PathLike,
    mark: "Detection",
    trust: Trust,
    *,
    registry: str | os.PathLike | None = None,
    resolver: str | None = None,
) -> Outcome:
    """Look for the credentials of a video file that has none. Trouble on the way is a finding, never raised.

    Args:
        path: the file.
        mark: what the watermark search found.
        trust: whom to believe.
        registry: as in ``provenance.registry.place``.
        resolver: address of a C2PA soft binding resolver, which is told the watermark's payload and nothing else.
    """
    findings: list[str] = []
    copy: scenes.Scenes | None = None
    for known in _opened(registry, findings):
        try:
            copy = scenes.look(path, stills=False)
            found = _local(known, copy, mark, trust, findings)
            if found is not None:
                return Outcome(recovered=found, findings=(*_about(found), *findings))
        except MediaError:
            return Outcome(findings=tuple(findings))
        except (RegistryError, InputError) as error:
            findings.append(str(error))
    if resolver is not None and mark.payload is not None:
        try:
            copy = copy or scenes.look(path, stills=False)
        except MediaError:
            return Outcome(findings=tuple(findings))
        found = _judged(_remote(resolver, mark.payload, findings), copy, mark, trust, findings)
        if found is not None:
            return Outcome(recovered=found, findings=(*_about(found), *findings))
    return Outcome(findings=tuple(findings), explained=any(note.startswith(_WHOSE) for note in findings))


def named(payload: bytes, trust: Trust, registry: str | os.PathLike | None = None) -> list[str]:
    """Which registered clip a watermark belongs to, as a finding; nothing if none is known."""
    findings: list[str] = []
    for known in _opened(registry, findings):
        try:
            for entry in known.by_payload(payload, most=MOST_CANDIDATES):
                store = stores.validate(known.manifest(entry), trust)
                if store.said is not None and store.state != "Invalid" and store.bound(ALGORITHM) == payload:
                    return [f"the watermark {payload.hex()} is that of {_named(store)}, registered in {_shown(known)}"]
        except RegistryError as error:
            findings.append(str(error))
    return findings


def _opened(registry: str | os.PathLike | None, findings: list[str]) -> "Iterator[Registry]":
    """The registry, if there is one; why not, if it should be there."""
    try:
        where = registries.place(registry)
        if where is None or (not where.exists and registry is None):
            return
        known = registries.opened(where, create=False)
    except RegistryError as error:
        findings.append(str(error))
        return
    with known:
        yield known


def _local(
    known: "Registry", copy: scenes.Scenes, mark: "Detection", trust: Trust, findings: list[str]
) -> Recovery | None:
    if mark.payload is not None:
        entries = known.by_payload(mark.payload, most=MOST_CANDIDATES)
        found = _judged(_kept(known, entries, findings), copy, mark, trust, findings, len(entries))
        if found is not None or entries:
            return found
    alike = [found.entry for found in known.alike(copy.fingerprint)]
    return _judged(_kept(known, alike, []), copy, mark, trust, None)


def _kept(known: "Registry", entries: list["Entry"], findings: list[str]) -> Iterator[_Candidate]:
    for entry in entries:
        try:
            store, fingerprint = known.manifest(entry), known.fingerprint(entry)
        except (RegistryError, InputError) as error:
            findings.append(str(error))
            continue
        yield _Candidate(
            store=store,
            source=_shown(known),
            fingerprint=fingerprint,
            fingerprint_sha256=entry.fingerprint_sha256,
            entry=entry,
            stills=partial(_stills, known, entry),
        )


def _stills(known: "Registry", entry: "Entry") -> tuple[tuple[float, bytes], ...]:
    try:
        return tuple((picture.seconds, known.blobs.get(picture.sha256)) for picture in entry.pictures)
    except RegistryError:
        return ()  # nothing rests on them


def _remote(resolver: str, payload: bytes, findings: list[str]) -> Iterator[_Candidate]:
    from provenance.resolver.client import manifests

    try:
        for store in manifests(resolver, ALGORITHM, payload, most=4):
            yield _Candidate(store=store, source=resolver)
    except RegistryError as error:
        findings.append(str(error))


def _judged(
    candidates: Iterator[_Candidate],
    copy: scenes.Scenes,
    mark: "Detection",
    trust: Trust,
    findings: list[str] | None,
    registered: int = 1,
) -> Recovery | None:
    """The first candidate that holds and whose pictures are these; ``findings`` None is a search by likeness alone."""
    by_mark = findings is not None
    notes: list[str] = [] if findings is None else findings
    checked = [(candidate, stores.validate(candidate.store, trust)) for candidate in candidates]
    # Anyone can sign a copy once more: whom somebody here vouches for comes first, then the newest.
    compared: dict[bytes, Likeness] = {}  # one clip is often registered more than once
    for candidate, store in sorted(checked, key=lambda pair: pair[1].state != "Trusted"):
        if store.said is None or store.state == "Invalid":
            notes.append(f"credentials from {candidate.source} do not hold, and were left out: {store.failures[0]}")
            continue
        if by_mark and store.bound(ALGORITHM) != mark.payload:
            notes.append(
                f"credentials of {_named(store)} from {candidate.source} were left out, for they do not name the "
                "watermark that was found"
            )
            continue
        fingerprint, signed = _fingerprint(candidate, store)
        if fingerprint is None:
            notes.append(
                f"{_WHOSE} of {_named(store)}, in {candidate.source}; its pictures could not be compared, "
                "for the credentials hold no fingerprint of them"
            )
            continue
        same = fingerprint.hashes.tobytes()
        alike = compared.get(same) or likeness.compare(copy.fingerprint, fingerprint, search=by_mark)
        compared[same] = alike
        if not (alike.same if by_mark else alike.agreement >= likeness.CERTAIN):
            if by_mark:
                notes.append(
                    f"{_WHOSE} of {_named(store)}, in {candidate.source}, but the pictures are others: "
                    "the mark was copied on to them, or they were changed beyond recognition"
                )
            continue
        notes[:] = [note for note in notes if not note.startswith(_WHOSE)]
        return _recovery(candidate, store, fingerprint, signed, alike, copy, mark if by_mark else None, registered)
    if by_mark:
        notes[:] = list(dict.fromkeys(notes))
    return None


def _fingerprint(candidate: _Candidate, store: stores.Store) -> tuple[Fingerprint | None, bool]:
    """What to compare with, and whether its signer answers for it: the whole one that the manifest names, else the
    brief one in the manifest, else what the registry has."""
    bound = store.bound(FINGERPRINT)
    if bound is not None:
        try:
            whole, brief = Fingerprint.from_binding(bound)
        except InputError:
            return None, False
        if candidate.fingerprint is not None and candidate.fingerprint_sha256 == whole:
            return candidate.fingerprint, True
        return brief, True
    return candidate.fingerprint, False


def _recovery(
    candidate: _Candidate,
    store: stores.Store,
    fingerprint: Fingerprint,
    signed: bool,
    alike: Likeness,
    copy: scenes.Scenes,
    mark: "Detection | None",
    registered: int,
) -> Recovery:
    assert store.said is not None
    return Recovery(
        source=candidate.source,
        basis="likeness" if mark is None else "watermark",
        manifest=store.said,
        trusted=store.state == "Trusted",
        agreement=alike.agreement,
        start=alike.start,
        end=alike.end,
        duration=fingerprint.duration,
        differences=tuple(_differences(alike, copy, candidate.entry, mark)),
        signed_likeness=signed,
        registered=registered,
        proof=candidate.entry.proof if candidate.entry else None,
        pairs=alike.pairs,
        stills=candidate.stills(),
    )


def _differences(
    alike: Likeness, copy: scenes.Scenes, entry: "Entry | None", mark: "Detection | None"
) -> Iterator[str]:
    part, info = alike.part, copy.info
    yield "encoded anew, or without its credentials"
    if entry is not None and entry.width and entry.height and (entry.width, entry.height) != (info.width, info.height):
        yield f"{info.width}x{info.height} pixels instead of {entry.width}x{entry.height}"
    if entry is not None and entry.fps and info.fps and abs(entry.fps - info.fps) > 0.02 * entry.fps:
        yield f"{info.fps:.4g} frames a second instead of {entry.fps:.4g}"
    top, bottom, left, right = part.original
    share = (bottom - top) * (right - left)
    if share < 0.93:
        yield f"cropped to {share:.0%} of the picture"
    top, bottom, left, right = part.copy
    if (bottom - top) * (right - left) < 0.93 and not part.turn:
        yield "with bars or other pictures around it"
    if part.symmetry:
        yield "mirrored" if part.symmetry in (1, 2) else "upside down" if part.symmetry == 3 else "turned by 90 degrees"
    if part.turn:
        yield f"turned by {abs(part.turn):g} degrees"
    if alike.negative:
        yield "as a negative"
    if not alike.in_order:
        yield "its pictures in another order"
    elif alike.speed < 0:
        yield "running backwards"
    elif abs(alike.speed - 1) > 0.04:
        yield f"about {alike.speed:.2g} times as fast"
    if mark is not None and mark.how and not mark.how.startswith("as it is"):
        yield f"the watermark was found {mark.how}"


def _about(found: Recovery) -> Iterator[str]:
    yield found.sentence
    if found.basis == "likeness":
        yield (
            "no watermark of that clip was found: this rests on likeness alone, and pictures that are much alike, such "
            "as another take of the same scene, may mislead"
        )
    if found.agreement < likeness.CLEAR:
        yield (
            f"the pictures agree only in part ({found.agreement:.0%}): much is covered, or they show a like scene; "
            "compare them with the original by eye"
        )
    if not found.signed_likeness:
        yield "what the original looks like is the registry's own word, for its credentials hold no fingerprint"
    yield (
        "the original's credentials were validated anew: signature and certificate hold"
        + (", by a trusted signer" if found.trusted else ", but nobody here vouches for the signer")
        + (" (a development identity, which names no person)" if found.manifest["signer"]["development"] else "")
        + "; that the content is unchanged cannot be checked on a copy"
    )
    if found.registered > 1:
        yield f"{found.registered} registered files carry this watermark; the newest that holds is shown"


def _named(store: stores.Store) -> str:
    said = store.said or {}
    signer = said.get("signer") or {}
    by = signer.get("name") or signer.get("organisation") or "an unnamed signer"
    return f"{str(said.get('title') or 'an untitled clip')[:120]!r}, signed by {str(by)[:120]}"


def _shown(known: "Registry") -> str:
    return f"the registry {known.place.shown}"
