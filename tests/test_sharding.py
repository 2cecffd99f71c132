"""The same numbers on one device and on eight, whichever axes they are split over."""

import itertools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
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
def test_the_text_encoder_gives_the_same_states(differences, mesh):
    assert differences[mesh]["text"] < 1e-5


@pytest.mark.parametrize("mesh", MESHES)
def test_the_sampler_gives_the_same_latents(differences, mesh):
    assert differences[mesh]["latents"] < 1e-5


@pytest.mark.parametrize("mesh", MESHES)
def test_the_autoencoder_gives_the_same_latents_and_frames(differences, mesh):
    assert differences[mesh]["encoded"] < 1e-5
    assert differences[mesh]["decoded"] < 1e-5


@pytest.mark.parametrize(
    ("mesh", "shards"), [("data", 1), ("fsdp", 8), ("tensor", 2), ("seq", 8), ("mixed", 4), ("all", 8)]
)
def test_parameters_are_really_split(differences, mesh, shards):
    assert differences[mesh]["shards"] == differences[mesh]["warm"] == shards
    assert differences[mesh]["text_shards"] == shards


def test_a_mesh_that_does_not_fit_the_devices_is_refused():
    with pytest.raises(ConfigError, match="data 3 x fsdp 1 x seq 1 x tensor 1 does not fit 1 devices"):
        make_mesh(data=3)


class Chip(SimpleNamespace):
    """What ``make_mesh`` looks at in a TPU."""

    __hash__ = object.__hash__


def slices(count):
    """Devices of so many slices of 2 x 4 chips."""
    facts = {"platform": "tpu", "device_kind": "TPU v5 lite", "core_on_chip": 0}
    places = [(s, x, y) for s in range(count) for y in range(4) for x in range(2)]
    return [Chip(id=i, coords=(x, y, 0), slice_index=s, process_index=s, **facts) for i, (s, x, y) in enumerate(places)]


@pytest.mark.parametrize(
    "sizes", [{"data": 2, "seq": 8}, {"data": 4, "seq": 4}, {"fsdp": 4, "data": 1, "tensor": 4}, {"data": 2, "fsdp": 8}]
)
def test_between_slices_only_data_or_weights_are_split(sizes):
    devices = make_mesh(**sizes, devices=slices(2)).devices
    assert devices.shape == tuple(sizes.get(axis, 1) for axis in ("data", "fsdp", "seq", "tensor"))
    for group in devices.reshape(-1, devices.shape[2] * devices.shape[3]):  # what shares tokens and heads
        assert len({device.slice_index for device in group}) == 1
    crossing = devices if sizes.get("data", 1) > 1 else devices[0]  # data goes before fsdp
    for s, part in enumerate(np.split(crossing, 2)):
        assert {device.slice_index for device in part.flat} == {s}


@pytest.mark.parametrize(("kind", "shape"), [("TPU v6 lite", (16, 16, 1)), ("TPU v5", (4, 4, 4)), ("TPU7x", (2, 2, 4))])
def test_every_mesh_can_be_laid_on_a_torus_and_tokens_stay_close(kind, shape):
    facts = {"platform": "tpu", "device_kind": kind, "process_index": 0, "slice_index": 0}
    places = [place[::-1] for place in itertools.product(*(range(n) for n in shape[::-1]))]
    cores = itertools.product(places, range(2 if kind == "TPU7x" else 1))
    chips = [Chip(id=i, coords=xyz, core_on_chip=core, **facts) for i, (xyz, core) in enumerate(cores)]
    for data, fsdp, seq in itertools.product((1, 2, 4, 8, 16), repeat=3):
        tensor, odd = divmod(len(chips), data * fsdp * seq)
        if odd or not tensor:
            continue
        devices = make_mesh(data=data, fsdp=fsdp, seq=seq, tensor=tensor, devices=chips).devices
        assert devices.shape == (data, fsdp, seq, tensor)
        assert len(set(devices.flat)) == len(chips)
        for group in devices.reshape(-1, seq * tensor)[:8]:  # what shares tokens and heads fills a box
            places = np.array([device.coords for device in group])
            box = np.ptp(places, axis=0) + 1
            assert np.prod(box) == len({tuple(place) for place in places}), (data, fsdp, seq, tensor)


def test_tokens_split_between_slices_are_refused():
    with pytest.raises(ConfigError, match="make data a multiple of 2"):
        make_mesh(data=1, seq=16, devices=slices(2))
