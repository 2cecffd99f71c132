"""What is to be planned, checked before anything is compiled."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sorajax.config import ModelConfig, from_dict
from sorajax.errors import InputError
from sorajax.models.quantised import KINDS
from sorajax.models.remat import POLICIES
from sorajax.plan.chips import CHIPS
from sorajax.train import config as configs
from sorajax.weights import folder as folders

TASKS = ("train", "sample", "text", "decode")
WEIGHTS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be planned: a task of a model at one size. ``batch`` counts clips, of all devices together."""

    task: str
    model: ModelConfig
    width: int
    height: int
    frames: int
    batch: int = 1
    dtype: str = "bfloat16"
    """Of the products' operands."""
    weights: str = "float32"
    """Type in which kernels lie in memory, and when training their gradients, average and moments; vectors are
    float32. ``sorajax train`` keeps float32: the other says what a trainer would need that does not."""
    parameters: str = "float32"
    """When training, the type in which kernels are gathered and their gradients summed, as in a training config."""
    accumulate: int = 1
    """When training, in how many parts a batch is taken, as in a training config."""
    remat: str = "block"
    """When training, what a step keeps of each block, as in a training config."""

    def __post_init__(self) -> None:
        """Raises InputError for an unknown task and for sizes that the model cannot make."""
        if self.task not in TASKS:
            raise InputError(f"task {self.task!r} is unknown; known: {', '.join(TASKS)}")
        kept = WEIGHTS if self.task in ("train", "decode") else (*WEIGHTS, *KINDS)
        if self.weights not in kept:
            raise InputError(f"weights {self.weights!r} is unknown to {self.task}; known: {', '.join(kept)}")
        if self.parameters not in WEIGHTS:
            raise InputError(f"parameters {self.parameters!r} is unknown; known: {', '.join(WEIGHTS)}")
        if self.remat not in POLICIES:
            raise InputError(f"remat {self.remat!r} is unknown; known: {', '.join(POLICIES)}")
        if self.batch < 1:
            raise InputError(f"batch is {self.batch}; at least 1 clip is needed")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise InputError(f"accumulate: {self.accumulate} parts of a batch of {self.batch}; give a divisor of it")
        vae, patch = self.model.vae, self.model.dit.patch_size
        cells = vae.spatial_factor * patch[1], vae.spatial_factor * patch[2]
        if self.height < 1 or self.width < 1 or self.height % cells[0] or self.width % cells[1]:
            near = [max(1, round(n / c)) * c for n, c in zip((self.width, self.height), cells[::-1], strict=True)]
            raise InputError(
                f"size {self.width}x{self.height} is not a multiple of {cells[1]}x{cells[0]} pixels; "
                f"nearest: {near[0]}x{near[1]}"
            )
        if self.frames < 1 or (self.frames - 1) % vae.temporal_factor or self.grid[0] % patch[0]:
            raise InputError(
                f"frames is {self.frames}; {self.model.name} makes 1 + {vae.temporal_factor}k frames, "
                f"for example {1 + 20 * vae.temporal_factor}"
            )

    @property
    def latent_shape(self) -> tuple[int, int, int, int, int]:
        """[b, t, h, w, c] of the latents."""
        vae = self.model.vae
        t = 1 + (self.frames - 1) // vae.temporal_factor
        return self.batch, t, self.height // vae.spatial_factor, self.width // vae.spatial_factor, vae.z_dim

    @property
    def grid(self) -> tuple[int, int, int]:
        """Video tokens along time, height and width."""
        t, h, w = (n // p for n, p in zip(self.latent_shape[1:4], self.model.dit.patch_size, strict=True))
        return t, h, w

    @property
    def tokens(self) -> int:
        """Video tokens of one clip."""
        t, h, w = self.grid
        return t * h * w

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Request":
        return from_dict(cls, values, "request")


def find_model(name: str | Path) -> ModelConfig:
    """The model of a config file, a preset, or a model folder. Raises InputError or ConfigError if there is none."""
    if Path(name).is_dir():
        return folders.load_config(Path(name))
    return configs.load_model(name)


def parse_mesh(text: str) -> dict[str, int]:
    """Axis sizes from "fsdp=4,seq=2". Raises InputError for anything else."""
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, equals, size = part.strip().partition("=")
        if not (axis and equals and size.isdecimal() and int(size)) or axis in sizes:
            raise InputError(f"mesh {text!r} is not AXIS=SIZE,..., for example fsdp=4,seq=2")
        sizes[axis] = int(size)
    return sizes


def parse_prices(text: str) -> dict[str, float]:
    """Price of an hour of a chip, by generation, from "v5e=1.2,v6e=2.7". Raises InputError for anything else."""
    prices: dict[str, float] = {}
    for part in text.split(","):
        kind, equals, price = part.strip().partition("=")
        try:
            value = float(price)
        except ValueError:
            value = math.nan
        if kind not in CHIPS or not equals or not 0 <= value < math.inf:
            raise InputError(f"prices {text!r} is not TPU=PRICE,... of {', '.join(CHIPS)}, for example v5e=1.2,v6e=2.7")
        prices[kind] = value
    return prices
