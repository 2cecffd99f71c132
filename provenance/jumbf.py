"""Boxes of a manifest store: found by their labels, where they lie (ISO/IEC 19566-5; C2PA specification, 11.1).

A stranger may have written the store: a damaged box ends the list that it is in, and nothing is raised.
"""

from collections.abc import Iterator

SIGNATURE = "c2pa.signature"
_DEEPEST = 8


def content(data: memoryview, path: tuple[str, ...], depth: int = 0) -> Iterator[memoryview]:
    """Content boxes of the superbox at a path of labels: views into ``data``."""
    label, *rest = path
    for kind, body in boxes(data):
        if kind != b"jumb" or depth > _DEEPEST:
            continue
        inner = list(boxes(body))
        if not inner or inner[0][0] != b"jumd" or _label(inner[0][1]) != label:
            continue
        if rest:
            yield from content(body, tuple(rest), depth + 1)
        else:
            yield from (content for kind, content in inner[1:] if kind == b"cbor")


def active(store: memoryview) -> str | None:
    """The label of the active manifest, which is the last (C2PA specification, 11.1.4); None if there is none."""
    for kind, body in boxes(store):
        if kind == b"jumb":
            inner = [list(boxes(manifest)) for kind, manifest in boxes(body) if kind == b"jumb"]
            return _label(inner[-1][0][1]) if inner and inner[-1] else None
    return None


def boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, content) of each box in turn."""
    at = 0
    while at + 8 <= len(data):
        size, kind, head = int.from_bytes(data[at : at + 4]), bytes(data[at + 4 : at + 8]), 8
        if size == 1 and at + 16 <= len(data):
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        size = size or len(data) - at
        if size < head or at + size > len(data):
            return
        yield kind, data[at + head : at + size]
        at += size


def _label(description: memoryview) -> str | None:
    """Of a description box: a UUID, toggles of which bit 1 says that a label follows, the label."""
    if len(description) < 18 or not description[16] & 2:
        return None
    return bytes(description[17:]).split(b"\0", 1)[0].decode("utf-8", "replace")
