"""RFC 6962 Merkle trees: hashes, and the two kinds of proof checked.

Letters are those of RFC 6962, section 2.1: MTH(D[n]) is the root over n entries, PATH(m, D[n]) the inclusion proof of
entry m (0-based), PROOF(m, D[n]) the consistency proof between sizes m and n. SHA-256 throughout; hashes are 32 bytes.

Leaves are hashed behind a byte 0x00 and inner nodes behind 0x01, so that no entry can be passed off as an inner node.
"""

from collections.abc import Sequence
from hashlib import sha256

from provenance.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root over no entries."""


def leaf_hash(data: bytes) -> bytes:
    """MTH of one entry: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: bytes) -> bytes:
    """The root over 2^k hashes of 32 bytes, one after the other. This is the hot path of an audit."""
    digest = sha256
    while len(hashes) > HASH_BYTES:
        hashes = b"".join([digest(b"\x01" + hashes[i : i + 64]).digest() for i in range(0, len(hashes), 64)])
    return hashes


def fold(perfect: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees of falling height, left to right, as a size's binary digits give them."""
    if not perfect:
        return EMPTY_ROOT
    root = perfect[-1]
    for left in reversed(perfect[:-1]):
        root = node_hash(left, root)
    return root


def perfect_parts(start: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees (height, index) that make up the subtree over the entries from ``start`` to ``end``.

    ``start`` must be a multiple of the least power of two that is not below ``end - start``, as in every subtree that
    RFC 6962 forms.
    """
    parts = []
    while start < end:
        height = (end - start).bit_length() - 1
        parts.append((height, start >> height))
        start += 1 << height
    return parts


def inclusion_parts(index: int, size: int) -> list[tuple[int, int]]:
    """The subtrees (start, end) whose hashes are PATH(index, D[size]), leaf's sibling first (section 2.1.1)."""
    parts, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((start, middle))
            start = middle
    return parts[::-1]


def consistency_parts(old: int, new: int) -> list[tuple[int, int]]:
    """The subtrees (start, end) whose hashes are PROOF(old, D[new]) (section 2.1.2); none for equal sizes or from 0."""
    if not 0 < old < new:
        return []
    parts, start, end = [], 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            parts.append((middle, end))
            end = middle
        else:
            parts.append((start, middle))
            start = middle
    if start:  # else the subtree is the whole old tree, whose root the verifier has
        parts.append((start, end))
    return parts[::-1]


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to.

    Raises:
        ProofError: an index outside the tree, or a path of another length than this index and size have.
    """
    if not 0 <= index < size:
        raise ProofError(f"entry {index} is not in a tree of {size} entries")
    parts = inclusion_parts(index, size)
    _check_path(path, len(parts), f"entry {index} of {size}")
    if len(leaf) != HASH_BYTES:
        raise ProofError(f"a leaf hash has {HASH_BYTES} bytes, this one has {len(leaf)}")
    root = leaf
    for (start, _), other in zip(parts, path, strict=True):
        root = node_hash(root, other) if start > index else node_hash(other, root)
    return root


def roots_from_consistency(old: int, new: int, old_root: bytes, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of the old and of the new tree that a consistency proof leads to (RFC 9162, section 2.1.4.2).

    ``old_root`` begins the chain where the old tree is a perfect subtree of the new one; it is not compared with.

    Raises:
        ProofError: sizes of which no proof exists, or a path of another length than these sizes have.
    """
    if not 0 < old <= new:
        raise ProofError(f"there is no consistency proof from {old} entries to {new}")
    parts = consistency_parts(old, new)
    _check_path(path, len(parts), f"{old} to {new} entries")
    if old == new:
        return old_root, old_root
    if parts[0][1] == old:
        first, rest = path[0], list(zip(parts, path, strict=True))[1:]
    else:
        first, rest = old_root, list(zip(parts, path, strict=True))
    old_hash = new_hash = first
    for (start, _), other in rest:
        if start >= old:  # to the right of the old tree
            new_hash = node_hash(new_hash, other)
        else:
            old_hash, new_hash = node_hash(other, old_hash), node_hash(other, new_hash)
    return old_hash, new_hash


def check_inclusion(index: int, size: int, root: bytes, leaf: bytes, path: Sequence[bytes]) -> None:
    """Does ``path`` prove that the tree of this size and root has this leaf hash at this index?

    Raises:
        ProofError: it does not.
    """
    if root_from_inclusion(index, size, leaf, path) != root:
        raise ProofError(f"the path does not lead from this entry at index {index} to the root of {size} entries")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Does ``path`` prove that the tree of size ``new`` begins with the whole tree of size ``old``?

    Raises:
        ProofError: it does not.
    """
    old_hash, new_hash = roots_from_consistency(old, new, old_root, path)
    if old_hash != old_root:
        raise ProofError(f"the path does not lead to the root of the earlier {old} entries")
    if new_hash != new_root:
        raise ProofError(f"the path does not lead to the root of the later {new} entries")


def _split(count: int) -> int:
    """k of section 2.1: the largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _check_path(path: Sequence[bytes], length: int, what: str) -> None:
    if len(path) != length:
        raise ProofError(f"a proof for {what} has {length} hashes, this one has {len(path)}")
    if any(len(item) != HASH_BYTES for item in path):
        raise ProofError(f"a proof consists of hashes of {HASH_BYTES} bytes; one here has another length")
