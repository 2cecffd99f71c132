"""Captions of the procedural world in English, Chinese, Spanish and Arabic, built from the tables in phrases.py.

Every part has several phrasings; names, measure words and grammatical gender come from assets/objects.json.
A size that is not said means medium.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sorajax.data import phrases
from sorajax.data.atlas import Object, objects
from sorajax.errors import InputError

if TYPE_CHECKING:
    from sorajax.data.world import ClipSpec

T = TypeVar("T")
LANGUAGES = ("en", "zh", "es", "ar")

SAY_MEDIUM, SAY_COLOR, SYNONYM, CAPITAL = 0.1, 0.15, 0.25, 0.15
"""How often a caption says that the size is medium, names a colour, uses a rarer name, and looks like a sentence."""


def caption(spec: "ClipSpec", language: str, rng: np.random.Generator) -> str:
    """One phrasing of a spec. InputError on a language that is not one of LANGUAGES."""
    if language not in LANGUAGES:
        raise InputError(f"no captions in {language!r}; there are {', '.join(LANGUAGES)}")
    things = [objects()[name] for name in spec.objects]
    subjects = [_noun(thing, spec.size, language, rng) for thing in things]
    subject = subjects[0]
    if len(things) == 2:
        subject = _choose(rng, phrases.PAIRS[language]).format(a=subjects[0], b=subjects[1])
    verb, gerund = _movement(things, spec.motion, language, rng)
    place = _choose(rng, phrases.PLACES[language][spec.scene])
    sentence = _choose(rng, phrases.SENTENCES[language])
    text = sentence.format(s=subject, v=verb, g=gerund, p=place, be="are" if len(things) == 2 else "is")
    extras = [
        _choose(rng, table[language][value])
        for table, value in ((phrases.STYLE_WORDS, spec.style), (phrases.CAMERA_WORDS, spec.camera))
        if value in table[language]
    ]
    text = {"zh": "，", "ar": "، "}.get(language, ", ").join([text, *extras])
    if rng.random() < CAPITAL:
        text = text[0].upper() + text[1:] + ("。" if language == "zh" else ".")
    return text


class _Plainest(np.random.Generator):
    """Draws the first of everything, and nothing that is optional."""

    def __init__(self) -> None:
        super().__init__(np.random.Philox(0))

    def integers(self, *_: Any) -> int:
        return 0

    def random(self) -> float:
        return 1.0


def plain(spec: "ClipSpec", language: str) -> str:
    """The plainest caption of a spec, always the same: "a dog runs to the left on a beach at sunset"."""
    return caption(spec, language, _Plainest())


def _choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _noun(thing: Object, size: str, language: str, rng: np.random.Generator) -> str:
    """The object with its article or measure word and adjectives: "a small red car", "una tortuga verde"."""
    usual, *rarer = thing.names[language]
    name = _choose(rng, rarer) if rarer and rng.random() < SYNONYM else usual
    feminine = thing.gender.get(language) == "f"
    words = []
    if size != "medium" or rng.random() < SAY_MEDIUM:
        words.append(_agree(_choose(rng, phrases.SIZE_WORDS[language][size]), feminine))
    if thing.color and rng.random() < SAY_COLOR:
        words.append(_agree(phrases.COLOR_WORDS[language][thing.color], feminine))
    if language == "en":
        text = " ".join([*words, name])
        return ("an " if text[0].lower() in "aeio" else "a ") + text
    if language == "zh":
        return "一" + thing.measure + "".join(words) + name
    if language == "es":
        return " ".join(["una" if feminine else "un", name, *reversed(words)])
    return " ".join([name, *reversed(words)])


def _movement(things: list[Object], motion: str, language: str, rng: np.random.Generator) -> tuple[str, str]:
    """The finite verb phrase and the gerund one, agreeing with one or two subjects."""
    two = len(things) == 2
    feminine = all(thing.gender.get(language) == "f" for thing in things)
    if motion in ("left", "right"):
        kinds = phrases.GOES[language]
        options = kinds["any"] if two or things[0].kind == "move" else kinds[things[0].kind] + kinds["any"]
        verb, where = _choose(rng, options), _choose(rng, phrases.TOWARDS[language][motion])
        forms = tuple(where + form if language == "zh" else f"{form} {where}" for form in verb)
    else:
        forms = _choose(rng, phrases.DOES[language][motion])
    if language == "zh":
        return forms[0], forms[0]
    if language == "ar":
        form = forms[2 * two + feminine]
        return form, form
    ending = "a" if feminine else "o"
    return (forms[2] if two else forms[0]).format(o=ending), forms[1].format(o=ending)


def _agree(forms: tuple[str, ...], feminine: bool) -> str:
    return forms[-1] if feminine else forms[0]
