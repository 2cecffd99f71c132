"""On a cluster of two nodes the results are those of one machine, whoever is lost in mid-run."""

import os
import re
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest

import sorajax
from sorajax.cli import main
from sorajax.data.shards import Shards
from sorajax.errors import InputError
from sorajax.footage import encode as encoding
from sorajax.footage import hooks, on_ray
from sorajax.footage import prepare as module
from sorajax.footage.encode import Maker, encode, encode_on
from sorajax.footage.prepare import prepare
from tests import tiny
from tests.footage import films

pytest.importorskip("ray")
# JAX tells of it where a process forks; Ray's are started anew at once.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
SCANNED = module._scanned


class Machines:
    """Two nodes of one CPU each, one of which may be lost and comes again."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.other = self.cluster.add_node(num_cpus=1)
        self.address = self.cluster.address

    def lose(self) -> None:
        self.cluster.remove_node(self.other)

    def mend(self) -> None:
        if self.other not in self.cluster.list_all_nodes():
            self.other = self.cluster.add_node(num_cpus=1)


@pytest.fixture(scope="module")
def machines(root):
    own = {
        "PYTHONPATH": str(root),  # where nodes find this module
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",  # else the token in the user's home, if there is one
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    found = Machines()
    yield found
    found.cluster.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def ray(machines):
    machines.mend()
    with on_ray.join(machines.address) as joined:
        yield joined


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("footage") / "in"
    for i in range(7):
        films.write(folder / f"{i}.mp4", films.scene(i, 40), films.scene(10 + i, 24))
        (folder / f"{i}.txt").write_text(f"blobs of {i}")
    (folder / "broken.mp4").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def alone(footage) -> Path:
    """What one machine makes of it."""
    prepare([footage], footage.with_name("alone"), workers=2, progress=False)
    return footage.with_name("alone")


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file; scans are noted in the order in which they are finished, so their lines are sorted."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found | {"scans.jsonl": b"\n".join(sorted(found["scans.jsonl"].splitlines()))}


def note(folder: Path, what: str) -> Path:
    """While its process is at something, a file says so; ``begun`` keeps all that was begun."""
    import ray

    with (folder / "begun").open("a") as begun:
        begun.write(what + "\n")
    path = folder / f"{os.getpid()}.now"
    path.write_text(f"{ray.get_runtime_context().get_node_id()} {what}")
    time.sleep(0.5)
    return path


def at_work(folder: Path, node: str = "") -> tuple[int, str]:
    """A process, on that node, and what it is at."""
    for _ in range(1000):
        for path in folder.glob("*.now"):
            where, _, what = path.read_text().partition(" ")
            if what and node in where:
                return int(path.stem), what
        time.sleep(0.02)
    pytest.fail("nobody is at work")


def slow(source) -> dict:
    now = note(source.path.parent.with_name("scanning"), source.name)
    record = SCANNED(source)
    now.unlink()
    return record


def test_a_process_and_a_node_are_lost_and_every_file_is_there_once(
    ray, machines, footage, alone, tmp_path, monkeypatch
):
    working, lost = footage.with_name("scanning"), []
    working.mkdir()

    class Disturbed:
        def scan(self, function, missing):
            for count, found in enumerate(ray.scan(function, missing), 1):
                if count == 2:
                    process, name = at_work(working, machines.cluster.head_node.node_id)
                    os.kill(process, signal.SIGKILL)
                    (working / f"{process}.now").unlink()
                    lost.append(name)
                if count == 3:
                    lost.append(at_work(working, machines.other.node_id)[1])
                    machines.lose()
                yield found

    monkeypatch.setattr(module, "_scanned", slow)
    summary = prepare([footage], tmp_path, pool=Disturbed(), progress=False)
    assert (summary.files, summary.clips, summary.reasons) == (8, 14, {"unreadable": 1})
    assert contents(tmp_path) == contents(alone)
    begun = Counter((working / "begun").read_text().split())
    assert len(begun) == 8 and all(begun[name] > 1 for name in lost)


def dying(source) -> dict:
    return os._exit(9) if source.name == "3.mp4" else SCANNED(source)


def test_a_file_that_kills_each_process_stops_nothing_and_the_shell_stays_quiet(
    machines, footage, tmp_path, monkeypatch, capfd
):
    machines.mend()
    monkeypatch.setattr(module, "_scanned", dying)
    films_of_it = [str(footage / f"{i}.mp4") for i in (2, 3, 4)]
    with warnings.catch_warnings():  # main sets up its own
        assert main(["data", "prepare", *films_of_it, "--out", str(tmp_path), "--ray", machines.address]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("4 clips") and out.endswith("report.html\n") and out.count("\n") == 2
    assert all(line.startswith("scan:") for line in err.replace("\r", "\n").split("\n") if line)
    (dropped,) = (tmp_path / "dropped.jsonl").read_text().splitlines()
    assert "3.mp4" in dropped and "brought the process down" in dropped
    monkeypatch.setattr(module, "_scanned", SCANNED)  # on one machine the next run tries that one again, and no other
    before = (tmp_path / "scans.jsonl").read_text()
    assert prepare([Path(film) for film in films_of_it], tmp_path, workers=1, progress=False).clips == 6
    assert (tmp_path / "scans.jsonl").read_text().startswith(before) and before.count("\n") == 2


def test_a_node_that_does_not_see_a_file_is_named(ray, footage, tmp_path):
    for name in ("0.mp4", "0.txt", "1.mp4", "1.txt"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes((footage / name).read_bytes())

    class Elsewhere:
        def scan(self, function, missing):
            (tmp_path / "in" / "1.mp4").rename(tmp_path / "away")
            return ray.scan(function, missing)

    with pytest.warns(UserWarning, match=r"node [\d.]+ does not see 1 of the files, the first .*1.mp4; have it see"):
        assert prepare([tmp_path / "in"], tmp_path / "out", pool=Elsewhere(), progress=False).clips == 2
    assert "1.mp4 is not there on node" in (tmp_path / "out" / "dropped.jsonl").read_text()
    (tmp_path / "away").rename(tmp_path / "in" / "1.mp4")
    assert prepare([tmp_path / "in"], tmp_path / "out", workers=1, progress=False).clips == 4


class Held(Maker):
    """On the node that is to be lost nothing is finished, and on the others nothing before that one is at work."""

    def __call__(self, part):
        folder = Path(self.seen).parent.with_name("encoding")
        begun = note(folder, part[0].name)
        lost = (folder / "lost").read_text()
        while lost in begun.read_text():
            time.sleep(0.1)
        at_work(folder, lost)
        begun.unlink()
        return super().__call__(part)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


def test_shards_are_those_of_one_machine_though_an_encoder_is_lost(ray, machines, alone, model, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "SHARD", 3)
    monkeypatch.setattr(encoding, "Maker", Held)
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clips.jsonl").write_bytes(b"\n".join((alone / "clips.jsonl").read_bytes().splitlines()[:6]))
        (tmp_path / name / "scans.jsonl").touch()
    one = encode(sorajax.load(model), tmp_path / "one", progress=False)
    make, working, lost = on_ray.Ray.make, tmp_path / "encoding", []
    working.mkdir()
    (working / "lost").write_text(machines.other.node_id)

    def disturbed(self, maker, tasks):
        for count, found in enumerate(make(self, maker, tasks), 1):
            if count == 1:
                lost.append(at_work(working, machines.other.node_id)[1])
                machines.lose()
            yield found

    monkeypatch.setattr(on_ray.Ray, "make", disturbed)
    many = encode_on(ray, str(model), tmp_path / "many", progress=False)
    assert many.name == one.name and contents(tmp_path / "many") == contents(tmp_path / "one")
    assert sum(Shards(many).shapes().values()) == 9
    begun = Counter((working / "begun").read_text().split())
    assert all(begun[name] > 1 for name in lost)


def test_a_node_that_does_not_see_the_output_is_named():
    made, said = on_ray._Make(Maker("mini", "", "/nowhere/.seen"))((Path("/nowhere/a"), []))
    assert made is None
    assert re.fullmatch(r"node [\d.]+: /nowhere is not seen here; name a folder that all nodes share", said)


def test_what_the_cluster_cannot_give_is_refused(ray):
    asking = on_ray.Ray(resources={"GPU": 1})
    with pytest.raises(InputError, match="no node of the cluster can give GPU=1: all of it is .*CPU=2"):
        list(asking.make(Maker("mini", "", ""), [None]))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("localhost:1", r"--ray localhost:1: nothing answers there .*; start a cluster with ray start --head"),
        ("ray://localhost:1", "--ray ray://localhost:1: nothing answers there"),
        ("here", "--ray here is no address; give auto, local, HOST:PORT or ray://HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_named(address, said):
    with pytest.raises(InputError, match=said), on_ray.join(address):
        pass


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    remedy = "--ray needs ray, which is missing: pip install 'sorajax.ray.'"
    with pytest.raises(InputError, match=remedy), on_ray.join("local"):
        pass


def test_resources_are_names_and_amounts(tmp_path, capsys):
    assert hooks.resources(["GPU=1", "TPU=4"]) == {"GPU": 1, "TPU": 4}
    for wrong in ("GPU", "GPU=no", "=1", "GPU=0"):
        with pytest.raises(InputError, match=f"--ray-resources {wrong}: no name and number above 0"):
            hooks.resources([wrong])
    assert main(["data", "prepare", str(tmp_path), "--out", str(tmp_path / "out"), "--ray-resources", "GPU=1"]) == 2
    assert "--ray-resources is asked of a Ray cluster; name it with --ray" in capsys.readouterr().err
