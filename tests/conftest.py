"""What every test gets: homes of its own, so that no test reads or writes the user's keys, registry and caches."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

_HOME = tempfile.TemporaryDirectory(prefix="sorajax-tests-")
# Set before anything is imported: platformdirs and JAX read them when they are first asked.
for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
    os.environ[name] = str(Path(_HOME.name) / name.lower())
os.environ["SORAJAX_KEYS"] = str(Path(_HOME.name) / "keys")
for name in ("SORAJAX_TRUST", "SORAJAX_REGISTRY", "SORAJAX_REGISTRY_BLOBS", "SORAJAX_LOG"):
    os.environ.pop(name, None)
# Tests build the same small models again and again; what one has compiled the next one reads, in another process too:
# with a limit of its size the cache is locked while it is written.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.setdefault(
    "SORAJAX_TEST_PROGRAMS", str(Path(_HOME.name) / "programs")
)
os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**32)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
# Most of their time is the compiler's, which need not make such small models fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test beside another implementation, run live, needs that one's packages."""
    for mark in item.iter_markers("live"):
        for package in mark.args:
            pytest.importorskip(package)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT
