"""Proofs of inclusion that stand alone (C2SP tlog-proof): entry index, path of hashes, checkpoint, in one text.

    c2sp.org/tlog-proof@v1
    index 73894
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
    ...

    example.com/log
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — example.com/log hI2DJw...

Whoever has the entry, this text and the log's key can check it without the log, and years later.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from provenance.errors import LogError
from provenance.log import merkle, notes
from provenance.log.checkpoints import Checkpoint

FIRST_LINE = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Proof:
    """That an entry is the one at ``index`` in the log of ``checkpoint``. Nothing is believed before it is verified."""

    index: int
    path: tuple[bytes, ...]
    """PATH(index, D[size]) of RFC 6962, section 2.1.1: 32 bytes each, the leaf's sibling first."""
    checkpoint: Checkpoint
    extra: bytes | None = None
    """Anything; the log does not vouch for it."""

    def to_text(self) -> str:
        """The text to store beside the entry, as ``.tlog-proof``."""
        extra = [] if self.extra is None else [f"extra {notes.to_base64(self.extra)}"]
        path = map(notes.to_base64, self.path)
        return "\n".join([FIRST_LINE, *extra, f"index {self.index}", *path, "", self.checkpoint.signed])

    @classmethod
    def from_text(cls, text: str | bytes) -> "Proof":
        """Parse what ``to_text`` gives.

        Raises:
            LogError: it is not a proof.
        """
        if len(text) > notes.LONGEST_NOTE:
            raise LogError(f"a proof of {len(text)} bytes is longer than the {notes.LONGEST_NOTE} allowed")
        try:
            whole = text.decode() if isinstance(text, bytes) else text
        except UnicodeDecodeError:
            raise LogError("not a proof of inclusion: it is not UTF-8") from None
        head, _, signed = whole.partition("\n\n")
        lines = head.split("\n")
        if lines.pop(0) != FIRST_LINE:
            raise LogError(f"not a proof of inclusion: the first line is not {FIRST_LINE}")
        try:
            extra = notes.from_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
            index = _INDEX.fullmatch(lines.pop(0) if lines else "")
            path = tuple(map(notes.from_base64, lines))
        except ValueError:
            raise LogError("not a proof of inclusion: a line above the checkpoint is no base 64") from None
        if not index or len(path) > MOST_HASHES or any(len(item) != merkle.HASH_BYTES for item in path):
            raise LogError("not a proof of inclusion: no line of its index, or a line of its path is no SHA-256")
        return cls(int(index[1]), path, Checkpoint.from_text(signed), extra)


def verify_inclusion(
    data: bytes,
    proof: Proof,
    verifier: str | notes.Verifier,
    *,
    witnesses: Iterable[str | notes.Verifier] = (),
) -> Checkpoint:
    """Verify that an entry is in the log that a key belongs to.

    Args:
        data: the entry, byte for byte.
        proof: as stored.
        verifier: the log's key (vkey); its name must be the log's origin.
        witnesses: keys of witnesses (vkeys of type 4), each of which must have cosigned the checkpoint.

    Returns:
        The checkpoint that the entry is under.

    Raises:
        ProofError: it does not hold; the message says what of it.
        KeyFileError: a key that cannot be parsed.
    """
    proof.checkpoint.check(notes.as_verifier(verifier))
    proof.checkpoint.note.check_all(map(notes.as_verifier, witnesses))
    size, root = proof.checkpoint.size, proof.checkpoint.root
    merkle.check_inclusion(proof.index, size, root, merkle.leaf_hash(data), proof.path)
    return proof.checkpoint
