"""The ``provenance`` command: verify, sign, keys, watermark.

Results go to stdout, errors to stderr as one line. Exit codes: ``provenance.report``; wrong usage is 2.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from provenance.errors import InputError, ProvenanceError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # The products here are small: threads only cost start-up time and fight over the cores.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape instead of an exception.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = arguments.run(arguments)
        print(end="", flush=True)  # what cannot be written is to be said here, not while Python shuts down
        return code
    except ProvenanceError as error:
        from provenance.report import escape

        print(f"provenance: {escape(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("provenance: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:  # nobody foresaw it; still a line and not a traceback
        from provenance.report import escape

        what = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        print(f"provenance: {escape(f'{what}{error.strerror or error}')}", file=sys.stderr)
        try:
            print(end="", flush=True)
        except OSError:
            _drop_output()
        return 2


def _drop_output() -> None:
    """Let what stdout did not take go nowhere, or Python tries once more at its end, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    from provenance import __version__
    from provenance.cli_watermark import add_commands

    parser = _Parser(prog="provenance", description="Where does a video come from? Verify, sign, mark.")
    parser.add_argument("--version", action="version", version=f"provenance {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "verify",
        help="say whether files are what they claim to be",
        epilog="Exit codes: 0 authentic, 1 altered, 2 unreadable, 3 absent, 4 untrusted, 5 recovered; "
        "of several files the worst, from best to worst 0 5 4 3 2 1.",
    )
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument("--trust", action="append", metavar="PEM", help="also believe the roots in this file")
    command.set_defaults(run=_verify)

    command = commands.add_parser(
        "sign",
        help="sign an MP4 as it is",
        description="Signs an existing MP4 as it is (c2pa.opened): you vouch that these are the bits you had, and "
        "claim nothing about how they were made. No watermark is added.",
    )
    command.add_argument("source", metavar="SRC")
    command.add_argument("-o", "--output", required=True, metavar="DST")
    command.add_argument("--title", help="default: the name of SRC")
    command.add_argument("--cert", metavar="PEM", help="your chain, leaf first; default: development identity")
    command.add_argument("--key", metavar="PEM", help="the private key of --cert")
    command.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=_sign)

    command = commands.add_parser("keys", help="the development identity of this machine")
    command.add_argument(
        "what",
        nargs="?",
        default="show",
        choices=("show", "path", "export-root"),
        help="show it (making it if need be), its folder, or its root certificate for others to trust",
    )
    command.set_defaults(run=_keys)

    add_commands(commands)
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    from provenance.report import worst_exit_code
    from provenance.verification import verify

    reports = []
    for path in arguments.files:
        report = verify(path, arguments.trust)
        reports.append(report)
        if arguments.json:
            print(report.to_json(), flush=True)
        elif len(arguments.files) > 1:
            print(report.to_line(), flush=True)
        else:
            print(report.to_text(), flush=True)
    return worst_exit_code(reports)


def _sign(arguments: argparse.Namespace) -> int:
    from provenance.keys import load_signer
    from provenance.signing import sign

    if (arguments.cert is None) != (arguments.key is None):
        raise InputError("--cert and --key go together; give both, or neither for the development identity")
    signer = load_signer(arguments.cert, arguments.key) if arguments.cert else None
    report = sign(
        arguments.source, arguments.output, title=arguments.title, signer=signer, overwrite=arguments.overwrite
    )
    print(report.to_json() if arguments.json else report.to_text())
    return 0


def _keys(arguments: argparse.Namespace) -> int:
    from provenance import keys

    if arguments.what == "path":
        print(keys.key_folder())
        return 0
    signer = keys.default_signer()
    root = keys.local_root() or ""
    if arguments.what == "export-root":
        print(root, end="")
        return 0
    print("development identity: names no person; trusted on this machine only, unless its root is exported")
    print(f"  folder:  {keys.key_folder()}")
    for label, pem in (("signer", signer.chain_pem), ("root", root)):
        certificate = keys.certificates(pem)[0]
        print(f"  {label + ':':<9}{certificate.subject.rfc4514_string()}")
        print(f"           until {certificate.not_valid_after_utc:%Y-%m-%d}, SHA-256 {keys.fingerprint(certificate)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
