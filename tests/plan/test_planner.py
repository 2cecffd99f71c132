"""From a compiled program to an answer: the recorded program of four v5e stands for whatever is asked."""

import gzip
import json
from pathlib import Path

import pytest

from sorajax.cli import main
from sorajax.errors import InputError
from sorajax.plan import Request, chart, compile, plan, report
from sorajax.plan.chips import GIB
from sorajax.plan.request import find_model

SAMPLES = Path(__file__).with_name("samples")
PLACES = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
REQUEST = Request(task="sample", model=find_model("wan2.1-t2v-1.3b"), width=832, height=480, frames=81)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Every program becomes the sample; a test says what each mesh needs, in GiB."""
    listing = tmp_path / "program.hlo.gz"
    listing.write_bytes(gzip.compress((SAMPLES / "layers.hlo").read_bytes()))
    needs = {}

    def compile_program(request, slice_, mesh, *, timeout):
        size = needs.get(slice_.name, needs.get(tuple(mesh.values()), 4))
        record = {"coordinates": PLACES, "kernels": [], "useful_flops": 1e9, "compile_seconds": 1.0}
        if isinstance(size, str):
            raise InputError(size)
        if size * GIB > slice_.chip.hbm_usable:
            return compile.Compiled({**record, "needs_bytes": int(size * GIB)}, listing)
        memory = {"arguments": 2 * GIB, "outputs": GIB, "temporaries": GIB, "peak": int(size * GIB)}
        return compile.Compiled({**record, "memory": memory}, listing)

    monkeypatch.setattr(compile, "compile_program", compile_program)
    monkeypatch.setattr(compile, "check_libtpu", lambda: "0.0.50.1")
    return needs


def test_the_fastest_mesh_that_fits_is_best(compiler):
    compiler[2, 1, 2, 1] = 40
    found = plan(REQUEST, "v5e:2x2")
    assert [a.fits for a in found.attempts] == [False, True, True]
    assert found.best is not None and found.best.mesh != {"data": 2, "fsdp": 1, "seq": 2, "tensor": 1}


def test_a_job_takes_as_long_as_its_steps_and_is_billed_by_chips(compiler):
    found = plan(REQUEST, "v5e:2x2", steps=7200, watts=200)
    assert found.best is not None and found.best.seconds is not None
    assert found.hours == pytest.approx(2 * found.best.seconds)
    assert found.chip_hours == pytest.approx(4 * found.hours)
    assert found.kilowatt_hours == pytest.approx(4 * 0.2 * found.hours)


def test_energy_is_not_made_up(compiler):
    assert plan(REQUEST, "v5e:2x2").kilowatt_hours is None
    assert "no published power" in report.text(plan(REQUEST, "v5e:2x2"))


def test_what_is_too_large_gets_slices_that_would_hold_it(compiler):
    compiler["v5e:2x2"] = 40
    found = plan(REQUEST, "v5e:2x2")
    assert found.best is None
    # Four times 40 GiB, and 5 % for what does not divide.
    assert found.remedies[0] == "a slice with more memory: v5e:4x4, v5p:2x2x1, v6e:2x4, tpu7x:2x2x1"
    text = report.text(found)
    assert "does not fit" in text and "needs 40.00 GiB of 15.75 GiB" in text and "v5e:4x4" in text


def test_if_no_likely_mesh_fits_the_thriftiest_is_tried_too(compiler):
    compiler["v5e:2x4"] = 40
    tried = [a.mesh for a in plan(REQUEST, "v5e:2x4", tries=1).attempts]
    assert [mesh["seq"] for mesh in tried] == [4, 8]


def test_a_mesh_that_the_compiler_refuses_does_not_stop_the_others(compiler):
    compiler[2, 1, 2, 1] = "the compiler died of SIGABRT"
    found = plan(REQUEST, "v5e:2x2")
    assert "SIGABRT" in report.text(found) and found.best is not None


def test_if_it_refuses_all_its_word_is_passed_on(compiler):
    compiler["v5e:2x2"] = "the compiler died of SIGABRT"
    with pytest.raises(InputError, match="SIGABRT"):
        plan(REQUEST, "v5e:2x2")


def test_json_has_every_figure_of_the_text(compiler, capsys):
    assert main(["plan", "wan2.1-t2v-1.3b", "--topology", "v5e:2x2", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["model"], values["devices"], values["tokens"], values["fits"]) == ("wan2.1-t2v-1.3b", 4, 32760, True)
    best = next(a for a in values["attempts"] if a["mesh"] == values["best"])
    assert values["seconds_per_step"] == best["seconds"] == pytest.approx(sum(best["parts"].values()))
    assert best["flops"] == 3 * 2 * (2 * 2048 * 512 * 512)
    assert {c["kind"] for c in best["collectives"]} == {"collective-permute"}


def test_slices_are_compared_line_by_line(compiler, capsys):
    compiler["v5e:1x1"] = 40
    compiler["v6e:2x2"] = "the compiler died of SIGABRT"
    slices = ["--topology", "v5e:2x2", "--compare", "v5e:1x1", "v6e:2x2", "--prices", "v5e=1.2"]
    assert main(["plan", "wan2.1-t2v-1.3b", *slices]) == 0
    head, fits, small, dead = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["slice", "chips"]
    assert fits.split()[:2] == ["v5e:2x2", "4"]
    assert "does not fit" in small and "40.00 GiB" in small
    assert "SIGABRT" in dead


def test_a_comparison_is_json_too(compiler, capsys):
    compiler["v6e:2x2"] = "no"
    command = ["plan", "wan2.1-t2v-1.3b", "--topology", "v5e:2x2", "--compare", "v6e:2x2", "--json"]
    assert main(command) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["fits"] and second == {"topology": "v6e:2x2", "error": "no"}


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_cost_is_drawn_against_chips(compiler, tmp_path, kind):
    path = tmp_path / f"cost.{kind}"
    plans = [plan(REQUEST, name) for name in ("v5e:2x2", "v6e:2x2")]
    chart.draw(plans, path, {"v5e": 1.2, "v6e": 2.7})
    assert path.stat().st_size > 5000
    if kind == "svg":
        assert "<svg" in path.read_text()


def test_nothing_that_fits_is_nothing_to_draw(compiler, tmp_path):
    compiler["v5e:2x2"] = 40
    with pytest.raises(InputError, match="none of the slices fits"):
        chart.draw([plan(REQUEST, "v5e:2x2")], tmp_path / "cost.png", {})
    with pytest.raises(InputError, match=r"must end in \.png, \.svg or \.pdf"):
        chart.draw([plan(REQUEST, "v5e:4x4")], tmp_path / "cost.txt", {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--topology", "v5e:3x3"], "topology 'v5e:3x3' does not exist; nearest: v5e:2x4"),
        (["--topology", "v5e:2x2", "--compare", "v9:1"], "topology 'v9:1' does not exist"),
        (["--topology", "v5e:2x2", "--mesh", "fsdp=8"], "has 8 devices, v5e:2x2 has 4"),
        (["--topology", "v5e:2x2", "--mesh", "data=4"], "does not divide a batch of 2"),
        (["--topology", "v5e:2x2", "--size", "830x480"], "nearest: 832x480"),
        (["--topology", "v5e:2x2", "--task", "dream"], "known: train, sample, text, decode"),
        (["--topology", "v5e:2x2", "--tries", "0"], "tries is 0"),
        (["--topology", "v5e:2x2", "--prices", "v5e"], "TPU=PRICE"),
        (["--topology", "v5e:2x2", "--chart", "cost.gif"], "must end in .png, .svg or .pdf"),
        (["--topology", "v5e:2x2", "--chart", "nowhere/cost.png"], "the folder 'nowhere' does not exist"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(compiler, capsys, options, message):
    assert main(["plan", "wan2.1-t2v-1.3b", *options]) == 2
    out, err = capsys.readouterr()
    assert not out and message in err and len(err.splitlines()) == 1
