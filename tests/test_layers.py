"""The house's walls hold: who may import whom is written in pyproject.toml, and import-linter checks it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

CONTRACTS = Path(__file__).parent.parent / "pyproject.toml"
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def house(folder: Path, modules: dict[str, str]) -> Path:
    """A small copy of the house: the real contracts over modules of a line each."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(CONTRACTS.read_text(encoding="utf-8"), encoding="utf-8")
    rooms = ("cost", "data", "diffusion", "evaluate", "hosts", "media", "models", "train", "weights")
    empty = {f"sorajax/{room}/__init__.py": "" for room in rooms}
    empty |= {f"sorajax/{name}.py": "" for name in ("__init__", "checkpoint", "config", "errors", "mesh")}
    contracts = tomllib.loads(CONTRACTS.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    containers = {name for contract in contracts for name in contract.get("containers", [])} - {"sorajax"}
    empty |= {f"{name.replace('.', '/')}/__init__.py": "" for name in containers}
    for path, text in (empty | modules).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def test_every_import_respects_the_layers(root: Path) -> None:
    result = lint(root)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_a_model_that_imports_the_sampler_is_caught(tmp_path: Path) -> None:
    upward = {"sorajax/models/dit.py": "import sorajax.diffusion.sample\n", "sorajax/diffusion/sample.py": ""}
    result = lint(house(tmp_path, upward))
    assert result.returncode == 1
    assert "sorajax.models.dit -> sorajax.diffusion.sample" in result.stdout


def test_provenance_that_imports_jax_is_caught(tmp_path: Path) -> None:
    result = lint(house(tmp_path, {"provenance/manifest.py": "import jax\n"}))
    assert result.returncode == 1
    assert "provenance.manifest -> jax" in result.stdout


def test_provenance_is_reached_through_media_only(tmp_path: Path) -> None:
    allowed = {"sorajax/media/clip.py": "import provenance\n", "sorajax/train/loop.py": "import sorajax.media.clip\n"}
    assert lint(house(tmp_path / "allowed", allowed)).returncode == 0
    result = lint(house(tmp_path / "refused", {"sorajax/models/vae.py": "import provenance\n"}))
    assert result.returncode == 1
    assert "sorajax.models.vae -> provenance" in result.stdout
