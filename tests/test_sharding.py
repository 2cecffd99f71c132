"""The same numbers on one device and on eight, whichever axes they are split over."""

import json
import os
import subprocess
import sys

import pytest

from sorajax.errors import ConfigError
from sorajax.mesh import make_mesh
from tests.eight_devices import DEVICES, MESHES


@pytest.fixture(scope="module")
def differences(root, tmp_path_factory):
    environment = os.environ | {"XLA_FLAGS": DEVICES, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.eight_devices", str(tmp_path_factory.mktemp("eight"))]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("mesh", MESHES)
def test_a_training_step_gives_the_same_loss_and_weights(differences, mesh):
    assert differences[mesh]["loss"] < 1e-5
    assert differences[mesh]["weights"] < 1e-4  # AdamW divides rounding errors by small numbers


@pytest.mark.parametrize("mesh", MESHES)
def test_the_sampler_gives_the_same_latents(differences, mesh):
    assert differences[mesh]["latents"] < 1e-5


@pytest.mark.parametrize(
    ("mesh", "shards"), [("data", 1), ("fsdp", 8), ("tensor", 2), ("seq", 8), ("mixed", 4), ("all", 8)]
)
def test_parameters_are_really_split(differences, mesh, shards):
    assert differences[mesh]["shards"] == differences[mesh]["warm"] == shards


def test_a_mesh_that_does_not_fit_the_devices_is_refused():
    with pytest.raises(ConfigError, match="data 3 x fsdp 1 x seq 1 x tensor 1 does not fit 1 devices"):
        make_mesh(data=3)
