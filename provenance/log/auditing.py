"""Audit a log: build it anew from its entries and hold everything it serves against that.

An audit reads every entry and every tile, so what holds is: these entries, in this order, are what the checkpoint
covers. That nothing was taken away or put in the place of something else shows in the comparison with a checkpoint
that the auditor kept from last time (``since``): keep one after each audit.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from provenance.errors import ProofError
from provenance.log import merkle, notes, tiles
from provenance.log.checkpoints import Checkpoint
from provenance.log.reading import Reader

MOST_FINDINGS = 20
"""More than these are counted and not listed."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found. Findings may hold text by strangers."""

    location: str
    checkpoint: Checkpoint
    findings: tuple[str, ...] = ()
    """What does not hold, a sentence each."""
    unchecked: tuple[str, ...] = ()
    """What was not looked at, for want of a key or an earlier checkpoint."""

    @property
    def holds(self) -> bool:
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "location": self.location,
            "holds": self.holds,
            "origin": self.checkpoint.origin,
            "size": self.checkpoint.size,
            "root": self.checkpoint.root.hex(),
            "findings": list(self.findings),
            "unchecked": list(self.unchecked),
        }


def audit(
    location: str | PathLike,
    *,
    key: str | notes.Verifier | None = None,
    witnesses: Iterable[str | notes.Verifier] = (),
    since: Checkpoint | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Check everything in a log.

    Args:
        location: its folder, or its address (http:// or https://).
        key: the log's vkey; without it nobody vouches for the checkpoint.
        witnesses: vkeys of witnesses who must have cosigned it.
        since: the checkpoint kept from an earlier audit.
        progress: called with entries done and all entries.

    Raises:
        LogError: it cannot be read at all. What can be read and is wrong is a finding.
        KeyFileError: a key that cannot be parsed.
    """
    verifier = None if key is None else notes.as_verifier(key)
    known = [notes.as_verifier(witness) for witness in witnesses]
    with Reader(location) as reader:
        findings, unchecked = _Findings(), []
        if verifier is None:
            unchecked.append("the checkpoint's signature, as no key was given: anyone could have written this log")
        else:
            findings.of(lambda: reader.checkpoint.check(verifier))
        for witness in known:
            findings.of(lambda witness=witness: reader.checkpoint.note.check(witness))
        _rebuild(reader, findings, progress)
        if since is None:
            unchecked.append("that nothing was taken back, as no earlier checkpoint was given")
        else:
            if verifier is not None:
                findings.of(lambda: since.note.check(verifier), "the earlier checkpoint: ")
            findings.of(lambda: reader.check_grown_from(since))
        return Audit(
            location=reader.source.name,
            checkpoint=reader.checkpoint,
            findings=findings.said(),
            unchecked=tuple(unchecked),
        )


class _Findings:
    """Findings as they come, up to a number."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._more = 0

    def add(self, finding: str) -> None:
        if len(self._said) < MOST_FINDINGS:
            self._said.append(finding)
        else:
            self._more += 1

    def of(self, check: Callable[[], None], what: str = "") -> None:
        """A finding if the check fails."""
        try:
            check()
        except ProofError as error:
            self.add(f"{what}{error}")

    def said(self) -> tuple[str, ...]:
        return (*self._said, f"and {self._more} more") if self._more else tuple(self._said)


def _rebuild(reader: Reader, findings: _Findings, progress: Callable[[int, int], None] | None) -> None:
    """Compare all tiles and the root with what the entries give."""
    size = reader.size
    by_entries, by_tiles = tiles.Edge(), None
    for n in range(-(-size // tiles.WIDTH)):
        served, leaves = _leaves(reader, n, findings)
        if leaves is None and served is None:
            return  # neither says what the rest of the tree hangs on
        if by_tiles is None and served != leaves:
            by_tiles = by_entries.copy()
        done = by_entries.grow(leaves if leaves is not None else served or b"")
        other = done if by_tiles is None else by_tiles.grow(served if served is not None else leaves or b"")
        for (level, index, hashes), (_, _, also) in zip(done, other, strict=True):
            if level:
                _compare(reader, level, index, (hashes, also), findings)
        if progress is not None:
            progress(min(size, (n + 1) * tiles.WIDTH), size)
    for level in range(1, tiles.levels(size)):
        index, width = tiles.counts(level, size)
        if width:
            also = (by_tiles or by_entries).partial(level)
            _compare(reader, level, index, (by_entries.partial(level), also), findings)
    root = reader.checkpoint.root
    if by_entries.root() == root:
        if by_tiles is not None:
            findings.add("the entries are those that the checkpoint covers; the tiles were changed")
    elif by_tiles is not None and by_tiles.root() == root:
        findings.add("the tiles of level 0 are those that the checkpoint covers; entries were changed")
    else:
        findings.add(f"the checkpoint's root is not that of its {size} entries")


def _leaves(reader: Reader, n: int, findings: _Findings) -> tuple[bytes | None, bytes | None]:
    """The leaf hashes of bundle ``n``: as its tile gives them, and as its entries do; None for what is not there."""
    served = leaves = None
    try:
        served = reader.tile(0, n)
    except ProofError as error:
        findings.add(str(error))
    try:
        leaves = b"".join(map(merkle.leaf_hash, reader.bundle(n)))
    except ProofError as error:
        findings.add(str(error))
    if served is not None and leaves is not None and served != leaves:
        step = merkle.HASH_BYTES
        name = tiles.tile_path(0, n, len(leaves) // step)
        wrong = [i // step for i in range(0, len(leaves), step) if served[i : i + step] != leaves[i : i + step]]
        for at in wrong:
            findings.add(f"entry {n * tiles.WIDTH + at} and its hash in {name} differ")
    return served, leaves


def _compare(reader: Reader, level: int, n: int, expected: tuple[bytes, bytes], findings: _Findings) -> None:
    """Is a tile above level 0 what those below it give?"""
    try:
        served = reader.tile(level, n)
    except ProofError as error:
        findings.add(str(error))
        return
    if served not in expected:
        width = len(expected[0]) // merkle.HASH_BYTES
        findings.add(f"{tiles.tile_path(level, n, width)} is not what the tiles below it give")
