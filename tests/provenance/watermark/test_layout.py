"""What a key decides never changes: clips out there must stay readable."""

import numpy as np
import pytest

from provenance import watermark
from provenance.watermark import coding, lapped, layout


def test_the_public_layout_is_the_one_of_all_clips_so_far() -> None:
    plan = layout.lattice(watermark.PUBLIC_KEY)
    assert plan.bit.shape == (8, 8, len(lapped.RADIUS)) == (8, 8, 70)
    rows = np.arange(plan.bit.size)
    assert int((plan.bit.ravel() * rows).sum()) == 1239348926
    assert plan.turn[0, 0, :3] == pytest.approx([0.77173, 0.93625, 0.57386], abs=1e-5)
    waves = layout.spread(watermark.PUBLIC_KEY)
    rows = np.arange(len(waves.ky))
    assert (len(waves.ky), waves.sync) == (1758, 1318)
    assert [int((waves.ky * rows).sum()), int((waves.kx * rows).sum())] == [100531, 25426191]
    assert int((waves.bit * rows[: len(waves.bit)]).sum()) == 10645711
    assert waves.phase[:2] == pytest.approx([0.01193 + 0.99993j, 0.96435 - 0.26463j], abs=1e-4)


@pytest.mark.parametrize("chosen", [lapped.RADIUS < layout.LOW, lapped.RADIUS >= layout.LOW], ids=["low", "high"])
def test_every_code_bit_has_its_share_of_each_kind_of_modes(chosen: np.ndarray) -> None:
    counts = np.bincount(layout.lattice(b"key").bit[..., chosen].ravel(), minlength=coding.CODE_BITS)
    assert counts.min() >= 1 and counts.max() - counts.min() <= 1


def test_keys_have_nothing_in_common() -> None:
    one, other = layout.lattice(b"one"), layout.lattice(b"other")
    agreement = np.exp(2j * np.pi * (one.turn - other.turn)).mean()
    assert abs(agreement) < 4 / np.sqrt(one.turn.size)
    assert np.mean(one.bit == other.bit) < 0.01
