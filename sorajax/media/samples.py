"""Samples of a model that is being trained, as clips: marked and signed like any other."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provenance import Facts
from provenance.errors import ProvenanceError
from sorajax import __version__
from sorajax.errors import SorajaxError
from sorajax.media.clip import make_clip


def save_samples(
    clips: Sequence[NDArray[np.uint8]],
    folder: Path,
    name: str,
    *,
    prompts: Sequence[str],
    fps: float,
    model: tuple[str, str],
    seed: int,
    settings: Mapping[str, Any],
) -> list[Path]:
    """Write clips, uint8 [t, h, w, 3], to ``folder``/``name``-0.mp4 and so on; the paths of those that could be.

    model is its name and digest. A clip in which no watermark holds, as pictures of an untrained model may be blank, or
    that cannot be signed or written, is left out with a warning: training goes on.
    """
    written = []
    for i, (frames, prompt) in enumerate(zip(clips, prompts, strict=True)):
        facts = Facts(
            title=prompt[:80],
            model_name=model[0],
            model_digest=model[1],
            seed=seed,
            prompt=prompt,
            settings={**settings, "index": i},
            generator_version=__version__,
        )
        path = folder / f"{name}-{i}.mp4"
        try:
            make_clip(frames, fps=fps, facts=facts).save(path, overwrite=True)
            written.append(path)
        except (SorajaxError, ProvenanceError, OSError) as error:
            warnings.warn(f"no sample {path.name}: {error}", stacklevel=2)
    return written
