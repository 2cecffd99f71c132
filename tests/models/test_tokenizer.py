"""Prompts become ids as Wan's tokenizer makes them: cleaned, ended, padded, cut with a warning."""

import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorajax.errors import CheckpointError, InputError
from sorajax.models.tokenizer import Tokenizer, clean

PAD, END = 0, 1


@pytest.fixture(scope="module")
def path(root):
    return root / "sorajax/weights_data/mini/tokenizer/spiece.model"


@pytest.fixture(scope="module")
def tokenizer(path):
    return Tokenizer(path)


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  a dog\n\truns  ", "a dog runs"),
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("la caÃ±a", "la caña"),
        ("cafe\u0301", "café"),
        ("a\u00a0\u3000dog", "a dog"),
        ("“dog”", '"dog"'),
        ("", ""),
    ],
)
def test_prompts_are_cleaned(prompt, cleaned):
    assert clean(prompt) == cleaned


@pytest.mark.live("torch", "diffusers")
@pytest.mark.parametrize(
    "prompt", ["  a  dog", "&lt;b&gt; &amp;amp;", "la caÃ±a", "ＤＯＧ\u200b “x”", "一只狗，\n在海边", "نجمة  صغيرة"]
)
def test_cleaning_equals_diffusers_live(prompt):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own, while it is imported
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean
    assert clean(prompt) == prompt_clean(prompt)


def test_ids_end_with_the_end_mark_and_are_padded(tokenizer):
    ids, mask = tokenizer.encode(["a dog runs", "a dog runs to the left on a beach", ""], 16)
    assert ids.dtype == np.int32 and mask.dtype == bool and ids.shape == mask.shape == (3, 16)
    count = mask.sum(1)
    assert count.tolist() == [4, 10, 1]
    for row in range(3):
        assert mask[row, : count[row]].all()
        assert ids[row, count[row] - 1] == END
        assert (ids[row, count[row] :] == PAD).all() and (ids[row, : count[row]] != PAD).all()
    assert ids.max() < tokenizer.vocab_size


@settings(max_examples=40)
@given(prompt=st.text(max_size=40))
def test_any_text_has_ids_and_no_unknown_one(tokenizer, prompt):
    ids, mask = tokenizer.encode([prompt], 512)
    assert (ids[mask] != 2).all() and mask[0, 0]


def test_a_long_prompt_is_cut_with_a_warning_that_quotes_what_is_lost(tokenizer):
    with pytest.warns(UserWarning, match="prompt has 10 tokens and the text encoder reads 8.*from 'at sunset'"):
        ids, mask = tokenizer.encode(["a dog runs left on a beach at sunset"], 8)
    assert mask.all() and ids[0, -1] == END
    whole, _ = tokenizer.encode(["a dog runs left on a beach at sunset"], 16)
    np.testing.assert_array_equal(ids[0, :7], whole[0, :7])
    silent, _ = tokenizer.encode(["a dog runs left on a beach at sunset"], 8, warn=False)
    np.testing.assert_array_equal(silent, ids)


def test_a_prompt_that_just_fits_is_not_warned_about(tokenizer):
    _, mask = tokenizer.encode(["a dog runs left on a beach"], 8)
    assert mask.all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A DOG RUNS", "a dog runs"),
        ("un vídeo del niño", "un video del nino"),
        ("ａ　ｄｏｇ！", "a dog!"),
        ("نجمة إلى أعلى", "نجمه الى اعلي"),
        ("كَلْب", "كلب"),
        ("一只狗，在海边。", "一只狗,在海边."),
    ],
)
def test_mini_reads_ways_of_typing_alike(tokenizer, one, other):
    np.testing.assert_array_equal(tokenizer.encode([one], 24)[0], tokenizer.encode([other], 24)[0])


def test_the_shipped_tokenizer_is_what_its_script_makes(path, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "tools")
    import train_tokenizer

    small = train_tokenizer.train(vocabulary=700, count=100)
    assert small == train_tokenizer.train(vocabulary=700, count=100)
    assert path.stat().st_size < 300_000
    assert Tokenizer(path).vocab_size == train_tokenizer.VOCABULARY
    sys.modules.pop("train_tokenizer")


def test_every_object_is_one_piece_or_its_words(tokenizer):
    from sorajax.data.atlas import objects

    for thing in objects().values():
        for language, names in thing.names.items():
            _, mask = tokenizer.encode([names[0]], 8)
            # zh has no spaces, so the mark of a beginning stands alone
            assert mask.sum() - 1 <= len(names[0].split()) + (language == "zh"), names[0]


@pytest.mark.parametrize(
    ("prompts", "length", "part"), [("a dog", 8, "list of strings"), (["a"], 0, "length is 0"), ([3], 8, "3")]
)
def test_values_that_do_not_fit_are_named(tokenizer, prompts, length, part):
    with pytest.raises(InputError, match=part):
        tokenizer.encode(prompts, length)


def test_files_that_are_no_tokenizer_are_named(tmp_path, path):
    with pytest.raises(CheckpointError, match=r"no tokenizer at .*missing\.model"):
        Tokenizer(tmp_path / "missing.model")
    for name, content in [("text.model", b"hello"), ("empty.model", b""), ("half.model", path.read_bytes()[:30_000])]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            Tokenizer(tmp_path / name)
