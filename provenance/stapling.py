"""Put an OCSP response into a signature that is made already (C2PA specification, "Credential Revocation Information").

C2PA's library takes no response for a signature, but the place for it is among the headers that the signature does not
cover: ``rVals``, a map with ``ocspVals``, a list of responses in DER form. The library pads those headers to a length
that it reserved beforehand; the padding shrinks by what is put in, so that no box and no offset in the file changes.
"""

import mmap
import os
from pathlib import Path
from typing import Any

from provenance import jumbf
from provenance.errors import SigningError
from provenance.formats import Format

HEADROOM = 64
"""Bytes to reserve beyond the length of a response, for the headers around it and the padding."""

_PADDING = ("pad", "pad2")  # the second is for lengths that one alone cannot reach


def stapled(store: bytes, response: bytes) -> bytes:
    """A manifest store whose active manifest's signature carries a response; as long as before.

    Args:
        store: as it was signed, in JUMBF form.
        response: an OCSP response, DER.

    Raises:
        SigningError: there is no signature to put it into, or not enough padding in it.
    """
    import cbor2

    view = memoryview(store)
    held = next(jumbf.content(view, ("c2pa", jumbf.active(view) or "", jumbf.SIGNATURE)), None)
    if held is None:
        raise SigningError("the manifest store holds no signature, so no OCSP response can be put into it")
    signature = cbor2.loads(held)
    headers = {name: value for name, value in signature.value[1].items() if name not in _PADDING}
    headers["rVals"] = {"ocspVals": [response]}
    protected, _, payload, value = signature.value
    sealed = _padded(signature.tag, [protected, headers, payload, value], len(held))
    at = store.index(bytes(held))
    return store[:at] + sealed + store[at + len(held) :]


def _padded(tag: int, parts: list[Any], length: int) -> bytes:
    """COSE_Sign1 (RFC 9052, 4.2) of exactly that many bytes."""
    import cbor2

    def encoded(pads: dict[str, bytes]) -> bytes:
        return cbor2.dumps(cbor2.CBORTag(tag, [parts[0], {**parts[1], **pads}, *parts[2:]]))

    for pads in ({}, {"pad2": b""}):
        spare = length - len(encoded(pads | {"pad": b""}))
        # The length of the padding is itself written in one byte to five.
        for size in range(max(0, spare - 4), spare + 1):
            if len(sealed := encoded(pads | {"pad": bytes(size)})) == length:
                return sealed
    room = max(0, length - len(encoded({})))
    raise SigningError(f"the signature has no room for the OCSP response: {room} bytes; use a shorter response")


def replace_in_file(path: Path, format: Format, old: bytes, new: bytes) -> None:
    """Exchange the manifest store embedded in a file for another of the same length.

    Raises:
        SigningError: the store is not in the file.
        OSError: the file cannot be read or written.
    """
    before, after = (_embedded(format, store) for store in (old, new))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        at = data.find(before)
        if at < 0 or len(before) != len(after):
            raise SigningError(f"the credentials in {format.name} were not found again to put an OCSP response in")
        data[at : at + len(after)] = after
        data.flush()
        os.fsync(file.fileno())


def _embedded(format: Format, store: bytes) -> bytes:
    """The store as a file of that format has it: cut into segments, with a check sum, or as it is."""
    from c2pa.c2pa import format_embeddable

    return bytes(format_embeddable(format.mime, store)[1]) if format.reader in ("JPEG", "PNG", "GIF") else store
