"""The schedule played through: what waits for what."""

from pathlib import Path

import pytest

from sorajax.plan import chips, hlo, predict
from sorajax.plan.kernels import Calls

SAMPLES = Path(__file__).with_name("samples")
V5E = chips.CHIPS["v5e"]
WHERE = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
GATHER = 128 * 512 * 2 * 4 * 3 / 4 / (2 * V5E.link_rate)
"""Seconds of gathering bf16[128,512] from four devices."""


def play(text: str, kernel_seconds: float = 0.0) -> predict.Time:
    device = predict.Device(
        chips.parse("v5e:2x2"), WHERE, lambda name, operands, moved: (name, Calls(1, kernel_seconds))
    )
    return predict.time(hlo.parse(text), device)


def work(name: str, cycles: int) -> str:
    return f'  %{name} = f32[8]{{0:S(1)}} copy(%x), backend_config={{"estimated_cycles":"{cycles}"}}\n'


def program(*lines: str) -> str:
    head = "  %x = f32[8]{0:S(1)} parameter(0)\n  %w = bf16[128,512]{1,0:S(1)} parameter(1)\n"
    return f"ENTRY %main (x: f32[8], w: bf16[128,512]) -> f32[8] {{\n{head}{''.join(lines)}}}\n"


START = "  %s = (bf16[128,512]{1,0:S(1)}, bf16[512,512]{1,0:S(1)}) all-gather-start(%w), replica_groups=[1,4]<=[4]\n"
DONE = "  %d = bf16[512,512]{1,0:S(1)} all-gather-done(%s)\n"
SYNC = "  %g = bf16[512,512]{1,0:S(1)} all-gather(%w), replica_groups=[1,4]<=[4]\n"


def test_cycles_are_divided_by_the_clock() -> None:
    assert play(program(work("a", 1_500_000))).seconds == pytest.approx(1e-3)


def test_a_synchronous_collective_holds_the_core() -> None:
    time = play(program(work("a", 15_000), SYNC, work("b", 15_000)))
    assert time.collectives == pytest.approx(GATHER)
    assert time.seconds == pytest.approx(20e-6 + GATHER)


@pytest.mark.parametrize(("cycles", "exposed"), [(0, 1.0), (1_500, GATHER - 1e-6), (15_000_000, 0.0)])
def test_only_what_computing_does_not_cover_of_an_asynchronous_one_counts(cycles: int, exposed: float) -> None:
    time = play(program(START, work("a", cycles), DONE))
    assert time.collectives == pytest.approx(min(exposed, GATHER))


def test_a_second_collective_waits_for_the_first() -> None:
    second = START.replace("%s", "%s2"), DONE.replace("%d", "%d2").replace("%s", "%s2")
    time = play(program(START, second[0], DONE, second[1]))
    assert time.collectives == pytest.approx(2 * GATHER)
    assert time.traffic["all-gather", True].bytes == 2 * 4 * 128 * 512 * 2


ASIDE = (
    f"%aside (p: bf16[128,512]) -> bf16[512,512] {{\n  %p = bf16[128,512]{{1,0:S(1)}} parameter(0)\n{SYNC}}}\n".replace(
        "%w", "%p"
    )
)


@pytest.mark.parametrize(("cycles", "exposed"), [(1_500, GATHER - 1e-6), (15_000_000, 0.0)])
def test_a_collective_on_another_core_is_on_the_links_all_the_same(cycles: int, exposed: float) -> None:
    start = '  %s = ((), (), s32[1]) call-start(%w), async_execution_thread="sparsecore", to_apply=%aside\n'
    done = "  %d = bf16[512,512]{1,0:S(1)} call-done(%s)\n"
    time = play(ASIDE + program(start, work("a", cycles), done))
    assert time.collectives == pytest.approx(exposed) and time.copies == 0
    assert time.traffic["all-gather", True].count == 1


def test_an_estimate_that_is_none_is_left_alone() -> None:
    assert play(program(work("a", 2**63 - 1))).seconds < 1e-6


def test_a_copy_from_memory_is_covered_by_work() -> None:
    start = "  %s = (bf16[128,512]{1,0:S(1)}, bf16[128,512]{1,0}, u32[]{:S(2)}) copy-start(%w)\n"
    bare, covered = (
        play(program(start, *middle, "  %d = bf16[128,512]{1,0:S(1)} copy-done(%s)\n"))
        for middle in ([], [work("a", 1_500_000)])
    )
    assert bare.copies == pytest.approx(128 * 512 * 2 / V5E.hbm_rate)
    assert covered.copies == 0


def test_of_branches_the_longest_counts() -> None:
    branches = "".join(
        f"%b{n} (x: f32[8]) -> f32[8] {{\n  %x = f32[8]{{0:S(1)}} parameter(0)\n  ROOT %c = f32[8]{{0:S(1)}} copy(%x), "
        f'backend_config={{"estimated_cycles":"{n}"}}\n}}\n\n'
        for n in (15_000, 30_000)
    )
    choice = "  %r = f32[8]{0:S(1)} conditional(%x, %x, %x), branch_computations={%b15000, %b30000}\n"
    assert play(branches + program(choice)).seconds == pytest.approx(20e-6)


def test_the_sample_of_layers_adds_up() -> None:
    time = play((SAMPLES / "layers.hlo").read_text(encoding="utf-8"))
    assert time.seconds == pytest.approx(sum(time.parts.values()))
    assert time.products + time.elementwise == pytest.approx(sum(time.instructions.values()))
    shifts = time.traffic["collective-permute", True]
    # Three loops of two products, whose weights [128, 512] go round in pieces instead of being gathered.
    assert (shifts.count, shifts.bytes, shifts.sent) == (18, 18 * 128 * 512 * 2, 18 * 128 * 512 * 2)
    # A product's estimate cannot be below the arithmetic at peak.
    assert time.products > 3 * 2 * (2 * 2048 * 512 * 512) / V5E.peak


def test_kernels_in_a_loop_are_asked_for_and_counted() -> None:
    time = play((SAMPLES / "attention.hlo").read_text(encoding="utf-8"), kernel_seconds=1e-3)
    assert time.calls == {"flash_forward": Calls(3, pytest.approx(3e-3))}
    assert time.kernels == pytest.approx(3e-3)


@pytest.mark.parametrize(
    "name",
    ["flash_forward.1", "flash_forward.clone.2", "flash_forward", "flash_forward.3.k_ref", "flash_forward.q_ref"],
)
def test_copies_of_a_kernel_bear_its_name(name: str) -> None:
    assert predict.kernel_name(hlo.Instruction(name, "custom-call", (), (), "")) == "flash_forward"
