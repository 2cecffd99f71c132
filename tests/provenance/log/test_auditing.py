"""An audit finds every way in which a log can lie, and says where."""

import os
import shutil
from pathlib import Path

import pytest

from provenance import log
from provenance.errors import LogError
from provenance.log import merkle, notes, tiles

SIZE = 600  # two full tiles, a partial one, and one level above


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> log.Log:
    made = log.create(tmp_path_factory.mktemp("audit") / "log", origin="example.com/log")
    made.append_many(b"entry %d" % i for i in range(SIZE))
    return made


@pytest.fixture
def copy(honest: log.Log, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(honest.folder, tmp_path / "copy"))


@pytest.fixture
def found(honest: log.Log, copy: Path):
    """The findings of an audit of the copy, as one text."""

    def audit(**more: object) -> str:
        audited = log.audit(copy, key=honest.verifier, **more)
        assert audited.holds == (not audited.findings)
        return "\n".join(audited.findings)

    return audit


def change(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def sign(ledger: log.Log, folder: Path, entries: list[bytes]) -> log.Checkpoint:
    """What the holder of the key can do: build another history and sign it."""
    shutil.rmtree(folder, ignore_errors=True)
    forged = log.create(folder, origin=ledger.origin, signer=ledger._signer)
    forged.append_many(entries)
    return forged.checkpoint()


def test_an_honest_log_holds(honest: log.Log) -> None:
    seen = []
    audited = log.audit(
        honest.folder, key=str(honest.verifier), progress=lambda done, total: seen.append((done, total))
    )
    assert audited.holds and audited.checkpoint.size == SIZE and seen == [(256, 600), (512, 600), (600, 600)]
    assert audited.unchecked == ("that nothing was taken back, as no earlier checkpoint was given",)
    assert not log.audit(honest.folder, key=honest.verifier, since=audited.checkpoint).unchecked
    assert "no key was given" in log.audit(honest.folder).unchecked[0]
    empty = log.create(honest.folder.parent / "empty", origin="example.com/empty")
    assert log.audit(empty.folder, key=empty.verifier, since=empty.checkpoint()).holds


@pytest.mark.parametrize("index", [0, 255, 300, 599])
def test_a_changed_entry(index: int, copy: Path, found) -> None:
    path = copy / "tile" / "entries" / ("002.p/88" if index >= 512 else f"{index // 256:03}")
    entries = tiles.split_bundle(path.read_bytes(), tiles.width_of(0, index // 256, SIZE), "")
    entries[index % 256] = b"other"
    path.write_bytes(tiles.join_bundle(entries))
    said = found()
    assert f"entry {index} and its hash in tile/0/00{index // 256}" in said and said.count("\n") == 1
    assert "entries were changed" in said


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("tile/0/000", "entry 3 and its hash in tile/0/000 differ"),
        ("tile/0/002.p/88", "entry 515 and its hash in tile/0/002.p/88 differ"),
        ("tile/1/000.p/2", "tile/1/000.p/2 is not what the tiles below it give"),
    ],
)
def test_a_changed_tile(path: str, says: str, copy: Path, found) -> None:
    change(copy / path, 32 * 3 if "1/000" not in path else 40)
    said = found()
    assert says in said
    assert ("the tiles were changed" in said) == path.startswith("tile/0")


def test_an_entry_changed_together_with_all_its_tiles(honest: log.Log, copy: Path, found, tmp_path: Path) -> None:
    """Everything agrees but the checkpoint, for which the key would be needed."""
    entries = [b"entry %d" % i for i in range(SIZE)]
    entries[100] = b"forged"
    sign(honest, tmp_path / "forged", entries)
    shutil.copytree(tmp_path / "forged" / "tile", copy / "tile", dirs_exist_ok=True)
    assert found() == f"the checkpoint's root is not that of its {SIZE} entries"


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000.p/2", "tile/entries/000", "tile/entries/002.p/88"])
def test_a_missing_file(path: str, copy: Path, found) -> None:
    (copy / path).unlink()
    assert f"{path} is missing" in found()
    shutil.rmtree(copy / "tile" / "0")
    assert "tile/0/000 is missing" in found()


@pytest.mark.parametrize("path", ["tile/0/001", "tile/1/000.p/2", "tile/entries/000", "tile/entries/002.p/88"])
@pytest.mark.parametrize("kind", ["short", "long", "empty"])
def test_a_file_of_another_length(path: str, kind: str, copy: Path, honest: log.Log) -> None:
    data = (copy / path).read_bytes()
    (copy / path).write_bytes({"short": data[:-1], "long": data + b"\0\0", "empty": b""}[kind])
    if (path, kind) == ("tile/0/001", "long"):  # more than any tile has
        with pytest.raises(LogError, match="longer than the 8192 bytes"):
            log.audit(copy, key=honest.verifier)
    elif (path, kind) == ("tile/entries/002.p/88", "long"):
        assert "goes on after" in "\n".join(log.audit(copy, key=honest.verifier).findings)
    else:
        assert path in "\n".join(log.audit(copy, key=honest.verifier).findings)


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_changed_checkpoint(line: int, copy: Path, found) -> None:
    lines = (copy / "checkpoint").read_text().split("\n")
    lines[line] = ["example.com/lob", "599", notes.to_base64(bytes(32))][line]
    (copy / "checkpoint").write_text("\n".join(lines))
    said = found()
    assert ("is one of the log example.com/lob" if line == 0 else "is wrong") in said
    assert ["", "tile/0/002.p/87 is missing", "root is not that of its 600 entries"][line] in said


def test_a_checkpoint_by_another_key(honest: log.Log, copy: Path, found, tmp_path: Path) -> None:
    twin = log.create(tmp_path / "twin", origin=honest.origin)
    twin.append_many(b"entry %d" % i for i in range(SIZE))
    shutil.copy(twin.folder / "checkpoint", copy / "checkpoint")
    assert "not signed by example.com/log" in found()
    assert log.audit(copy).holds  # without the key nobody can tell, and the audit says so


def test_a_witness_who_did_not_sign(honest: log.Log, found) -> None:
    witness = log.Verifier("witness.example/a", honest.verifier.public, notes.COSIGNATURE)
    assert found(witnesses=[str(witness)]).startswith("not signed by witness.example/a")


def test_a_log_that_was_rolled_back(honest: log.Log, copy: Path, found) -> None:
    since = honest.checkpoint()
    sign(honest, copy, [b"entry %d" % i for i in range(400)])
    assert found() == ""
    assert found(since=since) == "the log was rolled back: it had 600 entries and now shows 400"


@pytest.mark.parametrize("size", [SIZE, 700, 1200])
def test_a_log_that_was_forked(size: int, honest: log.Log, copy: Path, found) -> None:
    """Another entry in its past, everything rebuilt and signed: only the checkpoint that was kept can tell."""
    since = honest.checkpoint()
    entries = [b"entry %d" % i for i in range(size)]
    sign(honest, copy, entries)
    assert found(since=since) == ""
    entries[77] = b"another history"
    sign(honest, copy, entries)
    assert found() == ""
    assert found(since=since).startswith("the log was forked: ")


def test_an_earlier_checkpoint_that_is_none(honest: log.Log, found, tmp_path: Path) -> None:
    twin = sign(honest, tmp_path / "twin", [b"entry %d" % i for i in range(5)])
    forged = log.Checkpoint.from_text(twin.signed.replace("\n5\n", "\n6\n"))
    assert "the earlier checkpoint: the signature by example.com/log" in found(since=forged)
    other = log.create(tmp_path / "other", origin="example.com/other")
    assert "is one of the log example.com/other" in found(since=other.checkpoint())


def test_many_findings_are_counted(copy: Path, found) -> None:
    tile = copy / "tile/0/000"
    tile.write_bytes(bytes(tile.stat().st_size))
    lines = found().split("\n")
    assert len(lines) == 21 and lines[0].startswith("entry 0 and") and lines[-1] == "and 237 more"


def test_a_tile_with_the_hash_of_two_entries_as_one(honest: log.Log, copy: Path, found) -> None:
    """A second preimage in the log: an entry made of two leaf hashes does not stand for the node above them."""
    path = copy / "tile" / "entries" / "000"
    entries = tiles.split_bundle(path.read_bytes(), 256, "")
    entries[0] = merkle.leaf_hash(entries[0]) + merkle.leaf_hash(entries[1])
    path.write_bytes(tiles.join_bundle(entries))
    assert "entry 0 and its hash" in found()


def test_what_is_no_log(tmp_path: Path, copy: Path, honest: log.Log) -> None:
    with pytest.raises(LogError, match="no log at"):
        log.audit(tmp_path)
    (copy / "checkpoint").write_bytes(os.urandom(100))
    with pytest.raises(LogError, match="not a signed note"):
        log.audit(copy)
    lines = honest.checkpoint().signed.replace("\n600\n", f"\n{1 << 62}\n")
    (copy / "checkpoint").write_text(lines)  # a size that nobody has: the audit ends at the first file it misses
    assert "tile/0/002 is missing" in "\n".join(log.audit(copy).findings)
