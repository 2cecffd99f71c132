"""Manifest stores that are broken, bottomless, or lead in circles."""

import pytest

from benchmarks.fuzz_mutants import Box, join, parse
from tests.provenance.adversarial import forge

pytestmark = pytest.mark.usefixtures("blind")

PARENT = {"title": "source.mp4", "relationship": "parentOf", "label": "source"}
OPENED = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [
    {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}]}}  # fmt: skip


def of_manifest(data: bytes) -> tuple[list[Box], Box]:
    boxes = parse(data)
    return boxes, forge.store(boxes)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 2**31, 2**32 - 1])
@pytest.mark.parametrize("depth", ["store", "manifest", "assertions", "description"])
def test_jumbf_sizes_that_are_too_small_or_too_large(size: int, depth: str, signed, judge) -> None:
    boxes, store = of_manifest(signed)
    manifest = store.children[-1]
    {
        "store": store,
        "manifest": manifest,
        "assertions": next(box for box in manifest.children if b"c2pa.assertions" in box.to_bytes()[:80]),
        "description": manifest.children[0],
    }[depth].said = size
    report = judge(join(boxes))
    if size > len(signed) and depth in ("store", "manifest"):  # is read to the end, and everything in it is signed
        assert report.manifest == judge(signed).manifest
    else:
        assert report.status == "altered"


@pytest.mark.parametrize("depth", [10, 300, 3000])
def test_jumbf_boxes_nested_deep(depth: int, signed, judge) -> None:
    boxes, store = of_manifest(signed)
    inner = store.children[-1].to_bytes()
    heads = [(len(inner) + 8 * n).to_bytes(4, "big") + b"jumb" for n in range(depth, 0, -1)]
    store.children[-1] = Box(b"free", b"")
    for with_description in (b"", store.children[0].to_bytes()):
        nested = Box(b"jumb", with_description + b"".join(heads) + inner)
        store.children[-1] = nested
        assert judge(join(boxes)).status == "altered"


STRANGE = {
    "an endless array": b"\x9f" * 50,
    "an array of 2^64 - 1": b"\x9b" + b"\xff" * 8,
    "a map of 2^63": b"\xbb\x7f" + b"\xff" * 7,
    "a string of 512 GB": b"\x5b\0\0\0\x7f\xff\xff\xff\xff",
    "arrays in arrays": b"\x81" * 20_000 + b"\xf6",
    "maps in maps": b"\xa1\x60" * 20_000 + b"\xf6",
    "tags of tags": b"\xd8\x20" * 20_000 + b"\xf6",
    "no UTF-8": b"\x62\xff\xfe",
    "nothing": b"",
    "not CBOR": b"\x1c\x1d\x1e",
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize(
    "where", [b"c2pa.claim.v2\0", b"c2pa.signature\0", b"c2pa.actions.v2\0", b"c2pa.hash.bmff.v3\0"]
)
def test_malformed_cbor(strange: str, where: bytes, signed, judge) -> None:
    boxes, store = of_manifest(signed)
    forge.content(store.children[-1], where).head = STRANGE[strange]
    assert judge(join(boxes)).status == "altered"


@pytest.mark.parametrize("strange", STRANGE)
def test_malformed_cbor_that_was_signed(strange: str, certifier, signed, judge) -> None:
    body = STRANGE[strange][:5000]
    report = judge(forge.restated(signed, b"c2pa.actions.v2", lambda old: body.ljust(len(old), b"\0"), certifier))
    assert report.status == "altered"


def test_a_flood_of_assertions(signed, judge) -> None:
    boxes, store = of_manifest(signed)
    assertions = next(box for box in store.children[-1].children if b"c2pa.assertions" in box.to_bytes()[:80])
    assertions.children += [assertions.children[1]] * 100_000
    assert judge(join(boxes)).status == "altered"


def test_many_assertions_that_were_signed(certifier, clip, tmp_path, judge) -> None:
    notes = [{"label": f"org.example.note{i}", "created": True, "data": {"n": i}} for i in range(500)]
    forge.claim(clip, tmp_path / "x.mp4", certifier, assertions=[forge.CREATED, *notes])
    assert judge((tmp_path / "x.mp4").read_bytes()).status == "authentic"


def test_a_compressed_manifest_that_is_none(signed, judge) -> None:
    boxes, store = of_manifest(signed)
    for body in (bytes(1000), b"\xff" * 1000, b"\x5b\xff\xff\x3f" + bytes(100)):
        manifest = store.children[-1]
        store.children[-1] = Box(b"jumb", b"", [manifest.children[0], Box(b"brob", b"jumb" + body)])
        assert judge(join(boxes)).status == "altered"
        store.children[-1] = manifest


def generations(clip, certifier, folder, count: int) -> bytes:
    forge.claim(clip, folder / "0.mp4", certifier)
    for n in range(count):
        source = folder / f"{n}.mp4"
        forge.claim(source, folder / f"{n + 1}.mp4", certifier, title=f"generation {n + 1}", assertions=[OPENED],
                    ingredients=[(PARENT, "video/mp4", source.read_bytes())])  # fmt: skip
    return (folder / f"{count}.mp4").read_bytes()


def test_a_long_line_of_ancestors(certifier, clip, tmp_path, judge) -> None:
    report = judge(generations(clip, certifier, tmp_path, 15))
    assert report.status == "authentic" and report.manifest["title"] == "generation 15"


def test_a_manifest_that_is_its_own_ancestor(certifier, clip, tmp_path, judge) -> None:
    data = generations(clip, certifier, tmp_path, 2)
    *_, parent, own = forge.names(data)
    report = judge(forge.restated(data, b"c2pa.ingredient.v3", lambda said: said.replace(parent, own), certifier))
    assert report.status in ("altered", "unreadable")


def test_two_manifests_that_are_each_others_ancestors(certifier, clip, tmp_path, judge) -> None:
    data = generations(clip, certifier, tmp_path, 2)
    first, second, third = forge.names(data)
    boxes = parse(data)
    middle = forge.store(boxes).children[2]
    said = forge.content(middle, b"c2pa.ingredient.v3\0")
    said.head = said.head.replace(first, third)
    assert judge(join(boxes)).status in ("altered", "unreadable")


def test_a_source_exchanged_for_another(certifier, clip, folder, tmp_path, judge) -> None:
    data = generations(clip, certifier, tmp_path, 1)
    forge.claim(clip, tmp_path / "other.mp4", certifier, title="another story")
    boxes, store = of_manifest(data)
    store.children[1] = forge.store(parse((tmp_path / "other.mp4").read_bytes())).children[-1]
    assert judge(join(boxes)).status == "altered"


def test_a_source_whose_credentials_were_changed_after_signing(certifier, clip, tmp_path, judge) -> None:
    boxes, store = of_manifest(generations(clip, certifier, tmp_path, 1))
    title = forge.content(store.children[1], b"c2pa.claim.v2\0")
    title.head = title.head.replace(b"a clip", b"a kiss")
    assert judge(join(boxes)).status == "altered"


@pytest.fixture(scope="module")
def tree(certifier, clip, folder) -> bytes:
    """Signed with the digests of pieces of 1 kB."""
    core = {"merkle_tree_chunk_size_in_kb": 1, "merkle_tree_max_proofs": 0}
    forge.claim(clip, folder / "tree.mp4", certifier, core=core)
    return (folder / "tree.mp4").read_bytes()


def test_a_tree_of_digests_is_checked(tree, judge) -> None:
    assert judge(tree).status == "authentic"
    at = tree.index(b"mdat") + 3000
    assert judge(tree[:at] + bytes([tree[at] ^ 1]) + tree[at + 1 :]).status == "altered"


@pytest.mark.parametrize("key", [b"\x65count", b"\x67localId", b"\x68uniqueId"])
def test_a_tree_of_digests_that_counts_wrongly(key: bytes, tree, certifier, judge) -> None:
    def change(said: bytes) -> bytes:
        at = said.index(key) + len(key)
        return said[:at] + bytes([said[at] ^ 1]) + said[at + 1 :]

    report = judge(forge.restated(tree, b"c2pa.hash.bmff.v3", change, certifier))
    # An identifier binds nothing while there is one tree only.
    assert report.status == "altered" or key != b"\x65count"


def test_a_tree_with_digests_exchanged(tree, certifier, judge) -> None:
    def change(said: bytes) -> bytes:
        at = said.index(b"\x66hashes") + 9
        return said[:at] + said[at + 34 : at + 68] + said[at : at + 34] + said[at + 68 :]

    assert judge(forge.restated(tree, b"c2pa.hash.bmff.v3", change, certifier)).status == "altered"
