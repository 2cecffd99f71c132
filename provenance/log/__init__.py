"""A transparency log: an append-only ledger whose past cannot be changed unnoticed.

    ledger = log.create("clips", origin="example.com/clips")     # or log.open_log("clips")
    index = ledger.append(entry)                                 # on disk, under a signed checkpoint
    text = ledger.prove(index).to_text()                         # to keep beside the entry
    log.verify_inclusion(entry, log.Proof.from_text(text), "example.com/clips+1234abcd+A...")
    log.audit("https://example.com/clips", key="example.com/clips+1234abcd+A...").holds

Merkle trees are those of RFC 6962; files are laid out as C2SP tlog-tiles says, signed as tlog-checkpoint and
signed-note say, and proofs written as tlog-proof says, so others' tools read them, and any web server that serves the
folder serves the log.

**What it proves.** An entry with a proof was in the log when its checkpoint was signed, and everyone who is shown that
checkpoint or a later consistent one sees the same entries in the same order. The log does not say that an entry is
true. Whoever holds the log's key can show different histories to different people; that comes out as soon as two of
them compare checkpoints, or an auditor compares with the one it kept; witnesses can rule it out beforehand.
"""

from provenance.log.appending import Log, create, key_path, open_log, own_verifier
from provenance.log.auditing import Audit, audit
from provenance.log.checkpoints import Checkpoint
from provenance.log.notes import Signer, Verifier
from provenance.log.proofs import Proof, verify_inclusion
from provenance.log.reading import Reader

__all__ = [
    "Audit",
    "Checkpoint",
    "Log",
    "Proof",
    "Reader",
    "Signer",
    "Verifier",
    "audit",
    "create",
    "key_path",
    "open_log",
    "own_verifier",
    "verify_inclusion",
]
