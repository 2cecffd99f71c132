"""The ``sorajax`` command as a user meets it: exit codes, one line of error, nothing left behind."""

import pytest

import provenance
from sorajax.cli import main
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny.write(tmp_path_factory.mktemp("models") / "tiny"))


def test_generate_writes_a_verified_clip_and_says_so(folder, tmp_path, capsys):
    path = tmp_path / "dog.mp4"
    assert main(["generate", "a dog runs", "-o", str(path), "--model", folder, "--seed", "7"]) == 0
    assert provenance.verify(path).status == "authentic"
    out = capsys.readouterr().out
    assert str(path) in out and "seed 7" in out and "authentic" in out


def test_the_prompt_can_be_kept_out_of_the_file(folder, tmp_path):
    path = tmp_path / "dog.mp4"
    assert main(["generate", "a secret dog", "-o", str(path), "--model", folder, "--hash-prompt"]) == 0
    assert b"secret dog" not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["  "], "is empty"),
        (["a dog", "--model", "mimi"], "unknown model 'mimi'"),
        (["a dog", "--size", "65x64"], "possible: 32x32"),
        (["a dog", "--size", "wide"], "'wide' is not WIDTHxHEIGHT"),
        (["a dog", "--frames", "1000"], "makes 1, 5, 9"),
        (["a dog", "--language", "xx"], "reads: en, zh"),
        (["a dog", "--key", "k.pem"], "belong together"),
        (["a dog", "-o", "dog.avi"], "mp4"),
        (["a dog", "-o", "no/such/folder/dog.mp4"], "no/such/folder"),
        (["a dog", "-o", "x" * 300 + ".mp4"], "File name too long"),
        (["a dog", "--model", "x" * 300], "File name too long"),
        (["a dog", "--fps", "0"], "fps is 0"),
        (["a dog", "--lora", "none.safetensors=0.5"], "no LoRA at 'none.safetensors'"),
        (["a dog", "--lora", f"{__file__}=much"], "scale 'much' of LoRA"),
        (["a dog", "--lora", f"{__file__}=0.5"], "is not a readable safetensors file"),
        (["a dog", "--sed", "7"], "unrecognized arguments: --sed"),
        (["a dog", "--seed", "many"], "invalid int value"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    defaults = ["-o", "dog.mp4"] if "-o" not in arguments else []
    model = ["--model", folder] if "--model" not in arguments else []
    try:
        code = main(["generate", *arguments, *defaults, *model])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    err = [line for line in capsys.readouterr().err.splitlines() if "\r" not in line]
    assert message in err[-1]
    assert "Traceback" not in "\n".join(err)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_kept(folder, tmp_path, capsys):
    path = tmp_path / "dog.mp4"
    path.write_bytes(b"precious")
    assert main(["generate", "a dog", "-o", str(path), "--model", folder]) == 2
    assert path.read_bytes() == b"precious"
    assert str(path) in capsys.readouterr().err


def test_export_writes_a_folder_that_generate_takes(tmp_path, capsys):
    model, out, clip = (tmp_path / name for name in ("model", "out", "dog.mp4"))
    tiny.write_wan(model)
    assert main(["export", str(model), str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    small = ["--size", "48x32", "--frames", "5", "--steps", "1"]
    assert main(["generate", "a dog", "-o", str(clip), "--model", str(out), *small]) == 0
    assert provenance.verify(clip).status == "authentic"
    assert main(["export", str(model), str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_train_names_a_file_in_the_place_of_a_folder(tmp_path, capsys):
    (tmp_path / "runs").write_text("not a folder")
    assert main(["train", "mini-vae", "--runs", str(tmp_path / "runs")]) == 2
    assert str(tmp_path / "runs") in capsys.readouterr().err


def test_train_names_an_unknown_config(capsys):
    assert main(["train", "no-such-config"]) == 2
    assert "no config 'no-such-config'; presets:" in capsys.readouterr().err
