"""Contact sheets show the frames they were given, in order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sorajax.errors import InputError
from sorajax.media.sheet import contact_sheet, render


def clip(level: int, frames: int = 5, size: tuple[int, int] = (12, 20)) -> np.ndarray:
    """Frame i is plainly ``level + i``."""
    levels = np.arange(level, level + frames, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (frames, *size, 3)).copy()


def shown(sheet: np.ndarray, level: int) -> np.ndarray:
    """Rows and columns where a pixel is exactly ``level`` in all channels."""
    return np.argwhere((sheet == level).all(-1))


def test_first_and_last_frame_are_shown_and_time_runs_to_the_right(tmp_path: Path) -> None:
    path = contact_sheet(clip(100, frames=9), tmp_path / "sheet.png", frames=3)
    sheet = np.asarray(Image.open(path))
    first, middle, last = (shown(sheet, level) for level in (100, 104, 108))
    assert len(first) == len(middle) == len(last) == 12 * 20
    assert first[:, 1].max() < middle[:, 1].min() and middle[:, 1].max() < last[:, 1].min()
    assert not len(shown(sheet, 102))


def test_clips_fill_columns_then_rows() -> None:
    sheet = render([clip(100), clip(120), clip(140)], frames=1, columns=2)
    a, b, c = (shown(sheet, level) for level in (100, 120, 140))
    assert a[0, 0] == b[0, 0] and a[0, 1] < b[0, 1]
    assert c[0, 0] > a[:, 0].max() and c[0, 1] == a[0, 1]


def test_clips_may_differ_in_length_and_size() -> None:
    sheet = render([clip(100, frames=2), clip(120, frames=7, size=(30, 8))], frames=4)
    assert len(shown(sheet, 101)) == 12 * 20
    assert len(shown(sheet, 126)) == 30 * 8


def test_labels_are_drawn_above_and_cut_to_the_strip() -> None:
    plain = render([clip(100)], frames=1)
    labelled = render([clip(100)], frames=1, labels=["a label that is much longer than twenty pixels"])
    assert labelled.shape[0] > plain.shape[0] and labelled.shape[1] == plain.shape[1]
    above = labelled[: shown(labelled, 100)[0, 0]]
    assert (above > 128).any()


def test_a_sheet_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    for level in (100, 120):
        contact_sheet([clip(level)], tmp_path / "sheet.png", frames=1)
    assert len(shown(np.asarray(Image.open(tmp_path / "sheet.png")), 120)) == 12 * 20
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_counts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 labels for 1 clips"):
        render([clip(1)], labels=["a", "b"])
    with pytest.raises(InputError, match="0 clips"):
        contact_sheet([], tmp_path / "sheet.png")
    with pytest.raises(InputError, match="font 'nowhere.ttf'"):
        render([clip(1)], labels=["a"], font="nowhere.ttf")
    with pytest.raises(InputError, match=r"does not end in \.png"):
        contact_sheet([clip(1)], tmp_path / "sheet.jpg")
    assert not list(tmp_path.iterdir())
