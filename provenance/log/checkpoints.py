"""Checkpoints (C2SP tlog-checkpoint): the state of a log, signed.

The text has three lines, and perhaps more that are kept and not understood: the log's *origin*, the number of entries,
and the root hash in base 64.
"""

import re
from dataclasses import dataclass

from provenance.errors import LogError, ProofError
from provenance.log import merkle, notes, tiles

PATH = "checkpoint"
"""Where a log serves it, below its prefix."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """What a log says it holds. Nothing of it is believed before ``check``."""

    origin: str
    size: int
    root: bytes
    note: notes.Note
    signed: str
    """The whole signed note, as it was read."""

    @classmethod
    def from_text(cls, signed: str | bytes) -> "Checkpoint":
        """Parse a signed checkpoint.

        Raises:
            LogError: it is not one.
        """
        note = notes.Note.from_text(signed)
        lines = note.text[:-1].split("\n")
        if len(lines) < 3 or not all(lines):
            raise LogError("not a checkpoint: it needs three lines, of origin, size and root hash")
        origin, size, encoded = lines[:3]
        try:
            root = notes.from_base64(encoded)
        except ValueError:
            root = b""
        if not _SIZE.fullmatch(size) or int(size) > tiles.HIGHEST_SIZE or len(root) != merkle.HASH_BYTES:
            raise LogError("not a checkpoint: the second line is no size, or the third no SHA-256 in base 64")
        if size == "0" and root != merkle.EMPTY_ROOT:
            raise LogError("not a checkpoint: the root of no entries is another one")
        return cls(origin, int(size), root, note, signed.decode() if isinstance(signed, bytes) else signed)

    @classmethod
    def sign(cls, origin: str, size: int, root: bytes, signer: notes.Signer) -> "Checkpoint":
        """A fresh checkpoint under one signature."""
        text = f"{origin}\n{size}\n{notes.to_base64(root)}\n"
        return cls.from_text(f"{text}\n{signer.line(text)}")

    def check(self, verifier: notes.Verifier) -> None:
        """Is this a checkpoint of the log that the key belongs to, signed by it?

        Raises:
            ProofError: the key's name is not the origin, or the signature is missing or wrong.
        """
        if self.origin != verifier.name:
            raise ProofError(f"the checkpoint is one of the log {self.origin}, not of {verifier.name}")
        self.note.check(verifier)
