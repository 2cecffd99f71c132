"""Reports say the same to people and programs, and a stranger's text cannot act on the terminal."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.report import BEST_TO_WORST, EXIT_CODES, Report, escape, worst_exit_code
from provenance.watermark import Detection

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\nauthentic\u202e4pm.\u2028\u200b\x9b1m\x7f\ud800\x00<script>alert(1)</script>"


def test_exit_codes_are_those_of_the_contract() -> None:
    assert EXIT_CODES == {"authentic": 0, "altered": 1, "unreadable": 2, "absent": 3, "untrusted": 4, "recovered": 5}
    assert set(BEST_TO_WORST) == set(EXIT_CODES)


def test_several_files_give_the_worst_code() -> None:
    def code(*statuses: str) -> int:
        return worst_exit_code(Report(path="x", status=status) for status in statuses)

    assert code() == 0 and code("authentic", "authentic") == 0
    assert code("authentic", "untrusted") == 4 and code("untrusted", "absent") == 3
    assert code("absent", "unreadable", "authentic") == 2 and code("unreadable", "altered", "absent") == 1


def harmless(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@settings(max_examples=40)
@given(st.text())
def test_escaped_text_has_nothing_that_acts(text: str) -> None:
    assert harmless(escape(text))


def test_ordinary_text_in_any_language_is_left_alone() -> None:
    for text in ("a dog", "一只狗在海滩上奔跑", "un perro corre", "كلب يركض على الشاطئ", "🐕 ¡olé!"):
        assert escape(text) == text


def test_long_text_is_cut() -> None:
    assert escape("x" * 10_000) == "x" * 400 + "..."


def hostile_report() -> Report:
    manifest = {key: HOSTILE for key in ("title", "generator", "origin", "when", "prompt")} | {
        "signer": {"name": HOSTILE, "organisation": HOSTILE},
        "actions": [{"action": HOSTILE}],
        "generation": {"model": {"name": HOSTILE, "digest": {"x": HOSTILE}}, "cost": {"flops": 1, "device": HOSTILE}},
    }
    return Report(path=HOSTILE, status="untrusted", manifest=manifest, findings=(HOSTILE,))


def test_hostile_text_cannot_act_on_the_terminal() -> None:
    report = hostile_report()
    assert all(harmless(line) for line in report.to_text().split("\n"))
    assert harmless(report.to_line())
    assert report.to_json().isascii() and harmless(report.to_json())


def test_json_keeps_every_character_of_hostile_text() -> None:
    assert json.loads(hostile_report().to_json())["manifest"]["title"] == HOSTILE


@settings(max_examples=40)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_oddly_shaped_values_are_printed_all_the_same(value) -> None:
    cost = {"flops": value, "money": value, "currency": value, "device": value}
    generation = {"model": {"name": value}, "cost": cost}
    manifest = {"title": value, "signer": {"name": value}, "generation": generation, "prompt": value}
    text = Report(path="x", status="authentic", manifest=manifest).to_text()
    assert text.startswith("x: AUTHENTIC\n")


@pytest.mark.parametrize("cost", [None, "much", [], {"flops": 10**400}, {"kwh": "1"}, {"kwh": float("nan")}, {}])
def test_a_cost_that_is_no_number_is_not_shown(cost) -> None:
    report = Report(path="x", status="authentic", manifest={"generation": {"cost": cost}})
    assert "cost" not in report.to_text()


def test_the_verdict_comes_first_and_the_watermark_is_named() -> None:
    mark = Detection(found=True, payload=b"8 bytes!", p_value=1e-30)
    report = Report(path="dog.mp4", status="absent", watermark=mark, findings=("no credentials",))
    assert report.to_text().split("\n") == [
        "dog.mp4: ABSENT",
        "  carries no credentials",
        "  watermark:  3820627974657321 (p = 1.0e-30)",
        "  - no credentials",
    ]
    assert report.to_line() == "dog.mp4: ABSENT: no credentials"
    assert report.to_dict()["exit_code"] == 3
