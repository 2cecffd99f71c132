"""Whom to believe: roots of signers, roots of time stamp authorities, single certificates, purposes, revocations.

Kept apart as C2PA keeps them (C2PA specification, 14.4): a root that vouches for time stamps vouches for no signer, and
the other way round. Files are those of C2PA's own trust list and of c2patool:

- PEM bundles with the roots of signers (C2PA-TRUST-LIST.pem) and of time stamp authorities (C2PA-TSA-TRUST-LIST.pem);
- an allowed list of signers' own certificates: PEM, or a line each with the SHA-256 in base64;
- a trust configuration (store.cfg): the accepted extended key usages, an object identifier a line;
- revocation lists, see ``provenance.keys.revocation``.

``$SORAJAX_TRUST`` names files with roots of signers and folders of such lists, separated as in ``$PATH``. In a folder a
file's name says what it is: ``*.cfg`` a trust configuration; ``*.crl`` or anything with "revoked" in it a revocation
list; "allowed" an allowed list; "tsa" roots of time stamp authorities; every other .pem, .crt or .cer roots of signers.
"""

import base64
import binascii
import datetime
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from provenance.errors import KeyFileError
from provenance.keys import chains, development, profile, revocation
from provenance.keys.revocation import Revocations

if TYPE_CHECKING:
    from cryptography import x509

Paths: TypeAlias = str | os.PathLike | Sequence[str | os.PathLike] | None

_LONGEST_CHAIN = 10
_NOT_FOR_SIGNERS = {profile.ANY_PURPOSE, profile.TIME_STAMPING, profile.OCSP_SIGNING}


@dataclass(frozen=True, kw_only=True)
class Trust:
    """A policy: what a verifier believes."""

    anchors: tuple["x509.Certificate", ...] = ()
    """Roots of signers."""
    tsa_anchors: tuple["x509.Certificate", ...] = ()
    """Roots of time stamp authorities."""
    allowed: frozenset[str] = frozenset()
    """SHA-256 of signers' own certificates to believe, in hexadecimal, whoever issued them."""
    ekus: tuple[str, ...] = profile.ACCEPTED_EKU
    """Purposes of which a signer's certificate must have one."""
    revoked: Revocations = Revocations()
    notes: tuple[str, ...] = ()
    """What went wrong in putting it together, a sentence each."""

    @property
    def pem(self) -> str:
        """Every root, for C2PA's library, which keeps one list."""
        return chains.chain_pem([*self.anchors, *self.tsa_anchors])

    def __reduce__(self) -> tuple:
        """For other processes: certificates cannot be pickled as they are."""
        roots = tuple(chains.chain_pem([*some]) for some in (self.anchors, self.tsa_anchors))
        return _restored, (*roots, self.allowed, self.ekus, self.revoked, self.notes)


def trust_policy(
    trust: Paths = None,
    *,
    tsa: Paths = None,
    allowed: Paths = None,
    config: str | os.PathLike | None = None,
    revoked: Paths = None,
) -> Trust:
    """This machine's development roots, what ``$SORAJAX_TRUST`` names, and what is given.

    Args:
        trust: PEM files with roots of signers, or folders of lists.
        tsa: PEM files with roots of time stamp authorities.
        allowed: allowed lists.
        config: a trust configuration. Its purposes are then the only ones accepted; without any, ``ACCEPTED_EKU``.
        revoked: revocation lists.

    Raises:
        KeyFileError: a file that is missing or holds something else.
    """
    own = os.environ.get("SORAJAX_TRUST", "").split(os.pathsep)
    lists = _Lists()
    for path in [*filter(None, own), *_paths(trust)]:
        lists.add(path)
    lists.tsa += _paths(tsa)
    lists.allowed += _paths(allowed)
    lists.revoked += _paths(revoked)
    if config is not None:
        lists.configs.append(config)
    try:
        local, notes = development.local_roots(), ()
    except KeyFileError:
        local, notes = "", ("this machine's own development root is damaged and was left out",)
    roots = chains.certificates(local) if local else []
    return Trust(
        anchors=(*roots, *_certificates(lists.anchors)),
        tsa_anchors=tuple(_certificates(lists.tsa)),
        allowed=frozenset(digest for path in lists.allowed for digest in _allowed(path)),
        ekus=tuple(oid for path in lists.configs for oid in _purposes(path)) or profile.ACCEPTED_EKU,
        revoked=revocation.load(lists.revoked),
        notes=notes,
    )


def trust_anchors(trust: Paths = None) -> str:
    """PEM text of every root of signers to believe, see ``trust_policy``.

    Raises:
        KeyFileError: a file that is missing or holds no certificate, or a damaged development root.
    """
    policy = trust_policy(trust)
    if policy.notes:
        development.local_roots()  # raises, and says why
    return chains.chain_pem([*policy.anchors])


def anchored(chain: Sequence["x509.Certificate"], anchors: Iterable["x509.Certificate"], at: datetime.datetime) -> bool:
    """Whether a chain, leaf first, leads to one of the roots (RFC 5280, 6.1): each certificate valid at the time, and
    issued by the next, which must be an authority and may have so many below it."""
    anchors = list(anchors)
    for below, certificate in enumerate(chain[:_LONGEST_CHAIN]):
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            return False
        if any(chains.issued_by(certificate, anchor) for anchor in anchors):
            return True
        if below + 1 == len(chain):
            return False
        issuer = chain[below + 1]
        most = profile.path_length(issuer)
        if not profile.is_authority(issuer) or (most is not None and below > most):
            return False
        if not chains.issued_by(certificate, issuer):
            return False
    return False


def purpose_accepted(leaf: "x509.Certificate", ekus: Iterable[str]) -> bool:
    """Whether a signer's certificate has one of the purposes, and none that excludes signing claims."""
    has = profile.ekus(leaf)
    return bool(has & set(ekus)) and not has & _NOT_FOR_SIGNERS


def _restored(
    anchors: str, tsa: str, allowed: frozenset[str], ekus: tuple[str, ...], revoked: Revocations, notes: tuple[str, ...]
) -> Trust:
    first, second = (tuple(chains.certificates(pem)) if pem else () for pem in (anchors, tsa))
    return Trust(anchors=first, tsa_anchors=second, allowed=allowed, ekus=ekus, revoked=revoked, notes=notes)


class _Lists:
    """Files by what they hold."""

    def __init__(self) -> None:
        self.anchors: list[str | os.PathLike] = []
        self.tsa: list[str | os.PathLike] = []
        self.allowed: list[str | os.PathLike] = []
        self.configs: list[str | os.PathLike] = []
        self.revoked: list[str | os.PathLike] = []

    def add(self, path: str | os.PathLike) -> None:
        """A file with roots of signers, or a folder of lists."""
        try:
            inside = sorted(Path(path).iterdir()) if Path(path).is_dir() else None
        except OSError as error:
            raise KeyFileError(f"cannot read {os.fspath(path)}: {error.strerror or error}; check the path") from None
        if inside is None:
            self.anchors.append(path)
            return
        for file in inside:
            name = file.name.lower()
            if name.startswith(".") or not file.is_file():
                continue
            if name.endswith(".cfg"):
                self.configs.append(file)
            elif name.endswith(".crl") or "revoked" in name:
                self.revoked.append(file)
            elif "allowed" in name:
                self.allowed.append(file)
            elif name.endswith((".pem", ".crt", ".cer")):
                (self.tsa if "tsa" in re.split(r"[^a-z]", name) else self.anchors).append(file)


def _paths(given: Paths) -> list[str | os.PathLike]:
    return [given] if isinstance(given, (str, os.PathLike)) else list(given or ())


def _certificates(paths: Iterable[str | os.PathLike]) -> list["x509.Certificate"]:
    return [c for path in paths for c in chains.parse(chains.read(path), str(path))]


def _allowed(path: str | os.PathLike) -> list[str]:
    """SHA-256, in hexadecimal, of the certificates in an allowed list."""
    data = chains.read(path)
    found = []
    if b"-----BEGIN CERTIFICATE" in data or data[:1] == b"\x30":
        found += [chains.fingerprint(c) for c in chains.parse(data, str(path))]
    outside = re.sub(rb"-----BEGIN.*?-----END[^\n]*", b"", data, flags=re.DOTALL) if data[:1] != b"\x30" else b""
    for line in outside.decode("utf-8", "replace").splitlines():
        if len(line.strip()) == 44:  # c2patool ignores every other line, and so do comments get in
            try:
                found.append(base64.b64decode(line.strip(), validate=True).hex())
            except binascii.Error:
                continue
    if not found:
        raise KeyFileError(
            f"{os.fspath(path)} is no allowed list: it holds neither certificates in PEM form nor lines with a SHA-256 "
            "in base64"
        )
    return found


def _purposes(path: str | os.PathLike) -> list[str]:
    """Object identifiers in a trust configuration; comments begin with // or #."""
    found = []
    for number, line in enumerate(chains.read(path).decode("utf-8", "replace").splitlines(), 1):
        line = re.split(r"//|#", line)[0].strip()
        if not line:
            continue
        if not re.fullmatch(r"[012](\.\d+)+", line):
            raise KeyFileError(
                f"{os.fspath(path)}, line {number}: expected an object identifier such as {profile.EMAIL_PROTECTION}, "
                f"not {line[:60]!r}"
            )
        found.append(line)
    if not found:
        raise KeyFileError(f"{os.fspath(path)} is no trust configuration: it names no extended key usage")
    return found
