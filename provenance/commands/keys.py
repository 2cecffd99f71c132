"""``provenance keys``: the development identity, and help with certificates of one's own."""

import argparse
from typing import Any

from provenance.commands.signer import password_of
from provenance.report import escape


def add_commands(commands: Any) -> None:
    """Add ``keys`` and its own commands to the subparsers of ``provenance``."""
    group = commands.add_parser(
        "keys",
        help="the development identity of this machine, and certificates of your own",
        description="The development identity signs for whoever has no certificate: it names no person, and is "
        "believed on this machine only. csr and check are for a certificate of your own.",
    )
    group.set_defaults(run=_show)
    group = group.add_subparsers(metavar="COMMAND")

    command = group.add_parser("show", help="show it, making it if need be (the default)")
    command.set_defaults(run=_show)
    command = group.add_parser("path", help="the folder it is in")
    command.set_defaults(run=_path)
    command = group.add_parser("export-root", help="its root certificates, for others to trust")
    command.set_defaults(run=_export_root)

    command = group.add_parser(
        "rotate",
        help="make a new one; what the old one signed stays valid here",
        description="Makes a new signing key at once. With --root a new root too: the old one's certificate stays "
        "among the believed, its key is destroyed.",
    )
    command.add_argument("--root", action="store_true", help="replace the root too; export it again for others")
    command.set_defaults(run=_rotate)

    command = group.add_parser(
        "csr",
        help="a request for a certificate that C2PA accepts",
        description="Writes a certificate request (PKCS#10) with the key usage and purposes that C2PA asks for, to be "
        "sent to an authority. The key stays with you.",
    )
    command.add_argument("-o", "--output", required=True, metavar="PEM", help="the request")
    command.add_argument("--key", required=True, metavar="PEM", help="your private key; made if it is not there")
    command.add_argument("--organisation", required=True, metavar="NAME", help="whom reports will name")
    command.add_argument("--name", metavar="NAME", help="person, desk or machine that signs")
    command.add_argument("--country", metavar="XX", help="two letters")
    command.add_argument("--kind", default="p256", metavar="KIND", help="p256 (default), p384, p521, ed25519 or rsa")
    command.add_argument(
        "--password-file", metavar="FILE", help="encrypt the key with the first line; else $SORAJAX_PASSWORD"
    )
    command.set_defaults(run=_csr)

    command = group.add_parser(
        "check",
        help="say what is wrong with a certificate for C2PA",
        description="Says in plain words whether a certificate can sign C2PA claims, and what keeps it from it.",
        epilog="Exit codes: 0 fit, 1 not fit, 2 no certificate.",
    )
    command.add_argument("cert", metavar="CERT", help="PEM (a chain: leaf first) or DER")
    command.set_defaults(run=_check)


def _path(arguments: argparse.Namespace) -> int:
    from provenance import keys

    print(keys.key_folder())
    return 0


def _export_root(arguments: argparse.Namespace) -> int:
    from provenance import keys

    keys.default_signer()
    print(keys.local_roots(), end="")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from provenance import keys

    signer = keys.default_signer()
    print("development identity: names no person; trusted on this machine only, unless its root is exported")
    print(f"  folder:  {keys.key_folder()}")
    root, *former = keys.certificates(keys.local_roots())
    shown = [("signer", keys.certificates(signer.chain_pem)[0]), ("root", root), *(("former", old) for old in former)]
    for label, certificate in shown:
        print(f"  {label + ':':<9}{certificate.subject.rfc4514_string()}")
        print(f"           until {certificate.not_valid_after_utc:%Y-%m-%d}, SHA-256 {keys.fingerprint(certificate)}")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    from provenance import keys

    keys.rotate(root=arguments.root)
    return _show(arguments)


def _csr(arguments: argparse.Namespace) -> int:
    from provenance import keys

    password = password_of(arguments) if arguments.password_file else None
    made = keys.make_request(
        arguments.key,
        arguments.output,
        organisation=arguments.organisation,
        name=arguments.name,
        country=arguments.country,
        kind=arguments.kind,
        password=password,
    )
    key = "a new key, for you alone" if made else "the key that was there"
    print(f"{escape(arguments.output)}: the request, to be sent to an authority")
    print(f"{escape(arguments.key)}: {key}{', encrypted' if made and password else ''}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from provenance.keys import chains, profile

    leaf, *others = chains.parse(chains.read(arguments.cert), arguments.cert)
    wrong = profile.problems(leaf)
    chain = chains.ordered(leaf, others)
    stray = len(others) - len(chain) + 1
    if stray:
        wrong.append(f"is followed by {stray} that issued none of those before; leave them out")
    advice = profile.advice(leaf)
    if chain[-1].issuer != chain[-1].subject:
        advice.append(f"does not come with its issuer ({chain[-1].issuer.rfc4514_string()}): fine if that is the root")
    print(f"{escape(leaf.subject.rfc4514_string())}: {'NOT fit' if wrong else 'fit'} to sign C2PA claims")
    for line in wrong:
        print(f"  - it {escape(line)}")
    for line in advice:
        print(f"  - advice: it {escape(line)}")
    return 1 if wrong else 0
