"""Files, patterns, folders and lists of them."""

import io
import os
import sys
from pathlib import Path

import pytest

from provenance import listing
from provenance.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.mp4",
        "a.mp4",
        "notes.txt",
        ".hidden.mp4",
        "deep/er/c.MOV",
        "deep/photo.jpg",
        ".git/d.mp4",
        "[1].mp4",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")
    Path("deep/no suffix").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(30))
    os.symlink("..", "deep/loop")
    return tmp_path


def test_files_stay_in_the_order_given_and_need_not_exist(folder: Path) -> None:
    assert listing.expand(["b.mp4", "nothing.mp4", "a.mp4"]) == ["b.mp4", "nothing.mp4", "a.mp4"]


def test_patterns_go_through_folders(folder: Path) -> None:
    assert listing.expand(["*.mp4"]) == ["[1].mp4", "a.mp4", "b.mp4"]
    assert listing.expand(["**/*.MOV"]) == ["deep/er/c.MOV"]
    assert listing.expand(["[1].mp4"]) == ["[1].mp4"]  # there is a file of that name
    assert listing.expand(["x*.mp4"]) == ["x*.mp4"]  # nothing matches: to be reported as missing


def test_folders_give_media_files_by_name_or_content(folder: Path) -> None:
    expected = ["./[1].mp4", "./a.mp4", "./b.mp4", "./deep/no suffix", "./deep/photo.jpg", "./deep/er/c.MOV"]
    assert listing.expand(["."], recursive=True) == expected
    assert listing.expand(["deep"]) == ["deep"]


def test_lists_hold_any_name(folder: Path, monkeypatch) -> None:
    Path("lines").write_bytes(b"a.mp4\r\n\nb b.mp4\n\xff.mp4")
    assert listing.expand(["x.mp4"], files_from="lines") == ["x.mp4", "a.mp4", "b b.mp4", os.fsdecode(b"\xff.mp4")]
    Path("nul").write_bytes(b"a\nb.mp4\0*.mp4\0")
    assert listing.expand([], files_from="nul") == ["a\nb.mp4", "*.mp4"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.mp4\nb.mp4\n")))
    assert listing.expand(["first.mp4", "-", "last.mp4"]) == ["first.mp4", "a.mp4", "b.mp4", "last.mp4"]


def test_what_gives_no_file_is_said(folder: Path) -> None:
    Path("empty").mkdir()
    Path("nothing").write_bytes(b"\n")
    for names, options, says in [
        (["empty"], {"recursive": True}, "no file to verify in empty"),
        ([], {"files_from": "nothing"}, "no file to verify in nothing"),
        ([], {"files_from": "no.txt"}, "cannot read the list no.txt: No such file"),
        ([], {"files_from": "."}, "cannot read the list .: Is a directory"),
    ]:
        with pytest.raises(InputError, match=says.replace(".", r"\.")):
            listing.expand(names, **options)
