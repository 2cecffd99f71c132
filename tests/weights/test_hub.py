"""Models by name: from a hub that a server here plays, with its cache, its refusals and downloads that stop."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
from pathlib import Path

import huggingface_hub.constants
import pytest

import provenance
import sorajax
from sorajax.errors import CheckpointError, InputError
from sorajax.weights import hub
from sorajax.weights.find import find
from tests import tiny

NAME, REVISION = "someone/wan-tiny", "0123456789abcdef0123456789abcdef01234567"
CARD = "---\nlicense: apache-2.0\ntags: [video]\n---\nA tiny model.\n"


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that downloads use, over a folder."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, served: list[str], broken: set[str], *arguments):
        self.folder, self.served, self.broken = folder, served, broken
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        files = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
        if path.startswith(f"/api/models/{NAME}/tree/"):
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": (self.folder / name).stat().st_size,
                    "oid": etag(self.folder / name),
                }
                for name in files
            ]
            return self._send(200, json.dumps(tree).encode())
        if path.startswith(f"/api/models/{NAME}"):
            if "/revision/" in path and path.rsplit("/", 1)[1] not in ("main", REVISION):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            about = {"id": NAME, "sha": REVISION, "siblings": [{"rfilename": f} for f in files]}
            return self._send(200, json.dumps(about).encode())
        if path.startswith("/api/models/gated/"):
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        prefix = f"/{NAME}/resolve/{REVISION}/"
        if path.startswith(prefix) and (name := path.removeprefix(prefix)) in files:
            if self.command == "GET":
                self.served.append(name)
                if name in self.broken:
                    return self._send(500, b"")
            headers = {"ETag": f'"{etag(self.folder / name)}"', "X-Repo-Commit": REVISION}
            return self._send(200, (self.folder / name).read_bytes(), headers)
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tiny.write_wan(tmp_path_factory.mktemp("hub") / "model")
    (folder / "README.md").write_text(CARD)
    (folder / "pytorch_model.bin").write_bytes(b"not wanted")
    return folder


@pytest.fixture
def served(published, tmp_path, monkeypatch):
    """What the server is asked for; the cache is empty. ``served.broken`` names files that it cannot give."""

    class Served(list):
        broken: set[str] = set()

    asked = Served()
    asked.broken = set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Hub, published, asked, asked.broken))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    constants, address = huggingface_hub.constants, f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield asked
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_once_and_the_clip_says_whence(served, tmp_path):
    pipe = sorajax.load(NAME)
    assert "transformer/diffusion_pytorch_model.safetensors" in served and "pytorch_model.bin" not in served
    assert pipe.origin == {"repository": NAME, "revision": REVISION, "licence": "apache-2.0"}
    assert pipe.config.name == NAME
    served.clear()
    assert sorajax.load(f"{NAME}@{REVISION}").digest == pipe.digest
    assert not served
    clip = pipe("a dog", seed=1, steps=1, guidance=1.0, size=(48, 32), frames=5)
    clip.save(tmp_path / "dog.mp4")
    assert REVISION in json.dumps(provenance.verify(tmp_path / "dog.mp4").to_dict())


def test_configs_alone_are_fetched_where_they_suffice(served):
    folder = find(NAME, weights=False)
    assert (folder / "transformer" / "config.json").is_file()
    assert not any(name.endswith(".safetensors") for name in served)


def test_a_download_that_failed_goes_on_where_it_stopped(served):
    late = "vae/diffusion_pytorch_model.safetensors"
    served.broken.add(late)
    with pytest.raises(CheckpointError, match="could not be fetched .* run it again to resume"):
        hub.fetch(NAME)
    served.broken.clear()
    had = set(served) - {late}
    served.clear()
    folder = hub.fetch(NAME)
    assert (folder / late).is_file()
    assert late in served and not had & set(served)


def test_offline_what_is_there_is_used_and_what_is_not_is_named(served, monkeypatch):
    hub.fetch(NAME)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    served.clear()
    assert sorajax.load(NAME).origin["revision"] == REVISION
    assert not served
    with pytest.raises(CheckpointError, match="'someone/else' is not in the cache and the hub cannot be reached"):
        hub.fetch("someone/else")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/nothing", "'someone/nothing' is neither a folder here nor on the hub"),
        (f"{NAME}@v9", f"'{NAME}' has no revision 'v9'"),
        ("gated/model", "accepted its terms.*hf auth login"),
        ("a--b/c", "'a--b/c' is not a name on the hub"),
    ],
)
def test_what_the_hub_does_not_give_is_said_in_one_line(served, name, message):
    with pytest.raises(InputError, match=message) as refused:
        sorajax.load(name)
    assert "\n" not in str(refused.value)


def test_a_folder_elsewhere_has_no_origin(published, tmp_path):
    assert hub.origin(published) == {}
    assert hub.licence(published) == "apache-2.0"
    bare = shutil.copytree(published, tmp_path / "bare")
    (bare / "README.md").write_text("No front matter. license: x")
    assert hub.licence(bare) == ""


def test_names_like_a_preset_get_the_nearest(tmp_path):
    with pytest.raises(InputError, match="did you mean 'wan2.1-t2v-1.3b'"):
        find("wan2.1-t2v-1.3")
