"""Notebooks run from top to bottom on mini, and do what they say."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import provenance
from sorajax.media.video import read_mp4
from tests import tiny

NOTEBOOKS = sorted((Path(__file__).parent.parent / "colab").glob("*.ipynb"))
WEIGHTS = Path(__file__).parent.parent / "sorajax" / "weights_data" / "mini"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.skipif(not (WEIGHTS / "sorajax.json").is_file(), reason="the mini model is not in this tree")
def test_the_quickstart_makes_a_signed_clip(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(root / "colab" / "quickstart.ipynb", as_version=4)
    client = NotebookClient(
        notebook, timeout=1200, startup_timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()

    assert provenance.verify(tmp_path / "dog.mp4").status == "authentic"
    frames, _ = read_mp4(tmp_path / "dog.mp4")
    assert min(frames.shape[1:3]) >= 256
    assert provenance.verify(tmp_path / "changed.mp4").status == "altered"
    assert shown(notebook).count("<video") == 6


def test_the_wan_notebook_runs_with_a_tiny_model_in_place_of_the_published_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    model = tiny.write_wan(tmp_path / "model")
    notebook = nbformat.read(root / "colab" / "wan.ipynb", as_version=4)
    smaller = {'"wan2.1-t2v-1.3b"': repr(str(model)), "(832, 480), 81, 30": "(64, 64), 9, 4"}
    for old, new in smaller.items():
        [cell] = [cell for cell in notebook.cells if cell.cell_type == "code" and old in cell.source]
        cell.source = cell.source.replace(old, new)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1200, startup_timeout=300, resources=resources).execute()

    report = provenance.verify(tmp_path / "wan.mp4")
    assert report.status == "authentic" and shown(notebook).count("<video") == 1
    assert '"cache"' in str(report.to_dict()).replace("'", '"')


def shown(notebook: nbformat.NotebookNode) -> str:
    """All HTML that the notebook displays."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return "".join(output.data.get("text/html", "") for output in outputs if "data" in output)
