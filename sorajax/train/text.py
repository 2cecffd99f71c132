"""The text encoder's objective: captions alone, so that one meaning reads alike in every language.

Learned queries, one an attribute of the world (object, motion, scene, ...), attend to the token states and name
the attribute, as the transformer's cross-attention will read them; it must be readable from the mean state too.
Two captions of one clip, in two languages, are pulled together.
"""

import dataclasses
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from sorajax.config import TextConfig
from sorajax.data.captions import LANGUAGES
from sorajax.data.world import EVALUATION, ClipSpec, World
from sorajax.errors import ConfigError
from sorajax.hosts.arrays import gather, is_primary
from sorajax.mesh import param
from sorajax.models.layers import Linear
from sorajax.models.text import TextEncoder
from sorajax.models.tokenizer import Tokenizer
from sorajax.train.config import TrainConfig
from sorajax.train.retype import retype
from sorajax.train.step import Metrics
from sorajax.weights import folder as folders
from sorajax.weights.text import export_text, load_text

TOKENIZER = Path(__file__).parent.parent / "weights_data" / "mini" / "tokenizer" / "spiece.model"
HELD_OUT_CAPTIONS = 16
"""One caption in so many, by its checksum, is for evaluation alone."""
RETYPED = 0.5
"""Share of training captions that are changed as people would type them."""
ALIGNMENT = 0.1
"""Weight of the distance between two captions of one clip. At 1, states become alike before they mean anything."""
QUERY_GAIN, MEAN_GAIN = 4.0, 10.0
"""A word is about a twentieth of what a new query or the mean reads: these factors make up for it."""


class TextModel(nnx.Module):
    """The encoder, and what reads the attributes from its states."""

    def __init__(self, config: TextConfig, classes: Mapping[str, int], *, dtype: jnp.dtype, rngs: nnx.Rngs):
        d, total = config.d_model, sum(classes.values())
        self.encoder = TextEncoder(config, dtype=dtype, rngs=rngs)
        self.queries = param(jax.random.normal(rngs.params(), (len(classes), d)) / d**0.5, None, None)
        self.from_query, self.from_mean = Linear(d, total, rngs=rngs), Linear(d, total, rngs=rngs)
        self.classes = tuple(classes.items())

    def read(self, states: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """States [b, l, d] -> what each query attends to [b, k, d], and the mean state [b, d]."""
        scores = jnp.einsum("kd,bld->bkl", self.queries[...], states)
        scores = jnp.where(mask[:, None], scores, jnp.finfo(jnp.float32).min)
        read = jnp.einsum("bkl,bld->bkd", jax.nn.softmax(scores, axis=-1), states)
        return read, jnp.sum(states, 1) / jnp.maximum(jnp.sum(mask, 1, keepdims=True), 1)

    def logits(self, read: jax.Array, mean: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        """For each attribute, its classes' logits [b, n] by its query and by the mean state."""
        by_query, by_mean = self.from_query(QUERY_GAIN * read), self.from_mean(MEAN_GAIN * mean)
        out, start = [], 0
        for k, (_, count) in enumerate(self.classes):
            out.append((by_query[:, k, start : start + count], by_mean[:, start : start + count]))
            start += count
        return out


class TextObjective:
    """Name every attribute of a caption, whatever its language and however it is typed."""

    def __init__(self, config: TrainConfig, folder: Path):
        """Raises ConfigError if the tokenizer does not fit ``model.text.vocab_size``."""
        self.config, self.folder, self.result = config, folder, folder
        self.world = World(config.world)
        self.classes = self.world.label_sizes()
        own = folder / folders.TOKENIZER
        self.tokenizer_path = own if own.is_file() else TOKENIZER
        self.tokenizer = Tokenizer(self.tokenizer_path)
        if self.tokenizer.vocab_size > config.model.text.vocab_size:
            raise ConfigError(
                f"model.text.vocab_size is {config.model.text.vocab_size}, but {self.tokenizer_path} has "
                f"{self.tokenizer.vocab_size} ids; set it to that number"
            )
        self.frozen: Any = ()

    def init(self, rngs: nnx.Rngs) -> TextModel:
        """A new encoder and its readers."""
        return TextModel(self.config.model.text, self.classes, dtype=jnp.dtype(self.config.dtype), rngs=rngs)

    def warm_start(self, model: TextModel) -> None:
        """Fill a new model's encoder with the weights exported before."""
        load_text(model.encoder, folders.load_part(self.folder, "text_encoder"))

    def sources(self) -> Mapping[str, str]:
        """Its config says it all."""
        return {}

    def learned_from(self) -> list[str]:
        """The drawn world."""
        return [f"captions of sorajax's drawn world, in {', '.join(self.config.world.languages)}"]

    def size(self, index: int) -> int:
        """Clips of a batch."""
        return self.config.batch

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """ids int32 and mask bool [b, 2, l]: two captions of a clip; labels int32 [b, k], as ``classes`` goes."""
        rng = np.random.default_rng((self.config.seed, index))
        languages = self.config.world.languages
        captions, labels = [], []
        for i in range(index * self.config.batch, (index + 1) * self.config.batch):
            spec = self.world.spec(i)
            labels.append([self.world.labels(spec)[name] for name in self.classes])
            for j in rng.choice(len(languages), 2, replace=len(languages) < 2):
                text = self.caption(spec, languages[j], rng, held_out=False)
                captions.append(retype(text, languages[j], rng) if rng.random() < RETYPED else text)
        if rows is not None:  # all captions were drawn, as each is after the one before
            captions, labels = [captions[2 * i + j] for i in rows for j in (0, 1)], [labels[i] for i in rows]
        ids, mask = self._encode(captions)
        shape = (len(labels), 2, -1)
        return {"ids": ids.reshape(shape), "mask": mask.reshape(shape), "labels": np.array(labels, np.int32)}

    def names(self, index: int) -> list[str]:
        """The clips whose captions make a batch."""
        return [f"clip {i}" for i in range(index * self.config.batch, (index + 1) * self.config.batch)]

    def tokens(self, batch: Mapping[str, Any]) -> int:
        """Of all captions, with their padding."""
        return batch["ids"].size

    def loss(
        self, model: TextModel, frozen: Any, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Cross entropy of every attribute, read both ways, and the distance between two captions of one clip."""
        ids, mask = (batch[name].reshape(-1, batch[name].shape[-1]) for name in ("ids", "mask"))
        labels = jnp.repeat(batch["labels"], 2, axis=0)
        read, mean = model.read(model.encoder(ids, mask), mask)
        logits = model.logits(read, mean)
        entropy = [
            jnp.mean(optax.softmax_cross_entropy_with_integer_labels(one, labels[:, k]))
            for k, ways in enumerate(logits)
            for one in ways
        ]
        right = [jnp.argmax(by_query, -1) == labels[:, k] for k, (by_query, _) in enumerate(logits)]
        apart = (_distance(read) + _distance(mean)) / 2
        loss = sum(entropy) / len(self.classes) + ALIGNMENT * apart
        return loss, {"accuracy": jnp.mean(jnp.stack(right)), "apart": apart}

    def evaluate(self, model: TextModel, step: int, folder: Path, *, signed: bool = True) -> dict[str, float]:
        """Share of attributes read rightly by the queries, on combinations and captions that training never sees.

        By language as written (``accuracy_en``) and as typed (``typed_en``), by attribute over all languages
        (``accuracy_object``), the least of the first (``accuracy``), by the mean state (``mean_state``), and the
        distance between languages (``apart``). The captions that were misread go to ``folder``.
        """
        specs = self._evaluation_specs()
        labels = np.array([[self.world.labels(spec)[name] for name in self.classes] for spec in specs])
        figures: dict[str, float] = {}
        mistakes, right, right_by_mean, means = [], [], [], []
        predict = jax.jit(_predict)
        for language in self.config.world.languages:
            rng = np.random.default_rng((EVALUATION, LANGUAGES.index(language)))
            captions = [self.caption(spec, language, rng, held_out=True) for spec in specs]
            typed = [retype(text, language, rng) for text in captions]
            for name, texts in (("accuracy", captions), ("typed", typed)):
                by_query, by_mean, mean = (gather(x) for x in predict(model, *self._encode(texts)))
                figures[f"{name}_{language}"] = float((by_query == labels).mean())
                for row, column in np.argwhere(by_query != labels):
                    attribute = list(self.classes)[column]
                    mistakes.append(f"{language}\t{attribute}\t{specs[row]}\t{texts[row]}\n")
                if name == "accuracy":
                    right.append(by_query == labels)
                    right_by_mean.append(by_mean == labels)
                    means.append(mean)
        for column, attribute in enumerate(self.classes):
            figures[f"accuracy_{attribute}"] = float(np.mean([r[:, column] for r in right]))
        figures["accuracy"] = min(figures[f"accuracy_{language}"] for language in self.config.world.languages)
        figures["mean_state"] = float(np.mean(right_by_mean))
        middle = np.mean(means, 0)
        figures["apart"] = float(np.mean([np.sum((m - middle) ** 2) / np.sum(m**2) for m in means]))
        if is_primary():
            (folder / f"text-{step:07d}.tsv").write_text("".join(mistakes), encoding="utf-8")
        return figures

    def export(self, model: TextModel, folder: Path) -> None:
        """Write the encoder's weights, its tokenizer, and its sizes into the model's config."""
        folders.save_part(folder, "text_encoder", export_text(model.encoder))
        target = folder / folders.TOKENIZER
        if target != self.tokenizer_path:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.tokenizer_path, target)
        known = folders.load_config(folder) if (folder / folders.CONFIG).is_file() else self.config.model
        folders.save_config(folder, dataclasses.replace(known, text=self.config.model.text))

    def caption(self, spec: ClipSpec, language: str, rng: np.random.Generator, *, held_out: bool) -> str:
        """A caption for training, or one of those that training never sees."""
        while True:
            text = self.world.caption(spec, language, rng)
            if (zlib.crc32(text.encode()) % HELD_OUT_CAPTIONS == 0) == held_out:
                return text

    def _encode(self, captions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return self.tokenizer.encode(captions, self.config.model.text.length, warn=False)

    def _evaluation_specs(self) -> list[ClipSpec]:
        """Held-out combinations in varied size, style and camera, and as many clips from beyond training."""
        world = self.config.world
        held_out = [
            s for s in self.world.held_out_specs() if s.objects[0] in world.objects and s.motion in world.motions
        ]
        clips = [self.world.spec(EVALUATION + i) for i in range(192)]
        looks = zip(held_out * 8, clips, strict=False)
        return clips + [dataclasses.replace(s, size=c.size, style=c.style, camera=c.camera) for s, c in looks]


def _predict(model: TextModel, ids: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Classes by query and by mean state, both [b, k], and the mean state [b, d]."""
    read, mean = model.read(model.encoder(ids, mask), mask)
    pairs = model.logits(read, mean)
    by_query, by_mean = (jnp.stack([jnp.argmax(pair[way], -1) for pair in pairs], 1) for way in (0, 1))
    return by_query, by_mean, mean


def _distance(x: jax.Array) -> jax.Array:
    """Between neighbours x[2i] and x[2i + 1] along the batch: |x - y|^2 / (|x|^2 + |y|^2), summed before dividing."""
    one, other = x[0::2], x[1::2]
    return jnp.sum((one - other) ** 2) / jnp.sum(one**2 + other**2)
