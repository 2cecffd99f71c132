"""Copies of clips that differ a little: mirrored, cropped, faster, backwards, in other colours.

Each copy is changed in one way, and what a caption would get wrong, it says: ", black and white". Everything is drawn
from the seed, the clip and the copy's number alone.
"""

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorajax.errors import ConfigError

GREY = np.array([0.299, 0.587, 0.114], np.float32)
SEPIA = np.array([1.08, 0.93, 0.74], np.float32)
"""By which brightness is multiplied in red, green and blue."""
WORDS = {
    "en": {
        "grey": ", black and white",
        "sepia": ", in sepia",
        "fast": ", sped up",
        "reverse": ", played backwards",
        "shuffle": ", its frames out of order",
    },
    "es": {
        "grey": ", en blanco y negro",
        "sepia": ", en tono sepia",
        "fast": ", a cámara rápida",
        "reverse": ", reproducido al revés",
        "shuffle": ", con los fotogramas desordenados",
    },
    "zh": {
        "grey": "，黑白画面",
        "sepia": "，棕褐色调",
        "fast": "，快进播放",
        "reverse": "，倒放",
        "shuffle": "，画面顺序被打乱",
    },
    "ar": {
        "grey": "، بالأبيض والأسود",
        "sepia": "، بدرجات البني الداكن",
        "fast": "، بحركة سريعة",
        "reverse": "، معروض بالعكس",
        "shuffle": "، بإطارات غير مرتبة",
    },
}
"""What a caption says more, by its language. One in another language is not taken for such a copy."""
SIDES = re.compile(
    r"\b(left|right|(counter|anti)?clockwise|izquierd\w+|derech\w+)\b|左|右|顺时针|逆时针|يسار|يمين", re.I
)
"""Captions with these would be wrong of a mirrored copy."""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Which copies there are of each clip, beside the clip as it is."""

    flips: bool = False
    """One mirrored, where a caption says nothing of left and right."""
    crops: int = 0
    """So many, each of a part of the picture,"""
    crop_share: float = 0.5
    """which is at least this share of the most that fits the model's proportions, by area."""
    strides: tuple[int, ...] = (1,)
    """2: one of every second frame, twice as fast, of clips that are long enough. 1 is the clip as it is."""
    reverse: bool = False
    """One played backwards."""
    shuffle: int = 0
    """One whose frames are out of order within windows of so many; 0: none, as it teaches to stutter, and serves only
    to tell order from disorder."""
    style: int = 0
    """So many in other colours: black and white, sepia, or another brightness, contrast and saturation."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.crops < 0 or self.style < 0:
            raise ConfigError(f"crops {self.crops}, style {self.style}: numbers of copies; give 0 or more")
        if not 0.05 <= self.crop_share <= 1:
            raise ConfigError(f"crop_share: {self.crop_share:g} is no share of a picture; give 0.05 to 1")
        if 1 not in self.strides or min(self.strides) < 1:
            given = ",".join(map(str, self.strides))
            raise ConfigError(f"strides: {given!r} leaves the clips themselves out; write them as in strides=1,2")
        if self.shuffle < 0 or self.shuffle == 1:
            raise ConfigError(f"shuffle: {self.shuffle} frames have no order; give 2 or more, or 0")


@dataclass(frozen=True, kw_only=True)
class Change:
    """In what a copy differs from its clip."""

    flip: bool = False
    crop: tuple[float, float, float] = (1.0, 0.5, 0.5)
    """Share of the sides, and where it lies across and down: 0 at the left and top, 1 at the right and bottom."""
    stride: int = 1
    reverse: bool = False
    order: tuple[int, ...] = ()
    """Numbers of its frames."""
    style: str = ""
    """grey, sepia or levels."""
    levels: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of brightness, contrast and saturation."""

    def about(self) -> dict[str, Any]:
        """What is not as it was, as plain values."""
        return {f.name: value for f in dataclasses.fields(self) if (value := getattr(self, f.name)) != f.default}

    @property
    def says(self) -> str:
        """Under which of ``WORDS`` its captions are told more, if they are."""
        colours = self.style if self.style != "levels" else ""
        return colours or (
            "fast" if self.stride > 1 else "reverse" if self.reverse else "shuffle" if self.order else ""
        )


def changes(augment: Augment, clip: Mapping[str, Any], start: float, frames: int) -> list[Change]:
    """Copies of the stretch of a clip that begins at ``start``, the first unchanged; without those by stride."""
    said, moving = clip["captions"], frames > 1
    found = [Change()]
    if augment.flips:
        found.append(Change(flip=True))
    for number in range(augment.crops):
        rng = _random(augment, clip, start, "crop", number)
        side = math.sqrt(rng.uniform(augment.crop_share, 1.0))
        found.append(Change(crop=_rounded(side, rng.uniform(), rng.uniform())))
    if augment.reverse and moving:
        found.append(Change(reverse=True))
    if augment.shuffle and moving:
        rng = _random(augment, clip, start, "shuffle", 0)
        windows = [np.arange(i, min(i + augment.shuffle, frames)) for i in range(0, frames, augment.shuffle)]
        found.append(Change(order=tuple(int(i) for window in windows for i in rng.permutation(window))))
    for number in range(augment.style):
        rng = _random(augment, clip, start, "style", number)
        change = Change(style=str(rng.choice(["grey", "sepia", "levels"], p=[0.3, 0.2, 0.5])))
        if not change.says or change in found or texts(said, change) is None:
            levels = _rounded(rng.uniform(0.75, 1.25), rng.uniform(0.75, 1.25), rng.uniform(0.5, 1.5))
            change = Change(style="levels", levels=levels)
        found.append(change)
    return [change for change in found if texts(said, change) is not None]


def texts(said: Sequence[Mapping[str, str]], change: Change) -> list[str] | None:
    """Captions (``text`` and ``language``) as they are right of a copy; None where none can be.

    A clip without captions has one that is empty.
    """
    if change.says:
        found = [_told(caption["text"], words) for caption in said if (words := _words(caption, change.says))]
        return found or None
    found = [caption["text"] for caption in said if not (change.flip and SIDES.search(caption["text"]))]
    return found or (None if said else [""])


def apply(frames: NDArray[np.uint8], change: Change) -> NDArray[np.uint8]:
    """Frames uint8 [t, h, w, 3] as a change has them; crops and strides are made where frames are read."""
    if change.flip:
        frames = frames[:, :, ::-1]
    if change.reverse:
        frames = frames[::-1]
    if change.order:
        frames = frames[list(change.order)]
    if not change.style:
        return frames
    mean = float(frames.mean((0, 1, 2)) @ GREY)
    return np.stack([_coloured(frame.astype(np.float32), change, mean) for frame in frames])


def _coloured(frame: NDArray[Any], change: Change, mean: float) -> NDArray[np.uint8]:
    grey = (frame @ GREY)[..., None]
    if change.style == "levels":
        brightness, contrast, saturation = change.levels
        frame = brightness * (mean + contrast * (grey + saturation * (frame - grey) - mean))
    else:
        frame = grey * (SEPIA if change.style == "sepia" else np.ones(3, np.float32))
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def _words(caption: Mapping[str, str], says: str) -> str:
    """One of no known language is taken for English where its letters are Latin."""
    language = caption["language"].lower().partition("-")[0]
    if not language and all(ord(c) < 0x250 for c in caption["text"] if c.isalpha()):
        language = "en"
    return WORDS.get(language, {}).get(says, "")


def _told(text: str, words: str) -> str:
    bare = text.rstrip(" .。")
    return bare + words + text[len(bare) :].strip()


def _random(augment: Augment, clip: Mapping[str, Any], start: float, kind: str, number: int) -> np.random.Generator:
    name = f"{augment.seed}/{clip['source']}/{start:.4f}/{kind}/{number}"
    return np.random.default_rng(list(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()))


def _rounded(a: float, b: float, c: float) -> tuple[float, float, float]:
    return round(float(a), 4), round(float(b), 4), round(float(c), 4)
