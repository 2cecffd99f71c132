"""Text-to-video in JAX in which every clip is watermarked, signed and verified.

    pipe = sorajax.load("mini")
    clip = pipe("a dog runs to the left on a beach at sunset", seed=7)
    report = clip.save("dog.mp4")

Names are imported when first used, so ``import sorajax`` costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sorajax.cost.account import Rates
    from sorajax.diffusion.caching import Caching
    from sorajax.errors import CheckpointError, ConfigError, InputError, SorajaxError, TrainingError
    from sorajax.media.clip import Clip
    from sorajax.pipeline import Pipeline, generate, load

__all__ = [
    "Caching",
    "CheckpointError",
    "Clip",
    "ConfigError",
    "InputError",
    "Pipeline",
    "Rates",
    "SorajaxError",
    "TrainingError",
    "generate",
    "load",
]
__version__ = "0.1.0"

_HOMES = {
    "Caching": "diffusion.caching",
    "CheckpointError": "errors",
    "Clip": "media.clip",
    "ConfigError": "errors",
    "InputError": "errors",
    "Pipeline": "pipeline",
    "Rates": "cost.account",
    "SorajaxError": "errors",
    "TrainingError": "errors",
    "generate": "pipeline",
    "load": "pipeline",
}

# How much of a TPU's fast memory the tiles of a product may take. With the default of 16 MiB the matrix units wait: a
# step of a large model is predicted to take 4 to 8 % longer. Read when JAX looks for devices; one's own value stays.
_LIMIT = "--xla_tpu_scoped_vmem_limit_kib"
if _LIMIT not in os.environ.get("LIBTPU_INIT_ARGS", ""):
    os.environ["LIBTPU_INIT_ARGS"] = f"{os.environ.get('LIBTPU_INIT_ARGS', '')} {_LIMIT}=65536".strip()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sorajax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sorajax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
