"""Some hundreds of the mutants of ``benchmarks/fuzz_verifier.py``, which makes tens of thousands."""

from pathlib import Path

import pytest

from benchmarks import fuzz_mutants, fuzz_verifier
from provenance import watermark


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory) -> fuzz_verifier.Fuzz:
    return fuzz_verifier.Fuzz(fuzz_verifier.seeds(tmp_path_factory.mktemp("fuzz")))


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_no_mutant_escapes_or_passes_for_the_original(start: int, fuzz, monkeypatch) -> None:
    monkeypatch.setattr(watermark, "Detector", fuzz_verifier.Blind)  # the mutants' own change ends with the test
    for number in range(start, start + 50):
        outcome = fuzz(number)
        assert outcome.unjustified is None, f"{number}: {outcome}"
        if outcome.kind == "bytes of content":
            assert outcome.status in ("altered", "unreadable"), f"{number}: {outcome}"


def test_mutants_are_the_same_each_time_and_of_every_kind(fuzz) -> None:
    data = Path(fuzz.seeds[0]).read_bytes()
    first = [fuzz_mutants.mutant(data, number) for number in range(300)]
    assert first[:50] == [fuzz_mutants.mutant(data, number) for number in range(50)]
    assert {kind for kind, _ in first} == set(fuzz_mutants.MUTATIONS)
    assert sum(changed != data for _, changed in first) > 290


def test_a_mutant_that_passes_without_reason_would_be_noticed(fuzz, tmp_path) -> None:
    # The judge of the mutants is judged: a changed picture that a careless verifier lets through.
    original = Path(fuzz.seeds[0])
    data = bytearray(original.read_bytes())
    at = data.rindex(b"mdat") + 500
    data[at] ^= 0x10
    (tmp_path / "x.mp4").write_bytes(data)
    careless = fuzz_verifier.provenance.Report(path="x", status="authentic")
    assert fuzz_verifier.why_not(original, tmp_path / "x.mp4", careless, careless) == "a box that is hashed was changed"
    assert fuzz_verifier.why_not(original, original, careless, careless) is None
