"""What a generated clip's manifest states, and what a stranger's manifest cannot do to us."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import provenance
from provenance import description, manifest
from provenance.errors import InputError

BASE = {"title": "t", "model_name": "m", "model_digest": "sha256:0", "seed": 0}


def test_a_generated_clip_states_how_it_was_made(signed) -> None:
    said = provenance.verify(signed).manifest
    assert said["title"] == "a dog on a beach" and said["generator"] == "sorajax 0.1.0"
    assert said["origin"] == "trainedAlgorithmicMedia"
    assert [a["action"] for a in said["actions"]] == ["c2pa.created", "c2pa.watermarked.bound"]
    assert said["soft_bindings"] == [{"alg": provenance.watermark.ALGORITHM, "payload": b"8 bytes!".hex()}]
    assert [(i["title"], i["relationship"]) for i in said["ingredients"]] == [
        ("mini", "inputTo"),
        ("prompt", "inputTo"),
    ]
    assert said["prompt"] == "a dog runs on a beach"
    assert said["generation"] == {
        "model": {"name": "mini", "digest": "sha256:0123"},
        "prompt_sha256": manifest.prompt_digest("a dog runs on a beach"),
        "seed": 7,
        "settings": {"steps": 30, "guidance": 4.5, "size": [256, 256], "negative": None},
    }


def test_what_the_making_cost_is_stated(plain, tmp_path) -> None:
    cost = {"device_seconds": 2.5, "flops": 1.5e12, "kwh": 0.002, "money": 0.5, "currency": "EUR", "device": "TPU v5"}
    said = provenance.sign(plain, tmp_path / "costly.mp4", facts=manifest.Facts(**BASE, cost=cost))
    assert said.manifest["generation"]["cost"] == cost
    assert "2.5 device seconds, 1.5e+12 FLOPs, 0.002 kWh, 0.5 EUR (TPU v5)" in said.to_text()


def test_a_prompt_can_be_kept_private(plain, tmp_path) -> None:
    digest = manifest.prompt_digest("a secret dog")
    facts = manifest.Facts(**BASE, prompt_sha256=digest)
    said = provenance.sign(plain, tmp_path / "private.mp4", facts=facts).manifest
    assert said["prompt"] is None and said["generation"]["prompt_sha256"] == digest
    assert b"a secret dog" not in (tmp_path / "private.mp4").read_bytes()
    assert [a["action"] for a in said["actions"]] == ["c2pa.created"] and said["soft_bindings"] == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"payload": b"short"}, "8 bytes, not 5"),
        ({"settings": {"x": object()}}, r"settings.x is a object"),
        ({"settings": {"x": [1, math.nan]}}, r"settings.x\[1\] is nan"),
        ({"settings": {1: 2}}, "keys must be strings"),
        ({"seed": 2**64}, "must fit 64 bits"),
        ({"title": "\ud800"}, "title holds a lone surrogate"),
    ],
)
def test_values_a_manifest_cannot_hold_are_refused_by_name(wrong: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        manifest.Facts(**BASE | wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
strange = st.dictionaries(
    st.sampled_from(["title", "assertions", "ingredients", "signature_info", "claim_generator_info", "label"]),
    json_values,
)


@settings(max_examples=40)
@given(strange, json_values)
def test_a_strangers_manifest_of_any_shape_is_described(active: dict, assertion) -> None:
    labels = ("c2pa.actions.v2", "c2pa.soft-binding", manifest.GENERATION)
    active["assertions"] = [{"label": label, "data": assertion} for label in labels] + [assertion]
    said = description.describe({"active_manifest": "x", "manifests": {"x": active}})
    assert set(said) >= {"title", "signer", "actions", "soft_bindings", "generation"}


@settings(max_examples=40)
@given(json_values)
def test_a_strangers_store_of_any_shape_is_described(store) -> None:
    assert description.describe({"active_manifest": "x", "manifests": store})["signer"]["name"] is None
