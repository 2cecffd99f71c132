"""``provenance sign``."""

import argparse
from typing import Any

from provenance.commands.signer import add_signer_options, signer_of
from provenance.errors import InputError


def add_commands(commands: Any) -> None:
    """Add ``sign`` to the subparsers of ``provenance``."""
    command = commands.add_parser(
        "sign",
        help="sign a video or a picture as it is",
        description="Signs an existing file as it is (c2pa.opened): you vouch that these are the bits you had, and "
        "claim nothing about how they were made, but for what you state. No watermark is added. MP4, MOV, AVI, PNG, "
        "JPEG, WebP and GIF hold their credentials; WebM and MKV get them in a sidecar, NAME.c2pa.",
    )
    command.add_argument("source", metavar="SRC")
    command.add_argument("-o", "--output", metavar="DST", help="only with --sidecar it may be left out: SRC itself")
    command.add_argument("--title", help="default: the name of SRC")
    command.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    command.add_argument(
        "--registry", metavar="PLACE", help="where to register it: a folder, a database URL, or off; default: yours"
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    place = command.add_argument_group("where the credentials go")
    place.add_argument("--sidecar", action="store_true", help="leave the file as it is and write NAME.c2pa beside it")
    place.add_argument(
        "--remote", metavar="URL", help="write this address into the file, and NAME.c2pa for you to put there"
    )
    account = command.add_argument_group("its history")
    account.add_argument("--again", action="store_true", help="sign a signed file; its credentials become its history")
    account.add_argument("--parent", metavar="FILE", help="what it was edited from; its credentials are carried along")
    account.add_argument(
        "--input", metavar="FILE", action="append", default=[], help="what a model or program was given; repeatable"
    )
    account.add_argument(
        "--component", metavar="FILE", action="append", default=[], help="what was put into it; repeatable"
    )
    account.add_argument(
        "--edit",
        metavar="NAME",
        action="append",
        default=[],
        help="trimmed, cropped, resized, ...; repeatable, in order",
    )
    account.add_argument("--training", metavar="CHOICE", help="allowed, notAllowed or constrained: use for AI training")
    account.add_argument("--training-terms", metavar="TEXT", help="what constrained means, text or an address")
    add_signer_options(command)
    command.set_defaults(run=_sign)


def _sign(arguments: argparse.Namespace) -> int:
    from provenance.signing import sign

    if arguments.output is None and not arguments.sidecar:
        raise InputError(
            "where to? Name the signed file (-o DST), or leave SRC as it is and sign beside it (--sidecar)"
        )
    report = sign(
        arguments.source,
        arguments.output if arguments.output is not None else arguments.source,
        title=arguments.title,
        signer=signer_of(arguments),
        overwrite=arguments.overwrite,
        sidecar=arguments.sidecar,
        remote=arguments.remote,
        again=arguments.again,
        parent=arguments.parent,
        inputs=arguments.input,
        components=arguments.component,
        edits=arguments.edit,
        training=arguments.training,
        training_terms=arguments.training_terms,
        timestamp=arguments.timestamp,
        timestamp_policy="optional" if arguments.timestamp_optional else "require",
        ocsp=arguments.ocsp,
        ocsp_policy="optional" if arguments.ocsp_optional else "require",
        registry=arguments.registry,
    )
    print(report.to_json() if arguments.json else report.to_text())
    return 0
