"""Signed notes (C2SP signed-note): a text, a blank line, and a line for each signature.

    — example.com/log base64(key ID || signature)

Keys are Ed25519. Two kinds of signature: that of a log over the text (0x01), and that of a witness over the text and
the time when it saw it (0x04, C2SP tlog-cosignature). A verifier's key is one line of text, its *vkey*:
``name+key ID in hexadecimal+base64(kind || public key)``.
"""

import base64
import binascii
import hashlib
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import KeyFileError, LogError, ProofError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519 = 0x01
COSIGNATURE = 0x04
LONGEST_NOTE = 1_000_000
MOST_SIGNATURES = 100

_DASH = "\u2014 "


@dataclass(frozen=True)
class Verifier:
    """A public key under a name. ``str()`` gives its vkey."""

    name: str
    public: bytes
    """32 bytes, as in RFC 8032."""
    kind: int = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def from_text(cls, vkey: str) -> "Verifier":
        """Parse a vkey.

        Raises:
            KeyFileError: it is not one, or of a kind that is not known here.
        """
        parts = vkey.strip().split("+", 2)
        try:
            name, key_id, encoded = parts
            data = from_base64(encoded)
        except ValueError:
            raise KeyFileError(f"{vkey!r} is not a key of the form name+hash+base64; `log show` prints one") from None
        if len(data) != 33 or data[0] not in (ED25519, COSIGNATURE):
            raise KeyFileError(f"the key {vkey!r} is of a kind not known here; Ed25519 is (types 1 and 4)")
        verifier = cls(name, data[1:], data[0])
        if verifier.key_id.hex() != key_id:
            raise KeyFileError(f"the key {vkey!r} was mistyped: its hash would be {verifier.key_id.hex()}")
        return verifier

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || kind || public key)[:4]."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.kind]) + self.public)}"

    def holds(self, text: str, signature: bytes) -> bool:
        """Is this this key's signature of ``text``? ``signature`` is what follows the key ID in the line."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        message = text.encode()
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                return False
            (time,), signature = struct.unpack(">Q", signature[:8]), signature[8:]
            message = _cosigned(message, time)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A verifier's key and the means to sign for it: ``sign`` gives the 64 bytes of RFC 8032 over the bytes given."""

    verifier: Verifier
    sign: Callable[[bytes], bytes] = field(repr=False)

    def line(self, text: str) -> str:
        """The signature line for ``text``.

        Raises:
            LogError: the signature does not belong to the key.
        """
        signature = self.sign(text.encode())
        if not self.verifier.holds(text, signature):
            raise LogError(
                f"the signature made for {self.verifier.name} does not verify with its public key; "
                "give the callback of the key that the log began with"
            )
        return f"{_DASH}{self.verifier.name} {to_base64(self.verifier.key_id + signature)}\n"


def cosignature_line(text: str, name: str, key: "Ed25519PrivateKey", time: int) -> str:
    """A witness's line under a checkpoint: at ``time`` (POSIX seconds) this was the largest tree it had seen."""
    witness = Verifier(name, key.public_key().public_bytes_raw(), COSIGNATURE)
    signature = struct.pack(">Q", time) + key.sign(_cosigned(text.encode(), time))
    return f"{_DASH}{name} {to_base64(witness.key_id + signature)}\n"


@dataclass(frozen=True)
class Note:
    """A text and the signatures below it, none of them checked yet."""

    text: str
    """Ends in a newline."""
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """(key name, key ID, signature)."""

    @classmethod
    def from_text(cls, signed: str | bytes) -> "Note":
        """Take a signed note apart.

        Raises:
            LogError: it is not one.
        """
        if len(signed) > LONGEST_NOTE:
            raise LogError(f"a signed note of {len(signed)} bytes is longer than the {LONGEST_NOTE} allowed")
        try:
            whole = signed.decode() if isinstance(signed, bytes) else signed
            whole.encode()
        except UnicodeError:
            raise LogError("not a signed note: it is not UTF-8") from None
        if any(char < " " and char != "\n" for char in whole):
            raise LogError("not a signed note: it holds control characters")
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise LogError("not a signed note: no blank line with lines of signatures after it")
        signatures = [_signature(line) for line in lines[:-1].split("\n")]
        if len(signatures) > MOST_SIGNATURES:
            raise LogError(f"{len(signatures)} signatures under a note are more than the {MOST_SIGNATURES} allowed")
        return cls(text + "\n", tuple(signatures))

    def check(self, verifier: Verifier) -> None:
        """Is the text signed by this key?

        Raises:
            ProofError: it is not, or a signature in its name is wrong.
        """
        key_id, known = verifier.key_id, 0
        for name, given_id, signature in self.signatures:
            if (name, given_id) == (verifier.name, key_id):
                known += 1
                if not verifier.holds(self.text, signature):
                    raise ProofError(f"the signature by {verifier.name} (key {key_id.hex()}) is wrong")
        if not known:
            raise ProofError(f"not signed by {verifier.name} (key {key_id.hex()})")

    def check_all(self, verifiers: Iterable[Verifier]) -> None:
        """``check`` for each of several."""
        for verifier in verifiers:
            self.check(verifier)


def as_verifier(key: str | Verifier) -> Verifier:
    """A vkey parsed, or what was given.

    Raises:
        KeyFileError: a text that is not a vkey.
    """
    return Verifier.from_text(key) if isinstance(key, str) else key


def make_key() -> bytes:
    """A new Ed25519 private key as PEM (PKCS #8, not encrypted)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_signer(path: str | os.PathLike, name: str) -> Signer:
    """The key in a PEM file, under a name.

    Raises:
        KeyFileError: a file that cannot be read or holds no Ed25519 key, or a name that cannot be one.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"cannot read the log's key {path}: {error.strerror or error}") from None
    except (ValueError, TypeError):
        raise KeyFileError(f"{path} is not a private key in PEM form, or is encrypted; give the log's key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"the key {path} is not Ed25519, which logs are signed with")
    return Signer(Verifier(name, key.public_key().public_bytes_raw()), key.sign)


def check_name(name: str) -> None:
    """Can this be the name of a key, and so the origin of a log?

    Raises:
        KeyFileError: it cannot.
    """
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise KeyFileError(f"{name!r} cannot be the name of a key: it must not be empty nor hold spaces or '+'")
    try:
        name.encode()
    except UnicodeError:
        raise KeyFileError(f"{name!r} cannot be the name of a key: it is not UTF-8") from None


def _cosigned(text: bytes, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time + text


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        data = from_base64(encoded)
    except ValueError:
        data = b""
    if not line.startswith(_DASH) or not space or not name or "+" in name or len(data) < 5:
        raise LogError("not a signed note: a line below the blank one is no signature")
    return name, data[:4], data[4:]


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    """Base 64 in its one canonical spelling, so that nothing can be spelt in two ways."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(str(error)) from None
    if to_base64(data) != text:
        raise ValueError("not canonical")
    return data
