"""Options that say whom to believe, for every command that verifies."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provenance.keys import Trust


def add_trust_options(command: argparse.ArgumentParser) -> None:
    """Declare the options that ``trust_of`` reads."""
    group = command.add_argument_group("whom to believe")
    group.add_argument(
        "--trust",
        action="append",
        metavar="PEM",
        help="roots of signers in a file, or a folder of lists; repeatable",
    )
    group.add_argument(
        "--tsa-trust", action="append", metavar="PEM", help="roots of time stamp authorities; repeatable"
    )
    group.add_argument(
        "--allowed", action="append", metavar="FILE", help="signers' own certificates, or their SHA-256; repeatable"
    )
    group.add_argument("--trust-config", metavar="FILE", help="the only purposes (EKU) to accept, an OID a line")
    group.add_argument(
        "--revoked", action="append", metavar="FILE", help="CRL, or a plain list of revoked certificates; repeatable"
    )


def trust_of(arguments: argparse.Namespace) -> "Trust":
    """The policy that the options, ``$SORAJAX_TRUST`` and this machine's own roots make up.

    Raises:
        KeyFileError: a list that cannot be used.
    """
    from provenance.keys import trust_policy

    return trust_policy(
        arguments.trust,
        tsa=arguments.tsa_trust,
        allowed=arguments.allowed,
        config=arguments.trust_config,
        revoked=arguments.revoked,
    )
