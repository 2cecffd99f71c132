"""FLOPs and bytes of compiled programs, against what their arithmetic is."""

from pathlib import Path

import pytest

from sorajax.plan import costs, hlo

SAMPLES = Path(__file__).with_name("samples")


def convolution(left: str, right: str, out: str, attributes: str) -> float:
    text = (
        f"ENTRY %main (a: {left}, b: {right}) -> {out} {{\n  %a = {left} parameter(0)\n  %b = {right} parameter(1)\n"
        f"  ROOT %c = {out} convolution(%a, %b), {attributes}\n}}\n"
    )
    return costs.flops(hlo.parse(text))


def test_a_loop_counts_as_often_as_it_runs() -> None:
    module = hlo.parse((SAMPLES / "layers.hlo").read_text(encoding="utf-8"))
    assert costs.flops(module) == 3 * 2 * (2 * 2048 * 512 * 512)


def test_a_product_is_twice_its_multiplications() -> None:
    assert convolution("f32[8,32]", "f32[32,16]", "f32[8,16]", "dim_labels=bf_io->bf") == 2 * 8 * 32 * 16


def test_a_batched_product_written_with_dilation_counts_its_batch_once() -> None:
    attributes = "window={size=2 lhs_dilate=2}, dim_labels=b0f_o0i->0bf"
    # Output position o meets input o / 2 with kernel k where o + k is even: 2 of 4 pairs.
    assert convolution("f32[64,1,128]", "f32[96,2,128]", "f32[2,64,96]", attributes) == pytest.approx(
        2 * 64 * 96 * 128 * 2, rel=0.5
    )


@pytest.mark.parametrize(("padding", "pairs"), [("0_0", 4 * 3), ("1_1", 6 * 3 - 2)])
def test_padding_is_not_work(padding: str, pairs: int) -> None:
    out = 4 if padding == "0_0" else 6
    attributes = f"window={{size=3 pad={padding}}}, dim_labels=b0f_0io->b0f"
    assert convolution("f32[1,6,5]", "f32[3,5,7]", f"f32[1,{out},7]", attributes) == 2 * 5 * 7 * pairs


def test_a_slice_of_stacked_weights_reads_the_slice() -> None:
    text = """
%fused (p0: bf16[40,128,128], p1: s32[]) -> bf16[1,128,128] {
  %p0 = bf16[40,128,128]{2,1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %slice = bf16[1,128,128]{2,1,0} dynamic-slice(%p0, %p1, %zero, %zero), dynamic_slice_sizes={1,128,128}
}

ENTRY %main (w: bf16[40,128,128], i: s32[]) -> bf16[1,128,128] {
  %w = bf16[40,128,128]{2,1,0} parameter(0)
  %i = s32[]{:T(128)S(6)} parameter(1)
  ROOT %f = bf16[1,128,128]{2,1,0:S(1)} fusion(%w, %i), kind=kLoop, calls=%fused
}
"""
    module = hlo.parse(text)
    main = module.computations["main"]
    assert costs.hbm_bytes(module, main, main.instructions["f"]) == 2 * 128 * 128
