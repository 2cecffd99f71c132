"""Notebooks run from top to bottom on mini, and do what they say."""

import copy
import json
import os
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import provenance
from sorajax.media.video import read_mp4
from sorajax.train import config as configs
from sorajax.weights import folder as folders
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
    replace(notebook, {'"wan2.1-t2v-1.3b"': repr(str(model)), "(832, 480), 81, 30": "(64, 64), 9, 4"})
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1200, startup_timeout=300, resources=resources).execute()

    report = provenance.verify(tmp_path / "wan.mp4")
    assert report.status == "authentic" and shown(notebook).count("<video") == 1
    assert '"cache"' in str(report.to_dict()).replace("'", '"')


@pytest.mark.skipif(not (WEIGHTS / "sorajax.json").is_file(), reason="the mini model is not in this tree")
def test_the_finetuning_notebook_draws_videos_and_trains_on_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few clips and steps, so that steps are larger, for the samples to differ by more than the watermark."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(root / "colab" / "finetune.ipynb", as_version=4)
    smaller = {"CLIPS = 48": "CLIPS = 8", "(size=128, ": "(size=128, frames=9, "}
    smaller |= {"STEPS, RANK = 200, 16": "STEPS, RANK = 5, 4"}
    smaller |= {"WHOLE_STEPS = 200": "WHOLE_STEPS = 2", "batch = 8": "batch = 2\nsample_clips = 0"}
    smaller |= {"[video]": "[model.sample]\nsteps = 2\n\n[video]", "learning_rate = 4e-3": "learning_rate = 5e-2"}
    replace(notebook, smaller)
    again = [copy.deepcopy(code(notebook, words)) for words in ("STEPS, RANK", "lora = train(")]
    again[0].source = again[0].source.replace("5, 4", "6, 4")
    trained = notebook.cells.index(code(notebook, "lora = train(")) + 1
    notebook.cells[trained:trained] = again  # who wants more steps
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=1200, startup_timeout=300, resources=resources).execute()

    made = tmp_path / "finetune"
    assert len(list((made / "videos").glob("*.mp4"))) == len(list((made / "videos").glob("*.txt"))) == 8
    text, page = printed(notebook), shown(notebook)
    assert "7 clips (8 s) of 8 scenes (9 s) in 8 files; dropped: 1 still" in text
    assert "Dropped: still" in page and page.count("data:image/jpeg;base64,") == 8
    lora = made / "runs" / "mini" / "lora.safetensors"
    assert lora.is_file() and "device hours," in text
    assert "| steps | 6 |" in (card := shown(notebook, "text/markdown")) and " kWh |" in card
    assert page.count("<video") == 3

    without, with_it = made / "without.mp4", made / "with.mp4"
    assert provenance.verify(without).status == provenance.verify(with_it).status == "authentic"
    assert folders.file_digest(lora) in text, "the manifest names the LoRA"
    frames, others = (read_mp4(path)[0].astype(float) for path in (without, with_it))
    assert np.abs(frames - others).mean() > 5
    lines = (lora.parent / "lora" / "log.jsonl").read_text().splitlines()
    [event] = [record for record in map(json.loads, lines) if record.get("event") == "resumed"]
    assert event["step"] == 5 and event["changed"] == ["evaluate_every: 5 -> 6", "steps: 5 -> 6"]
    assert (made / "runs" / "whole" / "mini" / "model" / "transformer").is_dir()


def test_the_config_that_the_finetuning_notebook_shows_for_wan_is_one(root: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(root / "colab" / "finetune.ipynb", as_version=4)
    [text] = re.findall("```toml\n(.*?)```", "".join(cell.source for cell in notebook.cells), re.DOTALL)
    (tmp_path / "wan.toml").write_text(text + "[lora]\nrank = 16\n")
    config = configs.load(tmp_path / "wan.toml")
    assert config.objective == "video" and config.model.name == config.start == "wan2.1-t2v-1.3b"


def replace(notebook: nbformat.NotebookNode, smaller: dict[str, str]) -> None:
    """Put in the place of what is large something smaller; each is in one cell of code."""
    for old, new in smaller.items():
        cell = code(notebook, old)
        cell.source = cell.source.replace(old, new)


def code(notebook: nbformat.NotebookNode, words: str) -> nbformat.NotebookNode:
    """The one cell of code that has these words."""
    [cell] = [cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source]
    return cell


def printed(notebook: nbformat.NotebookNode) -> str:
    """All text that the notebook prints."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def shown(notebook: nbformat.NotebookNode, kind: str = "text/html") -> str:
    """All HTML that the notebook displays, or all of another kind."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return "".join(output.data.get(kind, "") for output in outputs if "data" in output)
