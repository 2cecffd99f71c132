"""The package stands alone, costs nothing to import, and its names mean the same in any import order."""

import json
import subprocess
import sys

import pytest


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    heavy = ["numpy", "av", "c2pa", "cryptography", "jax", "flax", "sorajax", "platformdirs"]
    loaded = json.loads(
        run(f"import json, sys, provenance; print(json.dumps([m for m in {heavy} if m in sys.modules]))")
    )
    assert loaded == []


def test_verifying_loads_neither_jax_nor_sorajax(signed) -> None:
    code = "import sys, provenance; provenance.verify(%r); print({'jax', 'flax', 'sorajax'} & set(sys.modules))"
    assert run(code % str(signed)) == "set()"


@pytest.mark.parametrize(
    "first",
    [
        "provenance.verification",
        "provenance.signing",
        "provenance.cli",
        "provenance.keys",
        "provenance.log",
        "provenance.watermark",
    ],
)
def test_names_mean_the_same_in_any_order(first: str) -> None:
    code = f"import {first}, provenance as p; print(callable(p.verify), callable(p.sign), p.watermark.embed.__name__)"
    assert run(code) == "True True embed"


def test_every_public_name_exists() -> None:
    import provenance

    assert all(getattr(provenance, name) is not None for name in provenance.__all__)
    assert set(provenance.__all__) <= set(dir(provenance))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        provenance.nothing  # noqa: B018
