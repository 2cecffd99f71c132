"""The Python API: a prompt in, a watermarked clip out, and the parts in between."""

import numpy as np
import pytest

import provenance
import sorajax
from sorajax.errors import CheckpointError, InputError
from sorajax.weights import folder as folders
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipe(folder):
    return sorajax.load(folder)


@pytest.fixture(scope="module")
def clip(pipe):
    return pipe("a dog runs", seed=7)


def test_a_prompt_gives_a_watermarked_clip(clip):
    assert clip.frames.dtype == np.uint8
    assert clip.frames.shape == (9, 256, 256, 3)
    found = provenance.watermark.detect(clip.frames)
    assert found.found and found.payload == clip.payload


def test_the_clip_says_what_made_it(clip, pipe):
    assert clip.facts.prompt == "a dog runs"
    assert clip.facts.seed == 7
    assert clip.facts.model_digest == pipe.digest
    assert clip.facts.settings["steps"] == 2


def test_a_saved_clip_is_verified_and_leads_back_to_it(clip, tmp_path):
    report = clip.save(tmp_path / "dog.mp4")
    again = provenance.verify(tmp_path / "dog.mp4")
    assert report.status == again.status == "authentic"
    assert again.watermark.payload == clip.payload


def test_a_clip_says_what_it_cost_and_so_does_its_file(clip, tmp_path):
    cost = clip.facts.cost
    assert cost["device_seconds"] > 0 and cost["kwh"] > 0 and "device seconds x 4 W a thread" in cost["energy"]
    assert cost["flops"] > 1e6
    clip.save(tmp_path / "dog.mp4")
    report = provenance.verify(tmp_path / "dog.mp4")
    assert report.manifest["generation"]["cost"] == cost
    assert f"{cost['flops']:.3g} FLOPs" in report.to_text()


def test_flops_are_those_of_the_steps_that_were_computed(pipe):
    def flops(**options):
        return pipe("a dog", seed=1, guidance=1.0, **options).facts.cost["flops"]

    one, two = flops(steps=1), flops(steps=2)
    step = two - one
    assert step > 0 and flops(steps=4) == one + 3 * step
    first_alone = sorajax.Caching(every=4, first=0.1)
    assert flops(steps=4, cache=first_alone) == one  # three of four keep the velocity


def test_clips_made_together_share_the_cost(pipe):
    together = pipe(["a dog", "a cat"], seed=7)
    assert together[0].facts.cost == together[1].facts.cost
    alone = pipe("a dog", seed=7).facts.cost["flops"]
    assert together[0].facts.cost["flops"] == pytest.approx(alone, rel=0.2)


def test_rates_make_money_and_co2_of_it(folder):
    rates = sorajax.Rates(price=3600.0, currency="EUR", carbon=500.0, watts=100.0, pue=1.5)
    cost = sorajax.load(folder, rates=rates)("a dog", seed=1).facts.cost
    assert cost["money"] == pytest.approx(cost["device_seconds"]) and cost["currency"] == "EUR"
    assert cost["kwh"] == pytest.approx(1.5 * 100 * cost["device_seconds"] / 3.6e6)
    assert cost["co2_grams"] == pytest.approx(500 * cost["kwh"])


def test_the_same_seed_gives_the_same_clip_and_another_seed_another(pipe, clip):
    assert np.array_equal(pipe("a dog runs", seed=7).frames, clip.frames)
    assert not np.array_equal(pipe("a dog runs", seed=8).frames, clip.frames)


def test_a_list_of_prompts_gives_a_list_of_clips(pipe):
    clips = pipe(["a dog runs", "一只猫"], seed=7)
    assert [c.facts.prompt for c in clips] == ["a dog runs", "一只猫"]
    assert clips[0].payload != clips[1].payload
    assert [(c.facts.settings["index"], c.facts.settings["batch"]) for c in clips] == [(0, 2), (1, 2)]


def test_a_callback_sees_every_step(pipe):
    seen = []
    pipe("a dog", seed=1, steps=3, callback=lambda step, steps, latents: seen.append((step, steps, latents.shape)))
    assert seen == [(i, 3, (1, 3, 2, 2, 8)) for i in (1, 2, 3)]


def test_the_parts_make_the_whole(pipe):
    noise = pipe.noise(1, 5)
    text = pipe.encode_text(["a dog"])
    assert text.shape == (1, 48, 16)
    assert not np.any(text[0, 6:])  # nothing after the prompt's end
    latents = pipe.sample(["a dog"], noise=noise, steps=1, guidance=1.0)
    velocity = pipe.velocity(noise, np.array([999.0], np.float32), text)
    assert tiny.relative(latents, noise - (1 - 1e-6) * velocity) < 1e-5
    frames = pipe.decode(latents)
    assert frames.shape == (1, 9, 32, 32, 3) and np.abs(frames).max() <= 1
    assert pipe.encode_video(frames).shape == latents.shape


def test_guidance_mixes_the_velocities_of_prompt_and_negative_prompt(pipe):
    noise = pipe.noise(1, 5)
    when = np.array([999.0], np.float32)
    yes, no = (pipe.velocity(noise, when, pipe.encode_text([p])) for p in ("a dog", "night"))
    latents = pipe.sample(["a dog"], noise=noise, steps=1, guidance=3.0, negative="night")
    assert tiny.relative(latents, noise - (1 - 1e-6) * (no + 3 * (yes - no))) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": " \n"}, "empty"),
        ({"prompt": []}, "no prompt"),
        ({"size": (48, 32)}, "size 48x32 .* possible: 32x32"),
        ({"frames": 10}, "10 frames.*1, 5, 9"),
        ({"frames": 13}, "13 frames.*1, 5, 9"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"fps": 0}, "fps is 0"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_can(pipe, options, message):
    with pytest.raises(InputError, match=message):
        pipe(**{"prompt": "a dog", **options})


def test_a_prompt_longer_than_the_encoder_is_cut_with_a_warning(pipe):
    with pytest.warns(UserWarning, match="the end is ignored"):
        pipe("a dog runs " * 20, seed=1)


def test_an_image_is_a_video_of_one_frame(pipe):
    assert pipe("a dog", seed=1, frames=1).frames.shape == (1, 256, 256, 3)


def test_an_unknown_model_is_named():
    with pytest.raises(InputError, match="unknown model 'mimi'"):
        sorajax.load("mimi")


def test_a_damaged_or_foreign_model_folder_is_one_line(folder, tmp_path):
    with pytest.raises(CheckpointError, match="not a model folder"):
        sorajax.load(tmp_path)
    broken = tiny.write(tmp_path / "broken")
    weights = broken / "vae" / folders.FILES["vae"]
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        sorajax.load(broken)
    other = tiny.write(tmp_path / "other")
    folders.save_config(other, tiny.other(num_layers=3))
    with pytest.raises(CheckpointError, match="missing: blocks.2"):
        sorajax.load(other)
