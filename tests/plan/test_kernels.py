"""Lengths of Pallas kernels: read from the compiler's listing, and the measured table."""

import dataclasses
from pathlib import Path

import pytest

from sorajax.errors import InputError
from sorajax.plan import kernels
from sorajax.plan.chips import CHIPS
from sorajax.plan.traced import Kernel

SAMPLES = Path(__file__).with_name("samples")
KERNEL = Kernel(
    name="attention",
    options="block_q=128",
    grid=(2, 8, 8),
    operands=("bfloat16[2,1024,128]",),
    blocks=("bfloat16[1,128,128]",),
    flops=1.0,
)


def test_a_listing_tells_the_loop_from_what_runs_once_a_row() -> None:
    bundles = kernels.read((SAMPLES / "splash.bundles").read_text(encoding="utf-8"), (2, 8, 8))
    # In the listing the loop spans 0xc to its branch back, the start of a row 0x28 to 0x5c, the end as long as it is.
    assert (bundles.first, bundles.cores) == (53, 1)
    assert 0 < bundles.last < bundles.body / 2
    assert bundles.first + bundles.last < bundles.body


def test_a_row_of_one_block_runs_every_region() -> None:
    bundles = kernels.Bundles(body=100, first=20, last=10, outside=5, cores=1)
    assert bundles.cycles((2, 8, 1)) == 5 + 16 * 100
    assert bundles.cycles((2, 8, 10)) == pytest.approx(5 + 160 * (100 - 0.9 * 30))


def test_two_cores_share_the_grid() -> None:
    bundles = kernels.Bundles(body=100, first=0, last=0, outside=0, cores=2)
    assert bundles.cycles((2, 8, 8)) == 64 * 100


def test_a_listing_without_bundles_is_refused() -> None:
    with pytest.raises(InputError, match="no bundles"):
        kernels.read("nothing\n", (2, 8, 8))


def test_length_is_a_matter_of_blocks_and_not_of_sequences() -> None:
    longer = dataclasses.replace(KERNEL, grid=(2, 16, 16), operands=("bfloat16[2,2048,128]",))
    wider = dataclasses.replace(KERNEL, blocks=("bfloat16[1,256,128]",))
    assert kernels.key("v5e", KERNEL) == kernels.key("v5e", longer)
    assert len({kernels.key("v5e", KERNEL), kernels.key("v6e", KERNEL), kernels.key("v5e", wider)}) == 3


@pytest.mark.parametrize("chip", CHIPS)
def test_splash_attention_is_slower_than_its_arithmetic_on_every_chip(chip: str) -> None:
    """Forward with 512 x 512 blocks and head size 128: 4 x 512 x 512 x 128 FLOPs a step."""
    rows = [(n, b) for n, b in kernels.table().items() if n.startswith(f"{chip} splash_mha_fwd_no_residuals")]
    assert rows
    for _, bundles in rows:
        small = bundles.body < 2500
        steps = 4 * 512 * 512 * 128 * (1 if small else 4)
        seconds = bundles.cycles((1, 1, 10**6)) / 10**6 / CHIPS[chip].clock
        assert 0.25 < steps / seconds / CHIPS[chip].peak < 1
