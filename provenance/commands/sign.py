"""``provenance sign``."""

import argparse
from typing import Any

from provenance.errors import InputError


def add_commands(commands: Any) -> None:
    """Add ``sign`` to the subparsers of ``provenance``."""
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
