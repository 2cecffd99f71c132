"""Prompts to token ids: cleaning, sentencepiece, the end mark, padding."""

import html
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import ftfy
import numpy as np
import sentencepiece

from sorajax.errors import CheckpointError, InputError


def clean(prompt: str) -> str:
    """Repair broken encodings, resolve HTML entities (twice), make every run of white space one space.

    What diffusers' Wan pipelines do with every prompt; ftfy also brings it to Unicode NFC.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", text).strip()


class Tokenizer:
    """A sentencepiece model with T5's conventions: padding on the right, ``</s>`` at the end, nothing in front."""

    def __init__(self, path: str | Path):
        """Raises CheckpointError if ``path`` is missing, is not a sentencepiece model, or has no padding or end id."""
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"no tokenizer at {path}; expected a sentencepiece model file")
        pieces = sentencepiece.SentencePieceProcessor()
        try:
            pieces.LoadFromSerializedProto(path.read_bytes())
        except (RuntimeError, OSError):
            raise CheckpointError(f"{path} is not a sentencepiece model; replace it by an intact copy") from None
        if min(pieces.pad_id(), pieces.eos_id()) < 0:
            raise CheckpointError(f"{path} has no padding or end-of-text id; a T5 or UMT5 tokenizer has both")
        self._pieces = pieces

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return self._pieces.vocab_size()

    def encode(self, prompts: Sequence[str], length: int, *, warn: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """ids int32 [b, length] and mask bool [b, length], True at the prompt's tokens and its end mark.

        A prompt of more than ``length`` tokens is cut, with a warning (if ``warn``) that quotes what is lost. The
        empty prompt is its end mark alone. Raises InputError for a length below 1, and unless prompts are strings.
        """
        if length < 1:
            raise InputError(f"text length is {length}; at least 1 token is needed, for the end mark")
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError(f"prompts must be a list of strings, got {prompts!r:.80}")
        pad, end = self._pieces.pad_id(), self._pieces.eos_id()
        ids = np.full((len(prompts), length), pad, np.int32)
        mask = np.zeros((len(prompts), length), bool)
        for row, tokens in enumerate(self._pieces.encode([clean(prompt) for prompt in prompts])):
            if warn and len(tokens) > length - 1:
                lost = self._pieces.decode(tokens[length - 1 :]).strip()
                warnings.warn(
                    f"prompt has {len(tokens) + 1} tokens and the text encoder reads {length}: "
                    f"the end is ignored, from {lost[:40]!r}",
                    stacklevel=2,
                )
            tokens = [*tokens[: length - 1], end]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = True
        return ids, mask
