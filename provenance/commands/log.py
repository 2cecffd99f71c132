"""``provenance log``: init, append, prove, verify, audit, show."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.errors import InputError, LogError, ProofError
from provenance.report import escape

if TYPE_CHECKING:
    from provenance import log

_CODES = "Exit codes: 0 it holds, 1 it does not, 2 wrong usage or unreadable."
_WHERE = "the log's folder, or its address (https://...)"


def add_commands(commands: Any) -> None:
    """Add ``log`` and its own commands to the subparsers of ``provenance``."""
    group = commands.add_parser(
        "log",
        help="an append-only ledger of entries, with proofs",
        description="A transparency log (RFC 6962 trees, C2SP tlog-tiles): what was appended cannot be changed or "
        "taken back unnoticed. Its folder can be published by any web server.",
    )
    group = group.add_subparsers(required=True, metavar="COMMAND")

    command = _add(group, "init", _init, "begin a log", "Makes the folder, and a key beside it: FOLDER.key.pem.")
    command.add_argument("folder", metavar="FOLDER")
    command.add_argument("--origin", required=True, metavar="NAME", help="its name for all time: example.com/clips")

    command = _add(group, "append", _append, "add entries", "Each file becomes an entry, all under one checkpoint.")
    command.add_argument("folder", metavar="FOLDER")
    command.add_argument("files", nargs="+", metavar="FILE", help="at most 65,535 bytes each")

    command = _add(group, "prove", _prove, "prove that an entry is in a log", "The proof stands alone: keep it.")
    command.add_argument("location", metavar="LOG", help=_WHERE)
    command.add_argument("index", nargs="?", type=int, metavar="INDEX", help="the entry's place, counted from 0")
    command.add_argument("--entry", metavar="FILE", help="the entry itself; its first place in the log is looked for")
    command.add_argument("-o", "--output", metavar="PROOF", help="default: standard output; .tlog-proof is usual")
    _add_keys(command, witnesses=False)

    command = _add(group, "verify", _verify, "verify a proof", "Needs neither the log nor a network.")
    command.add_argument("proof", metavar="PROOF")
    command.add_argument("--entry", required=True, metavar="FILE", help="the entry, byte for byte")
    _add_keys(command, required=True)
    _add_json(command)

    command = _add(
        group,
        "audit",
        _audit,
        "check everything in a log",
        "Builds the log anew from its entries and compares every tile, the checkpoint, and the one kept last time.",
    )
    command.add_argument("location", metavar="LOG", help=_WHERE)
    command.add_argument("--since", metavar="FILE", help="the checkpoint kept by an earlier audit")
    command.add_argument("--keep", metavar="FILE", help="keep the checkpoint here, if all holds, for the next audit")
    _add_keys(command)
    _add_json(command)

    command = _add(group, "show", _show, "show the state of a log, or an entry", "An entry is checked first.")
    command.add_argument("location", metavar="LOG", help=_WHERE)
    command.add_argument("index", nargs="?", type=int, metavar="INDEX", help="show this entry")
    command.add_argument("-o", "--output", metavar="FILE", help="write the entry, byte for byte, to a new file")
    _add_keys(command, witnesses=False)
    _add_json(command)


def _add(
    group: Any, name: str, run: Callable[[argparse.Namespace], int], what: str, more: str
) -> argparse.ArgumentParser:
    def holding(arguments: argparse.Namespace) -> int:
        """What does not hold is a result: a line on stdout and code 1."""
        try:
            return run(arguments)
        except ProofError as error:
            if getattr(arguments, "json", False):
                _print_json({"holds": False, "findings": [str(error)]})
            else:
                print(f"does not hold: {escape(str(error))}")
            return 1

    command = group.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}. {more}", epilog=_CODES)
    command.set_defaults(run=holding)
    return command


def _add_keys(command: argparse.ArgumentParser, *, required: bool = False, witnesses: bool = True) -> None:
    command.add_argument("--key", required=required, metavar="VKEY", help="the log's public key: name+hash+base64")
    if witnesses:
        command.add_argument(
            "--witness", action="append", default=[], metavar="VKEY", help="a witness that must have cosigned"
        )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object")


def _init(arguments: argparse.Namespace) -> int:
    from provenance import log

    made = log.create(arguments.folder, origin=arguments.origin)
    print(f"{escape(arguments.folder)}: a new log, {escape(made.origin)}")
    print(f"  public key:  {escape(str(made.verifier))}")
    print(f"  private key: {escape(str(log.key_path(arguments.folder)))} (never publish it, and keep a copy)")
    return 0


def _append(arguments: argparse.Namespace) -> int:
    from provenance import log

    entries = [_entry(name) for name in arguments.files]
    for index, name in zip(log.open_log(arguments.folder).append_many(entries), arguments.files, strict=True):
        print(f"{index} {escape(name)}")
    return 0


def _prove(arguments: argparse.Namespace) -> int:
    from provenance import log

    if (arguments.index is None) == (arguments.entry is None):
        raise InputError("give either the INDEX of an entry, right after LOG, or --entry FILE")
    entry = None if arguments.entry is None else _entry(arguments.entry)
    with log.Reader(arguments.location, _key(arguments)) as reader:
        index = arguments.index if entry is None else reader.find(entry)
        if index is None:
            raise ProofError(f"{arguments.entry} is not among the {reader.size} entries of the log")
        text = reader.prove(index).to_text()
    if arguments.output is None:
        print(_printable(text), end="")
    else:
        _write(arguments.output, text.encode(), overwrite=False)
        print(f"{escape(arguments.output)}: proof of entry {index}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from provenance import log

    proof = log.Proof.from_text(_read(arguments.proof, 1_000_000))
    entry = _entry(arguments.entry)
    checkpoint = log.verify_inclusion(entry, proof, arguments.key, witnesses=arguments.witness)
    if arguments.json:
        _print_json({"holds": True, "index": proof.index, **_state(checkpoint), "findings": []})
    else:
        print(f"holds: entry {proof.index} of {checkpoint.size} in {escape(checkpoint.origin)}")
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from provenance import log

    since = None
    if arguments.since is not None:
        since = log.Checkpoint.from_text(_read(arguments.since, 1_000_000))
    if arguments.keep is not None and arguments.keep != arguments.since and Path(arguments.keep).exists():
        raise InputError(f"{arguments.keep} exists already; give it as --since too, to compare before it is replaced")
    with _bar() as bar:
        found = log.audit(
            arguments.location, key=_key(arguments), witnesses=arguments.witness, since=since, progress=bar
        )
    if found.holds and arguments.keep is not None:
        _write(arguments.keep, found.checkpoint.signed.encode(), overwrite=True)
    if arguments.json:
        _print_json(found.to_dict())
    else:
        verdict = "holds" if found.holds else "DOES NOT HOLD"
        state = found.checkpoint
        print(f"{escape(found.location)}: {verdict}: {state.size} entries of {escape(state.origin)}")
        print(f"  root: {state.root.hex()}")
        for finding in found.findings:
            print(f"  - {escape(finding)}")
        for what in found.unchecked:
            print(f"  not checked: {escape(what)}")
    return 0 if found.holds else 1


def _show(arguments: argparse.Namespace) -> int:
    from provenance import log

    if arguments.output is not None and arguments.index is None:
        raise InputError("--output needs the INDEX of an entry")
    key = _key(arguments)
    with log.Reader(arguments.location, key) as reader:
        if arguments.index is None:
            _show_state(arguments, reader.checkpoint, key)
            return 0
        entry = reader.entry(arguments.index)
    if arguments.output is not None:
        _write(arguments.output, entry, overwrite=False)
        print(f"{escape(arguments.output)}: entry {arguments.index}, {len(entry)} bytes")
    elif arguments.json:
        _print_json({"index": arguments.index, "entry": entry.hex()})
    else:
        try:
            text = entry.decode()
        except UnicodeDecodeError:
            text = entry.hex()
        print("\n".join(map(escape, text.split("\n"))))
    return 0


def _show_state(arguments: argparse.Namespace, checkpoint: "log.Checkpoint", key: "log.Verifier | None") -> None:
    signers = [f"{name} ({key_id.hex()})" for name, key_id, _ in checkpoint.note.signatures]
    if arguments.json:
        _print_json({**_state(checkpoint), "signatures": signers, "key": key and str(key), "checked": key is not None})
        return
    print(f"{escape(checkpoint.origin)}: {checkpoint.size} entries")
    print(f"  root:      {checkpoint.root.hex()}")
    for signer in signers:
        print(f"  signature: {escape(signer)}")
    print(f"  key:       {escape(str(key))}" if key else "  not checked: the signature, as no key was given")


def _state(checkpoint: "log.Checkpoint") -> dict[str, Any]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _key(arguments: argparse.Namespace) -> "log.Verifier | None":
    """The key given; else that of the log's owner, on whose machine it lies beside the folder."""
    from provenance import log

    if arguments.key is not None:
        return log.Verifier.from_text(arguments.key)
    return log.own_verifier(arguments.location)


def _entry(name: str) -> bytes:
    longest = 65_535
    try:
        return _read(name, longest)
    except LogError:
        raise InputError(
            f"{name} is longer than the {longest} bytes that an entry may have; log a file with its SHA-256 instead"
        ) from None


def _read(name: str, limit: int) -> bytes:
    try:
        with open(name, "rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > limit:
        raise LogError(f"{name} is longer than {limit} bytes; that is no proof or checkpoint")
    return data


def _write(name: str, data: bytes, *, overwrite: bool) -> None:
    from provenance import outputs

    path = Path(name)
    outputs.check(path, overwrite=overwrite)
    try:
        with outputs.hidden(path) as part:
            part.write_bytes(data)
            outputs.sync(part)
            outputs.publish(part, path, overwrite)
    except OSError as error:
        raise outputs.cannot_write(path, error, LogError) from None


def _printable(text: str) -> str:
    """A proof as it is, if all that strangers wrote in it can be printed; piped onwards it must stay whole."""
    pieces = [line[i : i + 100] for line in text.split("\n") for i in range(0, len(line), 100)]
    if any(escape(piece) != piece for piece in pieces):
        raise InputError("the log's checkpoint holds characters that are not safe to print; use --output")
    return text


def _print_json(said: dict[str, Any]) -> None:
    print(json.dumps(said, ensure_ascii=True).replace("\x7f", "\\u007f"), flush=True)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; none where stderr is no terminal."""
    from tqdm import tqdm

    with tqdm(desc="auditing", unit=" entries", file=sys.stderr, disable=None, leave=False, delay=0.5) as bar:

        def step(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield step
