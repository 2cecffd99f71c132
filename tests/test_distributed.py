"""Several processes on this machine do what one does: train, save, resume with another number, sample, end together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import provenance
from tests import tiny
from tests.several_processes import DEVICES

LIMIT = 240
"""Seconds for a job that takes 15 to 30 on two free cores; one that hangs fails its tests then."""
LOST = "process {} on {} (pid {}) was lost; process {} ends too"


class Job:
    """Processes of ``tests.several_processes``; the last one gets its SIGTERM at batch ``until``."""

    def __init__(self, root, name, runs, count, until=0, **sizes):
        self.runs, self.outputs = runs, runs.parent / f"outputs-{name}-{count}"
        self.outputs.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = os.environ | {"XLA_FLAGS": DEVICES.format(1), "JAX_PLATFORMS": "cpu"}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "SORAJAX_START_SECONDS": "60"}
        environment |= {"JAX_COMPILATION_CACHE_DIR": str(runs.parent / "programs")}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
        command = [sys.executable, "-m", "tests.several_processes", name, str(runs), json.dumps(sizes), str(until)]
        self.processes = []
        for i in range(count):
            if count > 1:
                own = {"SORAJAX_COORDINATOR": address, "SORAJAX_PROCESSES": str(count), "SORAJAX_PROCESS": str(i)}
                environment |= own
            with self._file(i, "out").open("w") as out, self._file(i, "err").open("w") as err:
                self.processes.append(subprocess.Popen(command, cwd=root, env=environment, stdout=out, stderr=err))

    def _file(self, i, kind):
        return self.outputs / f"{i}.{kind}"

    def said(self, i):
        """What process ``i`` has written on stdout and stderr so far."""
        return self._file(i, "out").read_text(), self._file(i, "err").read_text()

    def wait_until_all_worked(self):
        end = time.monotonic() + LIMIT
        while not all("worked" in self.said(i)[0] for i in range(len(self.processes))):
            for i, process in enumerate(self.processes):
                assert process.poll() in (None, 0), self.said(i)[1]
                assert time.monotonic() < end, f"process {i} does not get on: {self.said(i)}"
            time.sleep(0.1)

    def results(self):
        """What each process has kept."""
        return [dict(np.load(self.runs / f"work-{i}.npz")) for i in range(len(self.processes))]

    def codes(self):
        """Exit codes. A process that hangs fails the test: the limit is far below JAX's own of 100 s."""
        return [process.wait(timeout=30) for process in self.processes]

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


def losses(runs, model="tiny"):
    records = [json.loads(line) for line in (runs / model / "video" / "log.jsonl").read_text().splitlines()]
    records = [record for record in records if "loss" in record and "event" not in record]
    assert [r["step"] for r in records] == list(range(1, len(records) + 1))  # written once, by one process
    return [r["loss"] for r in records]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    tiny.write(folder / "tiny")
    tiny.write_shards(folder / "shards", 40)
    for runs in ("one", "several"):
        shutil.copytree(folder / "tiny", folder / runs / "tiny" / "model")
    return folder


@pytest.fixture(scope="module")
def alone(root, folder):
    """One process, which works while the two do."""
    job = Job(root, "work", folder / "one", 1, until=25, data=1)
    yield job
    job.close()


@pytest.fixture(scope="module")
def one(alone, two):
    """The one process, once it is done."""
    alone.wait_until_all_worked()
    return alone


@pytest.fixture(scope="module")
def two(root, folder, alone):
    """Two processes, each with half of every parameter; they wait for each other when they are done."""
    job = Job(root, "hold", folder / "several", 2, until=6, data=1, fsdp=2)
    try:
        job.wait_until_all_worked()
        job.found, job.losses = job.results(), losses(folder / "several")
        job.real, job.judged = losses(folder / "several", "real"), judgement(folder / "several")
        [clip] = (folder / "several" / "real" / "video").glob("*.mp4")
        job.clip = clip.rename(folder / clip.name)
        yield job
    finally:
        job.close()


@pytest.fixture(scope="module")
def four(root, folder, two):
    """Four processes go on from the checkpoint of the two, on another mesh."""
    shutil.rmtree(folder / "several" / "real")
    job = Job(root, "hold", folder / "several", 4, until=len(two.losses) + 1, data=2, fsdp=2)
    try:
        job.wait_until_all_worked()
        job.found, job.losses = job.results(), losses(folder / "several")
        job.real = losses(folder / "several", "real")
        yield job
    finally:
        job.close()


@pytest.fixture(params=["two", "four"])
def several(request):
    return request.getfixturevalue(request.param)


def test_each_process_makes_its_own_rows_of_a_batch_and_holds_its_part_of_the_weights(several):
    count = len(several.processes)
    assert {int(r["processes"]) for r in several.found} == {count}
    assert [r["rows"].tolist() for r in several.found] == np.arange(8).reshape(count, -1).tolist()
    assert {int(r["parts"]) for r in several.found} == {2}


def test_the_losses_are_those_of_one_process_also_after_resuming_with_another_number(one, two, four):
    expected = losses(one.runs)
    assert 0 < len(two.losses) < len(four.losses) <= len(expected)
    np.testing.assert_allclose(four.losses, expected[: len(four.losses)], rtol=1e-5)
    assert four.losses[: len(two.losses)] == two.losses


def test_of_shards_each_process_reads_its_share_alone(one, several):
    share = 8 // len(several.processes)
    judged = {32}  # held-out clips, which all have whole
    assert all(set(found["read"].tolist()) - judged == {share} for found in several.found)
    np.testing.assert_allclose(several.real, losses(one.runs, "real"), rtol=1e-5)
    assert len(several.real) == 3


def judgement(runs):
    lines = (runs / "real" / "video" / "log.jsonl").read_text().splitlines()
    return next(found for line in lines if "eval_loss_0.6" in (found := json.loads(line)))


def test_a_run_of_two_is_judged_as_one_is_and_its_samples_are_signed(one, two):
    expected = judgement(one.runs)
    assert two.judged == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert [provenance.verify(two.clip).status, two.clip.name] == ["authentic", "video-0000003-0.mp4"]


def test_every_process_gets_the_clip_of_one_process_whole(one, several):
    expected = one.results()[0]
    for found in several.found:
        assert tiny.relative(found["latents"], expected["latents"]) < 1e-5
        if len(several.found) == 2:  # the four do without, as decoding takes long to compile
            assert tiny.relative(found["frames"], expected["frames"]) < 1e-5


def test_a_drawn_number_is_that_of_process_0(several):
    assert {int(found["seed"]) for found in several.found} == {100}


def test_only_process_0_writes(several):
    outputs = [several.said(i) for i in range(len(several.processes))]
    assert "latents: 100%" in outputs[0][1] or len(outputs) == 4  # made by the two, found by the four
    assert not any(err for _, err in outputs[1:])
    assert not list(several.runs.rglob("*.part")) and not list(several.runs.rglob(".shared-*"))


@pytest.mark.parametrize(("victim", "job"), [(1, "two"), (0, "four")])
def test_a_lost_process_ends_the_others_with_a_line_that_names_it(request, victim, job):
    job = request.getfixturevalue(job)
    lost = job.processes[victim].pid
    os.kill(lost, signal.SIGKILL)
    count = len(job.processes)
    assert job.codes() == [-signal.SIGKILL if i == victim else 1 for i in range(count)]
    for i in set(range(count)) - {victim}:
        assert LOST.format(victim, socket.gethostname(), lost, i) in job.said(i)[1].splitlines()[-1]


def test_a_process_that_fails_ends_the_others_with_its_reason(root, folder):
    job = Job(root, "failure", folder / "none", 2)
    try:
        assert job.codes() == [1, 2]
        assert job.said(1)[1] == "sorajax: step 7: loss is not finite\n"
        line = job.said(0)[1].splitlines()[-1]
        assert f"process 1 on {socket.gethostname()}" in line and "stopped: step 7: loss is not finite" in line
    finally:
        job.close()
