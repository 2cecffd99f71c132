"""``provenance keys``."""

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add ``keys`` to the subparsers of ``provenance``."""
    command = commands.add_parser("keys", help="the development identity of this machine")
    command.add_argument(
        "what",
        nargs="?",
        default="show",
        choices=("show", "path", "export-root"),
        help="show it (making it if need be), its folder, or its root certificate for others to trust",
    )
    command.set_defaults(run=_keys)


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
