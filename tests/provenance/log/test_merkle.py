"""Trees and proofs, against published values and against the definition."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import ProofError
from provenance.log import merkle
from tests.provenance.log import reference

# The reference tree of Certificate Transparency: inputs and root hashes as in transparency-dev/merkle,
# testonly/constants.go (LeafInputs, NodeHashes, RootHashes).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
LEAVES = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
    "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658",
    "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
    "46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1",
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())

trees = st.integers(1, 70).map(lambda size: [b"entry %d" % i for i in range(size)])


def subtree(entries: list[bytes], part: tuple[int, int]) -> bytes:
    """The hash of a part of a tree, put together of perfect subtrees."""
    leaves = b"".join(map(merkle.leaf_hash, entries))
    perfect = [
        merkle.perfect_root(leaves[32 * (index << height) : 32 * (index + 1 << height)])
        for height, index in merkle.perfect_parts(*part)
    ]
    return merkle.fold(perfect)


def path_of(index: int, entries: list[bytes]) -> list[bytes]:
    return [subtree(entries, part) for part in merkle.inclusion_parts(index, len(entries))]


def proof_of(old: int, entries: list[bytes]) -> list[bytes]:
    return [subtree(entries, part) for part in merkle.consistency_parts(old, len(entries))]


def test_the_reference_tree() -> None:
    assert [merkle.leaf_hash(data).hex() for data in INPUTS] == LEAVES
    assert [subtree(INPUTS, (0, size)).hex() for size in range(9)] == ROOTS
    assert merkle.EMPTY_ROOT.hex() == ROOTS[0]
    assert [reference.mth(INPUTS[:size]).hex() for size in range(9)] == ROOTS  # the other tests lean on it


def decoded(items: list[str] | None) -> list[bytes]:
    return [base64.b64decode(item) for item in items or []]


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["file"])
def test_published_inclusion_proofs(case: dict) -> None:
    root, leaf = decoded([case["root"]])[0], decoded([case["leafHash"]])[0]
    try:
        merkle.check_inclusion(case["leafIdx"], case["treeSize"], root, leaf, decoded(case["proof"]))
        holds = True
    except ProofError:
        holds = False
    assert holds == (not case["wantErr"])


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["file"])
def test_published_consistency_proofs(case: dict) -> None:
    old_root, new_root = decoded([case["root1"]])[0], decoded([case["root2"]])[0]
    try:
        merkle.check_consistency(case["size1"], case["size2"], old_root, new_root, decoded(case["proof"]))
        holds = True
    except ProofError:
        holds = False
    assert holds == (not case["wantErr"])


@given(trees, st.data())
def test_inclusion_as_defined(entries: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(entries) - 1))
    path, root = path_of(index, entries), reference.mth(entries)
    assert path == reference.path(index, entries)
    merkle.check_inclusion(index, len(entries), root, merkle.leaf_hash(entries[index]), path)


@given(trees, st.data())
def test_consistency_as_defined(entries: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(entries)))
    path = proof_of(old, entries)
    assert path == reference.proof(old, entries)
    merkle.check_consistency(old, len(entries), reference.mth(entries[:old]), reference.mth(entries), path)


@given(trees, st.data())
def test_no_altered_inclusion_proof_holds(entries: list[bytes], data: st.DataObject) -> None:
    """Another entry, index, size or root; a hash changed, added, removed or exchanged."""
    size = len(entries)
    index = data.draw(st.integers(0, size - 1))
    leaf, path, root = merkle.leaf_hash(entries[index]), path_of(index, entries), reference.mth(entries)
    at = data.draw(st.integers(0, max(0, len(path) - 1)))
    flipped = bytes([root[0] ^ 1]) + root[1:]
    other = data.draw(st.integers(0, 2 * size).filter(lambda i: i != index))
    forged = [
        (index, size, root, merkle.leaf_hash(b"forged"), path),
        (other, size, root, leaf, path),
        (index, size, flipped, leaf, path),
        (index, size, root, leaf, [*path, root]),
        (index, size, root, leaf, [*path[:at], flipped, *path[at + 1 :]] if path else [flipped]),
    ]
    if path:
        forged += [
            (index, size, root, leaf, path[:at] + path[at + 1 :]),
            (index, size, root, leaf, [*path[:at], path[at][:31], *path[at + 1 :]]),
        ]
    if len(path) > 1:
        forged.append((index, size, root, leaf, path[::-1]))
    for case in forged:
        with pytest.raises(ProofError):
            merkle.check_inclusion(*case)


@given(trees.filter(lambda entries: len(entries) > 1), st.data())
def test_no_altered_consistency_proof_holds(entries: list[bytes], data: st.DataObject) -> None:
    new = len(entries)
    old = data.draw(st.integers(1, new - 1))
    path, old_root, new_root = proof_of(old, entries), reference.mth(entries[:old]), reference.mth(entries)
    at = data.draw(st.integers(0, len(path) - 1))
    forged = [
        (old, new, new_root, new_root, path),
        (old, new, old_root, old_root, path),
        (old, new, old_root, new_root, [*path, new_root]),
        (old, new, old_root, new_root, path[:at] + path[at + 1 :]),
        (old, new, old_root, new_root, [*path[:at], merkle.leaf_hash(b"forged"), *path[at + 1 :]]),
        (new, old, new_root, old_root, path),
        (0, new, merkle.EMPTY_ROOT, new_root, path),
        (new, new, old_root, new_root, []),
    ]
    changed = [b"changed", *entries[1:]]  # a fork: history rewritten, with the honest proof of the new tree
    forged.append((old, new, old_root, reference.mth(changed), proof_of(old, changed)))
    for case in forged:
        with pytest.raises(ProofError):
            merkle.check_consistency(*case)


def test_two_hashes_are_not_an_entry() -> None:
    """A second preimage would be a tree of 4 entries with the root of 8: each entry two leaf hashes of the other."""
    leaves = [merkle.leaf_hash(data) for data in INPUTS]
    pairs = [leaves[i] + leaves[i + 1] for i in range(0, 8, 2)]
    root = reference.mth(INPUTS)
    assert reference.mth(pairs) != root
    for index, pair in enumerate(pairs):
        inner_path = path_of(2 * index, INPUTS)[1:]  # leads from the inner node of this pair to the root
        node = merkle.node_hash(leaves[2 * index], leaves[2 * index + 1])
        merkle.check_inclusion(index, 4, root, node, inner_path)
        with pytest.raises(ProofError):
            merkle.check_inclusion(index, 4, root, merkle.leaf_hash(pair), inner_path)
