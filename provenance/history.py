"""What a file was made from, what was done to it, and what others may do with it: the signer's account, for a manifest.

- ``parentOf``: the file that was opened and edited (one at most); its own credentials are carried along.
- ``componentOf``: files that were put into it (``c2pa.placed``).
- ``inputTo``: files that a model or program was given, such as the picture a clip was made from.

Edits use the action names of the C2PA specification (2.2, 18.15.2). The choices about training and data mining are
those of the CAWG assertion 1.1.
"""

import mimetypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provenance import formats
from provenance.errors import InputError, MediaError
from provenance.formats import Format

EDITS = (
    "addedText", "adjustedColor", "changedSpeed", "color_adjustments", "converted", "cropped", "deleted", "drawing",
    "dubbed", "edited", "edited.metadata", "enhanced", "filtered", "orientation", "published", "repackaged", "resized",
    "resized.proportional", "transcoded", "trimmed", "unknown",
)  # fmt: skip
"""Actions that need nothing but their name, without their ``c2pa.``. What opens, creates, places or marks a file is
written by itself where it belongs."""
TRAINING = ("allowed", "notAllowed", "constrained")
"""May the file be used for training, inference and data mining?"""

_TRAINING_USES = ("cawg.data_mining", "cawg.ai_inference", "cawg.ai_generative_training", "cawg.ai_training")
_ON_THE_PARENT = ("c2pa.repackaged", "c2pa.transcoded")


@dataclass(frozen=True, kw_only=True)
class History:
    """The account. ``checked`` makes one from what a user says."""

    parent: Path | None = None
    """None is the file itself, as it was before it was signed."""
    inputs: tuple[Path, ...] = ()
    components: tuple[Path, ...] = ()
    edits: tuple[str, ...] = ()
    """Full action names, in order."""
    training: str | None = None
    terms: str | None = None
    """What ``constrained`` means: text or an address."""


def checked(
    parent: str | os.PathLike | None,
    inputs: Iterable[str | os.PathLike],
    components: Iterable[str | os.PathLike],
    edits: Iterable[str],
    training: str | None,
    terms: str | None,
) -> History:
    """Everything that can be said of an account before any work is done.

    Raises:
        InputError: an action or a choice that does not exist.
        MediaError: a source that cannot be read.
    """
    full = tuple(f"c2pa.{name.removeprefix('c2pa.')}" for name in edits)
    for name in full:
        if name == "c2pa.placed":
            raise InputError("c2pa.placed needs the file that was placed; give it with components= (--component FILE)")
        if name.removeprefix("c2pa.") not in EDITS:
            raise InputError(f"{name} is no edit that can be stated; choose from {', '.join(EDITS)}")
    if training is not None and training not in TRAINING:
        raise InputError(f"the choice about training is {training!r}; it must be {', '.join(TRAINING)}")
    if terms is not None and training != "constrained":
        raise InputError("terms of training go with the choice constrained; give that, or leave them out")
    account = History(
        parent=None if parent is None else Path(parent),
        inputs=tuple(map(Path, inputs)),
        components=tuple(map(Path, components)),
        edits=full,
        training=training,
        terms=terms,
    )
    for path in (*([account.parent] if account.parent else ()), *account.inputs, *account.components):
        kind(path)
    return account


def actions(history: History, when: str) -> list[dict[str, Any]]:
    """``c2pa.opened`` on the parent, then what was done to it."""
    said: list[dict[str, Any]] = [_action("c2pa.opened", when, ["parent"])]
    said += [_action("c2pa.placed", when, [label("component", i)]) for i in range(len(history.components))]
    inputs = input_labels(history)
    for name in history.edits:
        # The inputs are named by the first edit that can have used them.
        used = ["parent"] if name in _ON_THE_PARENT else inputs
        if used is inputs:
            inputs = []
        said.append(_action(name, when, used))
    return said


def input_labels(history: History) -> list[str]:
    """Labels of the ``inputTo`` ingredients, for the action that used them."""
    return [label("input", i) for i in range(len(history.inputs))]


def assertions(history: History) -> list[dict[str, Any]]:
    """The choice about training and data mining, the same for all uses."""
    if history.training is None:
        return []
    entry = {"use": history.training} | ({"constraint_info": history.terms} if history.terms else {})
    entries = {use: dict(entry) for use in _TRAINING_USES}
    return [{"label": "cawg.training-mining", "created": True, "data": {"entries": entries}}]


def kind(path: Path) -> tuple[str, Format | None]:
    """(MIME, format) of a source, which may be of a kind that is not known here: sound, text, a 3-D model.

    Raises:
        MediaError: it is missing, empty or cannot be read.
    """
    try:
        format = formats.of(path)
        return format.mime, format
    except MediaError as error:
        if not path.is_file() or path.stat().st_size == 0:
            raise MediaError(f"{path}: {error}") from None
        return mimetypes.guess_type(path.name)[0] or "application/octet-stream", None


def _action(name: str, when: str, used: Sequence[str]) -> dict[str, Any]:
    return {"action": name, "when": when} | ({"parameters": {"ingredientIds": list(used)}} if used else {})


def label(kind: str, index: int) -> str:
    """Of an ingredient, by which actions name it."""
    return f"{kind}-{index}"
