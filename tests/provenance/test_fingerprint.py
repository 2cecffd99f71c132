"""A fingerprint stays the same through what a copy goes through, and differs between clips."""

import numpy as np
import pytest

from provenance import fingerprint, scenes
from provenance.errors import InputError
from provenance.fingerprint import Fingerprint
from provenance.registry.store import NEAR


@pytest.fixture(scope="module")
def frames(clip) -> np.ndarray:
    return clip(3, frames=16)


@pytest.fixture(scope="module")
def original(frames) -> Fingerprint:
    found = fingerprint.of_frames(frames, 8)
    assert found is not None
    return found


def test_there_are_ten_hashes_a_second_at_any_frame_rate(frames) -> None:
    for fps, count in ((8, 20), (5, 32), (24, 7), (1, 160)):
        found = fingerprint.of_frames(frames, fps)
        assert len(found.hashes) == count and found.duration == pytest.approx(16 / fps)
    assert list(found.times[:4]) == pytest.approx([0, 0.1, 0.2, 0.3])
    # At one frame a second each is seen ten times.
    assert all(len(set(found.hashes[i : i + 10])) == 1 for i in range(0, 160, 10))


@pytest.mark.parametrize(("crf", "size"), [(23, None), (38, None), (28, (120, 120)), (28, (400, 300))])
def test_a_copy_has_nearly_the_same_hashes(crf, size, frames, original, encode, tmp_path) -> None:
    copy = scenes.look(encode(tmp_path / "x.mp4", frames, crf=crf, size=size)).fingerprint
    apart = np.bitwise_count(copy.hashes ^ original.hashes[: len(copy.hashes)])
    assert len(copy.hashes) == len(original.hashes) and apart.max() <= NEAR


def test_mirrored_pictures_have_the_hash_with_known_bits_flipped(frames) -> None:
    pictures = np.stack([fingerprint.shrink(fingerprint.grey_of(f), 64, 64) for f in frames[:4]])
    plain, masks = fingerprint.hashes_of(pictures), fingerprint.symmetry_masks()
    turned = (pictures, pictures[..., ::-1], pictures[:, ::-1], pictures[:, ::-1, ::-1])
    for mask, seen in zip(masks, turned, strict=True):
        assert np.bitwise_count(fingerprint.hashes_of(seen) ^ plain ^ mask).max() <= 1
    assert np.bitwise_count(fingerprint.hashes_of(255 - pictures) ^ ~plain).max() <= 1


def test_other_clips_have_other_hashes(clip, original) -> None:
    for seed in range(10, 16):
        other = fingerprint.of_frames(clip(seed, frames=4), 8)
        assert fingerprint.distances(original.hashes, other.hashes).min() > NEAR


def test_plain_pictures_have_no_hash() -> None:
    grey = np.full((4, 64, 64, 3), 90, np.uint8)
    assert list(fingerprint.of_frames(grey, 10).hashes) == [fingerprint.NOTHING_TO_SEE] * 4


def test_a_long_clip_keeps_all_hashes_and_fewer_pictures() -> None:
    rng = np.random.default_rng(0)
    some = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(7)]
    found = fingerprint.of_frames((some[i % 7] for i in range(1400)), 10)
    assert len(found.hashes) == 1400 and 256 <= len(found.pictures) <= 512
    assert found.times[-1] < 140 and np.ptp(np.diff(found.times)) < 1e-9


def test_it_is_kept_and_read_back(original) -> None:
    back = Fingerprint.from_bytes(original.to_bytes())
    assert (back.hashes == original.hashes).all() and (back.every, back.ratio) == (original.every, original.ratio)
    assert np.abs(back.pictures.astype(int) - original.pictures).mean() < 2  # a JPEG


def test_a_manifest_holds_a_brief_one_and_names_the_whole(frames, original) -> None:
    import hashlib

    whole, brief = Fingerprint.from_binding(original.binding())
    assert whole == hashlib.sha256(original.to_bytes()).hexdigest()
    assert len(brief.pictures) <= 8 and brief.duration == original.duration
    assert len(original.binding()) < 15_000


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:40], lambda d: b"x" + d[1:], lambda d: d[:-400]])
def test_a_damaged_one_is_refused(damage, original) -> None:
    data = damage(original.to_bytes())
    if len(data) > 1000:  # a JPEG that lacks its end
        with pytest.raises(InputError, match="damaged"):
            Fingerprint.from_bytes(data[: len(data) // 2])
    else:
        with pytest.raises(InputError, match="damaged"):
            Fingerprint.from_bytes(data)


def test_stills_are_one_a_second_and_small(encode, clip, tmp_path) -> None:
    import io

    from PIL import Image

    path = encode(tmp_path / "x.mp4", clip(4, frames=24, size=(256, 512)))
    stills = scenes.look(path).stills
    assert [at for at, _ in stills] == [0, 1, 2]
    assert all(Image.open(io.BytesIO(data)).size == (320, 160) for _, data in stills)
    assert [at for at, _ in scenes.stills_at(path, [0.1, 2.9, 99])] == [0.1, 2.9, 99]
