"""Whole models in diffusers layout: the same numbers as diffusers, what goes in comes out, and what does not fit."""

import dataclasses
import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sorajax
from sorajax.config import ModelConfig, from_dict, read_toml
from sorajax.diffusion import solvers
from sorajax.errors import CheckpointError, InputError
from sorajax.mesh import make_mesh
from sorajax.weights import convert, folder, layout, tensors
from sorajax.weights.export import export
from tests import tiny
from tests.golden import make_pipeline

FAMILIES = tuple(tiny.WAN)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("wan")
    return {family: tiny.write_wan(root / family, family) for family in FAMILIES}


@pytest.fixture
def model(models, tmp_path):
    return shutil.copytree(models["2.1"], tmp_path / "model")


def agree(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    for name in ("text", "velocity"):
        assert tiny.relative(ours[name], theirs[name]) < 1e-5, name
    np.testing.assert_allclose(ours["latents"], theirs["latents"], atol=1e-4)
    np.testing.assert_allclose(ours["frames"], theirs["frames"], atol=1e-3)
    np.testing.assert_allclose(ours["encoded"], theirs["encoded"], atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_guided_run_equals_the_stored_one_of_diffusers(models, family):
    theirs = make_pipeline.stored(family)
    ours = make_pipeline.ours(sorajax.load(models[family]), family, 0, theirs["frames"])
    assert not np.any(ours["text"][:, 32:])
    agree(ours | {"text": ours["text"][:, :32]}, theirs)


@pytest.mark.live("torch", "diffusers")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_guided_run_equals_diffusers_run_live(tmp_path, family):
    model = tiny.write_wan(tmp_path / "model", family, seed=1)
    theirs = make_pipeline.reference(model, family, seed=2)
    agree(make_pipeline.ours(sorajax.load(model), family, 2, theirs["frames"]), theirs)


def test_two_transformers_take_turns_each_with_its_guidance(models):
    pipe = sorajax.load(models["a14b"])
    sample = dataclasses.replace(pipe.config.sample, guidance_low=3.0)
    pipe.config = dataclasses.replace(pipe.config, sample=sample)
    first, steps, seen = make_pipeline.noise("a14b", 0), 6, []
    given = {"noise": first, "steps": steps, "callback": lambda i, n, x: seen.append(x)}
    pipe.sample(["a dog"], **given)
    own, timesteps = seen[:], solvers.timesteps("unipc", steps, pipe.config.sample.shift)
    below = int(np.argmax(timesteps < 750))
    assert 0 < below < steps
    seen.clear()
    pipe.sample(["a dog"], guidance=pipe.config.sample.guidance, **given)
    assert [np.array_equal(a, b) for a, b in zip(own, seen, strict=True)] == [i < below for i in range(steps)]
    seen.clear()
    pipe.stages._held["transformer_2"] = pipe.dit  # the other's velocity is another, from the same step on
    pipe.sample(["a dog"], **given)
    assert [np.array_equal(a, b) for a, b in zip(own, seen, strict=True)] == [i < below for i in range(steps)]


@pytest.mark.parametrize("family", ["2.1", "a14b"])
def test_what_is_read_is_written_bit_for_bit_in_its_types(models, tmp_path, family):
    model = shutil.copytree(models[family], tmp_path / "model")
    path = model / "transformer" / WEIGHTS
    mixed = {k: v.astype("bfloat16" if k.endswith("weight") else "float32") for k, v in load_file(path).items()}
    save_file(mixed, path)
    back = export(model, tmp_path / "back")
    for file in (path.relative_to(model) for path in model.rglob("*") if path.is_file()):
        if file.suffix != ".safetensors":
            assert (back / file).read_bytes() == (model / file).read_bytes()
            continue
        ours, theirs = load_file(back / file), load_file(model / file)
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].tobytes() == theirs[name].tobytes()


def test_shards_are_read_as_one_and_missing_ones_are_named(model):
    path = model / "transformer" / WEIGHTS
    whole = load_file(path)
    pipe = sorajax.load(model)
    names, index = sorted(whole), {}
    for i in range(3):
        shard = f"diffusion_pytorch_model-0000{i + 1}-of-00003.safetensors"
        save_file({name: whole[name] for name in names[i::3]}, path.with_name(shard))
        index |= dict.fromkeys(names[i::3], shard)
    path.unlink()
    path.with_name(f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    again = sorajax.load(model)
    assert all(map(np.array_equal, jax.tree.leaves(again.dit), jax.tree.leaves(pipe.dit)))
    path.with_name("diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"incomplete: 1 of 3 files missing \(.*00002-of-00003.*resume"):
        sorajax.load(model)


ORIGINAL = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "attn1.": "self_attn.",
    "attn2.": "cross_attn.",
    "to_out.0": "o",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "norm2": "norm3",
    "proj_out": "head.head",
    "scale_shift_table": "modulation",
}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_original_names_are_read_and_become_those_of_diffusers(model, tmp_path, prefix):
    path = model / "transformer" / WEIGHTS
    weights, theirs = load_file(path), {}
    for name, value in weights.items():
        for new, old in ORIGINAL.items():
            name = name.replace(new, old)
        theirs[prefix + ("head.modulation" if name == "modulation" else name)] = value
    save_file(theirs, path)
    back = load_file(export(model, tmp_path / "back") / "transformer" / WEIGHTS)
    assert back.keys() == weights.keys()
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_layers_that_go_to_the_devices_one_by_one_are_the_same(model, monkeypatch):
    read = partial(folder.load_model, model, "transformer", folder.load_config(model))
    whole = read(make_mesh(devices=jax.devices()[:1]))
    monkeypatch.setattr(convert, "SMALL", 0)
    streamed = read(make_mesh(devices=jax.devices()[:1]))
    assert all(map(np.array_equal, jax.tree.leaves(whole), jax.tree.leaves(streamed)))


def test_in_bfloat16_kernels_are_kept_so_and_nothing_changes(model):
    low = sorajax.load(model, dtype="bfloat16")
    assert low.dit.blocks.ffn_in.kernel.dtype == low.text.blocks.gate.kernel.dtype == jnp.bfloat16
    assert low.dit.blocks.norm2.scale.dtype == jnp.float32
    latents, text = make_pipeline.noise("2.1", 0), low.encode_text([make_pipeline.PROMPT])
    full = sorajax.load(model)
    at = jnp.full(1, 500.0)
    assert (
        tiny.relative(
            low.velocity(latents, at, text), full.velocity(latents, at, full.encode_text([make_pipeline.PROMPT]))
        )
        < 0.05
    )


def test_a_preset_of_the_same_sizes_says_how_it_is_sampled(model):
    preset = from_dict(ModelConfig, read_toml("wan2.1-t2v-1.3b")["model"])
    layout.write(model, preset)
    read = layout.read(model)
    assert (read.dit, read.vae, read.text, read.sample) == (preset.dit, preset.vae, preset.text, preset.sample)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (
            "model_index.json",
            {"_class_name": "FluxPipeline"},
            "pipeline 'FluxPipeline' is not supported; supported: WanPipe",
        ),
        (
            "model_index.json",
            {"transformer_2": ["diffusers", "X"]},
            "boundary_ratio is None; models of two transformers",
        ),
        ("transformer/config.json", {"image_dim": 1280}, "image_dim is 1280; only None is supported"),
        ("transformer/config.json", {"num_layers": "two"}, "num_layers: 'two' is of type str, int is expected"),
        ("transformer/config.json", {"num_layers": 3}, r"\d+ missing: blocks\.2\."),
        ("transformer/config.json", {"num_layers": 1}, r"\d+ unexpected: blocks\.1\."),
        ("transformer/config.json", {"ffn_dim": 48}, r"of another shape: blocks\.0\.ffn"),
        ("text_encoder/config.json", {"feed_forward_proj": "relu"}, "feed_forward_proj is 'relu'; only 'gated-gelu'"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "DDIMScheduler"},
            "'DDIMScheduler' is not supported; supported: Uni",
        ),
        ("scheduler/scheduler_config.json", {"solver_order": 3}, "solver_order is 3; only 2 is supported"),
        ("scheduler/scheduler_config.json", {"flow_shift": -1}, "flow_shift is -1; a number above 0"),
    ],
)
def test_a_model_that_is_not_ours_is_refused_in_one_line(model, file, values, message):
    change(model / file, **values)
    with pytest.raises(CheckpointError, match=message) as refused:
        sorajax.load(model)
    assert "\n" not in str(refused.value)


def test_pickled_weights_are_not_opened(model):
    path = model / "vae" / WEIGHTS
    path.rename(path.with_name("Wan2.1_VAE.pth"))
    with pytest.raises(
        CheckpointError, match=r"Wan2.1_VAE.pth is pickled .* weights_only=True.*Wan2.1_VAE.safetensors"
    ):
        sorajax.load(model)


@pytest.mark.parametrize("damage", ["cut", "integers", "config", "index", "scheduler"])
def test_damage_is_named(model, damage):
    path = model / "transformer" / WEIGHTS
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
        message = "is not a readable safetensors file"
    elif damage == "integers":
        save_file({k: v.astype(np.int8) for k, v in load_file(path).items()}, path)
        message = "is of type I8; weights are of F64, F32"
    elif damage == "config":
        (model / "vae" / "config.json").write_text("{")
        message = "vae/config.json is not valid JSON"
    elif damage == "index":
        path.with_name(f"{WEIGHTS}.index.json").write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
        message = "is not an index of safetensors files"
    else:
        (model / "scheduler" / "scheduler_config.json").unlink()
        message = "scheduler_config.json is missing; resume the download"
    with pytest.raises(CheckpointError, match=message):
        sorajax.load(model)


def test_nothing_half_is_left_by_an_export_that_fails(model, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        export(model, model)
    with pytest.raises(CheckpointError, match="table of positions or pooled text"):
        export(tiny.write(tmp_path / "own"), tmp_path / "out")
    (model / "vae" / WEIGHTS).write_bytes(b"")
    with pytest.raises(CheckpointError):
        export(model, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_tensors_are_known_without_being_read(model):
    found = tensors.read(model / "transformer")
    assert found.header("proj_out.weight") == ((16, 24), "float32")
    assert len(found) == len(list(found)) == len(load_file(model / "transformer" / WEIGHTS))
