"""Captions of every kind that people have beside their videos, and clear words about those that cannot be read."""

import json
import math

import pytest

from sorajax.errors import InputError
from sorajax.footage.captions import TAGS, Caption, of_tags, of_values, read, within

SRT = "1\n00:00:00,000 --> 00:00:02,500\nA dog\nruns.\n\n2\n00:00:02,500 --> 00:00:05,000\n<i>It stops.</i>\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:02.500\nA dog runs.\n"


def test_a_text_has_a_caption_a_line_and_its_name_the_language():
    assert read("dog.txt", b"a dog\n\n  a  red dog \n") == [Caption("a dog"), Caption("a red dog")]
    assert read("dog.zh-Hans.txt", "一只狗".encode()) == [Caption("一只狗", "zh-Hans")]
    assert read("v1.final.txt", b"a dog") == [Caption("a dog")]


@pytest.mark.parametrize(
    ("values", "captions"),
    [
        ({"caption": "a dog"}, [Caption("a dog")]),
        ({"text": ["a dog", "a pet"], "language": "en"}, [Caption("a dog", "en"), Caption("a pet", "en")]),
        ({"prompt": {"en": "a dog", "es": ["un perro"]}}, [Caption("a dog", "en"), Caption("un perro", "es")]),
        ({"title": "a dog"}, []),
        ("a dog", [Caption("a dog")]),
        (["a dog", " ", "a pet"], [Caption("a dog"), Caption("a pet")]),
        ([], []),
        (None, []),
    ],
)
def test_json_has_one_text_several_or_one_a_language(values, captions):
    assert read("dog.json", json.dumps(values).encode()) == captions


def test_the_name_of_json_has_the_language_of_texts_that_say_none():
    assert read("dog.zh.json", '{"caption": "一只狗"}'.encode()) == [Caption("一只狗", "zh")]
    assert read("dog.zh.json", '["一只狗"]'.encode()) == [Caption("一只狗", "zh")]
    assert read("dog.zh.json", b'{"caption": "un perro", "language": "es"}') == [Caption("un perro", "es")]
    assert read("dog.zh.json", b'{"caption": {"en": "a dog"}}') == [Caption("a dog", "en")]


def test_subtitles_have_times_and_no_markup():
    assert read("dog.srt", SRT.encode()) == [
        Caption("A dog runs.", "", 0.0, 2.5),
        Caption("It stops.", "", 2.5, 5.0),
    ]
    assert read("dog.en.vtt", VTT.encode()) == [Caption("A dog runs.", "en", 0.0, 2.5)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_encodings_are_understood(encoding):
    assert read("dog.txt", "собака".encode(encoding)) == [Caption("собака")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("dog.txt", b"caf\xe9", "dog.txt: byte 0xe9 at 3 is not UTF-8; convert it"),
        ("dog.txt", b"\xff\xfea\x00b", "dog.txt: byte .* is not UTF-16; convert it"),
        ("dog.json", b"{", "dog.json is not valid JSON"),
        ("dog.json", b'{"caption": 3}', "caption 3 is not a text"),
        ("dog.json", b'[{"begin": 1}]', "caption {'begin': 1} is not a text"),
        ("dog.srt", b"no subtitles", "dog.srt cannot be read as SRT"),
    ],
)
def test_what_cannot_be_read_is_named(name, data, message):
    with pytest.raises(InputError, match=message):
        read(name, data)


def test_a_stretch_has_what_is_said_during_most_of_it_and_of_the_whole():
    said = (Caption("a film", "en"), *read("a.srt", SRT.encode()))
    assert within(said, 0.0, 2.0) == [Caption("a film", "en"), Caption("A dog runs.", "", 0.0, 2.0)]
    assert [c.text for c in within(said, 0.0, 5.0)] == ["a film", "A dog runs. It stops."]
    assert [c.text for c in within(said, 10.0, 12.0)] == ["a film"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"title": "A dog runs", "description": "Along the\n beach"}, ["A dog runs", "Along the beach"]),
        ({"description": "A dog runs", "comment": "A dog runs"}, ["A dog runs"]),
        ({"title": "沙滩上的狗"}, ["沙滩上的狗"]),
        ({"comment": "A dog runs https://example.org/v?1 me@example.org"}, ["A dog runs"]),
        ({"title": "Big Buck", "artist": "Somebody Else"}, ["Big Buck"]),
        ({"title": "my dog v2"}, []),  # my_dog-v2.mp4
        ({"title": "another dog.mov"}, []),
        ({"title": "Dog", "comment": "2024-05-01 12:00"}, []),
        ({"comment": "Created with HandBrake 1.6.1", "description": "encoded by somebody"}, []),
        ({"title": "ISO Media file produced by Google Inc.", "comment": "Lavf57.3.100 by libav"}, []),
        ({"title": "A caf\udce9 by night"}, []),  # not in UTF-8
        ({"comment": "https://example.org/a-dog"}, []),
    ],
)
def test_of_a_files_own_metadata_is_taken_what_a_person_wrote(tags, said):
    assert [c.text for c in of_tags(tags, TAGS, "in/my_dog-v2.mp4")] == said
    assert of_tags(tags, (), "in/my_dog-v2.mp4") == []


def test_rows_without_a_caption_have_none():
    assert of_values({"caption": "", "video": "a.mp4"}, "list.csv:2") == []
    assert math.isinf(Caption("a").end)
