"""Frozen configuration: read from TOML, checked, written as canonical JSON, named by its digest.

One class per part of the house. Sizes are plain integers; a preset is a file in ``configs/``.
"""

import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

from sorajax.errors import ConfigError

CONFIG_DIRS = (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """UMT5 encoder (transformers' ``UMT5Config`` names). Defaults: google/umt5-xxl."""

    vocab_size: int = 256384
    d_model: int = 4096
    d_kv: int = 64
    d_ff: int = 10240
    num_layers: int = 24
    num_heads: int = 64
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    length: int = 512
    """Tokens a prompt is padded to; what comes after the prompt's end is zero."""


@dataclass(frozen=True, kw_only=True)
class DiTConfig:
    """WanTransformer3DModel (diffusers' names). Defaults: Wan2.1-T2V-1.3B.

    ``position_table`` and ``text_pool`` are ours, absent from the Wan weights: a learned absolute position
    added after patch embedding, [t, h, w] tokens, and the mean text state added to the time embedding.
    """

    patch_size: tuple[int, int, int] = (1, 2, 2)
    num_attention_heads: int = 12
    attention_head_dim: int = 128
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    ffn_dim: int = 8960
    num_layers: int = 30
    cross_attn_norm: bool = True
    eps: float = 1e-6
    rope_max_seq_len: int = 1024
    position_table: tuple[int, int, int] | None = None
    text_pool: bool = False

    @property
    def dim(self) -> int:
        return self.num_attention_heads * self.attention_head_dim


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """AutoencoderKLWan (diffusers' names). Defaults: the Wan 2.1 layout; 2.2 sets residual and patch_size.

    ``latents_mean`` and ``latents_std`` have one value a channel: model latents are (z - mean) / std.
    """

    base_dim: int = 96
    decoder_base_dim: int | None = None
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    is_residual: bool = False
    patch_size: int | None = None
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()

    @property
    def spatial_factor(self) -> int:
        """Pixels a latent cell spans, per side."""
        return 2 ** (len(self.dim_mult) - 1) * (self.patch_size or 1)

    @property
    def temporal_factor(self) -> int:
        """Frames a latent frame spans, the first one apart."""
        return 2 ** sum(self.temperal_downsample)


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How a model is sampled when the caller does not say otherwise."""

    width: int = 832
    height: int = 480
    frames: int = 81
    fps: int = 16
    steps: int = 50
    guidance: float = 5.0
    shift: float = 3.0
    solver: str = "unipc"
    sizes: tuple[tuple[int, int], ...] = ()
    """(width, height) pairs the model was trained for; empty means any multiple of its patches."""
    max_frames: int | None = None
    boundary: float | None = None
    """Noise level below which a second transformer takes over (Wan 2.2 A14B); None: the model has but one."""
    guidance_low: float | None = None
    """Guidance of the second; None: as that of the first."""
    image: str | None = None
    """How a picture may be given as the first frame (``diffusion.condition``): "first", "beside", which needs one, or
    None."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole text-to-video model: what ``sorajax.load`` needs beside the weights."""

    name: str
    text: TextConfig = field(default_factory=TextConfig)
    dit: DiTConfig = field(default_factory=DiTConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    languages: tuple[str, ...] = ()


T = typing.TypeVar("T")


def from_dict(cls: type[T], values: dict[str, typing.Any], where: str = "config") -> T:
    """Build a configuration dataclass from plain values.

    Raises ConfigError naming the key, its value and what is expected, for unknown keys and wrong types.
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}; known keys: {', '.join(names)}")
    try:
        return cls(**{k: _convert(hints[k], v, f"{where}.{k}") for k, v in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from None


def _convert(hint: typing.Any, value: typing.Any, where: str) -> typing.Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: {value!r} is not a table")
        return from_dict(typing.cast(type, hint), value, where)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: {value!r} is not a list")
        if len(args) == 2 and args[1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) != len(value):
            raise ConfigError(f"{where}: {value!r} has {len(value)} values, {len(args)} are expected")
        return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: {value!r} is of type {type(value).__name__}, {hint.__name__} is expected")
    return value


def to_dict(config: typing.Any) -> dict[str, typing.Any]:
    """Plain values of a configuration; ``None`` values are left out, as TOML has no null."""
    return {k: v for k, v in json.loads(canonical_json(config)).items() if v is not None}


def canonical_json(config: typing.Any) -> str:
    """The configuration as JSON with sorted keys and no spaces: equal configs give equal text."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(config: typing.Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()


def read_toml(path: str | Path) -> dict[str, typing.Any]:
    """Read a TOML file, given by path or by the name of a preset in ``configs/``."""
    path = find(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def load(cls: type[T], path: str | Path) -> T:
    """Read a configuration dataclass from a TOML file or preset name."""
    return from_dict(cls, read_toml(path), str(path))


def find(path: str | Path) -> Path:
    """The file that a path or a preset name stands for; what names a folder is a path."""
    path = Path(path)
    named = [folder / f"{path.name.removesuffix('.toml')}.toml" for folder in CONFIG_DIRS if path == Path(path.name)]
    for candidate in (path, *named):
        if candidate.is_file():
            return candidate
    raise ConfigError(f"no config {str(path)!r}; presets: {', '.join(presets())}")


def presets() -> list[str]:
    """Names of the configurations that ship with sorajax."""
    return sorted({p.stem for folder in CONFIG_DIRS if folder.is_dir() for p in folder.glob("*.toml")})
