"""Training an adapter: the transformer stays as it is, and the file does for a pipeline what it did in training."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

import provenance
import sorajax
from sorajax.cli import main
from sorajax.errors import CheckpointError, ConfigError, InputError
from sorajax.train.config import LoraConfig, OptimizerConfig, TrainConfig, VideoConfig
from sorajax.train.loop import make_objective, train
from sorajax.train.video import VideoObjective
from sorajax.weights import folder as folders
from tests import tiny


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run on random latents, without the pictures of evaluation."""
    monkeypatch.setattr(VideoObjective, "evaluate", lambda *_, **__: {})
    tiny.write_shards(tmp_path / "shards", 6)
    tiny.write(tmp_path / "given")
    return TrainConfig(
        objective="video",
        model=tiny.CONFIG,
        start=str(tmp_path / "given"),
        video=VideoConfig(data=(str(tmp_path / "shards"),)),
        optimizer=OptimizerConfig(learning_rate=3e-2, warmup_steps=2, ema=0.5),
        lora=LoraConfig(rank=4, alpha=8.0, targets=("attn1", "ffn_in")),
        steps=30,
        batch=4,
        dtype="float32",
        log_every=1,
        checkpoint_every=15,
        evaluate_every=1000,
    )


def losses(folder) -> dict[int, float]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {r["step"]: r["loss"] for r in records if "loss" in r}


def test_a_run_writes_a_file_that_a_pipeline_loads_and_leaves_the_transformer_alone(config, tmp_path):
    file = train(config, runs=tmp_path / "runs", progress=False)
    assert file == tmp_path / "runs" / "tiny" / "lora.safetensors"
    found = losses(tmp_path / "runs" / "tiny" / "lora")
    assert np.mean([found[i] for i in range(21, 31)]) < 0.9 * np.mean([found[i] for i in range(1, 6)])
    for name, tensor in folders.load_part(tmp_path / "given", "transformer").items():
        np.testing.assert_array_equal(
            folders.load_part(tmp_path / "runs" / "tiny" / "model", "transformer")[name], tensor
        )

    clip = tmp_path / "a.mp4"
    assert (
        main(["generate", "a dog", "--model", str(tmp_path / "given"), "--lora", f"{file}=0.5", "-o", str(clip)]) == 0
    )
    assert provenance.verify(clip).manifest is not None

    pipe = sorajax.load(tmp_path / "given")
    pipe.load_lora(file)
    objective = make_objective(config, tmp_path / "runs" / "tiny" / "model")
    dit = objective.adapted(_filled(objective, load_file(file)), objective.frozen["dit"])
    x, t = jax.random.normal(jax.random.key(0), (1, 3, 2, 2, 8)), np.array([500.0], np.float32)
    text = pipe.encode_text(["a dog"])
    np.testing.assert_allclose(pipe.velocity(x, t, text), dit(x, t, text), atol=1e-5)
    pipe.unload_lora()
    assert np.abs(pipe.velocity(x, t, text) - dit(x, t, text)).max() > 1e-3


def _filled(objective, tensors):
    """The adapters of a file, read here by hand."""
    model = objective.init(nnx.Rngs(1))
    for name in objective.targets:
        keys = [f"transformer.{name.replace('*', str(i))}" for i in range(2)]
        adapter = model.by_name[name]
        adapter.down[...] = np.stack([tensors[f"{key}.lora_A.weight"].T for key in keys])
        adapter.up[...] = np.stack([tensors[f"{key}.lora_B.weight"].T for key in keys]) * 4 / 8  # rank over alpha
    return model


def test_only_adapters_are_saved_and_a_run_resumes_exactly(config, tmp_path):
    train(config, runs=tmp_path / "whole", progress=False)
    train(dataclasses.replace(config, steps=17), runs=tmp_path / "parts", progress=False)
    train(config, runs=tmp_path / "parts", progress=False)
    assert losses(tmp_path / "whole" / "tiny" / "lora") == losses(tmp_path / "parts" / "tiny" / "lora")
    one, other = (load_file(tmp_path / name / "tiny" / "lora.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys() and len(one) == 2 * 2 * 5  # layers, factors, kernels
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor, other[name])
    with pytest.raises(CheckpointError, match="another kind .lora.rank: 4 -> 2"):
        lora = dataclasses.replace(config.lora, rank=2)
        train(dataclasses.replace(config, lora=lora), runs=tmp_path / "whole", progress=False)


def test_kernels_may_be_kept_in_eight_bits_and_get_no_gradient(config, tmp_path):
    config = dataclasses.replace(config, lora=dataclasses.replace(config.lora, weights="int8"))
    folder = tiny.write(tmp_path / "model")
    objective = make_objective(config, folder)
    kernel = objective.frozen["dit"].blocks.ffn_in.kernel.get_value()
    assert kernel.values.dtype == np.int8
    model = objective.init(nnx.Rngs(0))
    batch = {k: jnp.asarray(v) for k, v in objective.batch(0).items()}

    def loss(model, frozen):
        return objective.loss(model, frozen, batch, jax.random.key(0))[0]

    text = jax.jit(jax.grad(loss)).lower(model, objective.frozen).compile().as_text()
    layers, i, o = kernel.shape
    assert f"f32[{layers},{i},{o}]" not in text  # neither a kernel made up nor its gradient, of all layers
    assert train(config, runs=tmp_path, progress=False).name == "lora.safetensors"
    found = losses(tmp_path / "tiny" / "lora")
    assert np.mean(list(found.values())[-5:]) < np.mean(list(found.values())[:5])


def test_a_run_goes_on_from_a_file(config, tmp_path):
    file = train(dataclasses.replace(config, steps=2), runs=tmp_path / "runs", progress=False)
    lora = dataclasses.replace(config.lora, start=str(file), alpha=2.0)
    further = dataclasses.replace(config, steps=1, lora=lora, optimizer=OptimizerConfig(learning_rate=0.0))
    again = train(further, runs=tmp_path / "further", progress=False)
    before, after = load_file(file), load_file(again)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-6)

    other = dataclasses.replace(further, lora=dataclasses.replace(lora, rank=2))
    with pytest.raises(ConfigError, match="lora.start: .*lora.safetensors is of rank 4, and lora.rank 2"):
        train(other, runs=tmp_path / "rank", progress=False)
    fewer = dataclasses.replace(further, lora=dataclasses.replace(lora, targets=("attn1",)))
    with pytest.raises(ConfigError, match="changes blocks.0.ffn.*, which lora.targets do not name"):
        train(fewer, runs=tmp_path / "fewer", progress=False)
    with pytest.raises(ConfigError, match="lora.start: .*, and lora.rank is 0; give the rank of that file"):
        LoraConfig(start=str(file))
    gone = dataclasses.replace(further, lora=dataclasses.replace(lora, start="gone.safetensors"))
    with pytest.raises(InputError, match="no LoRA at 'gone.safetensors'"):
        train(gone, runs=tmp_path / "gone", progress=False)


def test_what_does_not_fit_is_named(config, tmp_path):
    folder = tiny.write(tmp_path / "model")
    with pytest.raises(ConfigError, match="lora.targets: no kernel is called q; known: to_q, to_k"):
        make_objective(dataclasses.replace(config, lora=LoraConfig(rank=2, targets=("q",))), folder)
    with pytest.raises(ConfigError, match="lora.rank: objective 'vae' has no transformer"):
        dataclasses.replace(config, objective="vae")
    with pytest.raises(ConfigError, match="lora: rank -1"):
        LoraConfig(rank=-1)
