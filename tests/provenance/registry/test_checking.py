"""A registry says what is wrong with it."""

import os
import time
from pathlib import Path

from provenance.registry import checking


def test_all_is_well(known, keep) -> None:
    keep(known, b"one")
    keep(known, b"two", seed=2)
    found = checking.check(known)
    assert (found.clips, found.blobs, found.problems, found.orphans) == (2, 6, (), ())


def test_missing_and_damaged_blobs_are_named_with_their_clip(known, keep) -> None:
    entry = keep(known, b"one", title="a dog")
    Path(known.blobs.path_of(entry.manifest_sha256)).unlink()
    Path(known.blobs.path_of(entry.fingerprint_sha256)).write_bytes(b"other")
    missing, damaged = sorted(checking.check(known).problems, key=lambda line: "damaged" in line)
    assert "missing" in missing and "a dog" in missing and entry.manifest_sha256 in missing
    assert "damaged" in damaged and entry.fingerprint_sha256 in damaged


def test_what_a_killed_writer_left_is_found_and_removed_once_it_is_old(known, keep) -> None:
    keep(known, b"one")
    orphan = Path(known.blobs.path_of(known.blobs.put(b"nobody's")))
    part = orphan.parent / ".0123.part"
    part.write_bytes(b"half")
    found = checking.check(known)
    assert set(found.orphans) == {str(orphan), str(part)} and found.problems == ()
    assert checking.prune(known, found) == 0  # a writer may be about to name it
    for path in (orphan, part):
        os.utime(path, (time.time() - 7200,) * 2)
    assert checking.prune(known, found) == 2 and checking.check(known).orphans == ()
