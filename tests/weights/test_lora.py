"""LoRA files: every key style gives the same kernels, several add up, all come out again, and what does not fit."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sorajax
from sorajax.errors import CheckpointError, InputError
from sorajax.weights.dit import export_dit
from tests import tiny
from tests.golden import make_pipeline

MODULES = ("blocks.0.attn1.to_q", "blocks.1.attn1.to_out.0", "blocks.1.attn2.to_v", "blocks.0.ffn.net.0.proj")
OTHERS = ("condition_embedder.time_proj", "condition_embedder.text_embedder.linear_1", "proj_out")
WAN = {
    "attn1": "self_attn",
    "attn2": "cross_attn",
    "to_out.0": "o",
    "to_q": "q",
    "to_v": "v",
    "ffn.net.0.proj": "ffn.0",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "proj_out": "head.head",
}
RANK, ALPHA = 2, 3.0


def wan(module: str) -> str:
    for new, old in WAN.items():
        module = module.replace(new, old)
    return module


STYLES = {
    "peft": lambda m: (f"transformer.{m}.lora_A.weight", f"transformer.{m}.lora_B.weight", f"transformer.{m}.alpha"),
    "peft-named": lambda m: (
        f"base_model.model.{m}.lora_A.default.weight",
        f"base_model.model.{m}.lora_B.default.weight",
        f"base_model.model.{m}.alpha",
    ),
    "wan": lambda m: (f"{wan(m)}.lora_A.weight", f"{wan(m)}.lora_B.weight", f"{wan(m)}.alpha"),
    "comfyui": lambda m: tuple(
        f"diffusion_model.{wan(m)}.{p}" for p in ("lora_down.weight", "lora_up.weight", "alpha")
    ),
    "kohya": lambda m: tuple(
        f"lora_unet_{wan(m).replace('.', '_')}.{p}" for p in ("lora_down.weight", "lora_up.weight", "alpha")
    ),
    "kohya-diffusers": lambda m: tuple(
        f"lora_unet_{m.replace('.', '_')}.{p}" for p in ("lora_down.weight", "lora_up.weight", "alpha")
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write_wan(tmp_path_factory.mktemp("models") / "wan")


@pytest.fixture
def pipe(folder):
    return sorajax.load(folder)


def factors(weights: dict[str, np.ndarray], seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    out = {}
    for module in (*MODULES, *OTHERS):
        o, i = weights[f"{module}.weight"].shape
        out[module] = tuple(rng.standard_normal(shape).astype(np.float32) for shape in ((RANK, i), (o, RANK)))
    return out


def write(path, style: str, made: dict[str, tuple[np.ndarray, np.ndarray]]):
    tensors = {}
    for module, (down, up) in made.items():
        a, b, alpha = STYLES[style](module)
        tensors |= {a: down, b: up, alpha: np.full((), ALPHA, np.float32)}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("style", STYLES)
def test_every_key_style_adds_the_same(pipe, tmp_path, style):
    before = export_dit(pipe.dit)
    made = factors(before)
    assert pipe.load_lora(write(tmp_path / "dog.safetensors", style, made), scale=0.5) == "dog"
    after = export_dit(pipe.dit)
    for name, value in before.items():
        module = name.removesuffix(".weight")
        down, up = made.get(module, (None, None))
        wanted = value if down is None else value + 0.5 * ALPHA / RANK * up @ down
        np.testing.assert_allclose(after[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)
    pipe.unload_lora()
    assert all(np.array_equal(value, before[name]) for name, value in export_dit(pipe.dit).items())


def test_several_add_up_change_scale_and_come_out_in_any_order(pipe, tmp_path):
    before = export_dit(pipe.dit)
    first, second = factors(before, 1), factors(before, 2)
    pipe.load_lora(write(tmp_path / "a.safetensors", "peft", first))
    pipe.load_lora(write(tmp_path / "b.safetensors", "kohya", second), scale=-1, name="two")
    pipe.set_lora("a", 2.0)
    name = "blocks.0.attn1.to_q"
    added = [ALPHA / RANK * made[name][1] @ made[name][0] for made in (first, second)]
    kernel = lambda: export_dit(pipe.dit)[f"{name}.weight"]  # noqa: E731
    np.testing.assert_allclose(kernel(), before[f"{name}.weight"] + 2 * added[0] - added[1], atol=1e-5)
    assert [(fact["name"], fact["scale"]) for fact in pipe.loras] == [("a", 2.0), ("two", -1.0)]
    pipe.unload_lora("a")
    np.testing.assert_allclose(kernel(), before[f"{name}.weight"] - added[1], atol=1e-5)
    pipe.unload_lora("two")
    assert np.array_equal(kernel(), before[f"{name}.weight"]) and pipe.loras == []


def test_a_clip_says_which_were_used(pipe, tmp_path):
    pipe.load_lora(write(tmp_path / "dog.safetensors", "wan", factors(export_dit(pipe.dit))), scale=0.25)
    clip = pipe("a dog", seed=1, steps=1, guidance=1.0, size=(48, 32), frames=1)
    (used,) = clip.facts.settings["loras"]
    assert (used["name"], used["scale"], used["transformer"]) == ("dog", 0.25, 0)
    assert re.fullmatch("sha256:[0-9a-f]{64}", used["digest"])


def test_whole_differences_of_weights_and_biases_are_added(pipe, tmp_path):
    before = export_dit(pipe.dit)
    diff = np.full(before["patch_embedding.weight"].shape, 0.5, np.float32)
    bias = np.full(before["blocks.1.ffn.net.2.bias"].shape, -0.5, np.float32)
    path = tmp_path / "diff.safetensors"
    save_file({"diffusion_model.patch_embedding.diff": diff, "diffusion_model.blocks.1.ffn.2.diff_b": bias}, path)
    pipe.load_lora(path)
    after = export_dit(pipe.dit)
    np.testing.assert_allclose(after["patch_embedding.weight"], before["patch_embedding.weight"] + diff, atol=1e-6)
    np.testing.assert_allclose(after["blocks.1.ffn.net.2.bias"], before["blocks.1.ffn.net.2.bias"] + bias, atol=1e-6)


def test_one_of_two_transformers_can_be_chosen(tmp_path):
    pipe = sorajax.load(tiny.write_wan(tmp_path / "a14b", "a14b"))
    high, low = export_dit(pipe.dit), export_dit(pipe.dit_low)
    path = write(tmp_path / "low.safetensors", "peft", factors(high))
    pipe.load_lora(path, transformer=1)
    same = lambda a, b: all(np.array_equal(a[k], b[k]) for k in a)  # noqa: E731
    assert same(export_dit(pipe.dit), high) and not same(export_dit(pipe.dit_low), low)
    with pytest.raises(InputError, match="transformer is 2; a14b has 2, from 0 on"):
        pipe.load_lora(path, transformer=2, name="other")
    with pytest.raises(InputError, match="a LoRA named 'low' is loaded"):
        pipe.load_lora(path)


def test_what_does_not_fit_is_named_and_nothing_is_changed(pipe, tmp_path):
    before = export_dit(pipe.dit)
    path = write(tmp_path / "dog.safetensors", "peft", factors(before))
    good = load_file(path)
    first = next(k for k in good if k.endswith("lora_A.weight"))
    cases = {
        "1 keys match nothing in this transformer: transformer.blocks.9.attn1.to_q.lora_A.weight": good
        | {"transformer.blocks.9.attn1.to_q.lora_A.weight": good[first]},
        "1 keys match nothing in this transformer: lora_te1_layer.lora_up.weight": good
        | {"lora_te1_layer.lora_up.weight": good[first]},
        "1 keys have one of two factors: ": {k: v for k, v in good.items() if k != first},
        "1 keys are of another shape, as of a model of another size": good | {first: np.ones((RANK, 7), np.float32)},
        "holds no LoRA": {},
    }
    for message, tensors in cases.items():
        save_file(tensors, path)
        with pytest.raises(CheckpointError, match=message) as refused:
            pipe.load_lora(path)
        assert "\n" not in str(refused.value)
    path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        pipe.load_lora(path)
    with pytest.raises(InputError, match="no LoRA at"):
        pipe.load_lora(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="scale is nan"):
        pipe.load_lora(path, scale=float("nan"))
    with pytest.raises(InputError, match="no LoRA named 'dog' is loaded; loaded: none"):
        pipe.set_lora("dog", 1.0)
    assert all(np.array_equal(value, before[name]) for name, value in export_dit(pipe.dit).items())


@pytest.mark.live("peft", "torch", "diffusers")
@pytest.mark.parametrize("style", ["peft", "comfyui"])
def test_the_velocity_equals_that_of_diffusers_with_the_same_file(folder, tmp_path, style):
    import diffusers
    import torch

    pipe, theirs = sorajax.load(folder), diffusers.WanPipeline.from_pretrained(folder)
    made = factors(export_dit(pipe.dit))
    path = write(tmp_path / "dog.safetensors", style, {m: made[m] for m in MODULES})
    if style == "peft":  # diffusers writes no alpha there, and reads none
        save_file({k: v for k, v in load_file(path).items() if not k.endswith("alpha")}, path)
    pipe.load_lora(path)
    theirs.load_lora_weights(str(path))
    first, at = make_pipeline.noise("2.1", 0), 500.0
    text = np.random.default_rng(0).standard_normal((1, 9, 16)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs.transformer(
            torch.from_numpy(first).permute(0, 4, 1, 2, 3),
            torch.tensor([at]),
            torch.from_numpy(text),
            return_dict=False,
        )[0].permute(0, 2, 3, 4, 1)
    assert tiny.relative(pipe.velocity(first, jnp.full(1, at), text), wanted.numpy()) < 1e-5
