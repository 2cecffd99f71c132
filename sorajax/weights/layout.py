"""Model folders as diffusers writes them: the configs of their parts to ours, and back."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from sorajax.config import DiTConfig, ModelConfig, SampleConfig, TextConfig, VAEConfig, from_dict, read_toml
from sorajax.errors import CheckpointError, ConfigError
from sorajax.weights import hub

INDEX = "model_index.json"
SCHEDULER = Path("scheduler") / "scheduler_config.json"
PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")
PRESETS = ("wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b")
SOLVERS = {"UniPCMultistepScheduler": ("unipc", "flow_shift"), "FlowMatchEulerDiscreteScheduler": ("euler", "shift")}
CLASSES = {
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "T5TokenizerFast"),
    "transformer": ("diffusers", "WanTransformer3DModel"),
    "transformer_2": ("diffusers", "WanTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLWan"),
}
_TRANSFORMER = {
    "qk_norm": "rms_norm_across_heads",
    "image_dim": None,
    "added_kv_proj_dim": None,
    "pos_embed_seq_len": None,
}
ASSUMED: Mapping[str, Mapping[str, Any]] = {
    "text_encoder": {"feed_forward_proj": "gated-gelu", "is_gated_act": True, "model_type": "umt5"},
    "transformer": _TRANSFORMER,
    "transformer_2": _TRANSFORMER,
    "vae": {"attn_scales": [], "dropout": 0.0},
}
"""Settings that our models have no other choice for."""
T = TypeVar("T")


def read(folder: Path) -> ModelConfig:
    """The model of a folder in diffusers layout; how it is sampled is its scheduler's, else the preset's of its sizes.

    Raises CheckpointError for a pipeline, a scheduler or a setting that is none of ours, naming it.
    """
    index = _json(folder / INDEX)
    kind = index.get("_class_name")
    if kind not in PIPELINES:
        raise CheckpointError(
            f"{folder / INDEX}: pipeline {kind!r} is not supported; supported: {', '.join(PIPELINES)}"
        )
    if any(index.get("image_encoder") or []):
        raise CheckpointError(
            f"{folder / INDEX}: this model needs an image encoder (CLIP), which is not supported; for image to video "
            "use Wan 2.2: TI2V-5B or I2V-A14B"
        )
    boundary, two = index.get("boundary_ratio"), any(index.get("transformer_2") or [])
    if two != isinstance(boundary, float):
        only = "models of two transformers have a number there, and only those"
        raise CheckpointError(f"{folder / INDEX}: boundary_ratio is {boundary!r}; {only}")
    if two and _part(folder, "transformer", DiTConfig) != _part(folder, "transformer_2", DiTConfig):
        raise CheckpointError(f"{folder}: its two transformers are of different sizes; only equal ones are supported")
    read = _sampled(
        ModelConfig(
            name=hub.origin(folder).get("repository", folder.resolve().name),
            text=_part(folder, "text_encoder", TextConfig),
            dit=_part(folder, "transformer", DiTConfig),
            vae=_part(folder, "vae", VAEConfig),
        ),
        *_solver(folder / SCHEDULER),
        boundary,
        image="first" if index.get("expand_timesteps") else "beside" if kind == PIPELINES[1] else None,
    )
    wanted = read.dit.out_channels + (read.vae.temporal_factor + read.vae.z_dim if read.sample.image == "beside" else 0)
    if read.dit.in_channels != wanted:
        raise CheckpointError(
            f"{folder / 'transformer' / 'config.json'}: in_channels is {read.dit.in_channels}; a {kind} of "
            f"{read.dit.out_channels} out_channels with this autoencoder has {wanted}"
        )
    return read


def write(folder: Path, config: ModelConfig) -> None:
    """Write the configs of all parts, so that diffusers and ``read`` find this model in the folder.

    Raises CheckpointError for what diffusers' transformer does not have.
    """
    if config.dit.position_table or config.dit.text_pool:
        raise CheckpointError(
            f"{config.name} has a table of positions or pooled text, which diffusers' transformer lacks; "
            "export a model without them"
        )
    solver = next(name for name, (own, _) in SOLVERS.items() if own == config.sample.solver)
    parts = ("transformer",) if config.sample.boundary is None else ("transformer", "transformer_2")
    beside = config.sample.image == "beside"
    index: dict[str, Any] = {"_class_name": PIPELINES[beside], "scheduler": ["diffusers", solver]}
    index |= {"image_encoder": [None, None], "image_processor": [None, None]} if beside else {}
    index |= {"expand_timesteps": True} if config.sample.image == "first" else {}
    index |= {part: list(names) for part, names in CLASSES.items()}
    index |= {"boundary_ratio": config.sample.boundary} if len(parts) == 2 else {"transformer_2": [None, None]}
    _write(folder / INDEX, index)
    text = dataclasses.asdict(config.text)
    del text["length"]
    _write(
        folder / "text_encoder" / "config.json",
        {"architectures": ["UMT5EncoderModel"], **text, **ASSUMED["text_encoder"]},
    )
    dit = dataclasses.asdict(config.dit)
    del dit["position_table"], dit["text_pool"]
    for part in parts:
        _write(folder / part / "config.json", {"_class_name": CLASSES[part][1], **dit, **ASSUMED[part]})
    vae, cell = dataclasses.asdict(config.vae), config.vae.spatial_factor
    channels = 3 * (config.vae.patch_size or 1) ** 2
    own = {"in_channels": channels, "out_channels": channels, "scale_factor_spatial": cell}
    own |= {"scale_factor_temporal": config.vae.temporal_factor}
    _write(folder / "vae" / "config.json", {"_class_name": CLASSES["vae"][1], **vae, **own, **ASSUMED["vae"]})
    shift = {SOLVERS[solver][1]: config.sample.shift, "num_train_timesteps": 1000}
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True} if config.sample.solver == "unipc" else {}
    _write(folder / SCHEDULER, {"_class_name": solver, **shift, **flow})


def _part(folder: Path, part: str, cls: type[T]) -> T:
    path = folder / part / "config.json"
    values, known = _json(path), {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key, only in ASSUMED[part].items():
        if key not in known and key in values and values[key] != only:
            raise CheckpointError(f"{path}: {key} is {values[key]!r}; only {only!r} is supported")
    try:
        return from_dict(cls, {k: v for k, v in values.items() if k in known and v is not None}, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None


def _solver(path: Path) -> tuple[str, float]:
    """Solver and shift of a scheduler's config."""
    values = _json(path)
    kind = values.get("_class_name")
    if kind not in SOLVERS:
        raise CheckpointError(f"{path}: scheduler {kind!r} is not supported; supported: {', '.join(SOLVERS)}")
    solver, key = SOLVERS[kind]
    wanted = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "solver_order": 2, "solver_type": "bh2"}
    wanted = wanted if solver == "unipc" else {"use_dynamic_shifting": False}
    for name, only in wanted.items():
        if values.get(name, only) != only:
            raise CheckpointError(f"{path}: {name} is {values[name]!r}; only {only!r} is supported")
    shift = values.get(key, 1.0)
    if not isinstance(shift, (int, float)) or shift <= 0:
        raise CheckpointError(f"{path}: {key} is {shift!r}; a number above 0 is expected")
    return solver, float(shift)


def _sampled(config: ModelConfig, solver: str, shift: float, boundary: float | None, image: str | None) -> ModelConfig:
    """The model with a preset's way of sampling, if a preset has its sizes, but the scheduler's solver and shift."""
    presets = [from_dict(ModelConfig, read_toml(name)["model"], name) for name in PRESETS]
    like = [p.sample for p in presets if p.dit == config.dit and (p.sample.boundary is None) == (boundary is None)]
    own = like[0] if like else SampleConfig()
    sample = dataclasses.replace(own, solver=solver, shift=shift, boundary=boundary, image=image)
    return dataclasses.replace(config, sample=sample)


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; resume the download, or name a complete model folder") from None
    except ValueError as error:  # neither UTF-8 nor JSON
        raise CheckpointError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a config: a JSON object is expected")
    return values


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
