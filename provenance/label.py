"""A label that everybody sees: burnt into the pictures, in the viewer's language.

- ``corner``: a small badge at the lower right;
- ``moving``: the same, at another place every few seconds, so that no crop takes it out of a whole clip;
- ``credits``: a card at the end with title, model, signer and date.

White letters on a dark plate with a light rim are legible on light and on dark pictures. Labelling comes before
watermarking and signing: it changes pictures.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provenance import lettering, outputs, recoding, video
from provenance.errors import InputError, MarkingError, MediaError
from provenance.planes import Planes
from provenance.rewriting import Progress, Rewriter

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

STYLES = ("corner", "moving", "credits")
LONGEST = 80
"""Characters of a badge."""


class Words(NamedTuple):
    """What is said in a language."""

    made: str
    title: str
    model: str
    signer: str
    date: str


LANGUAGES = {
    "ar": Words("مُنشأ بالذكاء الاصطناعي", "العنوان", "النموذج", "الموقِّع", "التاريخ"),
    "de": Words("KI-generiert", "Titel", "Modell", "Signiert von", "Datum"),
    "en": Words("AI-generated", "Title", "Model", "Signed by", "Date"),
    "es": Words("Generado con IA", "Título", "Modelo", "Firmado por", "Fecha"),
    "fr": Words("Généré par IA", "Titre", "Modèle", "Signé par", "Date"),
    "he": Words("נוצר בבינה מלאכותית", "כותרת", "מודל", "נחתם על ידי", "תאריך"),
    "hi": Words("एआई द्वारा निर्मित", "शीर्षक", "मॉडल", "हस्ताक्षरकर्ता", "तारीख"),
    "it": Words("Generato con l'IA", "Titolo", "Modello", "Firmato da", "Data"),
    "ja": Words("AI生成", "タイトル", "モデル", "署名者", "日付"),
    "ko": Words("AI 생성", "제목", "모델", "서명자", "날짜"),
    "pt": Words("Gerado por IA", "Título", "Modelo", "Assinado por", "Data"),
    "ru": Words("Создано ИИ", "Название", "Модель", "Подписано", "Дата"),
    "zh": Words("AI生成", "标题", "模型", "签名者", "日期"),
}
"""By their ISO 639-1 codes."""

_LEAST_LETTER, _SHARE = 9, 0.04
_CARD_SHARE = 0.055
_STAY, _GLIDE = 3.0, 0.6
# Where a moving badge stays, as shares of the free way across and down.
_PLACES = ((1.0, 1.0), (0.0, 0.12), (1.0, 0.45), (0.0, 0.9), (0.5, 0.0))


@dataclass(frozen=True, kw_only=True)
class Credits:
    """What the card at the end says besides; an empty line is left out."""

    title: str = ""
    model: str = ""
    signer: str = ""
    date: str = ""
    seconds: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Label:
    """What to write and how.

    Raises:
        InputError: a style or language that does not exist, a text that is too long, or a card of no time.
    """

    style: str = "corner"
    text: str | None = None
    """None says that a machine made it, in ``language``."""
    language: str = "en"
    credits: Credits = Credits()
    font: Path | None = None
    """None looks for one on this machine."""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise InputError(f"the style is {self.style!r}; it must be {', '.join(STYLES)}")
        if self.language not in LANGUAGES:
            raise InputError(f"the language is {self.language!r}; it must be one of {', '.join(LANGUAGES)}")
        if self.text is not None and not 0 < len(self.text.strip()) <= LONGEST:
            raise InputError(f"the text has {len(self.text.strip())} characters; a label has 1 to {LONGEST}")
        if not 0 < self.credits.seconds <= 60:
            raise InputError(f"the credits last {self.credits.seconds} seconds; give more than 0 and at most 60")

    @property
    def words(self) -> str:
        return self.text if self.text is not None else LANGUAGES[self.language].made


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What ``label_file`` wrote."""

    path: str
    frames: int
    """Those of the card included."""
    width: int
    height: int
    notes: tuple[str, ...] = ()
    """What could not be kept."""


def burn(frames: "NDArray[np.uint8]", label: Label | None = None, *, fps: float = 24.0) -> "NDArray[np.uint8]":
    """A labelled copy.

    Args:
        frames: uint8 [t, h, w, 3], RGB.
        label: None is a badge in the corner, in English.
        fps: pictures a second, by which a badge moves and a card lasts.

    Returns:
        uint8 [t, h, w, 3]; of credits [t + n, h, w, 3].

    Raises:
        InputError: frames of another shape, pictures too small, or no font for the text.
    """
    import numpy as np

    label = label or Label()
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise InputError(f"frames are {frames.dtype} {list(frames.shape)}; they must be uint8 [t, h, w, 3]")
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"{fps} pictures a second are not possible")
    if label.style == "credits":
        card = draw_card(label, *frames.shape[1:3])
        return np.concatenate([frames, np.repeat(card[None], _count(label, fps), axis=0)])
    badge = draw_badge(label, *frames.shape[1:3])
    out = frames.copy()
    for i, picture in enumerate(out):
        top, left = place(label, picture.shape[:2], badge.shape[:2], i / fps)
        _blend(picture[top : top + badge.shape[0], left : left + badge.shape[1]], badge)
    return out


def label_file(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    label: Label | None = None,
    *,
    overwrite: bool = False,
    drop_credentials: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """Write a labelled copy of a video: pictures encoded anew as by ``provenance.marking``, all else as it was. A video
    that is stored turned gets its label upright.

    Args:
        src: MP4, MOV, MKV, WebM or AVI.
        dst: the new file, ending in .mp4, .m4v, .mov, .mkv or .webm.
        label: None is a badge in the corner, in English.
        overwrite: replace ``dst`` if it exists.
        drop_credentials: leave out C2PA credentials, which hold for the pictures of ``src`` only.
        progress: called with (pictures done, pictures in all) after each; the latter is 0 where not known.

    Raises:
        InputError: a path that cannot be used, pictures too small, no font for the text, or credentials in ``src``
            without the word to leave them out.
        MediaError: ``src`` is not readable video.
        MarkingError: encoding failed. Nothing is left at ``dst``.
    """
    src, dst, label = Path(src), Path(dst), label or Label()
    container = recoding.check_suffix(dst)
    try:
        info = video.probe(src)
        signed = info.container in ("mp4", "mov") and video.has_manifest_box(src)
    except MediaError as error:
        raise MediaError(f"{src}: {error}") from None
    if dst.exists() and os.path.samefile(src, dst):
        raise InputError(f"the destination {dst} is the source itself; choose another name")
    outputs.check(dst, overwrite=overwrite)
    if signed and not drop_credentials:
        raise InputError(
            f"{src} carries credentials (C2PA), which hold for exactly these pictures: a label would break them. Leave "
            f"them out (--drop-credentials), then sign the result (provenance sign --parent {src} --edit addedText)"
        )
    # Words that cannot be drawn are to be known before any work is done.
    (draw_card if label.style == "credits" else draw_badge)(label, info.height, info.width)
    writer = _Writer(label, progress)
    try:
        with outputs.hidden(dst) as part:
            made, (width, height) = writer.write(src, part, container)
            outputs.sync(part)
            outputs.publish(part, dst, overwrite)
    except MarkingError as error:
        raise MarkingError(f"{src}: {error}") from None
    except OSError as error:
        raise outputs.cannot_write(dst, error, MarkingError) from None
    return Labelled(path=str(dst), frames=writer.done, width=width, height=height, notes=tuple(made.notes))


class _Patch(NamedTuple):
    """A part of a picture, as stored."""

    top: int
    left: int
    rgb: "NDArray[np.uint8]"


class _Writer(Rewriter[_Patch]):
    """Writes a label into the pictures of a file."""

    def __init__(self, label: Label, progress: Progress | None):
        super().__init__(progress)
        self._label, self._turns, self._fps = label, 0, 24.0

    def began(self, first: "VideoFrame", main: "VideoStream") -> None:
        self._turns = round(first.rotation / 90) % 4
        rate = float(main.average_rate or main.guessed_rate or 0)
        self._fps = rate if math.isfinite(rate) and rate > 0 else 24.0

    def changes(self, views: "Iterator[NDArray[np.uint8]]") -> Iterator[_Patch]:
        import numpy as np

        first = next(views)
        shown = np.rot90(first, self._turns)
        if self._label.style == "credits":
            card = np.rot90(draw_card(self._label, *shown.shape[:2]), -self._turns)
            for view in chain([first], views):
                yield _Patch(0, 0, view[:0, :0])
            for _ in range(_count(self._label, self._fps)):
                yield _Patch(0, 0, card)
            return
        badge = draw_badge(self._label, *shown.shape[:2])
        for i, view in enumerate(chain([first], views)):
            yield self._patch(view, badge, i / self._fps)

    def _patch(self, view: "NDArray[np.uint8]", badge: "NDArray[np.uint8]", seconds: float) -> _Patch:
        """The badge upright, as a part of a picture that is stored turned."""
        import numpy as np

        size = np.rot90(view, self._turns).shape[:2]
        top, left = place(self._label, size, badge.shape[:2], seconds)
        rows, columns = badge.shape[:2]
        plate = np.rot90(badge, -self._turns)
        # The place of the plate's upper left corner, turned back.
        for _ in range(self._turns):
            top, left, size, (rows, columns) = left, size[0] - top - rows, size[::-1], (columns, rows)
        top, left = top // 2 * 2, left // 2 * 2  # chroma is stored for pairs
        part = view[top : top + rows, left : left + columns].copy()
        _blend(part, plate)
        return _Patch(top, left, part)

    def apply(self, stored: Planes, frame: "VideoFrame", view: "NDArray[np.uint8]", change: _Patch) -> "VideoFrame":
        return stored.put(frame, *change)


def draw_badge(label: Label, height: int, width: int) -> "NDArray[np.uint8]":
    """The badge for pictures of a size, uint8 [h, w, 4], RGB and coverage; h and w are even.

    Raises:
        InputError: the pictures are too small for the text, or there is no font for it.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    size = max(_LEAST_LETTER, round(min(height, width) * _SHARE))
    while True:
        ink = lettering.line(label.words, size, label.font)
        edge = max(2, round(size * 0.45))
        rows, columns = _even(ink.shape[0] + edge), _even(ink.shape[1] + 2 * edge)
        if rows <= height - 2 and columns <= width - 2:
            break
        size -= 1
        if size < _LEAST_LETTER:
            raise InputError(
                f"pictures of {width}x{height} are too small for the label {label.words!r}; choose a shorter text"
            )
    # Corners are drawn four times as large, for smooth edges.
    plate = Image.new("L", (columns * 4, rows * 4))
    rim = Image.new("L", plate.size)
    box, radius, thick = (0, 0, plate.width - 1, plate.height - 1), rows * 4 // 4, max(4, rows * 4 // 24)
    ImageDraw.Draw(plate).rounded_rectangle(box, radius, fill=255)
    ImageDraw.Draw(rim).rounded_rectangle(box, radius, outline=255, width=thick)
    small = (columns, rows)
    cover = np.asarray(plate.resize(small, Image.Resampling.BOX), np.float32) / 255
    line = np.asarray(rim.resize(small, Image.Resampling.BOX), np.float32) / 255
    letters = np.zeros((rows, columns), np.float32)
    top, left = (rows - ink.shape[0]) // 2, (columns - ink.shape[1]) // 2
    letters[top : top + ink.shape[0], left : left + ink.shape[1]] = ink / 255
    white = np.maximum(letters, 0.55 * line)
    alpha = np.maximum(cover * 0.68, white)
    badge = np.empty((rows, columns, 4), np.uint8)
    badge[..., :3] = np.rint(255 * white / np.maximum(alpha, 1e-6))[..., None]
    badge[..., 3] = np.rint(255 * alpha)
    return badge


def draw_card(label: Label, height: int, width: int) -> "NDArray[np.uint8]":
    """The credits for pictures of a size, uint8 [h, w, 3]: what is said stands in the middle, and lines that are
    read to the left begin at the right.

    Raises:
        InputError: as ``draw_badge``.
    """
    import numpy as np

    words, credits = LANGUAGES[label.language], label.credits
    said = [
        f"{name}: {value if lettering.is_right_to_left(value) else _isolated(value)}"
        for name, value in zip(words[1:], (credits.title, credits.model, credits.signer, credits.date), strict=True)
        if value.strip()
    ]
    texts = [(label.words, 1.6), *((text, 1.0) for text in said)]
    size = max(_LEAST_LETTER, round(min(height, width) * _CARD_SHARE))
    while True:
        lines = [lettering.line(_short(text), round(size * share), label.font) for text, share in texts]
        gap = size
        tall = sum(line.shape[0] for line in lines) + (gap if said else 0) + (len(lines) - 1) * (size // 3)
        if tall <= height * 0.92 and max(line.shape[1] for line in lines) <= width * 0.92:
            break
        size -= 1
        if size < _LEAST_LETTER:
            raise InputError(f"pictures of {width}x{height} are too small for these credits; shorten them")
    card = np.full((height, width, 3), 14, np.uint8)
    wide = max(line.shape[1] for line in lines)
    left, top = (width - wide) // 2, (height - tall) // 2
    for i, line in enumerate(lines):
        at = left + (wide - line.shape[1] if lettering.is_right_to_left(texts[i][0]) else 0)
        at = (width - line.shape[1]) // 2 if i == 0 else at
        part = card[top : top + line.shape[0], at : at + line.shape[1]]
        part[:] = np.maximum(part, line[..., None] if i == 0 else (line * 0.85).astype(np.uint8)[..., None])
        top += line.shape[0] + size // 3 + (gap if i == 0 else 0)
    return card


def place(label: Label, size: tuple[int, int], badge: tuple[int, int], seconds: float) -> tuple[int, int]:
    """(top, left) of a badge, [h, w] like the size of the pictures, at a time; even numbers."""
    margin = max(1, round(min(size) * 0.025))
    free = [max(0, whole - part) for whole, part in zip(size, badge, strict=True)]
    margins = [min(margin, room // 2) for room in free]
    across, down = _where(seconds) if label.style == "moving" else _PLACES[0]
    spots = [m + share * (room - 2 * m) for m, room, share in zip(margins, free, (down, across), strict=True)]
    return int(spots[0]) // 2 * 2, int(spots[1]) // 2 * 2


def _where(seconds: float) -> tuple[float, float]:
    """Shares of the way across and down: it stays, then glides to the next place."""
    turn, rest = divmod(seconds, _STAY + _GLIDE)
    now, then = _PLACES[int(turn) % len(_PLACES)], _PLACES[(int(turn) + 1) % len(_PLACES)]
    share = max(0.0, (rest - _STAY) / _GLIDE)
    share = share * share * (3 - 2 * share)
    return now[0] + (then[0] - now[0]) * share, now[1] + (then[1] - now[1]) * share


def _blend(part: "NDArray[np.uint8]", badge: "NDArray[np.uint8]") -> None:
    """Lay a badge over a part of a picture of the same size, in place."""
    import numpy as np

    alpha = badge[..., 3:].astype(np.uint16)
    part[:] = (part * (255 - alpha) + badge[..., :3] * alpha + 127) // 255


def _count(label: Label, fps: float) -> int:
    return max(1, round(label.credits.seconds * fps))


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _isolated(text: str) -> str:
    """Text whose order does not depend on what is around it (UAX 9): a date stays one in a line of Arabic."""
    return f"\u2066{text.strip()}\u2069"


def _even(number: int) -> int:
    return number + number % 2
