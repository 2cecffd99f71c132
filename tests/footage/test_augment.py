"""Copies of clips are drawn from seed, clip and number; captions are told what changed, or are not taken."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorajax.errors import ConfigError, InputError
from sorajax.footage import hooks
from sorajax.footage.augment import Augment, Change, apply, changes, texts
from tests.footage import films


def clip(*captions: tuple[str, str], source: str = "a.mp4") -> dict:
    return {"source": source, "captions": [{"text": text, "language": language} for text, language in captions]}


DOG = clip(("a dog runs", "en"))
ALL = Augment(flips=True, crops=3, reverse=True, shuffle=4, style=3)


def test_a_clip_has_the_copies_that_were_asked_for():
    assert changes(Augment(), DOG, 0.0, 9) == [Change()]
    found = changes(ALL, DOG, 0.0, 9)
    assert found[0] == Change() and len(found) == 10 and len(set(found)) == 10
    assert [c.flip for c in found].count(True) == 1 and [c.reverse for c in found].count(True) == 1
    still = changes(ALL, DOG, 0.0, 1)
    assert len(still) == 8 and not any(c.reverse or c.order for c in still)  # a picture has no order


def test_they_depend_on_seed_clip_and_number_alone():
    found = changes(ALL, DOG, 0.0, 9)
    assert changes(ALL, DOG, 0.0, 9) == found
    more = changes(dataclasses.replace(ALL, crops=5, flips=False), DOG, 0.0, 9)
    assert [c for c in more if c.crop[0] < 1][:3] == [c for c in found if c.crop[0] < 1]
    for other in (
        changes(dataclasses.replace(ALL, seed=1), DOG, 0.0, 9),
        changes(ALL, DOG, 1.5, 9),
        changes(ALL, DOG | {"source": "b.mp4"}, 0.0, 9),
    ):
        assert other != found


@given(st.floats(0.05, 1.0), st.integers(0, 1000))
def test_crops_lie_within_the_picture_and_show_at_least_their_share(share, seed):
    for change in changes(Augment(crops=4, crop_share=share, seed=seed), DOG, 0.0, 9)[1:]:
        side, across, down = change.crop
        assert share - 1e-3 <= side**2 <= 1 and 0 <= across <= 1 and 0 <= down <= 1


@pytest.mark.parametrize(
    ("change", "text", "language", "said"),
    [
        (Change(style="grey"), "a dog runs", "en", "a dog runs, black and white"),
        (Change(style="grey"), "A dog runs.", "", "A dog runs, black and white."),
        (Change(style="sepia"), "un perro", "es-MX", "un perro, en tono sepia"),
        (Change(style="grey"), "一只狗。", "zh-Hans", "一只狗，黑白画面。"),
        (Change(reverse=True), "a dog runs", "en", "a dog runs, played backwards"),
        (Change(stride=2), "a dog runs", "en", "a dog runs, sped up"),
        (Change(order=(1, 0)), "a dog runs", "en", "a dog runs, its frames out of order"),
        (Change(style="levels", levels=(1.1, 1.0, 1.0)), "ein Hund", "de", "ein Hund"),
        (Change(crop=(0.5, 0.0, 0.0)), "ein Hund", "de", "ein Hund"),
        (Change(flip=True), "ein Hund", "de", "ein Hund"),
        (Change(style="grey"), "ein Hund", "de", None),
        (Change(style="grey"), "一只狗", "", None),
        (Change(flip=True), "A dog runs to the left", "en", None),
        (Change(flip=True), "狗向右跑", "zh", None),
    ],
)
def test_captions_say_what_changed_or_are_not_taken(change, text, language, said):
    pair = [{"text": text, "language": language}]
    assert texts(pair, change) == (None if said is None else [said])


def test_captions_that_stay_right_carry_the_copy_and_one_that_none_would_carry_is_not_made():
    two = clip(("a dog runs left", "en"), ("ein Hund", "de"))
    assert texts(two["captions"], Change(flip=True)) == ["ein Hund"]
    assert texts(two["captions"], Change(reverse=True)) == ["a dog runs left, played backwards"]
    german = changes(ALL, clip(("ein Hund", "de")), 0.0, 9)
    assert not any(c.says for c in german) and sum(c.style == "levels" for c in german) == 3
    assert texts([], Change(flip=True)) == [""] and texts([], Change(reverse=True)) is None


def test_frames_are_changed_as_the_copy_says():
    frames = films.scene(0, 6)
    np.testing.assert_array_equal(apply(frames, Change()), frames)
    np.testing.assert_array_equal(apply(frames, Change(flip=True)), frames[:, :, ::-1])
    np.testing.assert_array_equal(apply(frames, Change(reverse=True)), frames[::-1])
    np.testing.assert_array_equal(apply(frames, Change(order=(1, 0, 2, 5, 3, 4))), frames[[1, 0, 2, 5, 3, 4]])
    grey = apply(frames, Change(style="grey")).astype(int)
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 1] == grey[..., 2]).all()
    assert np.abs(grey[..., 0] - frames @ [0.299, 0.587, 0.114]).max() <= 0.51
    red, green, blue = np.moveaxis(apply(frames, Change(style="sepia")).astype(int), -1, 0)
    assert (red >= green).all() and (green >= blue).all() and (red > blue).mean() > 0.9
    same = apply(frames, Change(style="levels"))
    assert np.abs(same.astype(int) - frames).max() <= 1
    brighter = apply(frames // 2, Change(style="levels", levels=(1.25, 1.0, 1.0)))
    assert brighter.mean() == pytest.approx(1.25 * (frames // 2).mean(), rel=0.02)
    pale, flat = (apply(frames, Change(style="levels", levels=levels)) for levels in ((1, 1, 0.5), (1, 0.75, 1)))
    assert np.ptp(pale, -1).mean() < 0.6 * np.ptp(frames, -1).mean() and flat.std() < 0.9 * frames.std()


def test_frames_are_out_of_order_within_their_windows():
    (_, change) = changes(Augment(shuffle=4), DOG, 0.0, 9)
    assert sorted(change.order) == list(range(9)) and list(change.order) != list(range(9))
    assert [sorted(change.order[i : i + 4]) for i in (0, 4, 8)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_they_are_given_by_name():
    assert hooks.augment(["flips", "crops=2", "strides=1,2", "reverse", "style=1"]) == Augment(
        flips=True, crops=2, strides=(1, 2), reverse=True, style=1
    )
    assert hooks.augment([]) == Augment() and hooks.augment(["flips=false", "crop_share=0.25"]).crop_share == 0.25
    for wrong, kind, said in (
        (["crop=2"], ConfigError, "--augment: unknown key 'crop'; known keys: flips, crops"),
        (["crops"], InputError, "--augment crops: '' is not a number; write it as in crops=2"),
        (["strides=1,fast"], InputError, "--augment strides=1,fast: '1,fast' is not a number; write it as in .*1,2"),
        (["strides=2"], ConfigError, "'2' leaves the clips themselves out; write them as in strides=1,2"),
        (["reverse=2"], InputError, "'2' is neither true nor false"),
        (["crop_share=2"], ConfigError, "crop_share: 2 is no share of a picture"),
        (["shuffle=1"], ConfigError, "shuffle: 1 frames have no order"),
        (["style=-1"], ConfigError, "give 0 or more"),
    ):
        with pytest.raises(kind, match=said):
            hooks.augment(wrong)
