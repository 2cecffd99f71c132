"""Beginning a log, appending, proving."""

import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from provenance import log
from provenance.errors import InputError, KeyFileError, LogError, ProofError
from provenance.log import merkle
from tests.provenance.log import reference


@pytest.fixture
def ledger(tmp_path: Path) -> log.Log:
    return log.create(tmp_path / "log", origin="example.com/log")


def test_an_entry_its_index_and_its_proof(ledger: log.Log) -> None:
    assert [ledger.append(b"first"), ledger.append(b"")] == [0, 1]
    assert ledger.append_many([b"third", b"first"]) == range(2, 4)
    text = ledger.prove(2).to_text()
    checkpoint = log.verify_inclusion(b"third", log.Proof.from_text(text), str(ledger.verifier))
    assert (checkpoint.origin, checkpoint.size) == ("example.com/log", 4)
    assert checkpoint.root == reference.mth([b"first", b"", b"third", b"first"])
    assert ledger.size == 4 and ledger.checkpoint() == checkpoint


def test_every_size_has_the_root_and_proofs_of_the_definition(ledger: log.Log) -> None:
    entries = [b"%d" % i for i in range(530)]
    for size in (1, 2, 7, 255, 256, 257, 511, 512, 513, 530):
        ledger.append_many(entries[ledger.size : size])
        assert ledger.checkpoint().root == reference.mth(entries[:size])
        for index in {0, size // 2, size - 1}:
            assert list(ledger.prove(index).path) == reference.path(index, entries[:size])
        for old in {1, size // 3 or 1, size // 2 or 1, size}:
            assert list(ledger.consistency(old)) == reference.proof(old, entries[:size])
    assert ledger.consistency(0) == ()


def test_a_proof_outlives_the_growth_of_the_log(ledger: log.Log) -> None:
    """A proof kept since the log was small is under an old checkpoint, from which the new one follows."""
    ledger.append_many([b"%d" % i for i in range(40)])
    kept = ledger.prove(17)
    ledger.append_many([b"later %d" % i for i in range(1000)])
    old = log.verify_inclusion(b"17", kept, ledger.verifier)
    new = ledger.checkpoint()
    merkle.check_consistency(old.size, new.size, old.root, new.root, ledger.consistency(old.size))


def test_the_layout_is_that_of_the_specification(ledger: log.Log) -> None:
    """C2SP tlog-tiles: entries behind 16-bit lengths; full tiles, and partial ones of every size that was signed."""
    ledger.append_many([b"%d" % i for i in range(200)])
    ledger.append_many([b"%d" % i for i in range(200, 256)])
    ledger.append_many([b"%d" % i for i in range(256, 300)])
    ledger.append(b"last")
    files = {p.relative_to(ledger.folder).as_posix(): p for p in ledger.folder.rglob("*") if p.is_file()}
    assert set(files) == {
        ".lock",
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/0/001.p/45",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "tile/entries/001.p/45",
    }
    assert files["tile/0/000"].read_bytes() == b"".join(merkle.leaf_hash(b"%d" % i) for i in range(256))
    assert files["tile/1/000.p/1"].read_bytes() == reference.mth([b"%d" % i for i in range(256)])
    assert files["tile/entries/001.p/45"].read_bytes()[:5] == b"\x00\x03256"
    assert files["tile/entries/001.p/45"].read_bytes()[-6:] == b"\x00\x04last"
    assert files["checkpoint"].read_text() == ledger.checkpoint().signed


def test_nothing_secret_is_in_the_folder_that_is_published(ledger: log.Log) -> None:
    key = log.key_path(ledger.folder)
    assert key.parent == ledger.folder.parent and stat.S_IMODE(key.stat().st_mode) == 0o600
    ledger.append(b"entry")
    for path in ledger.folder.rglob("*"):
        assert not path.is_file() or b"PRIVATE" not in path.read_bytes()


def test_opened_again(ledger: log.Log) -> None:
    ledger.append_many([b"%d" % i for i in range(300)])
    again = log.open_log(ledger.folder)
    assert (again.origin, again.verifier, again.size) == (ledger.origin, ledger.verifier, 300)
    assert [again.append(b"a"), ledger.append(b"b"), again.append(b"c")] == [300, 301, 302]
    with again.reader() as reader:
        assert [reader.entry(i) for i in (0, 299, 300, 301, 302)] == [b"0", b"299", b"a", b"b", b"c"]
        assert [reader.find(entry) for entry in (b"b", b"255", b"d")] == [301, 255, None]


def test_threads_share_a_log(ledger: log.Log) -> None:
    def work(name: int) -> None:
        for i in range(10):
            ledger.append(b"%d %d" % (name, i))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.reader() as reader:
        assert sorted(reader.entries()) == sorted(b"%d %d" % (name, i) for name in range(4) for i in range(10))


def test_a_key_that_is_elsewhere(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    signer = log.Signer(log.Verifier("example.com/kms", key.public_key().public_bytes_raw()), key.sign)
    ledger = log.create(tmp_path / "log", origin="example.com/kms", signer=signer)
    ledger.append(b"entry")
    assert os.listdir(tmp_path) == ["log"]
    assert log.open_log(tmp_path / "log", signer=signer).append(b"another") == 1
    with pytest.raises(KeyFileError, match="cannot read the log's key"):
        log.open_log(tmp_path / "log")


@pytest.mark.parametrize("length", [65_535, 65_536])
def test_entries_are_as_long_as_their_length_can_say(length: int, ledger: log.Log) -> None:
    entry = bytes(length)
    if length < 65_536:
        assert ledger.append(entry) == 0
        with ledger.reader() as reader:
            assert reader.entry(0) == entry
    else:
        with pytest.raises(InputError, match="65536 bytes is longer than the 65535"):
            ledger.append(entry)
        assert ledger.size == 0


def test_what_is_no_entry(ledger: log.Log) -> None:
    with pytest.raises(InputError, match="is bytes, not str"):
        ledger.append_many([b"good", "text"])
    assert ledger.size == 0
    before = ledger.checkpoint().signed
    assert ledger.append_many([]) == range(0)
    assert ledger.checkpoint().signed == before


def test_what_the_log_does_not_have(ledger: log.Log) -> None:
    ledger.append(b"entry")
    for index in (-1, 1):
        with pytest.raises(InputError, match=f"no entry {index}; it has 1"):
            ledger.prove(index)
    with pytest.raises(InputError, match="no proof from 2"):
        ledger.consistency(2)


def test_a_new_log_does_not_take_the_place_of_another(ledger: log.Log, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is in use"):
        log.create(ledger.folder, origin="example.com/log")
    gone = tmp_path / "gone"
    log.create(gone, origin="example.com/gone").append(b"entry")
    for path in sorted(gone.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    gone.rmdir()
    with pytest.raises(KeyFileError, match="key of an earlier log here"):  # its key would sign a second history
        log.create(gone, origin="example.com/gone")


def test_begun_and_cut_short(tmp_path: Path) -> None:
    """Killed between the key and the first checkpoint: the same command goes on."""
    folder = tmp_path / "log"
    log.create(folder, origin="example.com/log")
    key = log.key_path(folder).read_bytes()
    (folder / "checkpoint").unlink()
    with pytest.raises(LogError, match="has no checkpoint"):
        log.open_log(folder)
    assert log.create(folder, origin="example.com/log").append(b"entry") == 0
    assert log.key_path(folder).read_bytes() == key


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "tab\t", "line\n", "\x1b[2J", "\ud800"])
def test_what_is_no_origin(origin: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be the name of a key"):
        log.create(tmp_path / "log", origin=origin)
    assert os.listdir(tmp_path) == []


def test_where_no_log_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is in use"):
        log.create(tmp_path / "file", origin="a")
    with pytest.raises(InputError, match="does not exist"):
        log.create(tmp_path / "no" / "log", origin="a")
    with pytest.raises(LogError, match="is not a folder"):
        log.open_log(tmp_path / "no")
    with pytest.raises(LogError, match="no log at"):
        log.open_log(tmp_path)
    with pytest.raises(LogError, match="File name too long"):
        log.create(tmp_path / ("n" * 300), origin="a")
    assert os.listdir(tmp_path) == ["file"]


def test_nothing_is_appended_to_a_log_that_was_tampered_with(ledger: log.Log) -> None:
    """Neither under a checkpoint of another key, nor onto changed tiles or entries: it would carry the damage on."""
    ledger.append_many([b"%d" % i for i in range(300)])
    checkpoint = (ledger.folder / "checkpoint").read_bytes()
    for name, match in (("tile/0/001.p/44", "last tiles"), ("tile/entries/001.p/44", "last entries")):
        path = ledger.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"x")
        with pytest.raises(ProofError, match=match):
            log.open_log(ledger.folder).append(b"more")
        path.write_bytes(whole)
    other = log.create(ledger.folder.parent / "other", origin="example.com/log")
    other.append(b"forged")
    (ledger.folder / "checkpoint").write_bytes((other.folder / "checkpoint").read_bytes())
    with pytest.raises(ProofError, match="not signed by example.com/log"):
        ledger.append(b"more")
    with pytest.raises(ProofError, match="not signed by example.com/log"):
        log.open_log(ledger.folder)
    (ledger.folder / "checkpoint").write_bytes(checkpoint)
    assert ledger.append(b"more") == 300
