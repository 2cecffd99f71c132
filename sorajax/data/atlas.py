"""The sprites of the procedural world: 40 named objects, each with a cycle of animated poses.

Fluent animated emoji (Microsoft, MIT), baked by ``tools/build_atlas.py``; see NOTICE.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ASSETS = Path(__file__).parent / "assets"
CELL = 48
POSES = 16


@dataclass(frozen=True, kw_only=True)
class Object:
    """What the world and its captions know of one object."""

    name: str
    faces: str
    """Where the sprite looks: left, right or none (it is never mirrored)."""
    kind: str
    """How it gets about: walk, drive, fly, swim or move. What flies or swims keeps off the ground."""
    color: str
    """A colour word that fits it, or nothing."""
    names: dict[str, tuple[str, ...]]
    """Names by language, the commonest first."""
    gender: dict[str, str]
    """Grammatical gender by language, m or f, where the language has one."""
    measure: str
    """The Chinese measure word."""

    @property
    def floats(self) -> bool:
        return self.kind in ("fly", "swim")


@functools.cache
def objects() -> dict[str, Object]:
    """Every object by name, in the atlas's order; the first CORE of them are the easiest to tell apart."""
    entries: list[dict[str, Any]] = json.loads((ASSETS / "objects.json").read_text(encoding="utf-8"))
    return {
        e["name"]: Object(
            name=e["name"],
            faces=e["faces"],
            kind=e["kind"],
            color=e["color"],
            names={"en": tuple(e["en"])} | {code: tuple(e[code]["names"]) for code in ("zh", "es", "ar")},
            gender={code: e[code]["gender"] for code in ("es", "ar")},
            measure=e["zh"]["measure"],
        )
        for e in entries
    }


@functools.cache
def _atlas() -> Image.Image:
    with Image.open(ASSETS / "atlas.webp") as picture:
        return picture.convert("RGBa")


@functools.lru_cache(maxsize=8192)
def sprite(name: str, pose: int, size: int, mirrored: bool = False) -> np.ndarray:
    """One pose, `size` pixels square: f32 [size, size, 4], colour premultiplied by alpha, both in 0 to 255.

    The object's longer side, over the whole cycle, fills the square; it stands on the lower edge. Shared, so
    not to be written to.
    """
    row = list(objects()).index(name)
    left, top = pose % POSES * CELL, row * CELL
    cell = _atlas().crop((left, top, left + CELL, top + CELL))
    pixels = np.asarray(cell.resize((size, size), Image.Resampling.LANCZOS)).astype(np.float32)
    # Lanczos may overshoot: premultiplied colour never exceeds its alpha.
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    pixels = np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
    pixels.flags.writeable = False
    return pixels
