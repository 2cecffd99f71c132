"""Attention whose tokens lie on eight devices is the formula's, by Ulysses, ring and both."""

import json
import os
import subprocess
import sys

import pytest

from sorajax.attention import sequence
from tests.attention.eight_devices import CASES
from tests.eight_devices import DEVICES


@pytest.fixture(scope="module")
def differences(root):
    environment = os.environ | {"XLA_FLAGS": DEVICES, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.attention.eight_devices"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", [*CASES, "text"])
def test_output_and_gradients(differences, case):
    assert max(differences[case].values()) < 5e-6, differences[case]


@pytest.mark.parametrize(
    ("devices", "heads", "ulysses", "ring"), [(8, 40, 8, 1), (8, 12, 4, 2), (16, 12, 4, 4), (8, 5, 1, 8), (1, 12, 1, 1)]
)
def test_ulysses_takes_as_many_devices_as_the_heads_allow(devices, heads, ulysses, ring):
    how = sequence.split("seq", devices, heads)
    assert (how.heads_split, how.ring) == (ulysses, ring)
