"""What is registered is found again, whoever writes at the same time, and whatever kills them."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from provenance import fingerprint, registry
from provenance.errors import RegistryError
from provenance.registry import checking
from provenance.registry.entry import Entry
from tests.provenance.test_likeness import film


def test_a_clip_is_found_by_payload_label_digest_and_likeness(known, keep, print_of) -> None:
    entry = keep(known, b"one", title="a dog", width=256, fps=8.0)
    for found in (
        known.by_payload(b"8 bytes!"),
        known.by_manifest_id(entry.manifest_id),
        known.by_digest(entry.manifest_sha256),
        known.newest(),
        [near.entry for near in known.alike(print_of(1))],
    ):
        assert found == [entry]
    assert known.manifest(entry) == b"one" and len(known.fingerprint(entry).hashes) == len(print_of(1).hashes)
    assert known.by_payload(b"another!") == [] and known.alike(print_of(2)) == []


def test_clips_of_one_payload_are_all_kept_newest_first(known, keep) -> None:
    for store in (b"first", b"second", b"third"):
        keep(known, store)
    assert [known.manifest(entry) for entry in known.by_payload(b"8 bytes!")] == [b"third", b"second", b"first"]


def test_registering_again_replaces_what_was_said_and_keeps_a_proof(known, keep) -> None:
    entry = keep(known, b"one", title="old")
    assert known.set_proof(entry.manifest_sha256, "inclusion") and not known.set_proof("0" * 64, "x")
    keep(known, b"one", title="new")
    (found,) = known.by_payload(b"8 bytes!")
    assert (found.title, found.proof, len(found.pictures)) == ("new", "inclusion", 1)


def test_a_copy_that_was_mirrored_turned_or_barred_is_alike(known, keep) -> None:
    frames = film(1, 8)
    entry = Entry(manifest_sha256="", manifest_id="urn:film")
    entry = known.add(entry, manifest=b"film", fingerprint=fingerprint.of_frames(frames, 8))
    keep(known, b"another")
    barred = np.zeros((8, 192, 192, 3), np.uint8)
    barred[:, 24:168] = frames
    for changed in (frames[:, :, ::-1], frames[:, ::-1], 255 - frames, np.rot90(frames, 1, (1, 2)), barred):
        (near,) = known.alike(fingerprint.of_frames(changed, 8))
        assert near.entry == entry and near.share > 0.9


def test_a_newer_version_is_refused_in_a_line(known, keep, tmp_path) -> None:
    keep(known, b"one")
    with sqlite3.connect(tmp_path / "registry" / "registry.sqlite") as database:
        database.execute("UPDATE registry_facts SET value = '99'")
    database.close()
    with pytest.raises(RegistryError, match="has version 99 .* use the sorajax that wrote it"):
        registry.opened(tmp_path / "registry")


def test_a_file_that_is_no_database_is_refused_in_a_line(tmp_path) -> None:
    (tmp_path / "registry.sqlite").write_bytes(b"not a database, and long enough to be looked at" * 50)
    with pytest.raises(RegistryError, match="cannot be used"):
        registry.opened(tmp_path)


@pytest.mark.parametrize("url", ["mysql://x/y", "://", "oracle://x"])
def test_other_databases_are_refused(url) -> None:
    with pytest.raises(RegistryError):
        registry.place(url)


def test_a_password_is_not_shown() -> None:
    where = registry.place("postgresql+psycopg://me:secret@127.0.0.1:1/x")
    assert "secret" not in where.shown and "secret" in where.database
    with pytest.raises(RegistryError) as error:
        registry.opened(where)
    assert "secret" not in str(error.value)


def test_where_it_is(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SORAJAX_REGISTRY", str(tmp_path / "chosen"))
    assert registry.place().folder == tmp_path / "chosen" and not registry.place().exists
    assert registry.place("off") is None and registry.place(tmp_path).folder == tmp_path
    monkeypatch.setenv("SORAJAX_REGISTRY", "off")
    assert registry.place() is None
    monkeypatch.delenv("SORAJAX_REGISTRY")
    assert registry.place().folder.name == "registry"
    with pytest.raises(RegistryError, match="there is no registry"):
        registry.opened(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


WRITER = """
import sys
from provenance import registry
from provenance.registry.entry import Entry
place, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with registry.opened(place) as known:
    print("ready", flush=True)
    for i in range(count):
        store = f"{name} {i}".encode() * 200
        known.add(Entry(manifest_sha256="", manifest_id=f"urn:{name}:{i}", payload="00" * 8), manifest=store,
                  pictures=[(0.0, store + b"a"), (1.0, store + b"b")])
"""


def writer(place: Path | str, name: str, count: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(place), name, str(count)], stdout=subprocess.PIPE)


def test_several_processes_write_at_once(tmp_path) -> None:
    # The folder does not exist yet: all of them make it, too.
    running = [writer(tmp_path / "registry", f"writer{i}", 15) for i in range(4)]
    assert [(process.communicate()[0], process.returncode) for process in running] == [(b"ready\n", 0)] * 4
    with registry.opened(tmp_path / "registry") as known:
        assert known.count() == 60
        assert checking.check(known).problems == ()


def test_a_writer_that_is_killed_leaves_nothing_that_is_wrong(tmp_path) -> None:
    for delay in (0.0, 0.03, 0.08, 0.15):
        process = writer(tmp_path / "registry", f"killed{delay}", 100_000)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with registry.opened(tmp_path / "registry") as known:
        assert checking.check(known).problems == ()  # orphans there may be
        for entry in known.entries():
            assert known.manifest(entry) and len(entry.pictures) == 2
        known.add(Entry(manifest_sha256="", manifest_id="urn:after"), manifest=b"after")


def test_odd_text_is_kept_as_text(known) -> None:
    from provenance.registry.entry import plain

    assert plain("a\0b\ud800c", 100) == "ab?c" and plain("x" * 200, 100) == "x" * 100
    entry = Entry(manifest_sha256="", manifest_id="urn:x'; DROP TABLE clips; --", title="%s {x} 犬\u202e")
    known.add(entry, manifest=b"odd")
    assert known.newest()[0].title == entry.title and known.by_manifest_id(entry.manifest_id)
