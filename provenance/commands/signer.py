"""Options that say who signs, for every command that signs. Secrets come from files and the environment."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from provenance.errors import InputError

if TYPE_CHECKING:
    from provenance.keys import Secret, Signer


def add_signer_options(command: argparse.ArgumentParser) -> None:
    """Declare the options that ``signer_of`` reads, and those for a time stamp and an OCSP response."""
    group = command.add_argument_group("who signs", "Without any of these, this machine's development identity does.")
    group.add_argument("--cert", metavar="PEM", help="your chain, leaf first; with --pkcs11 if it is not on the token")
    group.add_argument("--key", metavar="PEM", help="the private key of --cert")
    group.add_argument("--p12", metavar="FILE", help="chain and key in one file, PKCS#12 (.p12, .pfx)")
    group.add_argument("--pkcs11", metavar="URI", help="key on a token: pkcs11:token=T;object=K?module-path=FILE")
    group.add_argument(
        "--password-file", metavar="FILE", help="password of --key or --p12, its first line; else $SORAJAX_PASSWORD"
    )
    group.add_argument("--pin-file", metavar="FILE", help="PIN of the token, its first line; else $SORAJAX_PIN")
    group.add_argument("--alg", metavar="NAME", help="ps384 or ps512 instead of ps256, for RSA keys")
    group = command.add_argument_group("when")
    group.add_argument("--timestamp", metavar="URL", help="ask this time stamp authority (RFC 3161) to prove the time")
    group.add_argument(
        "--timestamp-optional", action="store_true", help="sign without if it cannot be had, and say so; default: fail"
    )
    group = command.add_argument_group("not revoked")
    group.add_argument(
        "--ocsp",
        metavar="FILE|fetch",
        help="keep this OCSP response (DER) in the signature; fetch: ask the responder that the certificate names",
    )
    group.add_argument(
        "--ocsp-optional", action="store_true", help="sign without if no good one can be had, and say so; default: fail"
    )


def signer_of(arguments: argparse.Namespace) -> "Signer | None":
    """The signer that the options name; None is the development identity.

    Raises:
        InputError: options that do not go together.
        KeyFileError: a file, token, password or PIN that cannot be used.
    """
    from provenance.keys import load_pkcs12, load_signer, pkcs11_signer

    cert, key, p12, uri = arguments.cert, arguments.key, arguments.p12, arguments.pkcs11
    if sum(option is not None for option in (key, p12, uri)) > 1 or (p12 and cert):
        raise InputError("--key, --p12 and --pkcs11 are three ways to name a key; give one of them")
    if uri is None and (cert is None) != (key is None):
        raise InputError("--cert and --key go together; give both, or neither for the development identity")
    if arguments.timestamp_optional and arguments.timestamp is None:
        raise InputError("--timestamp-optional says what to do without an answer; name whom to ask (--timestamp URL)")
    if arguments.ocsp_optional and arguments.ocsp is None:
        raise InputError("--ocsp-optional says what to do without a response; name one (--ocsp FILE, or --ocsp fetch)")
    if uri is not None:
        pin = _secret(arguments.pin_file, "SORAJAX_PIN", "PIN of the token")
        return pkcs11_signer(uri, pin=pin, cert=cert, alg=arguments.alg)
    password = password_of(arguments)
    if p12 is not None:
        return load_pkcs12(p12, password=password, alg=arguments.alg)
    if cert is not None:
        return load_signer(cert, key, password=password, alg=arguments.alg)
    if arguments.alg is not None:
        raise InputError("--alg is for your own RSA key; the development identity signs with es256")
    return None


def password_of(arguments: argparse.Namespace) -> "Secret":
    """From ``--password-file``, the environment, or whoever sits at the terminal; None if there is none to be had."""
    return _secret(arguments.password_file, "SORAJAX_PASSWORD", "password of the key")


def _secret(path: str | None, variable: str, what: str) -> "Secret":
    from provenance.keys import secret_file

    if path is not None:
        return secret_file(path)
    if variable in os.environ:
        return os.environ[variable]
    if sys.stdin is not None and sys.stdin.isatty():
        from getpass import getpass

        return lambda: getpass(f"{what}: ")
    return None
