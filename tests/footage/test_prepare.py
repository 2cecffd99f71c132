"""From a folder of videos to lists, pictures and a report; nothing bad stops it, nothing is done twice."""

import contextlib
import errno
import json
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import av
import pytest

import sorajax
from sorajax.cli import main
from sorajax.errors import InputError
from sorajax.footage import prepare as module
from sorajax.footage.filters import FilterConfig
from sorajax.footage.prepare import Summary, prepare
from sorajax.footage.sources import Source
from tests.footage import films

SCANNED = module._scanned


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(folder: Path, out: Path, **options) -> Summary:
    return prepare([folder], out, workers=1, progress=False, **options)


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """Two scenes with a caption, a copy of them, one without caption, a short one, and a file that is no video."""
    folder = tmp_path_factory.mktemp("footage")
    two = films.scene(0, 40), films.scene(1, 24)
    films.write(folder / "a.mp4", *two)
    films.write(folder / "copy.mp4", *two)
    films.write(folder / "nothing said.mp4", films.scene(2, 40))
    films.write(folder / "short.mp4", films.scene(3, 9))
    for name in ("a", "copy", "short"):
        (folder / f"{name}.txt").write_text(f"blobs of {name}")
    (folder / "broken.mp4").write_bytes(b"broken")
    return folder


def test_what_is_kept_and_what_is_dropped_and_why(footage, tmp_path):
    summary = run(footage, tmp_path)
    kept, dropped = lines(tmp_path / "clips.jsonl"), lines(tmp_path / "dropped.jsonl")
    assert [(r["source"], r["captions"]) for r in kept] == [
        ("a.mp4", [{"text": "blobs of a", "language": ""}]),
        ("a.mp4", [{"text": "blobs of a", "language": ""}]),
    ]
    assert [(r["source"], r["reason"]) for r in dropped] == [
        ("broken.mp4", "unreadable"),
        ("copy.mp4", "copy"),
        ("copy.mp4", "copy"),
        ("nothing said.mp4", "without caption"),
        ("short.mp4", "short"),
    ]
    assert (summary.files, summary.scenes, summary.clips) == (5, 6, 2)
    assert "2 clips" in str(summary) and "2 copy" in str(summary) and "1 unreadable" in str(summary)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "like a.mp4 at 0.00 s" in page and "blobs of a" in page
    assert all((tmp_path / "pictures" / r["picture"]).is_file() for r in kept + dropped if "picture" in r)


def test_a_second_run_reads_nothing_again_whatever_the_limits_are(footage, tmp_path, monkeypatch):
    run(footage, tmp_path)
    monkeypatch.setattr(module, "_scanned", lambda source: pytest.fail(source.name))
    assert run(footage, tmp_path, config=FilterConfig(min_seconds=0.1, likeness=-1, captioned=False)).clips == 6


def test_a_run_that_was_broken_off_goes_on_where_it_was(footage, tmp_path):
    whole = run(footage, tmp_path / "whole")
    (tmp_path / "part" / "pictures").mkdir(parents=True)
    scans = (tmp_path / "whole" / "scans.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "part" / "scans.jsonl").write_text("".join(scans[:2]) + scans[2][:30])
    for picture in (tmp_path / "whole" / "pictures").iterdir():
        (tmp_path / "part" / "pictures" / picture.name).write_bytes(picture.read_bytes())
    assert run(footage, tmp_path / "part") == whole
    assert lines(tmp_path / "part" / "clips.jsonl") == lines(tmp_path / "whole" / "clips.jsonl")


def test_a_file_that_changed_is_read_again(tmp_path):
    path = films.write(tmp_path / "in" / "a.mp4", films.scene(0, 40))
    (tmp_path / "in" / "a.txt").write_text("blobs")
    run(tmp_path / "in", tmp_path / "out")
    films.write(path, films.scene(0, 20), films.scene(1, 20))
    assert run(tmp_path / "in", tmp_path / "out").clips == 2


def dying(source: Source) -> dict:
    return os._exit(9) if source.name == "copy.mp4" else SCANNED(source)


def test_a_file_that_kills_its_process_is_found_and_stops_nothing(footage, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_scanned", dying)
    summary = prepare([footage], tmp_path, workers=2, progress=False)
    assert summary.clips == 2 and summary.reasons["unreadable"] == 2
    (said,) = [r["why"] for r in lines(tmp_path / "dropped.jsonl") if r["source"] == "copy.mp4"]
    assert "brought the process down" in said
    monkeypatch.setattr(module, "_scanned", SCANNED)
    assert run(footage, tmp_path).reasons["unreadable"] == 1  # it may have been memory


def offline(source: Source) -> dict:
    fault = av.error.OSError(errno.EIO, "Input/output error", source.name)
    with mock.patch("av.open", side_effect=fault) if source.name == "a.mp4" else contextlib.nullcontext():
        return SCANNED(source)


def hungry(source: Source) -> dict:
    with mock.patch.object(module, "scan", side_effect=MemoryError):
        return SCANNED(source)


@pytest.mark.parametrize(("fault", "said"), [(offline, "Input/output error"), (hungry, "out of memory")])
def test_what_could_not_be_read_for_a_time_is_tried_again(footage, tmp_path, monkeypatch, fault, said):
    monkeypatch.setattr(module, "_scanned", fault)
    with contextlib.suppress(InputError):  # of nothing that was kept
        run(footage, tmp_path)
    why = {r["source"]: r["why"] for r in lines(tmp_path / "dropped.jsonl") if r["reason"] == "unreadable"}
    assert said in why["a.mp4"]
    monkeypatch.setattr(module, "_scanned", SCANNED)
    assert run(footage, tmp_path).reasons == {"unreadable": 1, "copy": 2, "without caption": 1, "short": 1}


def test_a_file_that_cannot_be_decoded_is_not_tried_again(footage, tmp_path, monkeypatch):
    run(footage, tmp_path)
    assert "problem" in next(r for r in lines(tmp_path / "scans.jsonl") if r["source"] == "broken.mp4")
    monkeypatch.setattr(module, "_scanned", lambda source: pytest.fail(source.name))
    run(footage, tmp_path)


@pytest.mark.parametrize("loss", ["the folder", "one", "its bytes"])
def test_a_scan_whose_pictures_are_gone_is_made_anew(footage, tmp_path, loss):
    before = run(footage, tmp_path)
    pictures = tmp_path / "pictures"
    shown = {path.name: path.read_bytes() for path in pictures.iterdir()}
    if loss == "the folder":
        shutil.rmtree(pictures)
    elif loss == "one":
        (pictures / min(shown)).unlink()
    else:
        (pictures / min(shown)).write_bytes(b"")
    assert run(footage, tmp_path) == before
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == shown


def test_clips_say_what_their_file_has_in_it_wherever_it_lies(tmp_path):
    path = films.write(tmp_path / "in" / "a.mp4", films.scene(0, 40))
    (tmp_path / "in" / "a.txt").write_text("blobs")
    run(tmp_path / "in", tmp_path / "out")
    shutil.copytree(tmp_path / "in", tmp_path / "copy", copy_function=shutil.copyfile)
    run(tmp_path / "copy", tmp_path / "other")
    ((one,), (other,)) = (lines(tmp_path / name / "clips.jsonl") for name in ("out", "other"))
    assert one["content"] == other["content"] and one["path"] != other["path"]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    run(tmp_path / "in", tmp_path / "out")
    (changed,) = lines(tmp_path / "out" / "clips.jsonl")
    assert changed["content"] != one["content"]


def test_filters_and_captions_of_ones_own(footage, tmp_path):
    def dull(scene):
        return "too few frames" if scene.frames < 30 else None

    summary = run(footage, tmp_path, checks=[dull], captioner=lambda scene: [f"{scene.frames} frames"])
    assert summary.reasons["dull"] == 2  # that of the copy as well, as there is none to be like
    assert [r["captions"][0]["text"] for r in lines(tmp_path / "clips.jsonl")] == ["blobs of a", "40 frames"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_files_own_metadata_says_what_it_shows_if_asked_for_and_nothing_else_does(tmp_path, suffix):
    tags = {"title": "Blobs go by", "comment": "Seen from above"}
    for seed, name in enumerate(("said", "alone")):
        films.write(tmp_path / "in" / f"{name}.{suffix}", films.scene(seed, 40), tags=tags)
    (tmp_path / "in" / "said.txt").write_text("blobs")
    films.write(tmp_path / "in" / "untold.mp4", films.scene(2, 40))

    def said(**options) -> dict[str, list[str]]:
        run(tmp_path / "in", tmp_path / "out", captioner=lambda _: "of a captioner", **options)
        return {r["source"]: [c["text"] for c in r["captions"]] for r in lines(tmp_path / "out" / "clips.jsonl")}

    rest = {f"said.{suffix}": ["blobs"], "untold.mp4": ["of a captioner"]}
    assert said() == rest | {f"alone.{suffix}": ["of a captioner"]}
    assert said(tags=["comment", "title"]) == rest | {f"alone.{suffix}": ["Seen from above", "Blobs go by"]}
    assert said(tags=["description"]) == said()


def test_where_nothing_is_kept_the_counts_say_why(footage, tmp_path):
    with pytest.raises(InputError, match="nothing was kept: 0 clips .*dropped: 6 short, 1 unreadable; .*report.html"):
        run(footage, tmp_path, config=FilterConfig(min_seconds=30, max_seconds=40))
    assert (tmp_path / "report.html").exists()


def test_a_folder_without_videos_is_named(tmp_path):
    with pytest.raises(InputError, match="no video in .*; files that are taken end in .mp4"):
        run(tmp_path, tmp_path / "out")


def test_subtitles_that_leave_a_scene_out_are_told_from_none_at_all(tmp_path):
    films.write(tmp_path / "in" / "a.mp4", films.scene(0, 40), films.scene(1, 40))
    (tmp_path / "in" / "a.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nBlobs move.\n")
    run(tmp_path / "in", tmp_path / "out")
    (kept,), (dropped,) = lines(tmp_path / "out" / "clips.jsonl"), lines(tmp_path / "out" / "dropped.jsonl")
    assert kept["captions"] == [{"text": "Blobs move.", "language": ""}]
    assert dropped["reason"] == "without caption" and dropped["why"] == "its subtitles say nothing of it"


def test_in_the_shell(footage, tmp_path, capsys):
    command = ["data", "prepare", str(footage), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*command, "--limit", "min_seconds=0.1", "captioned=false"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("4 clips (") and out.endswith("report.html\n")
    assert main([*command, "--limit", "min_seconds=0.1", "--tags", "title"]) == 0
    assert main([*command, "--augment", "flips"]) == 2
    assert "--augment is for clips that are encoded; name the model too" in capsys.readouterr().err
    for wrong, said in {"min_second=1": "unknown key 'min_second'", "min_seconds=x": "'x' is not a number"}.items():
        assert main([*command, "--limit", wrong]) == 2
        assert said in capsys.readouterr().err
    assert main(["data", "prepare", str(tmp_path / "gone"), "--out", str(tmp_path / "out")]) == 2
    assert "gone is not there; name folders, videos" in capsys.readouterr().err


def test_without_its_packages_the_remedy_is_named(monkeypatch, tmp_path, capsys):
    for name in [name for name in sys.modules if name.startswith(("sorajax.footage", "scenedetect"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(sorajax, "footage", raising=False)  # so that it is put back as well
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    assert main(["data", "prepare", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "footage needs scenedetect, which is missing: pip install 'sorajax[data]'" in capsys.readouterr().err
