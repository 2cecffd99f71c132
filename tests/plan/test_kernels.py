"""Lengths of Pallas kernels: read from the compiler's listing, and the measured table."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import pytest

from sorajax.errors import InputError
from sorajax.plan import kernels, traced
from sorajax.plan.chips import CHIPS, Chip
from sorajax.plan.hlo import Array
from sorajax.plan.traced import Kernel

V5E = CHIPS["v5e"]
PRODUCTS = {"flash_forward": 2, "flash_backward_keys": 4, "flash_backward_queries": 3}
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
    bundles = kernels.read((SAMPLES / "attention.bundles").read_text(encoding="utf-8"), (1, 2, 8, 4))
    # In the listing the loop spans 0xb to 0x56e, the start of a row 0x96 to 0xfa, and its end 0x4ca to 0x53f.
    assert (bundles.first, bundles.last, bundles.cores) == (0xFB - 0x96, 0x540 - 0x4CA, 1)


def test_alternatives_to_the_usual_block_do_not_count() -> None:
    """A raised reference lies at 0x1fc to 0x256, a masked block at 0x25a to 0x3c3, a block done again at 0x3c7."""
    bundles = kernels.read((SAMPLES / "attention.bundles").read_text(encoding="utf-8"), (1, 2, 8, 4))
    skipped = (0x257 - 0x1FC) + (0x3C4 - 0x25A) + (0x4C8 - 0x3C7)
    assert bundles.usual == (0x56F - 0xB) - skipped
    # Two products of 128 queries, 128 channels and 256 keys, 16 rows and 128 columns at a time.
    assert bundles.products == 2 * (128 // 16) * (256 // 128)


def length(**changed: int) -> kernels.Bundles:
    counts = {"usual": 100, "first": 20, "last": 10, "outside": 5, "cores": 1, "products": 0}
    return kernels.Bundles(**(counts | changed))


def test_a_row_of_one_block_runs_every_region() -> None:
    assert length().cycles((2, 8, 1), V5E) == 5 + 16 * 100
    assert length().cycles((2, 8, 10), V5E) == pytest.approx(5 + 160 * (100 - 0.9 * 30))


def test_two_cores_share_the_grid() -> None:
    assert length(cores=2).cycles((2, 8, 1), V5E) == 5 + 8 * 100


def test_matrix_units_are_the_bound_where_they_are_slower_than_the_bundles() -> None:
    # A v5e does 131,072 multiplications and additions a cycle; 16 rows times 128 x 128 are four cycles' worth.
    busy = length(products=50)
    assert busy.cycles((2, 8, 1), V5E) == pytest.approx(5 + 16 * 50 * 4, rel=0.01)
    assert length(products=5).cycles((2, 8, 1), V5E) == 5 + 16 * 100


def test_a_listing_without_bundles_is_refused() -> None:
    with pytest.raises(InputError, match="no bundles"):
        kernels.read("nothing\n", (2, 8, 8))


def test_length_is_a_matter_of_blocks_and_not_of_sequences() -> None:
    longer = dataclasses.replace(KERNEL, grid=(2, 16, 16), operands=("bfloat16[2,2048,128]",))
    wider = dataclasses.replace(KERNEL, blocks=("bfloat16[1,256,128]",))
    other = dataclasses.replace(KERNEL, code="another")
    assert kernels.key("v5e", KERNEL) == kernels.key("v5e", longer)
    different = [("v5e", KERNEL), ("v6e", KERNEL), ("v5e", wider), ("v5e", other)]
    assert len({kernels.key(chip, kernel) for chip, kernel in different}) == 4


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_no_kernel_in_the_table_is_faster_than_its_arithmetic(chip: Chip) -> None:
    """Products of a block of queries and one of keys with 128 channels: two forward, four and three backward."""
    rows = {name: row for name, row in json.loads(kernels.TABLE.read_text()).items() if name.startswith(chip.name)}
    assert {name.split()[1] for name in rows} == {*PRODUCTS, "rotate"}
    for name, row in ((name, row) for name, row in rows.items() if name.split()[1] in PRODUCTS):
        queries, keys = (int(block.split(",")[1]) for block in row["blocks"][:2])
        steps = 10**6
        seconds = kernels.Bundles(**row["bundles"]).cycles((steps,), chip) / chip.clock
        flops = steps * PRODUCTS[name.split()[1]] * 2 * queries * keys * 128
        assert 0.1 < flops / seconds / chip.peak <= 1.001, name


def test_a_kernel_that_was_not_traced_is_refused() -> None:
    clock = kernels.Clock(V5E, [KERNEL], {})
    with pytest.raises(InputError, match="'other'"):
        clock.time("other", [Array("bf16", (2, 1024, 128))], 0)


def test_a_kernel_takes_as_long_at_least_as_its_arrays_to_be_read_and_written() -> None:
    clock = kernels.Clock(V5E, [KERNEL], {kernels.key("v5e", KERNEL): length()})
    arrays = [Array("bf16", (2, 1024, 128))]
    assert clock.time("attention", arrays, 0)[1].seconds == length().cycles(KERNEL.grid, V5E) / V5E.clock
    assert clock.time("attention", arrays, 1e9)[1].seconds == 1e9 / V5E.hbm_rate


def test_a_kernel_of_unknown_length_runs_at_the_peak_and_is_named() -> None:
    clock = kernels.Clock(V5E, [KERNEL], {})
    listed, calls = clock.time("attention", [Array("bf16", (2, 1024, 128))], 0)
    assert (listed, calls.seconds, clock.assumed) == ("attention 2x8x8", 1 / V5E.peak, {"attention"})


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="the table is of kernels as JAX 0.12 writes them")
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("tokens", [32760, 75600])
def test_the_table_has_the_kernels_of_the_presets_as_they_are_now(chip: str, tokens: int) -> None:
    """Over video and over text; if a kernel was changed: python benchmarks/kernel_bundles.py."""
    attention = pytest.importorskip("sorajax.attention.kernels")

    def array(*shape: int, dtype: str = "bfloat16") -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    q, lengths, row = array(1, tokens, 256), array(1, dtype="int32"), array(1, 2, tokens, dtype="float32")
    for k in (q, array(1, 512, 256)):
        for function, rest in ((attention.flash_forward, ()), (attention.flash_gradients, (q, row, row))):
            jaxpr = jax.make_jaxpr(functools.partial(function, heads=2))(q, k, k, lengths, *rest).jaxpr
            for kernel, _ in traced.kernels(jaxpr):
                assert kernels.key(chip, kernel) in kernels.table(), f"{kernel.name} {kernel.blocks[:2]}"
