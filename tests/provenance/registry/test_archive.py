"""A registry travels as one file, and nothing in that file is believed."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from provenance import recording, registry
from provenance.errors import InputError, RegistryError
from provenance.registry import archive
from provenance.registry.blobs import digest


@pytest.fixture
def exported(known, signed: Path, tmp_path: Path) -> Path:
    recording.add_file(known, signed)
    assert archive.export(known, tmp_path / "all.tar") == 1
    return tmp_path / "all.tar"


@pytest.fixture
def other(tmp_path: Path):
    with registry.opened(tmp_path / "other") as opened:
        yield opened


def changed(src: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other members."""
    with tarfile.open(src) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    change(members)
    with tarfile.open(src, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return src


def edit(members: dict[str, bytes], **values: object) -> None:
    head, line = members["clips.jsonl"].splitlines()
    members["clips.jsonl"] = head + b"\n" + json.dumps(json.loads(line) | values).encode() + b"\n"


def test_a_registry_is_the_same_after_the_journey(known, exported, other) -> None:
    done = archive.load(other, exported)
    assert (done.added, done.known, done.refused) == (1, 0, ())
    assert other.newest() == known.newest()
    (entry,) = other.newest()
    assert other.manifest(entry) == known.manifest(entry) and len(entry.pictures) >= 1
    assert archive.load(other, exported).known == 1


def test_an_archive_is_not_written_over(known, exported) -> None:
    with pytest.raises(InputError, match="exists already"):
        archive.export(known, exported)
    archive.export(known, exported, overwrite=True)


def test_an_archive_with_a_missing_blob_is_not_written(known, exported, tmp_path) -> None:
    (entry,) = known.newest()
    os.unlink(known.blobs.path_of(entry.manifest_sha256))
    with pytest.raises(RegistryError, match="is missing"):
        archive.export(known, tmp_path / "new.tar")
    assert not (tmp_path / "new.tar").exists()


def test_what_an_entry_says_of_itself_is_replaced_by_what_is_signed(exported, other) -> None:
    archive.load(other, changed(exported, lambda m: edit(m, title="a war", signer="Reuters", signed_at="1999")))
    (entry,) = other.newest()
    assert entry.title == "a dog on a beach" and "development" in entry.signer and entry.signed_at != "1999"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"payload": b"another!".hex()}, "do not name the watermark"),
        ({"payload": None}, "do not name the watermark"),
        ({"manifest_id": "urn:c2pa:other"}, "of another clip"),
        ({"manifest_sha256": "0" * 64}, "lacks its blob"),
    ],
)
def test_an_entry_that_its_credentials_do_not_bear_out_is_left_out(values, says, exported, other) -> None:
    done = archive.load(other, changed(exported, lambda members: edit(members, **values)))
    assert done.added == 0 and says in done.refused[0] and other.count() == 0


def test_a_forged_manifest_store_is_left_out(known, exported, other) -> None:
    (entry,) = known.newest()

    def forge(members: dict[str, bytes]) -> None:
        forged = members.pop(f"blobs/{entry.manifest_sha256}").replace(b"a dog on a beach", b"a war on a beach")
        members[f"blobs/{digest(forged)}"] = forged
        edit(members, manifest_sha256=digest(forged))

    done = archive.load(other, changed(exported, forge))
    assert done.added == 0 and "do not hold" in done.refused[0]


def test_a_damaged_blob_is_left_out(known, exported, other) -> None:
    (entry,) = known.newest()
    name = f"blobs/{entry.fingerprint_sha256}"
    done = archive.load(other, changed(exported, lambda members: members.update({name: b"something else"})))
    assert done.added == 0 and "damaged" in done.refused[0]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "blobs/../../evil", "blobs/" + "A" * 64, "clips.jsonl.x"])
def test_members_with_other_names_are_refused(name, exported, other, tmp_path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="which no archive of a registry does"):
        archive.load(other, changed(exported, lambda members: members.update({name: b"evil"})))
    assert sorted(tmp_path.rglob("*")) == before and other.count() == 0


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind, exported, other) -> None:
    with tarfile.open(exported, "a") as tar:
        info = tarfile.TarInfo("blobs/" + "0" * 64)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(InputError, match="which no archive"):
        archive.load(other, exported)


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: b"not a tar" * 100, lambda d: d[:700], lambda d: d[512:]])
def test_something_else_is_a_line(damage, exported, other) -> None:
    exported.write_bytes(damage(exported.read_bytes()))
    with pytest.raises(InputError):
        archive.load(other, exported)


def test_a_newer_archive_is_a_line(exported, other) -> None:
    def newer(members: dict[str, bytes]) -> None:
        members["clips.jsonl"] = members["clips.jsonl"].replace(b'"registry": 1', b'"registry": 2')

    with pytest.raises(InputError, match="version 2"):
        archive.load(other, changed(exported, newer))
