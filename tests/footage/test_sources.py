"""Videos are found in folders, lists and tars, each with its captions and a name that no machine changes."""

import io
import json
import tarfile

import av
import pytest

from sorajax.errors import InputError
from sorajax.footage.captions import Caption
from sorajax.footage.sources import find
from tests.footage import films


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return films.write(tmp_path_factory.mktemp("film") / "dog.mp4", films.scene(0, 8))


def test_a_folder_has_videos_pictures_and_what_lies_beside_them(tmp_path, film):
    for name in ("b/dog.mp4", "a.mp4", ".hidden/x.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(film.read_bytes())
    (tmp_path / "b" / "dog.txt").write_text("a dog")
    (tmp_path / "b" / "dog.es.txt").write_text("un perro")
    (tmp_path / "notes.md").write_text("no video")
    found = find([tmp_path])
    assert [s.name for s in found] == ["a.mp4", "b/dog.mp4"]
    assert set(found[1].captions) == {Caption("a dog"), Caption("un perro", "es")} and not found[0].captions


def test_captions_of_a_wrong_encoding_are_a_problem_of_that_file_alone(tmp_path, film):
    (tmp_path / "dog.mp4").write_bytes(film.read_bytes())
    (tmp_path / "dog.txt").write_bytes(b"caf\xe9")
    (source,) = find([tmp_path])
    assert "not UTF-8" in source.problem and not source.captions


def test_captions_belong_to_the_file_of_the_longest_name(tmp_path, film):
    for name in ("a", "a.1"):
        (tmp_path / f"{name}.mp4").write_bytes(film.read_bytes())
        (tmp_path / f"{name}.txt").write_text(f"film {name}")
    (tmp_path / "a.es.txt").write_text("una película")
    other, first = find([tmp_path])
    assert [c.text for c in other.captions] == ["film a.1"]
    assert {c.text for c in first.captions} == {"film a", "una película"}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_list_names_files_captions_and_stretches(tmp_path, film, kind):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "dog.mp4").write_bytes(film.read_bytes())
    path = tmp_path / f"list.{kind}"
    if kind == "csv":
        path.write_text('video,caption,start,end\nvideos/dog.mp4,"a dog, running",0.1,0.4\nvideos/dog.mp4,still,,\n')
    else:
        rows = [{"file_name": "videos/dog.mp4", "text": "a dog, running", "start": 0.1, "end": 0.4}]
        rows += [{"file_name": "videos/dog.mp4", "text": "still"}]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole, part = find([path])
    assert (part.start, part.end, part.captions) == (0.1, 0.4, (Caption("a dog, running"),))
    assert (whole.key, part.key) == ("videos/dog.mp4", "videos/dog.mp4 0.1-0.4 s")
    assert whole.start == 0 and whole.captions == (Caption("still"),) and whole.path.is_file()


def test_a_tar_has_samples_whose_files_share_a_name(tmp_path, film):
    with tarfile.open(tmp_path / "shard-0.tar", "w") as archive:
        for name, data in {
            "000.mp4": film.read_bytes(),
            "000.txt": b"a dog",
            "001.json": b'{"caption": "alone"}',
            "sub/002.mp4": film.read_bytes(),
            "sub/002.json": b'{"caption": {"en": "another"}}',
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    first, second = find([tmp_path])
    assert (first.name, first.captions) == ("shard-0.tar/000.mp4", (Caption("a dog"),))
    assert (second.name, second.captions) == ("shard-0.tar/sub/002.mp4", (Caption("another", "en"),))
    with second.open() as file, av.open(file) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone", None, "gone is not there; name folders, videos"),
        ("notes.txt", "x", "notes.txt is no video, list or tar"),
        ("a.csv", "clip,caption\nx.mp4,a dog\n", "a.csv:2: no file is named .columns: clip, caption."),
        ("a.csv", "video,start\nx.mp4,soon\n", "a.csv:2: start or end is not a number"),
        ("a.jsonl", '{"video": "a.mp4"}\n{', "a.jsonl cannot be read"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: not an object"),
        ("a.tar", "no tar", "a.tar cannot be read as a tar"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        find([tmp_path / name])


def test_two_files_of_one_name_are_refused(tmp_path, film):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dog.mp4").write_bytes(film.read_bytes())
    with pytest.raises(InputError, match="are both called dog.mp4; name a folder above both"):
        find([tmp_path / "a", tmp_path / "b"])
