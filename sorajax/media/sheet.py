"""Contact sheets: many clips on one picture, a strip of frames each, for the eye of whoever trains or evaluates."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sorajax.errors import InputError
from sorajax.media import destination
from sorajax.media.post import check_frames

_GAP = 2
_GUTTER = 10
_TEXT = 13
_BACKGROUND = (24, 24, 27)
_INK = (228, 228, 231)


def contact_sheet(
    clips: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    path: str | Path,
    *,
    frames: int = 6,
    columns: int = 1,
    labels: Sequence[str] = (),
    font: str | Path | None = None,
) -> Path:
    """Write a PNG with ``frames`` evenly spaced frames of each clip, and return its path.

    Args:
        clips: one clip, uint8 [t, h, w, 3], or several, which may differ in length and size.
        path: where the picture appears; a file that is there is replaced.
        frames: frames shown of each clip, the first and the last among them; a shorter clip shows all it has.
        columns: clips side by side.
        labels: a line of text above each clip; none, or one for each.
        font: a TrueType font for labels in scripts beyond Latin, which Pillow's own does not draw.

    Raises InputError for clips that are not uint8 [t, h, w, 3], counts that do not fit, or an unwritable path.
    """
    path = destination.check(path, suffix=".png", overwrite=True)
    clips = [clips] if isinstance(clips, np.ndarray) else list(clips)
    sheet = render(clips, frames=frames, columns=columns, labels=labels, font=font)
    with destination.hidden(path) as part:
        Image.fromarray(sheet).save(part, format="PNG", optimize=True)
        os.replace(part, path)
    return path


def render(
    clips: Sequence[NDArray[np.uint8]],
    *,
    frames: int = 6,
    columns: int = 1,
    labels: Sequence[str] = (),
    font: str | Path | None = None,
) -> NDArray[np.uint8]:
    """The picture that ``contact_sheet`` writes, uint8 [h, w, 3]."""
    if not clips or frames < 1 or columns < 1:
        raise InputError(f"a sheet of {len(clips)} clips, {frames} frames, {columns} columns; each must be 1 or more")
    if labels and len(labels) != len(clips):
        raise InputError(f"{len(labels)} labels for {len(clips)} clips; give none, or one for each")
    strips = [_strip(clip, frames) for clip in clips]
    header = _TEXT + 6 if labels else 0
    width = max(strip.shape[1] for strip in strips)
    rows = [strips[i : i + columns] for i in range(0, len(strips), columns)]
    heights = [header + max(strip.shape[0] for strip in row) for row in rows]
    size = (columns * (width + _GUTTER) + _GUTTER, sum(heights) + _GUTTER * (len(rows) + 1))
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    face = _face(font) if labels else None
    top = _GUTTER
    for r, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for c, strip in enumerate(row):
            left = _GUTTER + c * (width + _GUTTER)
            if face:
                draw.text((left, top), _fit(labels[r * columns + c], width, face), _INK, font=face)
            sheet.paste(Image.fromarray(strip), (left, top + header))
        top += height + _GUTTER
    return np.asarray(sheet)


def _strip(clip: NDArray[np.uint8], frames: int) -> NDArray[np.uint8]:
    """Evenly spaced frames side by side, uint8 [h, n * (w + gap) - gap, 3]."""
    check_frames(clip)
    chosen = np.linspace(0, len(clip) - 1, min(frames, len(clip))).round().astype(int)
    gap = np.full((clip.shape[1], _GAP, 3), _BACKGROUND, np.uint8)
    return np.concatenate([part for i in chosen for part in (gap, clip[i])][1:], axis=1)


def _face(font: str | Path | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if font is None:
        return ImageFont.load_default(_TEXT)
    try:
        return ImageFont.truetype(str(font), _TEXT)
    except OSError:
        raise InputError(f"font {str(font)!r} cannot be read; name a TrueType or OpenType file") from None


def _fit(text: str, width: int, face: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """One line no wider than ``width`` pixels, cut with an ellipsis where it must be."""
    text = " ".join(text.split())
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
