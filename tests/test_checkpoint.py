"""A checkpoint is whole or it is not used; what cannot be written leaves nothing, and the ones before are kept."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sorajax import seal
from sorajax.checkpoint import Checkpoints
from sorajax.errors import CheckpointError


def state(step: int) -> dict[str, jax.Array]:
    return {"step": jnp.int32(step), "w": jax.random.normal(jax.random.key(step), (300, 400))}


def written(folder: Path, *steps: int) -> Path:
    checkpoints = Checkpoints(folder)
    for step in steps:
        assert checkpoints.save(step, state(step), {"seconds": float(step)})
    checkpoints.close()
    return folder


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(folder: Path) -> None:
    path = largest(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "flipped": (flip, "was changed"),
    "cut": (lambda folder: largest(folder).write_bytes(largest(folder).read_bytes()[:-1]), "bytes instead of"),
    "gone": (lambda folder: largest(folder).unlink(), "is missing"),
    "unsealed": (lambda folder: (folder / seal.NAME).unlink(), "seal.json is missing"),
    "unlisted": (lambda folder: (folder / seal.NAME).write_text("{"), "seal.json cannot be read"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_put_aside_and_the_one_before_is_used(tmp_path, kind):
    folder = written(tmp_path / "checkpoints", 1, 2)
    damage, said = DAMAGE[kind]
    damage(folder / "2")
    checkpoints = Checkpoints(folder)
    with pytest.warns(UserWarning, match=f"checkpoints/2 is damaged .*{said}.*; moved to .*damaged/2-"):
        assert checkpoints.newest_whole() == 1
    np.testing.assert_array_equal(checkpoints.restore(1, state(1))["w"], state(1)["w"])
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    assert checkpoints.save(2, state(2), {})  # again
    checkpoints.close()
    assert Checkpoints(folder).newest_whole() == 2


def test_where_none_is_whole_nothing_is_begun_anew(tmp_path):
    folder = written(tmp_path / "checkpoints", 1, 2)
    flip(folder / "1")
    flip(folder / "2")
    for _ in range(2):  # nothing was moved: another try says the same
        with pytest.raises(CheckpointError, match="no checkpoint in .* is whole .2: .* was changed.; put one back"):
            Checkpoints(folder).newest_whole()


def test_without_any_there_is_none(tmp_path):
    assert Checkpoints(tmp_path / "checkpoints").newest_whole() is None


def test_what_a_kill_left_half_is_not_taken_for_one(tmp_path):
    folder = written(tmp_path / "checkpoints", 1)
    shutil.copytree(folder / "1", folder / "2.orbax-checkpoint-tmp")
    checkpoints = Checkpoints(folder)
    assert checkpoints.newest_whole() == 1
    assert checkpoints.save(2, state(2), {})
    checkpoints.close()


def test_one_of_a_newer_version_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, state(1), {"format": 99})
    checkpoints.wait()
    with pytest.raises(CheckpointError, match="has format 99, and this sorajax reads up to 3: .*upgrade sorajax"):
        checkpoints.about(1)


def test_one_of_other_shapes_is_named(tmp_path):
    checkpoints = Checkpoints(written(tmp_path / "checkpoints", 1))
    with pytest.raises(CheckpointError, match=r"does not fit: \['w'\]: saved \(300, 400\), expected \(3, 4\)"):
        checkpoints.restore(1, {"step": jnp.int32(0), "w": jnp.zeros((3, 4))})


def test_too_little_space_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    folder = written(tmp_path / "checkpoints", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    checkpoints = Checkpoints(folder)
    with pytest.warns(UserWarning, match="step 2 .*: it takes 0.5 MB, and 0.1 MB are free; that of step 1 is kept"):
        assert not checkpoints.save(2, state(2), {})
    checkpoints.close()
    assert Checkpoints(folder).newest_whole() == 1


@pytest.fixture
def small(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_costs_that_checkpoint_alone(small, monkeypatch, caplog):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40)
    )  # another took it in the meantime
    folder = written(small / "checkpoints", 1)
    checkpoints = Checkpoints(folder)
    large = {"step": jnp.int32(2), "w": jax.random.normal(jax.random.key(2), (1000, 1000))}
    assert checkpoints.save(2, large, {})
    with pytest.warns(UserWarning, match="step 2 could not be written .*: No space left on device; that of step 1 is"):
        assert not checkpoints.wait()
    assert not caplog.records and [p.name for p in folder.iterdir()] == ["1"]
    assert checkpoints.save(3, state(3), {})  # as soon as there is space
    checkpoints.close()
    checkpoints = Checkpoints(folder)
    assert checkpoints.newest_whole() == 3
    np.testing.assert_array_equal(checkpoints.restore(3, state(3))["w"], state(3)["w"])
