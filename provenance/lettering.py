"""Words as pictures, in any script for which there is a font on this machine.

Fonts are looked for by name in the folders where systems keep them. A font is taken for a line, or for a word of it
where no font has all, only if it has a glyph for every character, so that no reader ever sees empty boxes.
"""

import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FOLDERS = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
    "/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts",
)  # fmt: skip
# In the order in which they are tried, with the face's number in a collection.
_FONTS = (
    ("DejaVuSans.ttf", 0), ("NotoSans-Regular.ttf", 0), ("LiberationSans-Regular.ttf", 0), ("Arial.ttf", 0),
    ("NotoSansArabic-Regular.ttf", 0), ("NotoSansHebrew-Regular.ttf", 0), ("NotoSansDevanagari-Regular.ttf", 0),
    ("NotoSansBengali-Regular.ttf", 0), ("NotoSansThai-Regular.ttf", 0), ("NotoSansTamil-Regular.ttf", 0),
    ("NotoSansCJK-Regular.ttc", 2), ("NotoSansCJK-Regular.ttc", 0), ("NotoSansCJK-Regular.ttc", 1),
    ("wqy-zenhei.ttc", 0), ("DroidSansFallbackFull.ttf", 0), ("PingFang.ttc", 0), ("msyh.ttc", 0),
    ("Arial Unicode.ttf", 0),
)  # fmt: skip
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC")
_SHAPED = ("ARABIC", "HEBREW", "SYRIAC", "DEVANAGARI", "BENGALI", "TAMIL", "THAI", "TELUGU", "GUJARATI", "KANNADA")
_PROBE = 32
"""Pixels at which glyphs are compared."""
_NO_CHARACTER = "\U0010ffff"


def line(text: str, size: int, font: Path | None = None) -> "NDArray[np.uint8]":
    """One line of text as coverage, uint8 [h, w], 255 where ink is.

    Args:
        text: control characters count as spaces.
        size: of the letters, in pixels.
        font: a font file; None looks for one that has all of the text.

    Raises:
        InputError: no font has all of the text, or the given one does not; nothing to be drawn; or a script that this
            Pillow cannot lay out.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    text = " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text).split())
    if not text:
        raise InputError("there is no text to be drawn; give some")
    _check_layout(text)
    pieces = []
    for words, found in _runs(text, font):
        face = _sized(found, size)
        left, _, right, _ = face.getbbox(words)
        up, down = face.getmetrics()
        picture = Image.new("L", (max(1, round(right - left)), up + down))
        ImageDraw.Draw(picture).text((-left, 0), words, fill=255, font=face)
        pieces.append((np.asarray(picture, np.uint8), up))
    if is_right_to_left(text):
        pieces.reverse()
    up, down = (max(n) for n in zip(*((up, ink.shape[0] - up) for ink, up in pieces), strict=True))
    space = round(size * 0.3)
    out = np.zeros((up + down, sum(ink.shape[1] for ink, _ in pieces) + space * (len(pieces) - 1)), np.uint8)
    at = 0
    for ink, own in pieces:  # letters of all fonts stand on one line
        out[up - own : up - own + ink.shape[0], at : at + ink.shape[1]] = ink
        at += ink.shape[1] + space
    return out


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs to the left (UAX 9, P2)."""
    for char in text:
        if (direction := unicodedata.bidirectional(char)) in ("L", "R", "AL"):
            return direction != "L"
    return False


def _check_layout(text: str) -> None:
    from PIL import features

    if any(_script(c) in _SHAPED for c in text) and not features.check("raqm"):
        raise InputError(
            f"{text!r} is in a script that this Pillow cannot lay out, for it lacks raqm; install Pillow from its own "
            "wheels (pip install --force-reinstall pillow)"
        )


def _runs(text: str, given: Path | None) -> list[tuple[str, tuple[str, int]]]:
    """The text in one font if one has all of it; else words that follow each other in the same font, together."""
    try:
        return [(text, _font_for(text, given))]
    except InputError:
        if given is not None or " " not in text:
            raise
    runs: list[tuple[str, tuple[str, int]]] = []
    for word in text.split():
        if runs and not _missing(runs[-1][1], _letters(word)):
            runs[-1] = (f"{runs[-1][0]} {word}", runs[-1][1])
        else:
            runs.append((word, _font_for(word, None)))
    return runs


def _letters(text: str) -> frozenset[str]:
    """What needs a glyph of its own."""
    return frozenset(c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cf", "Mn"))


def _font_for(text: str, given: Path | None) -> tuple[str, int]:
    """(path, face number) of the first font that has all of the text; an empty path is Pillow's own."""
    chars = _letters(text)
    if given is not None:
        found = (str(given), 0)
        if missing := _missing(found, chars):
            raise InputError(f"the font {given} has no {_named(missing)}; choose one that has all of the text")
        return found
    for found in _installed():
        if not _missing(found, chars):
            return found
    if not (missing := _missing(("", 0), chars)):
        return "", 0
    scripts = {_script(c) for c in missing}
    package = "fonts-noto-core"
    if scripts & set(_CJK):
        package = "fonts-noto-cjk"
    elif scripts <= {"LATIN", "GREEK", "CYRILLIC"}:
        package = "fonts-dejavu-core"
    raise InputError(
        f"no font here has {_named(missing)}; install one (on Debian: apt-get install {package}) or name a font file"
    )


def _named(missing: frozenset[str]) -> str:
    char = min(missing)
    return f"{char!r} ({unicodedata.name(char, 'unnamed')})"


def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0]


@lru_cache(maxsize=256)
def _missing(font: tuple[str, int], chars: frozenset[str]) -> frozenset[str]:
    """Which characters have no glyph: they look like one that no font has, or like nothing."""
    face = _sized(font, _PROBE)
    none = _shape(face, _NO_CHARACTER)
    return frozenset(c for c in chars if (shape := _shape(face, c)) == none or not any(shape[1]))


def _shape(face: Any, char: str) -> tuple[tuple[int, int], bytes]:
    mask = face.getmask(char)
    return mask.size, bytes(mask)


@lru_cache(maxsize=64)
def _sized(font: tuple[str, int], size: int) -> Any:
    from PIL import ImageFont

    if not font[0]:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(font[0], size, index=font[1])
    except (OSError, ValueError) as error:
        raise InputError(f"the font {font[0]} cannot be read: {error}; name a TrueType or OpenType file") from None


def _installed() -> Iterator[tuple[str, int]]:
    for name, index in _FONTS:
        if (path := _files().get(name)) is not None:
            yield path, index


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """Where the fonts of ``_FONTS`` are on this machine."""
    wanted, found = {name for name, _ in _FONTS}, {}
    for folder in _FOLDERS:
        if folder.startswith("C:") and sys.platform != "win32":
            continue
        for place, _, names in os.walk(os.path.expanduser(folder)):
            for name in wanted.intersection(names):
                found.setdefault(name, os.path.join(place, name))
    return found
