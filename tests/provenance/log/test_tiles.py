"""Names and sizes of tiles as C2SP tlog-tiles gives them, and the tree's right edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import LogError
from provenance.log import merkle, tiles
from tests.provenance.log import reference


def test_paths() -> None:
    assert tiles.tile_path(0, 1234067) == "tile/0/x001/x234/067"  # the specification's example
    assert tiles.tile_path(0, 0) == "tile/0/000"
    assert tiles.tile_path(2, 999, 17) == "tile/2/999.p/17"
    assert tiles.tile_path("entries", 1000, 255) == "tile/entries/x001/000.p/255"


def test_the_specifications_example_of_70000_entries() -> None:
    assert [tiles.counts(level, 70_000) for level in range(3)] == [(273, 112), (1, 17), (0, 1)]
    assert tiles.levels(70_000) == 3
    assert [tiles.counts(level, 256) for level in range(2)] == [(1, 0), (0, 1)]
    assert [tiles.levels(size) for size in (0, 1, 255, 256, 65_535, 65_536)] == [0, 1, 1, 2, 2, 3]
    assert [tiles.width_of(0, n, 300) for n in range(3)] == [256, 44, 0]


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_bundles_read_back(entries: list[bytes]) -> None:
    assert tiles.split_bundle(tiles.join_bundle(entries), len(entries), "here") == entries


def test_bundles_that_are_damaged() -> None:
    whole = tiles.join_bundle([b"one", b"two"])
    with pytest.raises(LogError, match="ends within entry 1 of 2"):
        tiles.split_bundle(whole[:-1], 2, "here")
    with pytest.raises(LogError, match="ends within entry 2 of 3"):
        tiles.split_bundle(whole + b"\0", 3, "here")
    with pytest.raises(LogError, match="goes on after its 1 entries"):
        tiles.split_bundle(whole, 1, "here")
    assert tiles.split_bundle(whole, 1, "here", more=True) == [b"one"]


def test_the_edge_grows_like_the_tree() -> None:
    """Through the end of a tile, in steps of all lengths; every full tile comes out once, whole and in place."""
    entries = [b"%d" % i for i in range(600)]
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    edge, done, at, step = tiles.Edge(), [], 0, 1
    while at < len(entries):
        step = min(step, 256 - at % 256, len(entries) - at)
        done += edge.grow(b"".join(leaves[at : at + step]))
        at += step
        step += 3
        assert edge.size == at and edge.root() == reference.mth(entries[:at])
    assert [(level, n) for level, n, _ in done] == [(0, 0), (0, 1)]
    assert b"".join(hashes for _, _, hashes in done) == b"".join(leaves[:512])
    assert edge.partial(1) == reference.mth(entries[:256]) + reference.mth(entries[256:512])
    assert edge.partial(5) == b""


def test_the_edge_of_a_tree_with_full_tiles_above() -> None:
    """256 tiles of one entry repeated make a full tile of level 1 and one hash at level 2."""
    tile = merkle.leaf_hash(b"") * 256
    edge, done = tiles.Edge(), []
    for _ in range(256):
        done += edge.grow(tile)
    assert [(level, n) for level, n, _ in done][-2:] == [(0, 255), (1, 0)]
    root = merkle.leaf_hash(b"")
    for _ in range(16):
        root = merkle.node_hash(root, root)
    assert edge.root() == root == edge.partial(2)
