"""A shard is whole or not there, whatever becomes of the disk; what is wrong with the disk is said in a line."""

import errno
import subprocess

import numpy as np
import pytest

from sorajax.data import shards
from sorajax.data.shards import Sample, Shards
from sorajax.errors import InputError

SHAPE = (16, 32, 32)


def samples(count: int) -> list[Sample]:
    """Of 512 KiB each, which no compression makes smaller."""
    made = np.random.default_rng(0).integers(0, 1 << 15, (count, *SHAPE, 16), np.uint16).view(np.float16)
    return [Sample(one, (np.zeros((3, 8), np.float16),), {"source": f"{i}.mp4"}) for i, one in enumerate(made)]


def files(folder) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small_disk(tmp_path):
    """Two megabytes."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root mounts disks")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_disk_that_is_full_leaves_what_was_whole_and_no_half_file(small_disk):
    first, second = (small_disk / shards.file(SHAPE, number) for number in range(2))
    sizes = {first.name: shards.write(first, samples(2))}
    with pytest.raises(InputError, match="00001.array_record cannot be written: .*No space left on device; make room"):
        shards.write(second, samples(6))
    assert files(small_disk) == {first.name}
    with pytest.raises(InputError, match="index.json cannot be written: No space left on device; make room"):
        shards.finish(small_disk, {SHAPE: sizes}, {"much": "x" * (2 << 20)})
    assert files(small_disk) == {first.name}
    sizes[second.name] = shards.write(second, samples(1))
    shards.finish(small_disk, {SHAPE: sizes}, {})
    assert Shards(small_disk).shapes() == {SHAPE: 3}


class Failing(shards.ArrayRecordWriter):
    """Fails as a disk does: at once, while it is written, or in the end."""

    when = ""

    def __init__(self, path: str, options: str):
        if self.when == "opened":
            raise OSError(errno.EROFS, "Read-only file system", path)
        super().__init__(path, options)

    def write(self, record: bytes):
        if self.when == "written":
            raise RuntimeError("write() failed: No space left on device; writing x; at byte 4096")
        return super().write(record)

    def close(self):
        super().close()
        if self.when == "closed":
            raise RuntimeError("write() failed: No space left on device; writing x; at byte 4096")


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("opened", "cannot be written: Read-only file system; make room"),
        ("written", r"cannot be written: write\(\) failed: No space left on device; make room"),
        ("closed", r"cannot be written: write\(\) failed: No space left on device; make room"),
    ],
)
def test_a_disk_may_fail_at_any_time(tmp_path, monkeypatch, when, said):
    path = tmp_path / shards.file(SHAPE, 0)
    monkeypatch.setattr(shards, "ArrayRecordWriter", Failing)
    monkeypatch.setattr(Failing, "when", when)
    with pytest.raises(InputError, match=said):
        shards.write(path, samples(1))
    assert not files(tmp_path)


def test_an_error_of_the_samples_is_not_the_disks_and_leaves_nothing(tmp_path):
    def broken():
        yield from samples(1)
        raise RuntimeError("out of device memory")

    with pytest.raises(RuntimeError, match="^out of device memory$"):
        shards.write(tmp_path / shards.file(SHAPE, 0), broken())
    assert not files(tmp_path)


def test_names_that_are_no_text_are_kept(tmp_path):
    (plain,) = samples(1)
    sample = Sample(plain.latents, plain.text, {"source": "caf\udce9.mp4"})
    sizes = {"00000.array_record": shards.write(tmp_path / shards.file(SHAPE, 0), [sample])}
    shards.finish(tmp_path, {SHAPE: sizes}, {"left_out": ["caf\udce9.mp4"]})
    (found,) = Shards(tmp_path).read(SHAPE, [0])
    assert found.about["source"] == "caf\udce9.mp4"
