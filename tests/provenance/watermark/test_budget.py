"""What each picture gets."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from provenance.watermark.budget import Budget

DARK, BRIGHT = np.zeros((64, 64), np.float32), np.full((64, 64), 200.0, np.float32)


def test_the_first_picture_and_the_first_after_a_cut_get_more() -> None:
    budget = Budget()
    shares = [budget.share(picture) for picture in [DARK] * 20 + [BRIGHT] * 20]
    assert shares[0] == shares[20] == 2.5
    assert max(shares[1:20] + shares[21:]) <= 1.0


@example([False] * 15 + [True])  # a cut when the last may still pay
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_clip_of_known_length_gets_one_in_the_mean_wherever_its_cuts_are(bright: list[bool]) -> None:
    budget = Budget(len(bright))
    shares = [budget.share(BRIGHT if b else DARK) for b in bright]
    assert np.mean(shares) < 1.0 + 1e-9
    assert min(shares) > 0.89


def test_one_picture_alone_and_small_pictures_get_no_more() -> None:
    assert Budget(1).share(DARK) == 1.0
    assert Budget().share(DARK, room=0.0) == 1.0
