"""docs/training.md does what it says: its configs and commands, as they stand there, on a tiny model."""

import dataclasses
import json
import re
import shlex

import pytest
from PIL import Image

import provenance
from sorajax import cli, config
from sorajax.cli import main
from sorajax.train import config as training
from sorajax.weights import find
from tests import tiny
from tests.footage import films

SHORT = {"train": ["--steps", "2"]}
ELSEWHERE = ("--coordinator", "--ray", "plan", "pip")
"""Commands that need other machines, a TPU's compiler or an index of packages: only their options are looked at."""


@pytest.fixture(scope="module")
def guide(root):
    return (root / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(guide: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    return [text for own, text in found if own == language]


def commands(guide: str) -> list[list[str]]:
    lines = [line for block in blocks(guide, "") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip() and not line.startswith("#")]


def files(guide: str) -> dict[str, str]:
    """Configs that are whole, by the name in their first line."""
    named = [(re.match(r"# (\S+\.toml)\n", block), block) for block in blocks(guide, "toml")]
    return {name[1]: block for name, block in named if name}


def plain(values: dict, prefix: str = "") -> str:
    """Values as TOML."""
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in tables and value is not None]
    text = "\n".join(lines) + "\n"
    for key, value in tables.items():
        text += f"\n[{prefix}{key}]\n{plain(value, f'{prefix}{key}.')}"
    return text


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with videos and a picture, where mini is a tiny model."""
    named = dataclasses.replace(tiny.CONFIG, name="mini")
    tiny.write(tmp_path / "shipped" / "mini", named)
    monkeypatch.setattr(find, "SHIPPED", tmp_path / "shipped")
    base = {"objective": "video", "sample_clips": 0, "dtype": "float32", "model": config.to_dict(named)}
    base |= {"world": {"size": 32, "frames": 9}}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mini.toml").write_text(plain(base), encoding="utf-8")
    (tmp_path / "configs" / "mini-vae.toml").write_text('base = "mini"\nobjective = "vae"\n[vae_loss]\nframes = [5]\n')
    monkeypatch.setattr(config, "CONFIG_DIRS", (tmp_path / "configs",))
    for i in range(2):
        films.write(tmp_path / "videos" / f"{i}.mp4", films.scene(i, 20))
        (tmp_path / "videos" / f"{i}.txt").write_text("a dog")
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "dog.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_commands_run_one_after_the_other_from_videos_to_signed_clips(guide, place, capsys):
    shards = ""
    configs = files(guide)
    assert set(configs) == {"dogs.toml", "whole.toml", "eye.toml", "picture.toml"}
    for command in commands(guide):
        if any(word in command for word in ELSEWHERE):
            continue
        assert command[0] == "sorajax", command
        if command[1] == "train":
            text = configs[command[2]].replace("clips = 1024", "clips = 32").replace("batch = 8", "batch = 2")
            (place / command[2]).write_text(re.sub(r"prepared/mini-\w+", shards, text), encoding="utf-8")
        assert main([*command[1:], *SHORT.get(command[1], [])]) == 0, (command, capsys.readouterr().err)
        said = capsys.readouterr().out
        if command[1] == "data":
            shards = said.splitlines()[-1]
    clips = sorted(place.glob("*.mp4"))
    assert [clip.name for clip in clips] == ["costly.mp4", "dog.mp4", "picture.mp4", "whole.mp4"]
    assert {provenance.verify(clip).status for clip in clips} == {"authentic"}
    cost = provenance.verify(place / "costly.mp4").manifest["generation"]["cost"]
    assert cost["money"] > 0 and cost["co2_grams"] > 0
    for said in ("lora.md", "lora.safetensors", "model/README.md"):
        assert (place / "runs" / "mini" / said).is_file() or (place / "runs" / "mini-dogs" / said).is_file()


def test_commands_for_other_machines_have_options_that_exist(guide):
    elsewhere = [command for command in commands(guide) if any(word in command for word in ELSEWHERE)]
    lines = [command[1:] for command in elsewhere if command[0] == "sorajax"]
    assert len(lines) == 2
    for line in lines:
        cli._parser().parse_args([{"I": "0"}.get(word, word) for word in line])


def test_its_tables_are_tables_of_a_training_config(guide, place):
    parts = [block for block in blocks(guide, "toml") if not block.startswith("# ")]
    assert len(parts) >= 3
    for part in parts:
        (place / "part.toml").write_text(f'base = "mini"\n{part}', encoding="utf-8")
        training.load(place / "part.toml")
