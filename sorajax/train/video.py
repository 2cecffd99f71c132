"""The transformer's objective: the velocity of the world's clips in latent space, told by their captions."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from sorajax.config import ModelConfig, digest
from sorajax.data.world import EVALUATION, World
from sorajax.diffusion import flow
from sorajax.errors import CheckpointError, ConfigError
from sorajax.hosts.arrays import gather, place
from sorajax.mesh import batch_sharding, make_mesh
from sorajax.models.dit import DiT
from sorajax.models.tokenizer import Tokenizer
from sorajax.train import judge
from sorajax.train.config import TrainConfig
from sorajax.train.judge import HeldOut
from sorajax.train.latents import cached
from sorajax.train.step import Metrics
from sorajax.weights import folder as folders
from sorajax.weights.dit import export_dit, load_dit


class VideoObjective:
    """Flow matching on cached latents; the text encoder and the autoencoder are frozen."""

    def __init__(self, config: TrainConfig, folder: Path, mesh: Mesh | None = None):
        """The frozen parts lie on the mesh; by default on one device.

        Raises CheckpointError if a stage before was not trained, ConfigError if it has other sizes.
        """
        self.config, self.folder, self.result = config, folder, folder
        self.mesh = mesh or make_mesh(data=1, devices=jax.local_devices()[:1])
        self.world = World(config.world)
        self.model_config = folders.load_config(folder)  # with the latents' statistics
        _check_stages(config.model, self.model_config, folder)
        _check_image(config)
        _check_expert(config)
        self.part = "transformer_2" if config.video.expert == "low" else "transformer"
        self.tokenizer = Tokenizer(folder / folders.TOKENIZER)
        self.source = folder
        """Of the model that samples are signed as made by."""
        self.facts: dict[str, Any] = {}
        """What the manifests of samples say besides."""
        self._clips: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def levels(self) -> tuple[float, float]:
        """The noise levels that are trained on: all, or those of one of two transformers."""
        boundary = self.config.model.sample.boundary
        if boundary is None:
            return 0.0, 1.0
        return (0.0, boundary) if self.config.video.expert == "low" else (boundary, 1.0)

    @functools.cached_property
    def text(self) -> Any:
        """The text encoder, on the mesh."""
        return folders.load_model(self.folder, "text_encoder", self.config.model, self.mesh, self.config.dtype)

    @functools.cached_property
    def vae(self) -> Any:
        """The autoencoder, on the mesh."""
        return folders.load_model(self.folder, "vae", self.model_config, self.mesh)

    @property
    def frozen(self) -> Any:
        """What the loss uses and does not train: the text encoder."""
        return self.text

    def init(self, rngs: nnx.Rngs) -> DiT:
        """A new transformer."""
        config = self.config
        return DiT(config.model.dit, dtype=jnp.dtype(config.dtype), remat=config.remat, rngs=rngs)

    def warm_start(self, model: DiT) -> None:
        """Fill a new model with the weights exported before."""
        load_dit(model, folders.load_part(self.folder, self.part))

    def clips(self) -> tuple[np.ndarray, np.ndarray]:
        """Latents and coverage of the training clips, made on first use."""
        if self._clips is None:
            weights = self.folder / "vae" / folders.FILES["vae"]
            name = f"{digest(self.config.world)} {digest(self.model_config.vae)} {folders.file_digest(weights)}"
            own = make_mesh(data=1, devices=jax.local_devices()[:1])  # one process makes them
            vae = folders.load_model(self.folder, "vae", self.model_config, own)
            self._clips = cached(self.world, vae, self.config.video.clips, self.folder.parent / "latents", name)
        return self._clips

    def size(self, index: int) -> int:
        """Clips of a batch."""
        return self.config.batch

    def batch(self, index: int, rows: np.ndarray | None = None) -> Mapping[str, np.ndarray]:
        """latents f32 [b, t, h, w, c], cover f32 [b, t, h, w], ids int32 [b, l], mask bool [b, l]."""
        latents, cover = self.clips()
        rng, chosen = self._drawn(index)
        captions = [self._caption(int(i), rng) for i in chosen]  # all of them: each is drawn after the one before
        if rows is not None:
            chosen, captions = chosen[rows], [captions[i] for i in rows]
        ids, mask = self.tokenizer.encode(captions, self.config.model.text.length)
        return {
            "latents": latents[chosen].astype(np.float32),
            "cover": cover[chosen].astype(np.float32),
            "ids": ids,
            "mask": mask,
        }

    def names(self, index: int) -> list[str]:
        """The clips of a batch."""
        return [f"clip {i}" for i in self._drawn(index)[1]]

    def sources(self) -> Mapping[str, str]:
        """The frozen parts, which ``start`` may have brought."""
        return {"start": folders.part_digest(self.folder, "text_encoder", "vae")}

    def learned_from(self) -> list[str]:
        """The drawn world."""
        world = self.config.world
        size = f"{world.frames} frames of {world.size}x{world.size}"
        return [f"{self.config.video.clips} clips of sorajax's drawn world, {size}, in {', '.join(world.languages)}"]

    def tokens(self, batch: Mapping[str, Any]) -> int:
        """Patches of latents."""
        return batch["latents"].size // (math.prod(self.config.model.dit.patch_size) * batch["latents"].shape[-1])

    def _drawn(self, index: int) -> tuple[np.random.Generator, np.ndarray]:
        """The clips of a batch, and the generator that goes on from there."""
        rng = np.random.Generator(np.random.Philox(key=[self.config.seed, index]))
        return rng, rng.integers(self.config.video.clips, size=self.config.batch)

    def _caption(self, clip: int, rng: np.random.Generator) -> str:
        languages = self.config.world.languages
        language = languages[int(rng.integers(len(languages)))]
        dropped = rng.random() < self.config.video.caption_dropout
        return "" if dropped else self.world.caption(self.world.spec(clip), language, rng)

    def loss(
        self, model: DiT, frozen: Any, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Mean squared error of the velocity; cells that an object covers may weigh more."""
        options = self.config.video
        level, noise = jax.random.split(key)
        text = batch["text"] if "text" in batch else jax.lax.stop_gradient(frozen(batch["ids"], batch["mask"]))
        x = batch["latents"]
        s = flow.logit_normal_sigma(
            level, len(x), mean=options.sigma_mean, std=options.sigma_std, shift=options.shift, within=self.levels
        )
        given = jnp.zeros(len(x), bool)
        if options.image and x.shape[1] > self.config.model.dit.patch_size[0]:  # not of pictures
            given = jax.random.uniform(jax.random.fold_in(key, 2), (len(x),)) < options.image
        error, weight = self._error(model, x, text, s, jax.random.normal(noise, x.shape), given, batch.get("beside"))
        mse = jnp.sum(error * weight) / jnp.sum(weight)
        weight = weight * (1 + options.foreground * batch["cover"]) if "cover" in batch else weight
        return jnp.sum(error * weight) / jnp.sum(weight), {"mse": mse}

    def _error(
        self,
        model: DiT,
        x: jax.Array,
        text: jax.Array,
        s: jax.Array,
        noise: jax.Array,
        given: jax.Array,
        beside: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Squared errors [b, t, h, w], and 1 where they count: not in first frames that are ``given``, bool [b]."""
        mixed, timestep, patch = flow.interpolate(x, noise, s), flow.timestep(s), self.config.model.dit.patch_size[0]
        known = given[:, None] & (jnp.arange(x.shape[1]) < patch)
        if self.config.video.image:
            mixed = jnp.where(known[..., None, None, None], x, mixed)
            timestep = timestep[:, None] * ~known[:, ::patch]
        if beside is not None:
            mixed = jnp.concatenate([mixed, beside], -1)
        v = model(mixed, timestep, text)
        error = jnp.mean((v - flow.velocity(x, noise)) ** 2, -1)
        return error, jnp.broadcast_to(~known[..., None, None], error.shape).astype(error.dtype)

    @functools.cached_property
    def _errors(self) -> judge.Errors:
        """Compiled once for all evaluations."""

        def sums(counts: jax.Array, *arguments: Any) -> tuple[jax.Array, jax.Array]:
            error, weight = self._error(*arguments)
            weight *= counts[:, None, None, None]
            return jnp.sum(error * weight), jnp.sum(weight)

        return jax.jit(sums)

    def evaluate(self, model: DiT, step: int, folder: Path, *, signed: bool = True) -> dict[str, float]:
        """Validation loss and text gap by noise level, and samples of fixed prompts: a sheet, and signed clips.

        Of a model that takes a picture there is a second sheet, of clips that begin as the held-out ones do. Samples of
        one of two transformers are made with the other as ``source`` has it. Where there is none, or too little memory
        for samples beside what training keeps on the devices, a warning says so.
        """
        clips = self.held_out()
        images = self.config.video.image > 0 and clips.latents.shape[1] > self.config.model.dit.patch_size[0]
        try:
            self._show(model, clips, f"video-{step:07d}", folder, images, self.config.sample_clips if signed else 0)
        except jax.errors.JaxRuntimeError as error:  # on all processes alike, as they hold alike
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            warnings.warn(f"step {step}: no samples, the devices' memory is too small for them", stacklevel=2)
        except CheckpointError as error:  # the other of two transformers
            warnings.warn(f"step {step}: no samples, as there is {error}", stacklevel=2)
        return judge.figures(self._errors, model, clips, self.mesh, within=self.levels, images=images)

    def _show(self, model: DiT, clips: HeldOut, name: str, folder: Path, images: bool, signed: int) -> None:
        options = self.config.model.sample
        shown: list[tuple[str, list[str], np.ndarray, dict[str, np.ndarray]]] = []
        count = min(judge.SHOWN, len(clips.captions))
        begins, low = self._both(model)
        if clips.beside is not None:
            shown.append(("", clips.captions[:count], clips.text[:count], {"beside": clips.beside[:count]}))
        else:
            shown.append(("", clips.prompts, clips.shown, {}))
        if images:
            first = clips.latents[:count, : self.config.model.dit.patch_size[0]]
            shown.append(("-image", clips.captions[:count], clips.text[:count], {"first": first}))
        for suffix, prompts, text, condition in shown:
            shape = clips.latents.shape[1:]
            parts = begins, self.vae, options, text, self.empty(), shape, self.mesh
            made = judge.samples(*parts, low=low, condition=condition)
            judge.show(
                made,
                prompts,
                folder,
                name + suffix,
                options=options,
                model=lambda: (self.config.model.name, folders.model_digest(self.source)),
                signed=signed,
                facts={"training_step": int(name.rpartition("-")[2]), **self.facts},
            )

    def _both(self, model: DiT) -> tuple[DiT, Callable[[], DiT] | None]:
        """The transformer that samples begin with, and of models of two what gives the other."""
        if not self.config.video.expert:
            return model, None
        low = self.config.video.expert == "low"
        part, kind = "transformer" if low else "transformer_2", self.config.dtype
        other = functools.cache(lambda: folders.load_model(self.source, part, self.config.model, self.mesh, kind))
        return (other(), lambda: model) if low else (model, other)

    def held_out(self) -> HeldOut:
        """Drawn clips beyond those of training."""
        specs = [self.world.spec(EVALUATION + i) for i in range(32)]
        frames = np.stack([self.world.render(spec).frames for spec in specs])
        with jax.set_mesh(self.mesh):
            latents = gather(_encode(self.vae, self._placed(frames)))
        caption = lambda specs: [self.world.caption(s, "en", np.random.default_rng(i)) for i, s in enumerate(specs)]  # noqa: E731
        shown, captions = self.world.held_out_specs()[:24:3] + specs[:8], caption(specs)
        prompts = list(self.config.sample_prompts) or caption(shown)
        states = self.states(captions), self.states(prompts)
        return HeldOut(latents=latents, text=states[0], captions=captions, prompts=prompts, shown=states[1])

    def empty(self) -> np.ndarray:
        """The text states of no prompt, f32 [1, l, d]."""
        return self.states([""])

    def states(self, prompts: list[str]) -> np.ndarray:
        """Text states f32 [b, l, d] of prompts."""
        ids, mask = self.tokenizer.encode(prompts, self.config.model.text.length)
        with jax.set_mesh(self.mesh):
            return gather(_states(self.text, self._placed(ids), self._placed(mask)))

    def _placed(self, x: np.ndarray) -> jax.Array:
        return place(x, batch_sharding(self.mesh, x.shape))

    def export(self, model: DiT, folder: Path) -> None:
        """Write the transformer's weights, and the config with the latents' statistics as they were measured."""
        folders.save_part(folder, self.part, export_dit(model))
        folders.save_config(folder, dataclasses.replace(self.config.model, vae=self.model_config.vae))


@jax.jit
def _encode(vae: Any, frames: jax.Array) -> jax.Array:
    return vae.normalise(vae.encode(frames.astype(jnp.float32) / 127.5 - 1)[0])


@jax.jit
def _states(text: Any, ids: jax.Array, mask: jax.Array) -> jax.Array:
    return text(ids, mask)


def _check_expert(config: TrainConfig) -> None:
    two, expert = config.model.sample.boundary is not None, config.video.expert
    if two != bool(expert):
        say = 'two; say which is trained, "high" or "low"' if two else "one transformer; leave it out"
        raise ConfigError(f"video.expert: {config.model.name} has {say}")


def _check_image(config: TrainConfig) -> None:
    kind, share = config.model.sample.image, config.video.image
    if share and kind != "first":
        raise ConfigError(
            f'video.image: {share}, and model.sample.image is {kind!r}; set that to "first" to train a model that is '
            "given its first frame"
        )
    if kind == "beside" and config.sample_prompts:
        raise ConfigError(
            f'sample_prompts: {config.model.name} takes a picture "beside" its latents; its samples are of held-out '
            "clips' first frames and captions, so leave it out"
        )
    if kind == "beside" and not config.video.data:
        raise ConfigError(
            f'model.sample.image: {config.model.name} takes a picture "beside" its latents, which the drawn world has '
            "not; train it on video.data, from sorajax data prepare --model"
        )


def _check_stages(wanted: ModelConfig, found: ModelConfig, folder: Path) -> None:
    bare = lambda vae: dataclasses.replace(vae, latents_mean=(), latents_std=())  # noqa: E731 - as they were measured
    for part, same in (("text", wanted.text == found.text), ("vae", bare(wanted.vae) == bare(found.vae))):
        if not same:
            raise ConfigError(f"model.{part}: {folder} holds one of other sizes; train that stage anew, or undo it")
