"""Train the tokenizer of the mini model on captions of the procedural world, in all its languages.

    python tools/train_tokenizer.py -o sorajax/weights_data/mini/tokenizer/spiece.model

A unigram sentencepiece model with byte fallback, so that any text has ids. It folds what people type in many ways:
case, accents, full-width forms, Arabic vowel signs and letter variants. Same sources, same file, byte for byte.
"""

import argparse
import contextlib
import io
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sentencepiece

from sorajax.data.atlas import objects
from sorajax.data.captions import LANGUAGES
from sorajax.data.world import OBJECTS, World, WorldConfig
from sorajax.train.retype import retype

VOCABULARY = 2600
CAPTIONS = 10_000
"""Clips described, once in each language."""
CARELESS = 0.15
"""Share of captions with the slips that people make."""

BREAK = "\t"
SINGLE = "的在正有一和与跟是，。、：上下里中前间后向往从左右大小很越来"
"""Chinese characters that are words of their own."""

ARABIC = {"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ة": "ه", "ـ": ""}
PUNCTUATION = {
    "。": ".",
    "、": ",",
    "،": ",",
    "؛": ";",
    "؟": "?",
    "…": "...",
    "–": "-",
    "—": "-",
    "„": '"',
    "«": '"',
    "»": '"',
}
FOLDED = (
    (0x00A0, 0x0590),
    (0x0600, 0x0700),
    (0x1E00, 0x2000),
    (0x2000, 0x2070),
    (0xFB50, 0xFE00),
    (0xFE70, 0xFF00),
    (0xFF00, 0xFFF0),
)
"""Blocks whose letters are folded: Latin, Greek, Cyrillic, Arabic, punctuation, presentation and full-width forms."""


def folded(char: str) -> str:
    """What the tokenizer reads in place of a character."""
    if char in ARABIC or char in PUNCTUATION:
        return ARABIC.get(char, PUNCTUATION.get(char, ""))
    text = unicodedata.normalize("NFKD", char).casefold()
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = "".join(ARABIC.get(c, PUNCTUATION.get(c, c)) for c in text)
    return " " if text.isspace() else text


def rules() -> str:
    """The folding as a sentencepiece normalisation table: code points, tab, code points."""
    blocks = ((0x41, 0x5B), (0x3000, 0x3003), *FOLDED)
    lines = []
    for char in (chr(code) for start, end in blocks for code in range(start, end)):
        if unicodedata.category(char)[0] == "C" and char not in "\u200b\u200c\u200d\u200e\u200f":
            continue
        target = "" if unicodedata.category(char) == "Cf" else folded(char)
        if target != char:
            lines.append(f"{ord(char):X}\t{' '.join(f'{ord(c):X}' for c in target)}\n")
    return "".join(lines)


def marked(text: str) -> str:
    """Chinese text with BREAK where one word may end and another begin; no piece reaches over it.

    Without spaces whole phrases would become pieces, fill the vocabulary, and tell nothing of their parts.
    """
    names = sorted((name for thing in objects().values() for name in thing.names["zh"]), key=len, reverse=True)
    words = re.compile("|".join([*map(re.escape, names), f"[{SINGLE}]"]))
    return words.sub(lambda word: f"{BREAK}{word[0]}{BREAK}", text)


def sentences(count: int) -> Iterator[str]:
    """Captions of ``count`` clips in every language, some of them typed carelessly, then every word of theirs."""
    world = World(WorldConfig(objects=OBJECTS, two_objects=0.3, plain_style=0.4, still_camera=0.4, seed=1))
    words = set()
    for index in range(count):
        rng = np.random.default_rng(index)
        for language in LANGUAGES:
            text = world.caption(world.spec(index), language, rng)
            words.update(re.findall(r"[^\W_]+", marked(text) if language == "zh" else text))
            if rng.random() < CARELESS:
                text = retype(text, language, rng)
            yield marked(text) if language == "zh" else text
    # The trainer's candidates are strings that go on in two ways or more. "dog" is always followed by a space, so
    # "dog" alone would never be one.
    for word in sorted(words):
        yield word
        yield word + ","


def train(vocabulary: int, count: int) -> bytes:
    """The model file's bytes."""
    model = io.BytesIO()
    # The model records the table's name: a bare one, so that it is the same wherever it is made.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("folding.tsv").write_text(rules(), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences(count),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocabulary,
            character_coverage=1.0,
            byte_fallback=True,
            required_chars="abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()-",
            normalization_rule_tsv="folding.tsv",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            pretokenization_delimiter=BREAK,
            num_threads=1,
            minloglevel=1,
        )
    return model.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help="number of ids (default: %(default)s)")
    parser.add_argument("--captions", type=int, default=CAPTIONS, help="clips described (default: %(default)s)")
    args = parser.parse_args()
    model = train(args.vocabulary, args.captions)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_bytes(model)
    print(f"{args.output}: {args.vocabulary} ids, {len(model):,} bytes")


if __name__ == "__main__":
    main()
