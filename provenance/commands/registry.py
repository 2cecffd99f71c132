"""``provenance registry``: list, show, add, check, export, import, serve."""

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from provenance.errors import InputError, LogError, ProofError, RegistryError

if TYPE_CHECKING:
    from provenance.registry.entry import Entry
    from provenance.registry.store import Registry


def add_commands(commands: Any) -> None:
    """Add ``registry`` to the subparsers of ``provenance``."""
    registry = commands.add_parser("registry", help="signed clips, found again by watermark or likeness")
    group = registry.add_subparsers(required=True, metavar="WHAT")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        parser = group.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        parser.add_argument(
            "--registry",
            metavar="PLACE",
            help="a folder or a database URL; default: $SORAJAX_REGISTRY, else a folder of yours",
        )
        parser.set_defaults(run=run)
        return parser

    listing = command("list", _list, "the clips registered last, a line each")
    listing.add_argument("--most", type=int, default=100, metavar="N", help="default: 100")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = command("show", _show, "everything that is known of a clip")
    show.add_argument("clip", metavar="CLIP", help="a watermark's payload, a manifest's label, or a SHA-256")
    show.add_argument("--json", action="store_true", help="one JSON object a clip")
    show.add_argument("--manifest", metavar="FILE", help="write the manifest store of the newest to a file")
    add = command("add", _add, "register files that were signed before")
    add.add_argument("files", nargs="+", metavar="FILE")
    check = command("check", _check, "read every blob, and look for missing, damaged and ownerless ones")
    check.add_argument("--prune", action="store_true", help="remove ownerless ones that are older than an hour")
    export = command("export", _export, "write the whole registry to one file")
    export.add_argument("output", metavar="TAR")
    export.add_argument("--overwrite", action="store_true", help="replace TAR if it exists")
    load = command("import", _import, "add what another registry exported, as far as its credentials hold")
    load.add_argument("archive", metavar="TAR")
    serve = command("serve", _serve, "answer C2PA soft binding queries over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    serve.add_argument("--port", type=int, default=8480, help="default: 8480")
    serve.add_argument("--upload-mb", type=int, default=512, metavar="N", help="largest file to search; default: 512")
    serve.add_argument("--rate", type=float, default=5.0, metavar="N", help="requests a second and client; default: 5")


def _open(arguments: argparse.Namespace, *, create: bool = False) -> "Registry":
    from provenance import registry

    return registry.opened(arguments.registry, create=create)


def _list(arguments: argparse.Namespace) -> int:
    from provenance.report import escape

    with _open(arguments) as known:
        for entry in known.newest(max(1, arguments.most)):
            if arguments.json:
                print(_json(entry))
            else:
                facts = (entry.registered_at[:19], entry.payload or "-" * 16, entry.title or "", entry.signer or "")
                print("  ".join(escape(fact) for fact in facts))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    with _open(arguments) as known:
        entries = _find(known, arguments.clip)
        if arguments.manifest is not None:
            _write(arguments.manifest, known.manifest(entries[0]))
        for entry in entries:
            print(_json(entry) if arguments.json else _page(known, entry))
    return 0


def _find(known: "Registry", clip: str) -> "list[Entry]":
    entries = known.by_manifest_id(clip) or known.by_digest(clip.lower())
    if not entries and len(clip) == 16:
        with contextlib.suppress(ValueError):
            entries = known.by_payload(bytes.fromhex(clip))
    if not entries:
        raise InputError(f"no clip {clip} is registered in {known.place.shown}; see provenance registry list")
    return entries


def _page(known: "Registry", entry: "Entry") -> str:
    from provenance import keys, stores
    from provenance.report import escape

    store = stores.validate(known.manifest(entry), keys.trust_policy())
    states = {"Trusted": "hold, by a trusted signer", "Valid": "hold, but nobody here vouches for the signer"}
    holds = states.get(store.state) or f"do not hold: {store.failures[0]}"
    size = f"{entry.width}x{entry.height}, {entry.fps:g} fps" if entry.width and entry.fps else ""
    facts = {
        "signer": entry.signer,
        "signed": entry.signed_at,
        "registered": entry.registered_at,
        "watermark": entry.payload,
        "pictures": f"{size}, {entry.duration:.1f} s" if size and entry.duration is not None else size,
        "manifest": entry.manifest_id,
        "file": entry.file_sha256 and f"SHA-256 {entry.file_sha256}",
        "fingerprint": entry.fingerprint_sha256 or "none",
        "log": _logged(known, entry),
        "credentials": holds,
    }
    lines = [escape(entry.title or "untitled")]
    return "\n".join(lines + [f"  {name + ':':<13}{escape(value)}" for name, value in facts.items() if value])


def _logged(known: "Registry", entry: "Entry") -> str:
    from provenance import ledger

    try:
        found = ledger.check(known, entry)
    except ProofError as error:
        return f"its proof does NOT hold: {error}"
    except LogError as error:
        return str(error) if entry.proof is None else f"its proof could not be checked: {error}"
    return f"entry {found.index} of {found.size} in {found.origin}"


def _add(arguments: argparse.Namespace) -> int:
    from provenance import recording
    from provenance.report import escape

    with _open(arguments, create=True) as known:
        for path in arguments.files:
            entry = recording.add_file(known, path)
            print(f"{escape(path)}: registered as {escape(entry.payload or entry.manifest_id)}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from provenance.registry import checking
    from provenance.report import escape

    with _open(arguments) as known:
        found = checking.check(known)
        for problem in found.problems:
            print(escape(problem))
        print(f"{found.clips} clips, {found.blobs} blobs: {len(found.problems)} missing or damaged")
        if arguments.prune:
            print(f"{checking.prune(known, found)} ownerless blobs removed")
        elif found.orphans:
            print(f"{len(found.orphans)} blobs that no clip names: harmless, of writers that were stopped (--prune)")
    return 1 if found.problems else 0


def _export(arguments: argparse.Namespace) -> int:
    from provenance.registry import archive

    with _open(arguments) as known:
        print(f"{archive.export(known, arguments.output, overwrite=arguments.overwrite)} clips written")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from provenance.registry import archive
    from provenance.report import escape

    with (
        _open(arguments, create=True) as known,
        tqdm(desc="importing", unit=" clips", file=sys.stderr, disable=None, leave=False, delay=0.5) as bar,
    ):

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        done = archive.load(known, arguments.archive, progress)
    for line in done.refused:
        print(escape(line))
    print(f"{done.added} clips added, {done.known} known already, {len(done.refused)} left out")
    return 1 if done.refused else 0


def _serve(arguments: argparse.Namespace) -> int:
    from provenance import registry

    where = registry.place(arguments.registry)
    if where is None:
        raise RegistryError("the registry is off, so there is nothing to serve; name one with --registry")
    try:
        import uvicorn

        from provenance.resolver.app import create_app
        from provenance.resolver.limits import Limits
    except ImportError as error:
        raise InputError(f"serving needs the package {error.name}: pip install 'sorajax[server]'") from None
    if not 0 < arguments.port < 65536 or arguments.upload_mb < 1 or not arguments.rate > 0:
        raise InputError("--port is from 1 to 65535, --upload-mb at least 1, and --rate more than 0")
    limits = Limits(upload_bytes=arguments.upload_mb * 2**20, requests_a_second=arguments.rate)
    app = create_app(where, limits)
    print(f"serving {where.shown} at http://{arguments.host}:{arguments.port}", flush=True)
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        limit_concurrency=100,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=16_384,
        server_header=False,
    )
    return 0


def _json(entry: "Entry") -> str:
    return json.dumps(entry.to_dict(), ensure_ascii=True).replace("\x7f", "\\u007f")


def _write(path: str, data: bytes) -> None:
    from pathlib import Path

    from provenance import outputs

    dst = Path(path)
    outputs.check(dst, overwrite=False)
    with outputs.hidden(dst) as part:
        part.write_bytes(data)
        outputs.sync(part)
        outputs.publish(part, dst, False)
