"""The text objective: captions in, the same meaning out, in any language and however they are typed."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from sorajax.config import ModelConfig, TextConfig
from sorajax.data.captions import LANGUAGES
from sorajax.data.world import World, WorldConfig
from sorajax.errors import ConfigError
from sorajax.models.text import TextEncoder
from sorajax.models.tokenizer import Tokenizer
from sorajax.train.config import TrainConfig
from sorajax.train.retype import FILLERS, retype
from sorajax.train.text import HELD_OUT_CAPTIONS, TextObjective
from sorajax.weights import folder as folders
from sorajax.weights.convert import apply
from sorajax.weights.text import RULES

TINY = TextConfig(vocab_size=2600, d_model=48, d_kv=16, d_ff=64, num_layers=1, num_heads=3, length=40)
WORLD = WorldConfig(objects=("dog", "car", "rocket"), motions=("left", "right", "up"), scenes=("snow", "sea"))
CONFIG = TrainConfig(
    objective="text", model=ModelConfig(name="tiny", text=TINY), world=WORLD, batch=16, dtype="float32"
)

STEPS = 300


@pytest.fixture(scope="module")
def objective(tmp_path_factory):
    return TextObjective(CONFIG, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(objective):
    """A tiny encoder after STEPS of Adam, and the metrics of every step."""
    model, optimizer = objective.init(nnx.Rngs(0)), optax.adam(optax.cosine_decay_schedule(1e-2, STEPS))

    @jax.jit
    def step(model, state, batch):
        (loss, metrics), grads = jax.value_and_grad(objective.loss, has_aux=True)(model, (), batch, jax.random.key(0))
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(model, updates), state, {"loss": loss, **metrics}

    state, history = optimizer.init(model), []
    for index in range(STEPS):
        model, state, metrics = step(model, state, objective.batch(index))
        history.append(jax.device_get(metrics))
    return model, history


def test_a_batch_depends_on_its_index_alone(objective):
    one, again, other = objective.batch(3), TextObjective(CONFIG, objective.folder).batch(3), objective.batch(4)
    assert {name: (a.shape, a.dtype) for name, a in one.items()} == {
        "ids": ((16, 2, 40), np.int32),
        "mask": ((16, 2, 40), bool),
        "labels": ((16, 7), np.int32),
    }
    for name, array in one.items():
        np.testing.assert_array_equal(array, again[name])
        assert not np.array_equal(array, other[name])


def test_labels_are_those_of_the_clips_in_order(objective):
    labels = objective.batch(2)["labels"]
    for row, index in zip(labels, range(32, 48), strict=True):
        assert objective.world.labels(objective.world.spec(index)) == dict(zip(objective.classes, row, strict=True))


def test_some_captions_are_never_seen_in_training(objective):
    spec, rng = objective.world.spec(0), np.random.default_rng(0)
    training = {objective.caption(spec, "en", rng, held_out=False) for _ in range(400)}
    evaluation = {objective.caption(spec, "en", rng, held_out=True) for _ in range(40)}
    assert training and evaluation and not training & evaluation
    share = np.mean([objective.world.caption(spec, "en", rng) not in training for _ in range(400)])
    assert share > 0.5 / HELD_OUT_CAPTIONS


def test_padding_does_not_change_the_loss(objective, trained):
    model, batch = trained[0], objective.batch(0)
    wide = {name: np.pad(a, [(0, 0), (0, 0), (0, 8)]) if name != "labels" else a for name, a in batch.items()}
    loss = jax.jit(lambda m, b: objective.loss(m, (), b, jax.random.key(0))[0])
    assert float(loss(model, batch)) == pytest.approx(float(loss(model, wide)), rel=1e-5)


def test_a_new_model_guesses(objective, trained):
    _, history = trained
    guess = 2 * np.mean(np.log(list(objective.classes.values())))
    assert guess - 1 < history[0]["loss"] - history[0]["apart"] < guess + 2
    assert 0 < history[0]["apart"] < 2


def test_training_teaches_every_language(objective, trained, tmp_path):
    model, history = trained
    first, last = history[0], history[-1]
    assert last["loss"] < first["loss"] / 4
    assert last["apart"] < first["apart"] / 2
    figures = objective.evaluate(model, STEPS, tmp_path)
    labels = np.concatenate([objective.batch(index)["labels"] for index in range(10)])
    guess = np.mean([np.bincount(column).max() / len(column) for column in labels.T])
    assert guess < 0.75
    assert all(figures[f"accuracy_{language}"] > 0.9 for language in LANGUAGES), figures
    assert all(figures[f"typed_{language}"] > 0.85 for language in LANGUAGES), figures
    assert figures["accuracy"] == min(figures[f"accuracy_{language}"] for language in LANGUAGES)
    assert figures["accuracy_object"] > 0.9 and figures["mean_state"] > 0.9
    mistakes = (tmp_path / f"text-{STEPS:07d}.tsv").read_text(encoding="utf-8").splitlines()
    assert all(len(line.split("\t")) == 4 for line in mistakes)


def test_what_is_exported_encodes_alike_and_starts_the_next_run(objective, trained, tmp_path):
    model, _ = trained
    folder = tmp_path / "model"
    objective.export(model, folder)
    config = folders.load_config(folder)
    assert config.text == TINY
    encoder = TextEncoder(config.text, rngs=nnx.Rngs(9))
    apply(encoder, folders.load_part(folder, "text_encoder"), RULES)
    ids, mask = Tokenizer(folder / folders.TOKENIZER).encode(["a dog runs left in the snow"], TINY.length)
    encode = jax.jit(lambda m, i, k: m(i, k))
    expected, states = (np.asarray(encode(m, ids, mask)) for m in (model.encoder, encoder))
    assert np.abs(states - expected).max() < 0.05 * np.abs(expected).max()  # the file is bf16

    following = TextObjective(CONFIG, folder)
    warm = following.init(nnx.Rngs(3))
    following.warm_start(warm)
    np.testing.assert_array_equal(encode(warm.encoder, ids, mask), states)
    assert following.tokenizer_path == folder / folders.TOKENIZER


def test_a_vocabulary_that_is_too_small_is_named(tmp_path):
    small = dataclasses.replace(CONFIG, model=ModelConfig(name="tiny", text=dataclasses.replace(TINY, vocab_size=100)))
    with pytest.raises(ConfigError, match="vocab_size is 100, but .*spiece.model has 2600 ids"):
        TextObjective(small, tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_retyping_changes_the_words_but_keeps_the_object(language):
    world, spec = World(WorldConfig(objects=("car",))), World(WorldConfig(objects=("car",))).spec(0)
    texts = [world.caption(spec, language, np.random.default_rng(i)) for i in range(60)]
    typed = [retype(text, language, np.random.default_rng(i)) for i, text in enumerate(texts)]
    again = [retype(text, language, np.random.default_rng(i)) for i, text in enumerate(texts)]
    assert typed == again and all(typed)
    assert np.mean([a != b for a, b in zip(texts, typed, strict=True)]) > 0.7
    before, after = FILLERS[language]
    assert any(word.lower() in text.lower() for text in typed for word in before + after)
    name = {"en": "car", "zh": "车", "es": "coche", "ar": "سيارة"}[language]
    kept = [name in b.lower() for a, b in zip(texts, typed, strict=True) if name in a.lower()]
    assert len(kept) > 20 and np.mean(kept) > 0.8


def test_a_typo_stays_inside_a_long_word():
    from sorajax.train.retype import _typo

    for seed in range(50):
        typed = _typo("a cat on snow, butterflies", "en", np.random.default_rng(seed))
        head, tail = typed.rsplit(" ", 1)
        assert head == "a cat on snow," and tail[0] == "b" and tail[-1] == "s" and 10 <= len(tail) <= 12
    assert _typo("一只狗在海边跑步", "zh", np.random.default_rng(0)) == "一只狗在海边跑步"
