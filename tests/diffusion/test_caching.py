"""Steps that keep a velocity: which ones, what it costs in likeness, and that nothing changes without it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sorajax
from sorajax.diffusion import sample as sampling
from sorajax.diffusion.caching import Caching
from sorajax.errors import InputError
from tests import tiny


@given(st.integers(1, 60), st.integers(1, 8), st.floats(0, 1), st.integers(0, 60))
def test_the_first_steps_and_one_in_every_few_are_computed_and_the_first_of_another_transformer(
    steps, every, first, switch
):
    computed = Caching(every=every, first=first).computed(steps, [switch])
    assert len(computed) == steps and computed[0]
    assert all(computed[: int(np.ceil(first * steps))])
    assert switch >= steps or computed[switch]
    gaps = "".join("#" if one else "." for one in computed).split("#")
    assert max(map(len, gaps)) <= every - 1
    if every == 1:
        assert all(computed)


def test_the_transformer_is_called_only_where_it_is_said(tmp_path, monkeypatch):
    pipe = sorajax.load(tiny.write_wan(tmp_path / "model", "a14b"))
    noise, calls, velocity = pipe.noise(1, 0, size=(32, 32), frames=5), [], sampling._velocity
    monkeypatch.setattr(sampling, "_velocity", lambda dit, *rest: calls.append(dit) or velocity(dit, *rest))
    options = {"noise": noise, "steps": 9, "guidance": 2.0}
    full = pipe.sample(["a dog"], **options)
    assert not calls
    same = pipe.sample(["a dog"], cache=Caching(every=1), **options)
    np.testing.assert_allclose(same, full, atol=1e-4)
    assert len(calls) == 9 and calls[0] is pipe.dit and calls[-1] is pipe.dit_low
    switch = sum(dit is pipe.dit for dit in calls)
    calls.clear()
    pipe.sample(["a dog"], cache=Caching(every=4, first=0), **options)
    wanted = Caching(every=4, first=0).computed(9, [switch])
    assert len(calls) == sum(wanted) and wanted[switch]
    assert [dit is pipe.dit for dit in calls] == [i < switch for i in range(9) if wanted[i]]


def test_a_clip_of_mini_stays_the_same_to_the_eye_and_says_how_it_was_made():
    pipe = sorajax.load("mini")
    prompt = "a dog runs to the left on a beach at sunset"
    noise = pipe.noise(1, 5)
    full, fast = (pipe.decode(pipe.sample([prompt], noise=noise, cache=cache)) for cache in (False, True))
    assert 10 * np.log10(4 / np.mean((np.asarray(full) - np.asarray(fast)) ** 2)) > 30
    clip = pipe(prompt, seed=5, steps=2, cache=Caching(every=2))
    assert clip.facts.settings["cache"] == {"every": 2, "first": 0.15}
    assert "cache" not in pipe(prompt, seed=5, steps=2).facts.settings


@pytest.mark.parametrize("values", [{"every": 0}, {"every": 2.5}, {"every": True}, {"first": 1.5}, {"first": "half"}])
def test_values_that_make_no_sense_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Caching(**values)


def test_anything_else_in_its_place_is_refused():
    with pytest.raises(InputError, match=r"cache is 'fast'; give True, False or a Caching"):
        sorajax.load("mini")("a dog", cache="fast")
