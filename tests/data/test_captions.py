"""Captions: natural, varied, in four languages, and saying what is shown."""

import numpy as np
import pytest

from sorajax.data import phrases
from sorajax.data.atlas import objects
from sorajax.data.captions import LANGUAGES, caption, plain
from sorajax.data.motions import CAMERAS, MOTIONS
from sorajax.data.styles import STYLES
from sorajax.data.world import OBJECTS, SCENES, SIZES, ClipSpec
from sorajax.errors import InputError

DOG = ClipSpec(objects=("dog",), motion="left", scene="beach")


def some(spec: ClipSpec, language: str, count: int = 100) -> set[str]:
    return {caption(spec, language, np.random.default_rng(seed)).lower().rstrip(".。") for seed in range(count)}


@pytest.mark.parametrize(
    "language, sentence",
    [
        ("en", "a dog runs to the left on a beach at sunset"),
        ("zh", "一只狗在日落的海滩上向左跑"),
        ("es", "un perro corre hacia la izquierda en una playa al atardecer"),
        ("ar", "كلب يركض إلى اليسار على الشاطئ عند الغروب"),
    ],
)
def test_the_plainest_caption(language, sentence):
    assert plain(DOG, language) == plain(DOG, language) == sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_are_many_phrasings(language):
    assert len(some(DOG, language, 150)) > 80
    assert len(some(ClipSpec(objects=("cat", "rocket"), motion="still", scene="sea"), language, 150)) > 80


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_attribute_can_be_said_in_every_language(language):
    for spec in (
        *(ClipSpec(objects=(name,), motion="left", scene="sea") for name in OBJECTS),
        *(ClipSpec(objects=("dog",), motion=motion, scene="sea") for motion in MOTIONS),
        *(ClipSpec(objects=("dog", "car"), motion=motion, scene="sea") for motion in MOTIONS),
        *(ClipSpec(objects=("dog",), motion="up", scene=scene) for scene in SCENES),
        *(ClipSpec(objects=("dog",), motion="up", scene="sea", size=size) for size in SIZES),
        *(ClipSpec(objects=("dog",), motion="up", scene="sea", style=style) for style in STYLES),
        *(ClipSpec(objects=("dog",), motion="up", scene="sea", camera=camera) for camera in CAMERAS),
    ):
        for sentence in some(spec, language, 10):
            assert "{" not in sentence and "  " not in sentence and sentence == sentence.strip()


@pytest.mark.parametrize("language", LANGUAGES)
def test_tables_are_whole(language):
    assert set(phrases.PLACES[language]) == set(SCENES)
    assert set(phrases.DOES[language]) == set(MOTIONS) - {"left", "right"}
    assert set(phrases.SIZE_WORDS[language]) == set(SIZES)
    assert set(phrases.STYLE_WORDS[language]) == set(STYLES) - {"plain"}
    assert set(phrases.CAMERA_WORDS[language]) == set(CAMERAS) - {"still"}
    assert {o.color for o in objects().values()} - {""} <= set(phrases.COLOR_WORDS[language])
    assert len(phrases.SENTENCES[language]) >= 6


def test_no_two_places_or_movements_share_a_phrase():
    """A phrase that fits two scenes would teach the model nothing."""
    for language in LANGUAGES:
        for table in (phrases.PLACES, phrases.DOES):
            said = [phrase for options in table[language].values() for phrase in options]
            assert len(said) == len(set(said))


def test_small_and_large_are_always_said_and_medium_seldom():
    def share(size: str, words: set[str]) -> float:
        spec = ClipSpec(objects=("dog",), motion="up", scene="sea", size=size)
        said = [caption(spec, "en", np.random.default_rng(seed)).lower().split() for seed in range(200)]
        return float(np.mean([bool(words & set(sentence)) for sentence in said]))

    assert share("small", {"small", "little", "tiny"}) == 1
    assert share("large", {"large", "big", "huge"}) == 1
    assert 0.03 < share("medium", {"medium-sized"}) < 0.2


def test_grammar_agrees():
    english = some(ClipSpec(objects=("elephant",), motion="still", scene="snow"), "en")
    assert not any(" a elephant" in f" {s}" for s in english) and any("an elephant" in s for s in english)
    spanish = some(ClipSpec(objects=("turtle",), motion="shrinking", scene="snow", size="small"), "es")
    assert all("una tortuga" in s and ("pequeña" in s or "diminuta" in s) and "pequeño" not in s for s in spanish)
    chinese = some(ClipSpec(objects=("fish",), motion="up", scene="sea"), "zh")
    assert all("一条" in s for s in chinese)
    arabic = some(ClipSpec(objects=("fish",), motion="bouncing", scene="snow", size="large"), "ar")
    assert all(("كبيرة" in s or "ضخمة" in s) and "يقفز" not in s for s in arabic)
    dual = some(ClipSpec(objects=("dog", "fish"), motion="bouncing", scene="snow"), "ar")
    assert all("ان" in s for s in dual) and not any("تقفزان" in s for s in dual)


def test_two_objects_are_both_named():
    spec = ClipSpec(objects=("penguin", "rocket"), motion="up", scene="night")
    assert all("penguin" in s and "rocket" in s for s in some(spec, "en"))


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="'fr'.*en, zh, es, ar"):
        caption(DOG, "fr", np.random.default_rng(0))
