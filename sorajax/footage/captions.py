"""Captions that lie beside a video: text, JSON or subtitles, in UTF-8."""

import codecs
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pysubs2
from pysubs2.exceptions import Pysubs2Error

from sorajax.errors import InputError

SUFFIXES = (".txt", ".json", ".srt", ".vtt")
KEYS = ("caption", "captions", "text", "prompt")
"""Under which of these a JSON file, or a row of a manifest, has its captions."""
TAGS = ("title", "description", "comment")
"""Which of a video's own metadata a person may have written."""
_TOOLS = re.compile(
    r"\b(lav[fc][\d.]*|x26[45]|libx26[45]|ffmpeg|handbrake|encode[rd]|iso ?media|gpac|videohandler|soundhandler"
    r"|core media|untitled|unnamed|all rights reserved|copyright|subscribe"
    r"|(made|created|recorded|captured|edited|converted|rendered|exported|downloaded|uploaded) (by|with|using))\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"https?://\S+|www\.\S+|\S+@\S+\.\w+")
_FILE = re.compile(r"\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|m?ts|gif|wmv|flv|prproj|blend|aep?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Caption:
    """What is said of a video from ``start`` to ``end``, in seconds."""

    text: str
    language: str = ""
    """A tag of BCP 47, as in "en" or "zh-Hans"; empty if it is not known."""
    start: float = 0.0
    end: float = math.inf


def read(name: str, data: bytes) -> list[Caption]:
    """Captions of a file by its name: ``dog.txt`` has one a line, ``dog.zh.txt`` in Chinese.

    JSON is a text, a list of them, or ``{"caption": ...}`` with one of these or texts by language; SRT and WebVTT have
    their times. Texts that say no language of their own have the name's.
    Raises InputError for another encoding than UTF-8 (or UTF-16 with its mark), and for what is no such file.
    """
    stem, _, suffix = name.rpartition(".")
    text = _decoded(name, data)
    language = stem.rpartition(".")[2] if "." in stem else ""
    language = language if 2 <= len(language.partition("-")[0]) <= 3 and language.replace("-", "").isalpha() else ""
    if suffix.lower() == "txt":
        return [Caption(line, language) for line in map(_plain, text.splitlines()) if line]
    if suffix.lower() == "json":
        try:
            return of_values(json.loads(text), name, language)
        except json.JSONDecodeError as error:
            raise InputError(f"{name} is not valid JSON: {error}; correct it") from None
    try:
        subtitles = pysubs2.SSAFile.from_string(text, format_=suffix.lower())
    except (Pysubs2Error, ValueError) as error:
        raise InputError(f"{name} cannot be read as {suffix.upper()}: {error}; correct it") from None
    if not subtitles and text.strip():
        raise InputError(f"{name} cannot be read as {suffix.upper()}: there are no subtitles in it; correct it")
    lines = [(_plain(event.plaintext), event.start / 1000, event.end / 1000) for event in subtitles if event.is_text]
    return [Caption(line, language, start, end) for line, start, end in lines if line and end > start]


def of_values(values: Any, name: str, language: str = "") -> list[Caption]:
    """Captions of a JSON object, or of a row of a manifest: under the first of ``KEYS`` that it has.

    A text alone, or a list, is captions too. ``language`` is of those that say none.
    """
    found = values if isinstance(values, str | list) else None
    if isinstance(values, dict):
        found = next((values[key] for key in KEYS if values.get(key)), None)
        language = values.get("language") or language
    if found is None:
        return []
    by_language = found if isinstance(found, dict) else {str(language): found}
    captions = []
    for language, texts in by_language.items():
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str):
                raise InputError(f"{name}: caption {text!r} is not a text; give one text, a list, or texts by language")
            captions += [Caption(_plain(text), language)] if _plain(text) else []
    return captions


def of_tags(tags: Mapping[str, str], wanted: Sequence[str], name: str) -> list[Caption]:
    """Captions of a video's own metadata, each of the ``wanted`` tags once, where a person wrote it.

    Not taken are what programs write there, the name of the file, addresses, and less than two words.
    """
    texts = [_plain(_ADDRESS.sub("", tags.get(key, ""))) for key in wanted]
    return [Caption(text) for text in dict.fromkeys(texts) if _is_written(text, name)]


def _is_written(text: str, name: str) -> bool:
    words = re.findall(r"[^\W\d_]+", text)
    several = len(words) >= 2 or any(
        len(word) >= 2 and word[0] >= "\u2e80" for word in words
    )  # none between in Chinese
    if not several or not text.isprintable() or _TOOLS.search(text) or _FILE.search(text):
        return False
    file = name.rpartition("/")[2].rpartition(".")[0]
    return _letters(text) not in (_letters(file), "")


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def within(captions: tuple[Caption, ...], start: float, end: float) -> list[Caption]:
    """What is said of a stretch: captions of the whole video, and one caption a language of those timed inside it.

    Subtitles that overlap the stretch by more than half of their own time, or half of its, are put together.
    """
    whole = [c for c in captions if math.isinf(c.end) and not c.start]
    timed: dict[str, list[str]] = {}
    for c in captions:
        if c in whole:
            continue
        shared = min(c.end, end) - max(c.start, start)
        if shared > 0.5 * min(c.end - c.start, end - start):
            timed.setdefault(c.language, []).append(c.text)
    return whole + [Caption(" ".join(texts), language, start, end) for language, texts in timed.items()]


def _decoded(name: str, data: bytes) -> str:
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        where, kind = f"byte 0x{data[error.start]:02x} at {error.start}", "UTF-16" if marked else "UTF-8"
        raise InputError(f"{name}: {where} is not {kind}; convert it, as in iconv -f LATIN1 -t UTF-8") from None


def _plain(text: str) -> str:
    return " ".join(text.split())
