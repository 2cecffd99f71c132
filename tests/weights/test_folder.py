"""Weights are written whole or not at all."""

import subprocess

import numpy as np
import pytest

from sorajax.errors import CheckpointError
from sorajax.weights.folder import write_tensors


@pytest.fixture
def small(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_file_of_before(small):
    path = small / "w.safetensors"
    write_tensors(path, {"w": np.zeros(1000, np.float32)})
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="w.safetensors could not be written: no space is left there; free some"):
        write_tensors(path, {"w": np.ones(1_000_000, np.float32)})
    assert path.read_bytes() == before and [p.name for p in small.iterdir()] == ["w.safetensors"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere/w.safetensors could not be written"):
        write_tensors(tmp_path / "nowhere" / "w.safetensors", {"w": np.zeros(1)})
