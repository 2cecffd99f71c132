"""A model tells what it is, what it learned from and what it cost."""

import dataclasses
import json
import re

import pytest

from sorajax.cost.account import Rates
from sorajax.errors import CheckpointError
from sorajax.train import card
from sorajax.train.loop import train
from sorajax.weights import folder as folders
from tests import tiny
from tests.train.line import RUN, stand_in

PRICED = dataclasses.replace(RUN, evaluate_every=3, cost=Rates(price=1.2, currency="EUR", carbon=380.0, pue=1.1))


@pytest.fixture
def base(tmp_path):
    """A model in a folder as the hub's cache has it, with its licence."""
    folder = tmp_path / "models--OWNER--base" / "snapshots" / "abc123"
    tiny.write(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# The base\n")
    return folder


def test_a_card_tells_origin_training_judgement_and_cost(tmp_path, monkeypatch, base):
    stand_in(monkeypatch)
    train(dataclasses.replace(PRICED, start=str(base)), runs=tmp_path, progress=False)
    text = (tmp_path / "tiny" / "model" / "README.md").read_text()
    matter, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert 'license: "apache-2.0"' in matter and 'base_model: "OWNER/base"' in matter
    assert folders.model_digest(base) in body and "licence apache-2.0" in body
    assert "| learned from | random rows |" in body and "| steps | 6 |" in body
    assert re.search(r"At step 6, of the average of its weights: norm [\d.]+\.", body)
    assert re.search(r"\| vae \| 1 x cpu \| \S+ \| 3.07e\+03 \| \S+ kWh \| \S+ g \| \S+ EUR \|", body)
    assert "times 1.1 for the building, at 380.0 g CO2e a kWh" in body
    assert (base / "README.md").read_text().endswith("# The base\n")  # that one keeps its own


def test_what_is_not_known_is_said_to_be(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    train(RUN, runs=tmp_path, progress=False)
    row = next(
        line for line in (tmp_path / "tiny/model/README.md").read_text().splitlines() if line.startswith("| vae")
    )
    assert row.count("not known") == 2  # CO2e and money


def test_stages_stand_beside_each_other_and_the_one_that_goes_on_is_replaced(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    train(RUN, runs=tmp_path, progress=False)
    train(dataclasses.replace(RUN, objective="text"), runs=tmp_path, progress=False)
    train(dataclasses.replace(RUN, steps=8), runs=tmp_path, progress=False)
    stages = card.read(tmp_path / "tiny" / "model")["stages"]
    assert {name: stage["settings"]["steps"] for name, stage in stages.items()} == {"vae": 8, "text": 6}


def test_the_last_judgement_outlives_an_interruption(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    train(dataclasses.replace(PRICED, steps=3, evaluate_every=3), runs=tmp_path, progress=False)
    monkeypatch.setattr("tests.train.line.Line.evaluate", lambda *_, **__: {})
    train(dataclasses.replace(PRICED, steps=3), runs=tmp_path, progress=False)
    record = json.loads((tmp_path / "tiny" / "model" / "training.json").read_text())
    assert record["stages"]["vae"]["evaluation"]["step"] == 3


def test_a_model_that_began_from_a_trained_one_tells_what_that_had_cost(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    first = train(RUN, runs=tmp_path / "first", progress=False)
    for part in folders.parts(tiny.CONFIG):  # what Line does not export
        (first / part).mkdir(exist_ok=True)
    monkeypatch.setattr(folders, "model_digest", lambda folder: "sha256:00")
    train(dataclasses.replace(RUN, start=str(first)), runs=tmp_path / "second", progress=False)
    start = card.read(tmp_path / "second" / "tiny" / "model")["start"]
    assert start["cost"].endswith("device hours") and start["before"]["stages"]["vae"]["settings"]["steps"] == 6


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / card.RECORD).write_text('{"stages": ')
    with pytest.raises(CheckpointError, match="training.json is damaged; delete it"):
        card.read(tmp_path)
