"""``provenance verify``."""

import argparse
from typing import Any

from provenance.commands.trust import add_trust_options, trust_of


def add_commands(commands: Any) -> None:
    """Add ``verify`` to the subparsers of ``provenance``."""
    command = commands.add_parser(
        "verify",
        help="say whether files are what they claim to be",
        epilog="Exit codes: 0 authentic, 1 altered, 2 unreadable, 3 absent, 4 untrusted, 5 recovered; "
        "of several files the worst, from best to worst 0 5 4 3 2 1.",
    )
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument("--manifest", metavar="FILE", help="the credentials of FILE, which are not in it or beside it")
    add_trust_options(command)
    command.add_argument(
        "--registry", metavar="PLACE", help="where signed clips are registered: a folder, a database URL, or off"
    )
    command.add_argument(
        "--resolver", metavar="URL", help="ask this C2PA soft binding resolver about watermarks; else nobody is asked"
    )
    command.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from provenance.errors import InputError
    from provenance.report import worst_exit_code
    from provenance.verification import verify

    if arguments.manifest is not None and len(arguments.files) > 1:
        raise InputError("--manifest is about one file; verify the others by themselves")
    reports, trust = [], trust_of(arguments)
    for path in arguments.files:
        report = verify(
            path,
            trust,
            manifest=arguments.manifest,
            registry=arguments.registry,
            resolver=arguments.resolver,
        )
        reports.append(report)
        if arguments.json:
            print(report.to_json(), flush=True)
        elif len(arguments.files) > 1:
            print(report.to_line(), flush=True)
        else:
            print(report.to_text(), flush=True)
    return worst_exit_code(reports)
