"""A label that everybody sees."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import features

import provenance
from provenance import label, lettering
from provenance.cli import main
from provenance.errors import InputError, MediaError
from provenance.label import LANGUAGES, Credits, Label
from tests.provenance import films

TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""A phone held upright."""


def grey(level: int, *, frames: int = 1, size: tuple[int, int] = (180, 320)) -> np.ndarray:
    return np.full((frames, *size, 3), level, np.uint8)


def changed(before: np.ndarray, after: np.ndarray, least: int = 0) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what differs between two pictures [h, w, 3]."""
    rows, columns = np.nonzero(np.abs(before.astype(int) - after).max(-1) > least)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_badge_is_legible_on_light_and_dark(level: int) -> None:
    before = grey(level)
    after = label.burn(before)
    assert after.shape == before.shape and after.dtype == np.uint8 and (before == level).all()
    top, left, bottom, right = changed(before[0], after[0])
    inside = after[0, top:bottom, left:right].astype(int)
    # White letters next to a dark plate, whatever lies below.
    assert inside.max() > 230 and np.quantile(inside, 0.2) < 90
    assert top > 90 and left > 160 and bottom <= 178 and right <= 318  # lower right, not at the very edge
    assert (bottom - top) * (right - left) < 0.06 * 180 * 320


def test_a_moving_badge_leaves_no_part_of_a_clip_covered_for_ever() -> None:
    before = grey(128, frames=40)
    after = label.burn(before, Label(style="moving"), fps=2.0)
    never = (after == before).all(-1).any(0)
    assert never.all()
    spots = {changed(b, a)[:2] for b, a in zip(before, after, strict=True)}
    assert len(spots) > 5


def test_credits_come_at_the_end_and_last_as_long_as_asked() -> None:
    before = grey(128, frames=3)
    said = Credits(title="a dog", model="mini", signer="Ana", date="2026-11-25", seconds=0.5)
    after = label.burn(before, Label(style="credits", credits=said), fps=10.0)
    assert after.shape == (8, 180, 320, 3) and (after[:3] == before).all()
    assert (after[3:] == after[3]).all()
    shorter = label.burn(before, Label(style="credits", credits=Credits(seconds=0.5)), fps=10.0)
    assert (after[3] > 100).sum() > 2 * (shorter[3] > 100).sum()  # four lines more


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_words_of_its_own_or_says_which_font_is_missing(language: str) -> None:
    try:
        drawn = label.draw_badge(Label(language=language), 180, 320)
    except InputError as error:
        assert "apt-get install fonts-" in str(error) and "\n" not in str(error)
        return
    assert (drawn[..., :3].max(-1) > 200).any()
    if language != "en":
        assert drawn.shape != (english := label.draw_badge(Label(), 180, 320)).shape or (drawn != english).any()


def test_letters_that_no_font_has_are_named_with_the_remedy(monkeypatch) -> None:
    monkeypatch.setattr(lettering, "_files", dict)  # a machine without fonts: Pillow's own is left
    assert lettering.line("AI-generated", 20).any()
    for text, name, package in [
        ("Généré", "LATIN SMALL LETTER E WITH ACUTE", "fonts-dejavu-core"),
        ("AI生成", "CJK UNIFIED IDEOGRAPH", "fonts-noto-cjk"),
        ("한글", "HANGUL SYLLABLE", "fonts-noto-cjk"),
        ("مرحبا", "ARABIC LETTER", "fonts-noto-core"),
        ("हिन्दी", "DEVANAGARI LETTER", "fonts-noto-core"),
    ]:
        with pytest.raises(InputError, match=f"no font here has .*{name}.*apt-get install {package}"):
            lettering.line(text, 20)


def test_a_font_of_ones_own_is_used_and_checked(tmp_path: Path) -> None:
    (tmp_path / "x.ttf").write_text("no font")
    with pytest.raises(InputError, match=r"x\.ttf cannot be read"):
        lettering.line("AI", 20, tmp_path / "x.ttf")
    if (latin := lettering._files().get("DejaVuSans.ttf")) is None:
        pytest.skip("needs DejaVuSans.ttf (apt-get install fonts-dejavu-core)")
    assert lettering.line("AI", 20, Path(latin)).any()
    with pytest.raises(InputError, match="has no '生'"):
        lettering.line("生", 20, Path(latin))


def test_right_to_left_is_known_and_needs_a_pillow_that_can(monkeypatch) -> None:
    assert lettering.is_right_to_left("123 مرحبا abc") and lettering.is_right_to_left("שלום")
    assert not lettering.is_right_to_left("12 abc مرحبا") and not lettering.is_right_to_left("12")
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(InputError, match="lacks raqm"):
        lettering.line("مرحبا", 20)


def test_words_of_strangers_stay_on_their_line() -> None:
    one = lettering.line("a b", 20)
    assert (lettering.line("a\n\0\tb", 20) == one).all()
    assert lettering.line("a" * 50, 20).shape[0] == one.shape[0]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"style": "loud"}, "'loud'; it must be corner, moving, credits"),
        ({"language": "tlh"}, "'tlh'; it must be one of ar, de, en"),
        ({"text": " "}, "has 0 characters"),
        ({"text": "x" * 81}, "81 characters"),
        ({"credits": Credits(seconds=0)}, "last 0 seconds"),
    ],
)
def test_labels_that_cannot_be_are_named(wrong: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Label(**wrong)


def test_frames_that_cannot_be_labelled_are_named() -> None:
    for frames, fps, says in [
        (np.zeros((2, 64, 64), np.uint8), 24.0, "must be uint8"),
        (np.zeros((2, 64, 64, 3), np.float32), 24.0, "must be uint8"),
        (np.zeros((0, 64, 64, 3), np.uint8), 24.0, "must be uint8"),
        (grey(0, size=(8, 8)), 24.0, "too small"),
        (grey(0), 0.0, "not possible"),
    ]:
        with pytest.raises(InputError, match=says):
            label.burn(frames, fps=fps)
    with pytest.raises(InputError, match="too small"):
        label.burn(grey(0, size=(16, 30)), Label(style="credits"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, clip) -> Path:
    return films.film(tmp_path_factory.mktemp("clips") / "source.mp4", clip(4, frames=12, size=(128, 256)))


def test_a_file_gets_its_label_and_keeps_all_else(source: Path, tmp_path: Path) -> None:
    made = label.label_file(source, tmp_path / "x.mp4")
    assert (made.frames, made.width, made.height, made.notes) == (12, 256, 128, ())
    assert films.packets(source, "audio") == films.packets(tmp_path / "x.mp4", "audio")
    (times, before, _), (times_after, after, _) = films.pictures(source), films.pictures(tmp_path / "x.mp4")
    assert times == times_after
    badge = label.draw_badge(Label(), 128, 256)
    top, left = label.place(Label(), (128, 256), badge.shape[:2], 0.0)
    mine = label.burn(before)
    assert films.psnr(after, mine) > 38
    assert films.psnr(after[:, : top - 8], before[:, : top - 8]) > 42  # the rest of the pictures is as it was
    assert np.abs(after[:, top:, left:].astype(int) - before[:, top:, left:]).max() > 100


def test_credits_of_a_file_make_it_longer(source: Path, tmp_path: Path) -> None:
    said = Credits(title="a dog", seconds=0.5)
    made = label.label_file(source, tmp_path / "x.mkv", Label(style="credits", credits=said))
    assert made.frames == 12 + 12
    times, pictures, _ = films.pictures(tmp_path / "x.mkv")
    steps = np.diff([float(t) for t in times])
    assert len(times) == 24 and np.allclose(steps, 1 / films.RATE, atol=0.0011)
    card = label.draw_card(Label(style="credits", credits=said), 128, 256)
    assert films.psnr(pictures[-1], card) > 25 and films.psnr(pictures[0], card) < 20


@pytest.mark.parametrize(("pixels", "codec"), [("yuv444p", "libx264"), ("yuv420p10le", "libx265"), ("gray", "libx264")])
def test_pictures_of_every_kind_are_labelled(pixels: str, codec: str, clip, tmp_path: Path) -> None:
    frames = clip(4, frames=4, size=(128, 256), grey=pixels == "gray")
    options = {"crf": "12", "preset": "veryfast"} | ({"x265-params": "log-level=none"} if codec == "libx265" else {})
    films.film(tmp_path / "a.mkv", frames, pixels=pixels, codec=codec, options=options)
    label.label_file(tmp_path / "a.mkv", tmp_path / "b.mkv")
    before, after = films.pictures(tmp_path / "a.mkv")[1], films.pictures(tmp_path / "b.mkv")[1]
    assert films.psnr(after, label.burn(before)) > 36


@pytest.mark.skipif(
    not hasattr(films.av.video.stream.VideoStream, "set_display_matrix"), reason="needs av 17.1 or newer"
)
def test_a_phone_video_gets_its_label_upright(clip, tmp_path: Path) -> None:
    films.film(tmp_path / "a.mp4", clip(4, frames=3, size=(128, 256)), matrix=TURNED)
    label.label_file(tmp_path / "a.mp4", tmp_path / "b.mp4")
    (_, before, first), (_, after, _) = films.pictures(tmp_path / "a.mp4"), films.pictures(tmp_path / "b.mp4")
    turns = round(first.rotation / 90) % 4
    assert turns in (1, 3)
    shown = np.rot90(before, turns, (1, 2))
    assert shown.shape[1:3] == (256, 128)
    assert films.psnr(np.rot90(after, turns, (1, 2)), label.burn(np.ascontiguousarray(shown))) > 33


def test_credentials_are_not_broken_in_silence(source: Path, tmp_path: Path) -> None:
    provenance.sign(source, tmp_path / "signed.mp4")
    with pytest.raises(InputError, match="--drop-credentials"):
        label.label_file(tmp_path / "signed.mp4", tmp_path / "x.mp4")
    label.label_file(tmp_path / "signed.mp4", tmp_path / "x.mp4", drop_credentials=True)
    report = provenance.sign(
        tmp_path / "x.mp4", tmp_path / "y.mp4", parent=tmp_path / "signed.mp4", edits=["addedText"]
    )
    assert report.status == "authentic" and report.manifest["ingredients"][0]["status"] == "authentic"


def test_paths_that_cannot_be_used_are_named(source: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "old.mp4").write_text("precious")
    for src, dst, error, says in [
        (source, tmp_path / "x.avi", InputError, "must end in one of"),
        (source, source, InputError, "is the source itself"),
        (source, tmp_path / "old.mp4", InputError, "exists already"),
        (tmp_path / "text.mp4", tmp_path / "x.mp4", MediaError, r"text\.mp4: not a video"),
        (tmp_path / "none.mp4", tmp_path / "x.mp4", MediaError, "no such file"),
    ]:
        with pytest.raises(error, match=says):
            label.label_file(src, dst)
    with pytest.raises(InputError, match="too small"):
        label.label_file(source, tmp_path / "x.mp4", Label(text="many words " * 7))
    assert sorted(os.listdir(tmp_path)) == ["old.mp4", "text.mp4"]


def test_the_command_labels(source: Path, tmp_path: Path, capsys) -> None:
    target = str(tmp_path / "x.mp4")
    assert main(["label", str(source), "-o", target, "--style", "moving", "--language", "es"]) == 0
    assert "labelled, 12 pictures of 256x128" in capsys.readouterr().out
    assert main(["label", str(source), "-o", target, "--style", "credits", "--title", "x", "--overwrite"]) == 0
    assert main(["label", str(source), "-o", target, "--overwrite", "--language", "xx"]) == 2
    assert "must be one of" in capsys.readouterr().err
