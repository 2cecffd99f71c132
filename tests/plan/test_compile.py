"""The TPU compiler itself, on a small model, where it is installed."""

import importlib.util
from importlib.metadata import PackageNotFoundError

import pytest

from sorajax.errors import InputError
from sorajax.plan import chips, compile, plan
from sorajax.plan.child import needed_bytes
from sorajax.plan.request import Request
from tests import tiny

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler (pip install 'sorajax[plan]')"
)
REQUEST = Request(task="sample", model=tiny.CONFIG, width=32, height=32, frames=9)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SORAJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "plan"


def test_without_the_compiler_it_is_said_how_to_get_it(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(compile, "version", version)
    with pytest.raises(InputError, match=r"pip install 'sorajax\[plan\]'"):
        plan(REQUEST, "v5e:2x2")


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        ("RESOURCE_EXHAUSTED: Ran out of memory. Used 28.67G of 15.75G hbm. Exceeded by 12.92G.", 28.67),
        ("XLA:TPU compile permanent error. ... (512.5M) exceeds available HBM (15.75G)", 512.5 / 1024),
    ],
)
def test_a_refusal_tells_what_the_program_needs(message, gib):
    assert needed_bytes(message) == int(gib * 2**30)
    assert needed_bytes("INVALID_ARGUMENT: no") is None


@needs_libtpu
def test_a_program_is_compiled_once_and_found_again(cache):
    first = plan(REQUEST, "v5e:2x2", mesh={"data": 2, "seq": 2})
    assert first.best is not None and first.best.seconds is not None and 0 < first.best.seconds < 1
    assert 0 < first.best.needs < chips.CHIPS["v5e"].hbm_usable
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert {path.suffix for path in kept} == {".json", ".gz"}
    assert plan(REQUEST, "v5e:2x2", mesh={"data": 2, "seq": 2}).best == first.best
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept


@needs_libtpu
def test_a_late_compiler_is_ended_and_leaves_nothing(cache):
    with pytest.raises(InputError, match="did not finish for v5e:2x2"):
        plan(REQUEST, "v5e:2x2", timeout=0.05)
    assert not cache.exists()


@needs_libtpu
def test_collectives_of_a_mesh_are_counted():
    found = plan(REQUEST, "v5e:2x2", mesh={"fsdp": 4})
    assert found.best is not None
    assert sum(one["bytes"] for one in found.best.collectives) > 0
