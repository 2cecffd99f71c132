"""What a training run is told: one TOML file a stage, ``base`` naming the file it starts from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sorajax.config import ModelConfig, find, from_dict, read_toml
from sorajax.cost.account import Rates
from sorajax.data.world import WorldConfig
from sorajax.errors import ConfigError
from sorajax.models import remat

OBJECTIVES = ("text", "vae", "video")
PARAMETERS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW or Muon: warm-up, constant rate, then a linear fall to zero over the last ``decay_steps``."""

    name: str = "adamw"
    """"muon" orthogonalises the updates of kernels and leaves the rest to AdamW."""
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    decay_steps: int = 0
    weight_decay: float = 0.01
    b1: float = 0.9
    b2: float = 0.99
    clip_norm: float = 1.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        if self.name not in ("adamw", "muon"):
            raise ConfigError(f"optimizer.name: {self.name!r} is unknown; known: adamw, muon")


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Sizes of the mesh axes; -1 takes the devices that are left."""

    data: int = -1
    fsdp: int = 1
    seq: int = 1
    tensor: int = 1


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """How the transformer learns from cached latents: of the drawn world's clips, or of real ones."""

    data: tuple[str, ...] = ()
    """Folders of shards from ``sorajax data prepare --model``, for an autoencoder made with ``--pixels``; without any,
    the drawn world is trained on."""
    weights: tuple[float, ...] = ()
    """How often each of ``data`` is drawn from, as shares; without, all alike."""
    clips: int = 16384
    """Of the drawn world: rendered and encoded once, then drawn from in a random order."""
    caption_dropout: float = 0.1
    foreground: float = 0.0
    """Extra weight of latent cells that an object covers."""
    image: float = 0.0
    """Share of clips that are given their first frame, of models that take a picture so (``model.sample.image`` is
    "first"; of those where it is "beside", all are). The loss is that of the other frames."""
    expert: str = ""
    """Which of a model's two transformers (``model.sample.boundary``) is trained, on its noise levels: "high" or
    "low"."""
    sigma_mean: float = 0.0
    sigma_std: float = 1.0
    shift: float = 1.0

    def __post_init__(self) -> None:
        if self.weights and (len(self.weights) != len(self.data) or min(self.weights) <= 0):
            raise ConfigError(f"video.weights: {list(self.weights)} for {len(self.data)} folders; one above 0 for each")
        if self.expert not in ("", "high", "low"):
            raise ConfigError(f'video.expert: {self.expert!r} is unknown; known: "high", "low"')
        if not 0 <= self.image <= 1:
            raise ConfigError(f"video.image: {self.image} is no share; give one from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class VaeLossConfig:
    """Weights of the autoencoder's loss beside the squared error, and the frames of each clip it learns from."""

    frames: tuple[int, ...] = (9,)
    """Taken in turn, step by step; a longer stretch is learned from fewer clips, as many frames in all."""
    foreground: float = 4.0
    absolute: float = 0.1
    edges: float = 0.1
    kl: float = 2e-5
    decoder_only: bool = False


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Train an adapter of the transformer in its place (objective "video")."""

    rank: int = 0
    """Of its factors; 0: the transformer itself is trained."""
    alpha: float = 0.0
    """What is added is ``alpha / rank`` times their product; 0: as the rank."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out")
    """Kernels of every block that are adapted, by name; "ffn_in" and "ffn_out" are those of the feed-forward."""
    start: str = ""
    """A LoRA file of that rank, from which a new run goes on."""
    weights: str = ""
    """"int8" keeps the kernels that are adapted in eight bits, in half the memory of bfloat16."""

    def __post_init__(self) -> None:
        if self.weights not in ("", "int8"):
            raise ConfigError(f'lora.weights: {self.weights!r} is unknown; known: "int8", or leave it out')
        if self.start and not self.rank:
            raise ConfigError(f"lora.start: {self.start}, and lora.rank is 0; give the rank of that file")
        if self.rank < 0 or self.alpha < 0:
            raise ConfigError(f"lora: rank {self.rank}, alpha {self.alpha}; neither can be below 0")


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """What becomes of a step whose loss or gradient is not finite, or whose loss leaps up. It changes no weight."""

    policy: str = "stop"
    """"stop" ends the run and tells the batch; "skip" writes the batch down and goes on with the next."""
    spike: float = 0.0
    """How many standard deviations above the mean of late the loss is, for it to leap; 0: it never does."""
    patience: int = 10
    """Steps in a row that may be skipped; one more ends the run."""

    def __post_init__(self) -> None:
        if self.policy not in ("stop", "skip"):
            raise ConfigError(f"guard.policy: {self.policy!r} is unknown; known: stop, skip")
        if not 0 <= self.spike < float("inf"):
            raise ConfigError(f"guard.spike: {self.spike} is not a number of standard deviations; 0 for none, or above")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One stage of training. Parts are read from and exported to ``<runs>/<model name>/model``."""

    objective: str
    model: ModelConfig
    world: WorldConfig = field(default_factory=WorldConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    vae_loss: VaeLossConfig = field(default_factory=VaeLossConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    cost: Rates = field(default_factory=Rates)
    steps: int = 10000
    batch: int = 32
    accumulate: int = 1
    """In how many parts a batch is taken, one after the other, where its activations are too large for the devices: the
    gradient is the mean of theirs (objective "video")."""
    seed: int = 0
    dtype: str = "bfloat16"
    """Of the operands of products."""
    parameters: str = "float32"
    """Type in which kernels go to the devices that use them, and their gradients come back. In "bfloat16" it is half
    the bytes; the weights that are trained, their average and moments are float32 all the same."""
    remat: str = "block"
    """What a step keeps of each of the transformer's blocks ("block", "attention", "products" or "none": more memory,
    less time); it changes no result."""
    log_every: int = 20
    checkpoint_every: int = 500
    evaluate_every: int = 1000
    sample_clips: int = 2
    """How many of an evaluation's samples are also written as clips, watermarked and signed like any other."""
    sample_prompts: tuple[str, ...] = ()
    """What an evaluation's samples are of; without any, captions that are not trained on."""
    start: str = ""
    """A model, by name or folder, whose parts a new run begins with; "mini" is that of the package."""
    warm_start: bool = False
    """Begin from the weights exported before (when there is no checkpoint to resume)."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"objective: {self.objective!r} is unknown; known: {', '.join(OBJECTIVES)}")
        if self.parameters not in PARAMETERS:
            raise ConfigError(f"parameters: {self.parameters!r} is unknown; known: {', '.join(PARAMETERS)}")
        if self.lora.rank and self.objective != "video":
            raise ConfigError(f'lora.rank: objective {self.objective!r} has no transformer; adapters are for "video"')
        remat.check(self.remat)
        if self.accumulate > 1 and self.objective != "video":
            raise ConfigError(f'accumulate: {self.accumulate}, of objective {self.objective!r}; it is for "video"')
        for key in ("steps", "batch", "accumulate", "log_every", "checkpoint_every", "evaluate_every"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key}: {getattr(self, key)} is too small; at least 1")
        if self.batch % self.accumulate:
            raise ConfigError(f"accumulate: {self.accumulate} parts of a batch of {self.batch}; give a divisor of it")


OWN = {"video": "video", "vae_loss": "vae", "lora": "video"}
"""Tables that concern one objective alone; but for the clips that ``video.data`` names, which an autoencoder may learn
from too."""


def load(path: str | Path) -> TrainConfig:
    """Read a training config; its ``base`` gives the values that it does not set itself.

    A base is a file, sought beside the config first, or a preset. Raises ConfigError for a file that describes a
    model alone.
    """
    values = _resolve(find(path), ())
    if "objective" not in values:
        raise ConfigError(
            f"{path} describes a model and no training; give a config with base = {str(path)!r} and an objective"
        )
    return from_dict(TrainConfig, values, str(path))


def load_model(path: str | Path) -> ModelConfig:
    """The model that a config or preset describes, whether or not it trains it. Raises ConfigError if it has none."""
    values = _resolve(find(path), ())
    if not isinstance(values.get("model"), dict):
        raise ConfigError(f"{path} describes no model; it needs a table [model], or a base that has one")
    return from_dict(ModelConfig, values["model"], f"{path}: model")


def _resolve(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise ConfigError(f"{path}: its base leads back to itself; name another base")
    values = read_toml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: {base!r} is not the name of a config")
    beside = path.parent / base
    return _merge(_resolve(beside if beside.is_file() else find(base), (*seen, path)), values)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
