"""What a user installs: both packages, the presets, the shipped model, and nothing that should stay at home."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sorajax.train import config as configs
from sorajax.weights import find
from sorajax.weights import folder as folders


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def build(source: Path, folder: Path) -> Path:
    """The wheel of a source tree, without the network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(build(root, tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel installs, far from the repository."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


def run(code: str, installed: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=installed, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def tracked(root: Path, *folders: str) -> set[str]:
    """Files of the working tree below some folders, without what Python leaves there."""
    found = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts}


def test_both_packages_are_whole(wheel: zipfile.ZipFile, root: Path) -> None:
    expected = {path for path in tracked(root, "sorajax", "provenance") if not path.endswith(".part")}
    assert expected <= set(wheel.namelist())


def test_presets_are_inside_the_package(wheel: zipfile.ZipFile, root: Path) -> None:
    assert {f"sorajax/{path}" for path in tracked(root, "configs")} <= set(wheel.namelist())
    assert "sorajax/configs/mini.toml" in wheel.namelist()


def test_only_the_packages_and_their_metadata_are_inside(wheel: zipfile.ZipFile) -> None:
    assert {re.sub(r"^sorajax-.*\.dist-info$", "metadata", name.split("/")[0]) for name in wheel.namelist()} == {
        "sorajax",
        "provenance",
        "metadata",
    }
    assert not [name for name in wheel.namelist() if name.endswith((".pem", ".key", ".pyc"))]


@pytest.mark.parametrize(("name", "text"), [("LICENSE", b"Apache License"), ("NOTICE", b"Fluent Emoji")])
def test_licences_travel_with_it(wheel: zipfile.ZipFile, name: str, text: bytes) -> None:
    (found,) = (path for path in wheel.namelist() if path.endswith(f"licenses/{name}"))
    assert text in wheel.read(found)


def test_an_installed_package_finds_its_presets_and_assets(installed: Path) -> None:
    where = run("import sorajax, provenance; print(sorajax.__file__, provenance.__file__)", installed)
    assert all(path.startswith(str(installed)) for path in where.split())
    assert "mini" in run("from sorajax.config import presets; print(*presets())", installed).split()
    assert int(run("from sorajax.data.atlas import objects; print(len(objects()))", installed)) >= 12


def test_the_commands_exist(wheel: zipfile.ZipFile, project: dict) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    for command, target in project["scripts"].items():
        assert f"{command} = {target}" in text
        assert callable(EntryPoint(name=command, value=target, group="console_scripts").load())


def test_an_installed_verifier_answers(installed: Path) -> None:
    (installed / "note.mp4").write_text("hello")
    code = (
        "import sys; from provenance.cli import main; print(main(['verify', 'note.mp4'])); print('jax' in sys.modules)"
    )
    *said, status, jax = run(code, installed).splitlines()
    assert "note.mp4" in said[0] and (status, jax) == ("2", "False")


def test_the_shipped_model_is_that_of_its_config() -> None:
    shipped = folders.load_config(find.SHIPPED / "mini")
    vae = dataclasses.replace(shipped.vae, latents_mean=(), latents_std=())
    assert dataclasses.replace(shipped, vae=vae) == configs.load("mini").model


def test_the_shipped_model_is_small(root: Path) -> None:
    shipped = root / "sorajax" / "weights_data" / "mini"
    assert sum(p.stat().st_size for p in shipped.rglob("*") if p.is_file()) <= 25_000_000


def test_versions_agree(project: dict) -> None:
    import provenance

    assert provenance.__version__ == project["version"]


@pytest.mark.parametrize("ignored", ["sorajax/clip.mp4.part", "configs/runs/secret.toml"])
def test_what_git_ignores_stays_at_home(root: Path, tmp_path: Path, ignored: str) -> None:
    source = tmp_path / "source"
    for path in ("provenance", "configs"):
        shutil.copytree(root / path, source / path)
    (source / "sorajax").mkdir()
    for path in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "sorajax/__init__.py"):
        shutil.copy(root / path, source / path)
    (source / ignored).parent.mkdir(exist_ok=True)
    (source / ignored).write_text("not for others")
    with zipfile.ZipFile(build(source, tmp_path / "wheel")) as archive:
        assert "sorajax/configs/mini.toml" in archive.namelist()
        assert not [name for name in archive.namelist() if Path(ignored).name in name]


def constraints(root: Path, python: str) -> dict[str, str]:
    """Exact version by normalised name, as pip sees constraints.txt on one Python."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    found = [one for one in wanted if one.marker is None or one.marker.evaluate(here)]
    versions = {}
    for one in found:
        (exact,) = one.specifier
        assert exact.operator == "==" and one.url is None and one.name not in versions, one
        versions[normal(one.name)] = exact.version
    return versions


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_dependency_has_an_exact_version_within_its_range(root: Path, project: dict, python: str) -> None:
    versions = constraints(root, python)
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *extras["test"], *extras["dev"]]:
        requirement = Requirement(line)
        if requirement.name != "sorajax":
            assert requirement.specifier.contains(versions[normal(requirement.name)]), line


def test_python_3_11_gets_the_last_jax_that_knows_it(root: Path) -> None:
    assert constraints(root, "3.11")["jax"].startswith("0.10.")
    assert constraints(root, "3.12")["jax"].startswith("0.12.")
