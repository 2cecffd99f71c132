"""The quality benchmark, run on stand-ins for a model."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sorajax.data import captions
from sorajax.data.world import World

PATH = Path(__file__).parents[2] / "benchmarks" / "quality.py"


@pytest.fixture(scope="module")
def quality():
    spec = importlib.util.spec_from_file_location("quality", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Draughtsman:
    """A model that draws what each of its known prompts asks for; its latents are the prompts."""

    def __init__(self) -> None:
        world = World()
        self.world = world
        self.known = {captions.plain(s, language): s for s in world.held_out_specs() for language in ("en", "ar")}

    def sample(self, prompts, *, seed, steps, guidance):
        return prompts

    def decode(self, prompts):
        frames = np.stack([self.world.render(self.known[prompt]).frames for prompt in prompts])
        return frames.astype(np.float32) / 127.5 - 1


class Forgetful(Draughtsman):
    """Shows the same clip whatever is asked."""

    def decode(self, prompts):
        return super().decode([next(iter(self.known))] * len(prompts))


def test_a_model_that_draws_what_is_asked_is_right_everywhere(quality, tmp_path, capsys):
    sheet, numbers = tmp_path / "sheet.png", tmp_path / "numbers.json"
    arguments = ["--languages", "en", "ar", "--count", "3", "-o", str(sheet), "--json", str(numbers)]
    results = quality.main(arguments, load=lambda name: Draughtsman())
    right = {"object": 3, "motion": 3, "scene": 3, "all three": 3, "nearest": 3}
    assert results == json.loads(numbers.read_text()) == {"en": right, "ar": right}
    said = capsys.readouterr().out
    assert "a dog" in said and "كلب" in said and "object 3 of 3" in said
    assert (tmp_path / "sheet-ar.png").exists()
    with Image.open(tmp_path / "sheet-en.png") as picture:
        assert picture.width > 600


def test_a_model_that_ignores_its_prompt_is_right_by_chance_alone(quality, tmp_path):
    arguments = ["--count", "9", "-o", str(tmp_path / "sheet.png")]
    right = quality.main(arguments, load=lambda name: Forgetful())["en"]
    assert right["object"] == 2 and right["all three"] == 1


def test_the_last_batch_has_the_shape_of_the_others(quality):
    class Shapes(Draughtsman):
        sizes: list[int] = []

        def sample(self, prompts, *, seed, steps, guidance):
            self.sizes.append(len(prompts))
            return prompts

    model = Shapes()
    prompts = list(model.known)[:10]
    assert quality.generate(model, prompts, 7, None, None).shape == (10, 17, 64, 64, 3)
    assert model.sizes == [8, 8]
