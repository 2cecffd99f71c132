"""Put an OCSP response into a signature that is made already (C2PA specification, "Credential Revocation Information").

C2PA's library takes no response for a signature, but the place for it is among the headers that the signature does not
cover: ``rVals``, a map with ``ocspVals``, a list of responses in DER form. The library pads those headers to a length
that it reserved beforehand; the padding shrinks by what is put in, so that no box and no offset in the file changes.
"""

import mmap
import os
import zlib
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
    if sealed is None:
        raise SigningError(
            f"the signature has no room for the OCSP response, which is {len(response)} bytes long; use a shorter one"
        )
    at = store.index(bytes(held))
    return store[:at] + sealed + store[at + len(held) :]


def _padded(tag: int, parts: list[Any], length: int) -> bytes | None:
    """COSE_Sign1 (RFC 9052, 4.2) of exactly that many bytes; None if it is longer already."""
    import cbor2

    def encoded(pads: dict[str, bytes]) -> bytes:
        return cbor2.dumps(cbor2.CBORTag(tag, [parts[0], {**parts[1], **pads}, *parts[2:]]))

    for pads in ({}, {"pad2": b""}):
        spare = length - len(encoded(pads | {"pad": b""}))
        # The length of the padding is itself written in one byte to five.
        for size in range(max(0, spare - 4), spare + 1):
            if len(sealed := encoded(pads | {"pad": bytes(size)})) == length:
                return sealed
    return None


def replace_in_file(path: Path, format: Format, old: bytes, new: bytes) -> None:
    """Exchange the manifest store embedded in a file for another of the same length.

    Raises:
        SigningError: the store is not in the file.
        OSError: the file cannot be read or written.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        places = _places(data, format, old)
        if places is None or len(old) != len(new):
            raise SigningError(f"the credentials in {path} were not found again to put an OCSP response into them")
        at = 0
        for place, length in places:
            data[place : place + length] = new[at : at + length]
            at += length
        if format.reader == "PNG":  # a check sum follows (PNG specification, 5.3)
            end = sum(places[-1])
            data[end : end + 4] = zlib.crc32(b"caBX" + new).to_bytes(4, "big")
        data.flush()
        os.fsync(file.fileno())


def _places(data: mmap.mmap, format: Format, store: bytes) -> list[tuple[int, int]] | None:
    """(offset, length) of the pieces of a store in a file; None if it is not there."""
    if format.reader == "JPEG":
        candidates = _jpeg_places(data)
    elif format.reader == "GIF":
        candidates = _gif_places(data)
    else:
        candidates = [[(data.find(store), len(store))]]
    for places in candidates:
        if all(at >= 0 for at, _ in places) and b"".join(data[at : at + size] for at, size in places) == store:
            return places
    return None


def _jpeg_places(data: mmap.mmap) -> list[list[tuple[int, int]]]:
    """Of each box in APP11 segments (ISO/IEC 19566-5, annex D): marker, length, "JP", number of the box, number of the
    segment, content; from the second segment on the box's first eight bytes are repeated."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    at = 2
    while at + 12 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # until the picture begins
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xEB and data[at + 4 : at + 6] == b"JP":
            pieces = found.setdefault(data[at + 6 : at + 8], [])
            start = at + 12 + (8 if pieces else 0)
            pieces.append((start, end - start))
        at = end
    return list(found.values())


def _gif_places(data: mmap.mmap) -> list[list[tuple[int, int]]]:
    """Of each application extension: its name, then blocks of up to 255 bytes, each after its length, until one of none
    (GIF89a, 26)."""
    found: list[list[tuple[int, int]]] = []
    name = data.find(b"C2PA_GIF")
    while name >= 0:
        pieces, at = [], name + 11
        while at < len(data) and (length := data[at]):
            pieces.append((at + 1, length))
            at += 1 + length
        found.append(pieces)
        name = data.find(b"C2PA_GIF", name + 1)
    return found
