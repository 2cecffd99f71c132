"""Watermarks that were written over, mixed, or never there. A watermark names a clip at most; it never vouches."""

import numpy as np
import pytest

import provenance
from provenance import watermark
from tests.provenance.adversarial import forge
from tests.provenance.conftest import draw

FIRST, SECOND = b"first id", b"other id"


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return draw(21, frames=12)


@pytest.fixture(scope="module")
def marked(frames) -> tuple[np.ndarray, np.ndarray]:
    return watermark.embed(frames, FIRST), watermark.embed(frames, SECOND)


def test_a_watermark_written_over_another_names_one_of_the_two(marked, encode, tmp_path) -> None:
    path = encode(tmp_path / "x.mp4", watermark.embed(marked[0], SECOND))
    report = provenance.verify(path)
    assert report.status == "absent" and report.watermark.payload in (FIRST, SECOND, None)


def test_two_clips_spliced_name_one_of_the_two(marked, encode, tmp_path) -> None:
    path = encode(tmp_path / "x.mp4", np.concatenate([marked[0][:6], marked[1][6:]]))
    found = provenance.verify(path)
    assert found.status == "absent" and found.watermark.payload in (FIRST, SECOND, None)


def test_a_manifest_over_pictures_written_over_is_not_taken_for_the_first_signers(
    marked, encode, certifier, tmp_path, facts
) -> None:
    # The thief marks over, and states that number: true as far as it goes, and nobody vouches for the thief.
    path = encode(tmp_path / "x.mp4", watermark.embed(marked[0], SECOND))
    carried = provenance.verify(path).watermark.payload
    actions = {
        "actions": [{"action": "c2pa.created", "digitalSourceType": forge.DST}, {"action": "c2pa.watermarked.bound"}]
    }
    binding = {"alg": watermark.ALGORITHM, "blocks": [{"scope": {}, "value": list(SECOND)}]}
    forge.claim(path, tmp_path / "y.mp4", forge.Certifier(), assertions=[
        {"label": "c2pa.actions.v2", "created": True, "data": actions},
        {"label": "c2pa.soft-binding", "created": True, "data": binding}])  # fmt: skip
    report = provenance.verify(tmp_path / "y.mp4")
    assert report.status == ("altered" if carried == FIRST else "untrusted"), report.findings


def test_a_watermark_copied_on_to_other_pictures_brings_no_credentials(marked, frames, encode, tmp_path) -> None:
    pattern = marked[0].astype(np.int16) - frames
    forged = np.clip(draw(22, frames=12).astype(np.int16) + pattern, 0, 255).astype(np.uint8)
    report = provenance.verify(encode(tmp_path / "x.mp4", forged))
    assert report.status == "absent" and report.watermark.payload in (FIRST, None)


def test_a_manifest_whose_watermark_is_not_there_says_so(clip, encode, tmp_path, certifier, folder) -> None:
    path = encode(tmp_path / "x.mp4", draw(23))
    binding = {"alg": watermark.ALGORITHM, "blocks": [{"scope": {}, "value": list(FIRST)}]}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}
    actions = {"actions": [opened, {"action": "c2pa.watermarked.bound"}]}
    assertions = [
        {"label": "c2pa.actions.v2", "created": True, "data": actions},
        {"label": "c2pa.soft-binding", "created": True, "data": binding},
    ]
    source = ({"title": "s", "relationship": "parentOf", "label": "source"}, "video/mp4", path.read_bytes())
    forge.claim(path, tmp_path / "y.mp4", certifier, assertions=assertions, ingredients=[source])
    report = provenance.verify(tmp_path / "y.mp4", trust=folder / "root.pem")
    assert report.status == "authentic" and any("not found in the pictures" in line for line in report.findings)


@pytest.mark.parametrize("kind", ["cartoon", "noise", "grid", "black", "text"])
def test_pictures_without_a_watermark_have_none(kind: str) -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:256, 0:256]
    pictures = {
        "cartoon": draw(31),
        "noise": rng.integers(0, 255, (6, 256, 256, 3), np.uint8),
        "grid": np.repeat(((x // 8 + y // 8) % 2 * 255).astype(np.uint8)[None, :, :, None], 6, 0).repeat(3, -1),
        "black": np.zeros((6, 256, 256, 3), np.uint8),
        "text": (rng.random((6, 32, 32, 1)).repeat(8, 1).repeat(8, 2).repeat(3, 3) > 0.5).astype(np.uint8) * 255,
    }[kind]
    detector = watermark.Detector()
    for picture in pictures:
        detector.add(picture)
    found = detector.result(thorough=False)
    assert found.payload is None and found.p_value > 1e-9
