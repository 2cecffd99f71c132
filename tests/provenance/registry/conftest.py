"""Registries on disk, in memory and in PostgreSQL."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provenance import fingerprint, registry, stores
from provenance.registry.entry import Entry
from provenance.registry.store import Registry


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Registry]:
    with registry.opened(tmp_path / "registry") as opened:
        yield opened


@pytest.fixture(scope="session")
def store(signed: Path) -> bytes:
    """The manifest store of a signed clip."""
    found = stores.find(signed.read_bytes())
    assert found is not None
    return found


@pytest.fixture(scope="session")
def print_of(clip):
    """Fingerprints by seed."""
    return lambda seed: fingerprint.of_frames(clip(seed, frames=6), 8)


@pytest.fixture
def keep(print_of):
    """Add a clip whose manifest store is anything."""

    def add(known: Registry, store: bytes, payload: bytes = b"8 bytes!", seed: int = 1, **facts) -> Entry:
        entry = Entry(manifest_sha256="", manifest_id=f"urn:c2pa:{store[:20].hex()}", payload=payload.hex(), **facts)
        return known.add(entry, manifest=store, fingerprint=print_of(seed), pictures=[(0.0, b"\xff\xd8\xff" + store)])

    return add


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a database on a server of our own, gone afterwards."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if os.path.isdir("/usr/lib/postgresql") else []
    initdb = binaries[-1] if binaries else shutil.which("initdb")
    if initdb is None:
        missing = "needs Debian's postgresql (apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    # PostgreSQL refuses to run as root.
    runner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if runner:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tools, data = Path(initdb).parent, folder / "data"

    def run(*command: object) -> None:
        subprocess.run([*runner, *map(str, command)], check=True, capture_output=True, cwd="/", timeout=60)

    run(tools / "initdb", "-D", data, "-U", "sorajax", "--auth=trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(tools / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://sorajax@127.0.0.1:{port}/postgres"
    finally:
        run(tools / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)
