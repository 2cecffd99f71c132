"""Reading compiled programs: committed listings of the TPU compiler (``make_samples``), and lines of HLO's grammar."""

from pathlib import Path

import pytest

from sorajax.errors import InputError
from sorajax.plan import hlo

SAMPLES = Path(__file__).with_name("samples")


@pytest.fixture(params=["layers", "attention"])
def module(request: pytest.FixtureRequest) -> hlo.Module:
    return hlo.parse((SAMPLES / f"{request.param}.hlo").read_text(encoding="utf-8"))


def test_a_scan_of_three_layers_is_a_loop_of_three(module: hlo.Module) -> None:
    (loop,) = (i for i in module.computations[module.entry].instructions.values() if i.opcode == "while")
    assert module.trips(loop) == 3


def test_everything_that_is_named_exists(module: hlo.Module) -> None:
    for computation in module.computations.values():
        for one in computation.instructions.values():
            assert set(one.operands) <= set(computation.instructions)
            assert set(one.called.values()) <= set(module.computations)


def test_metadata_that_breaks_lines_does_not_lose_the_kernel() -> None:
    module = hlo.parse((SAMPLES / "attention.hlo").read_text(encoding="utf-8"))
    calls = [i for c in module.computations.values() for i in c.instructions.values() if i.target == "tpu_custom_call"]
    assert [call.name.split(".")[0] for call in calls] == ["flash_forward"]
    assert calls[0].arrays == (hlo.Array("bf16", (1, 1024, 256), 1), hlo.Array("f32", (1, 2, 1, 1024)))


def test_types_tell_bytes_and_memory() -> None:
    type_ = "(bf16[8,128]{1,0:T(8,128)S(1)}, f32[], s4[16]{0})"
    text = f"ENTRY %main (p: bf16[8,128]) -> (f32[], s4[16]) {{\n  %p = {type_} parameter(0)\n}}\n"
    arrays = hlo.parse(text).computations["main"].instructions["p"].arrays
    assert [(a.bytes, a.space) for a in arrays] == [(2048, 1), (4, 0), (8, 0)]


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(InputError, match="not a compiled HLO module"):
        hlo.parse("hello")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("replica_groups={{0,1},{2,3}}", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[4]", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", [[0, 2], [1, 3]]),
        ("replica_groups=[4,2]<=[2,2,2]T(0,2,1)", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'b'}", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a','b'}", [[0, 1, 2, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(1)2}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(2)2}", [[0, 1], [2, 3]]),
        ("replica_groups={}", [[0, 1, 2, 3]]),
    ],
)
def test_groups_in_every_form(text: str, expected: list[list[int]]) -> None:
    assert hlo.groups(f"channel_id=1, {text}, use_global_device_ids=true", 4) == expected


def test_pairs_of_a_permutation() -> None:
    assert hlo.pairs("source_target_pairs={{0,1},{1,0},{2,12}}, x={}") == [(0, 1), (1, 0), (2, 12)]
