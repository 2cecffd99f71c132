"""The map: prompt -> text states -> latents -> frames -> clip. ``load`` gives a Pipeline; calling it makes clips."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from provenance import Facts, Report
from sorajax import __version__, request
from sorajax import mesh as meshes
from sorajax.config import ModelConfig
from sorajax.cost import account
from sorajax.cost.account import Rates
from sorajax.cost.flops import counted, tally
from sorajax.diffusion.caching import Caching, caching
from sorajax.diffusion.condition import NONE, Condition, of_images
from sorajax.diffusion.flow import TIMESTEPS
from sorajax.diffusion.sample import Callback, sample
from sorajax.errors import InputError
from sorajax.hosts import arrays
from sorajax.media.clip import Clip, make_clip
from sorajax.media.image import Image, read_image
from sorajax.media.post import to_uint8
from sorajax.models.dit import DiT
from sorajax.models.text import TextEncoder
from sorajax.models.tiles import decode_in_tiles
from sorajax.models.tokenizer import Tokenizer
from sorajax.models.vae import VAE
from sorajax.weights import folder as folders
from sorajax.weights import hub, lora, memory
from sorajax.weights.find import find
from sorajax.weights.lora import Adapters
from sorajax.weights.stages import Stages


class Pipeline:
    """A text-to-video model on a mesh. Its parts are open: text states, velocity, latents, frames.

    Several processes call it alike and all get the whole result; one of them saves the clip.
    """

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer,
        stages: Stages,
        mesh: Mesh,
        digest: str,
        origin: Mapping[str, str] | None = None,
        budget: int | None = None,
        rates: Rates | None = None,
    ):
        """stages holds the modules. digest and origin, which names repository, revision and licence, are what the
        manifest says of the model; budget is how many bytes of each device's memory are for it; by the rates it says
        what a clip cost."""
        self.config, self.mesh, self.digest, self.origin = config, mesh, digest, dict(origin or {})
        self.tokenizer, self.stages, self.budget = tokenizer, stages, budget
        self._adapters = list(stages.adapters.values())
        self.rates = rates or Rates()

    def part_digest(self, part: str) -> str:
        """SHA-256, in hex, over the weights of a part: text_encoder, transformer, vae."""
        return folders.part_digest(self.stages.folder, part)

    @property
    def text(self) -> TextEncoder:
        """The text encoder; parts that are not on the devices are loaded when they are asked for."""
        return self.stages["text_encoder"]

    @property
    def dit(self) -> DiT:
        """The transformer; of two, that of high noise levels."""
        return self.stages["transformer"]

    @property
    def dit_low(self) -> DiT | None:
        """The transformer of low noise levels, of models that have two."""
        return self.stages["transformer_2"] if len(self._adapters) == 2 else None

    @property
    def vae(self) -> VAE:
        """The autoencoder of videos."""
        return self.stages["vae"]

    @overload
    def __call__(self, prompt: str, **options: Any) -> Clip: ...
    @overload
    def __call__(self, prompt: Sequence[str], **options: Any) -> list[Clip]: ...
    def __call__(  # pyright: ignore[reportInconsistentOverload] - the overloads' options are these keywords
        self,
        prompt: str | Sequence[str],
        *,
        seed: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        size: tuple[int, int] | None = None,
        frames: int | None = None,
        fps: int | None = None,
        image: Any = None,
        cache: Caching | bool | None = None,
        callback: Callback | None = None,
    ) -> Clip | list[Clip]:
        """One prompt gives a Clip, a list of prompts a list. The same seed gives the same clip.

        size is (width, height) in pixels and frames their number, both as the model makes them; saved clips are at
        least 256 pixels a side. image is what the clip begins with: a file's path, a PIL image or uint8 [h, w, 3], or
        a list of one for each prompt. It is scaled and cut to the size; by default the clip takes its proportions and
        has as many pixels as the model's own. cache=True keeps velocities for several steps, which is faster and
        changes the clip a little (``diffusion.caching``). callback(step, steps, latents) is called after each step.

        Raises InputError for what cannot be made, or not with the memory there is.
        """
        prompts = request.check_prompts(prompt)
        images, kept = self._images(image, len(prompts)), caching(cache)
        size = request.size_like(self.config, images[0].size) if size is None and images else size
        wanted = request.resolve(self.config, size=size, frames=frames, steps=steps, guidance=guidance)
        rate = request.check_fps(fps, self.config.sample.fps)
        self.check_memory(wanted, len(prompts))
        costs = account.meter(self.mesh, self.rates, total=arrays.total)
        seed = arrays.broadcast(secrets.randbelow(2**31)) if seed is None else request.check_seed(seed)
        noise = self.noise(len(prompts), seed, size=wanted.size, frames=wanted.frames)
        with tally() as work:
            latents = self.sample(
                prompts,
                noise=noise,
                steps=wanted.steps,
                guidance=wanted.guidance,
                negative=negative,
                image=images or None,
                cache=kept,
                callback=callback,
            )
            video = to_uint8(np.asarray(self.decode(latents)))
        clips = []
        for i, (text, shots) in enumerate(zip(prompts, video, strict=True)):
            settings = wanted.settings() | {"negative": negative, "batch": len(prompts), "index": i}
            settings |= {"model_origin": self.origin} if self.origin else {}
            settings |= {"loras": self.loras} if self.loras else {}
            settings |= {"cache": kept.facts()} if kept else {}
            settings |= {"image": f"sha256:{images[i].digest}"} if images else {}
            facts = Facts(
                title=text[:80],
                model_name=self.config.name,
                model_digest=self.digest,
                seed=seed,
                prompt=text,
                settings=settings,
                generator_version=__version__,
            )
            clips.append(make_clip(shots, fps=rate, facts=facts))
        cost = costs.about() | costs.read(work.flops).share(len(clips)).figures(self.rates)
        clips = [replace(clip, facts=replace(clip.facts, cost=cost)) for clip in clips]
        return clips[0] if isinstance(prompt, str) else clips

    def encode_text(self, prompts: Sequence[str]) -> jax.Array:
        """Text states f32 [b, l, d]; what follows a prompt's end is zero."""
        ids, mask = self.tokenizer.encode(prompts, self.config.text.length)
        with jax.set_mesh(self.mesh):
            return arrays.replicate(_encode_text(self.text, self._place(ids), self._place(mask)))

    def velocity(self, latents: jax.Array, timestep: jax.Array, text: jax.Array) -> jax.Array:
        """The transformer's output f32 [b, t, h, w, c], for timestep f32 [b] in [0, 1000], or [b, t] by latent frame.

        Latents have the channels that the transformer takes (``diffusion.condition``). Of a model of two transformers,
        that which the highest timestep calls for.
        """
        boundary = TIMESTEPS * (self.config.sample.boundary or 0.0)
        high = len(self._adapters) == 1 or np.max(timestep) >= boundary
        dit = self.stages["transformer" if high else "transformer_2"]
        with jax.set_mesh(self.mesh):
            v = _velocity(dit, self._place(latents), self._place(timestep), self._place(text))
            return arrays.replicate(v)

    def noise(
        self, count: int, seed: int, *, size: tuple[int, int] | None = None, frames: int | None = None
    ) -> jax.Array:
        """Starting noise f32 [count, t, h, w, c]; each clip's depends on the seed and its place in the batch."""
        wanted = request.resolve(self.config, size=size, frames=frames, steps=None, guidance=None)
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(count))
        return jax.vmap(lambda key: jax.random.normal(key, wanted.latent_shape))(keys)

    def sample(
        self,
        prompts: Sequence[str],
        *,
        noise: jax.Array | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        negative: str = "",
        image: Any = None,
        cache: Caching | bool | None = None,
        callback: Callback | None = None,
    ) -> jax.Array:
        """The solver's final latents f32 [b, t, h, w, c], normalised, from ``noise`` or the seed's.

        image and cache as for a call; the image is scaled and cut to the size of the noise.
        """
        images = self._images(image, len(prompts))
        wanted = request.resolve(self.config, size=None, frames=None, steps=steps, guidance=guidance)
        noise = self.noise(len(prompts), seed) if noise is None else jnp.asarray(noise, jnp.float32)
        text = self.encode_text(prompts)
        condition = self._condition(images, noise.shape)
        unguided = wanted.guidance == 1.0 and wanted.guidance_low in (None, 1.0)
        other = None if unguided else jnp.broadcast_to(self.encode_text([negative]), text.shape)
        with jax.set_mesh(self.mesh):
            final = sample(
                self.dit,
                self._place(noise),
                text,
                other,
                steps=wanted.steps,
                guidance=wanted.guidance,
                shift=self.config.sample.shift,
                solver=self.config.sample.solver,
                callback=callback,
                low=(lambda: self.stages["transformer_2"]) if len(self._adapters) == 2 else None,
                boundary=wanted.boundary or 0.0,
                guidance_low=wanted.guidance_low,
                cache=caching(cache),
                condition=jax.tree.map(self._place, condition),
            )
            return arrays.replicate(final)

    def decode(self, latents: jax.Array, *, tile: tuple[int, int] | None = None) -> jax.Array | np.ndarray:
        """Frames f32 [b, T, H, W, 3] in [-1, 1] of normalised latents: unmarked and unsigned, for research.

        tile is (width, height) in pixels of what is decoded at once (``models.tiles``), whose frames are put together
        outside the devices: the same frames in less memory and more time. By default the largest for which there is
        memory, or the whole.
        """
        vae = self.vae
        cells = self._tile(jnp.shape(latents)) if tile is None else request.check_tile(self.config, tile)
        with jax.set_mesh(self.mesh):
            if cells is not None:
                return decode_in_tiles(vae, _denormalise(vae, self._place(latents)), cells)
            return arrays.replicate(_decode(vae, self._place(latents)))

    def _tile(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Rows and columns of latent cells to decode at once with the memory there is; None for the whole."""
        if self.budget is None:
            return None
        held = sum(memory.resting(self.stages.abstract[part]) for part in self.stages.names if part in self.stages)
        kind = self.stages.dtypes["vae"]
        return memory.tile(self.config.vae, kind, memory.share(self.mesh, shape), self.budget - held)

    def encode_video(self, x: jax.Array | np.ndarray) -> jax.Array:
        """Normalised latents f32 [b, t, h, w, c] (the mean) of frames f32 [b, T, H, W, 3] in [-1, 1]."""
        with jax.set_mesh(self.mesh):
            return arrays.replicate(_encode_video(self.vae, self._place(x)))

    def needs(self, wanted: request.Request, prompts: int) -> dict[str, int]:
        """Bytes of one device while each part works: the weights that are there then, and what it works with."""
        resting = {part: memory.resting(model) for part, model in self.stages.abstract.items()}
        guided = wanted.guidance != 1.0 or wanted.guidance_low not in (None, 1.0)
        needs = {}
        for part in resting:
            dtype = self.stages.dtypes[part]
            work = memory.working(part, self.config, self.mesh, dtype, wanted.latent_shape, prompts, guided)
            needs[part] = work + (sum(resting.values()) if self.stages.keep else resting[part])
        return needs

    def check_memory(self, wanted: request.Request, prompts: int) -> None:
        """Raises InputError if the devices have not the memory for so many clips of that size, with what to try."""
        size = f"{self.config.name}, {prompts} x {wanted.size[0]}x{wanted.size[1]}, {wanted.frames} frames,"
        memory.check(self.needs(wanted, prompts), self.budget, size, _remedies(self.stages))

    @property
    def loras(self) -> list[dict[str, Any]]:
        """Name, digest and scale of the adapters that are loaded; ``transformer`` is 0, or 1 for low noise levels."""
        held = (adapters.facts() for adapters in self._adapters)
        return [fact | {"transformer": i} for i, facts in enumerate(held) for fact in facts]

    def load_lora(
        self, path: str | Path, *, scale: float = 1.0, name: str | None = None, transformer: int | None = None
    ) -> str:
        """Merge a LoRA file into the transformer; gives its name (default: the file's). Several add up.

        transformer is 0 or 1 for one of a model's two, None for the one that the file names, or both. Raises InputError
        and CheckpointError, with the keys that do not fit; nothing is changed then.
        """
        path, scale = Path(path).expanduser(), request.check_scale(scale)
        read = lora.read(path, self.stages.abstract["transformer"])  # two transformers are of one size
        chosen = self._chosen(read.transformer if transformer is None and len(self._adapters) == 2 else transformer)
        name = path.stem if name is None else name
        if any(name in adapters for adapters in chosen):
            raise InputError(f"a LoRA named {name!r} is loaded; unload it, give another name, or use set_lora")
        for adapters in chosen:
            adapters.set(name, read, scale)
        return name

    def set_lora(self, name: str, scale: float) -> None:
        """Give a loaded LoRA another scale; at 0 it does nothing. Raises InputError for a name that is not loaded."""
        for adapters in self._holding(name):
            adapters.scale(name, request.check_scale(scale))

    def unload_lora(self, name: str | None = None) -> None:
        """Take a LoRA out again, or all of them: kernels are then bit for bit as before."""
        for one in [name] if name is not None else dict.fromkeys(fact["name"] for fact in self.loras):
            for adapters in self._holding(one):
                adapters.remove(one)

    def _images(self, image: Any, count: int) -> list[Image]:
        """A picture for each prompt, or none. Raises InputError for a model that takes none, or that needs one."""
        kind = self.config.sample.image
        if image is None and kind == "beside":
            raise InputError(f"{self.config.name} begins a clip with a picture; give one (image=, --image)")
        if image is None:
            return []
        request.check_image(self.config)
        given = list(image) if isinstance(image, (list, tuple)) else [image]
        if len(given) not in (1, count):
            raise InputError(f"{len(given)} images for {count} prompts; give one, or one for each")
        read = [one if isinstance(one, Image) else read_image(one) for one in given]
        return read if len(read) == count else read * count

    def _condition(self, images: Sequence[Image], shape: tuple[int, ...]) -> Condition:
        """What the transformer is told of the pictures, for latents of that shape."""
        if not images:
            return NONE
        vae, (_, t, h, w, _) = self.config.vae, shape
        size = w * vae.spatial_factor, h * vae.spatial_factor
        fitted = np.stack([image.fitted(size) for image in images])
        frames = 1 + (t - 1) * vae.temporal_factor
        kind = self.config.sample.image
        assert kind is not None
        return of_images(kind, jnp.asarray(fitted), self.encode_video, frames, vae.temporal_factor)

    def _chosen(self, transformer: int | None) -> list[Adapters]:
        if transformer is None:
            return self._adapters
        if transformer not in range(len(self._adapters)):
            raise InputError(f"transformer is {transformer!r}; {self.config.name} has {len(self._adapters)}, from 0 on")
        return [self._adapters[transformer]]

    def _holding(self, name: str) -> list[Adapters]:
        found = [adapters for adapters in self._adapters if name in adapters]
        if not found:
            known = ", ".join(dict.fromkeys(fact["name"] for fact in self.loras)) or "none"
            raise InputError(f"no LoRA named {name!r} is loaded; loaded: {known}")
        return found

    def _place(self, x: jax.Array | np.ndarray) -> jax.Array:
        return arrays.place(x, meshes.batch_sharding(self.mesh, jnp.shape(x)))


def load(
    model: str | Path = "mini",
    *,
    dtype: str | Mapping[str, str] | None = None,
    weights: str | Mapping[str, str] | None = None,
    keep: bool | None = None,
    mesh: Mesh | None = None,
    rates: Rates | None = None,
    notify: Callable[[str], None] | None = None,
) -> Pipeline:
    """A pipeline from the name of a model: shipped, published ("wan2.1-t2v-1.3b", "OWNER/NAME"), or a folder.

    dtype is that of the products, "bfloat16" or "float32" (default: float32 on CPU, else bfloat16). weights "int8"
    keeps the blocks' kernels of text encoder and transformer in eight bits; "w8a8" rounds what they multiply too, for
    speed. Both options may be given by part, as in {"text_encoder": "int8"}. keep says whether all parts stay on the
    devices; if not, each is loaded when it is its turn, in the place of the one before (default: as fits). mesh
    defaults to all devices on its data axis. rates, of the machine and its electricity, are for what a clip's manifest
    says of its cost.

    Raises InputError for an unknown model, or one that the devices have not the memory for, CheckpointError for
    weights that are damaged or cannot be fetched.
    """
    folder = find(model)
    mesh = meshes.make_mesh() if mesh is None else mesh
    config = folders.load_config(folder)
    dtypes = request.check_dtypes(dtype, folders.parts(config))
    kinds = request.check_weights(weights, folders.parts(config))
    (notify or (lambda stage: None))(f"loading {config.name}")
    tokenizer = Tokenizer(folder / folders.TOKENIZER)
    budget = memory.free(mesh)
    stages = Stages(folder, config, mesh, dtypes=dtypes, weights=kinds, keep=True)
    resting = {part: memory.resting(model) for part, model in stages.abstract.items()}
    memory.check(resting, budget, config.name, _remedies(stages))
    pipe = Pipeline(config, tokenizer, stages, mesh, folders.model_digest(folder), hub.origin(folder), budget, rates)
    wanted = request.resolve(config, size=None, frames=None, steps=None, guidance=None)
    stages.keep = memory.fits(pipe.needs(wanted, 1), budget) if keep is None else keep
    if stages.keep:
        for part in stages.names:
            stages[part]
    return pipe


def _remedies(stages: Stages) -> str:
    smaller = 'weights="int8", ' if not any(stages.weights.values()) else ""
    return f"try {smaller}more devices (mesh=make_mesh(fsdp=...)), a smaller size or fewer frames"


def generate(prompt: str, path: str | Path, *, model: str | Path = "mini", seed: int | None = None) -> Report:
    """Load a model, make one clip, save it signed; returns what the verifier says of it."""
    return load(model)(prompt, seed=seed).save(path)


_encode_text = counted(jax.jit(lambda model, ids, mask: model(ids, mask)))
_velocity = counted(jax.jit(lambda model, x, timestep, text: model(x, timestep, text)))
_decode = counted(jax.jit(lambda model, z: model.decode(model.denormalise(z))))
_denormalise = jax.jit(lambda model, z: model.denormalise(z))
_encode_video = counted(jax.jit(lambda model, x: model.normalise(model.encode(x)[0])))
