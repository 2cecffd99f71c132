"""Taking the active manifest out of a manifest store (ISO/IEC 19566-5 boxes; C2PA specification, 11.1)."""

from collections.abc import Iterator


def active_only(store: bytes) -> bytes:
    """A store with its description and its last manifest, which is the active one; a damaged one as it is."""
    parts = list(_boxes(store[8:]))
    if store[4:8] != b"jumb" or len(parts) < 2:
        return store
    inner = parts[0] + parts[-1]
    return (len(inner) + 8).to_bytes(4, "big") + b"jumb" + inner


def _boxes(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8 or at + size > len(data):
            return
        yield data[at : at + size]
        at += size
