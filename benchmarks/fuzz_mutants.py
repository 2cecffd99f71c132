"""Damaged and forged copies of a signed MP4, by seed: ``mutant(data, seed)`` is the same each time.

What is mutated, by the structure that a reader sees: bytes anywhere; boxes of the container (ISO/IEC 14496-12), with
parents mended to fit or not; JUMBF boxes of the manifest store (ISO/IEC 19566-5); CBOR items in them (RFC 8949);
the content alone; and the boxes that C2PA leaves unhashed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
UNHASHED = (b"ftyp", b"free", b"skip", b"mfra")
"""Top-level boxes that C2PA's hash leaves out, besides its own."""

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"moof", b"traf", b"jumb")
_ODD_SIZES = (0, 1, 2, 7, 8, 9, 15, 16, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_ODD_KINDS = (b"free", b"uuid", b"moov", b"jumb", b"jumd", b"cbor", b"json", b"mdat", b"brob", b"\0\0\0\0", b"c2sh")


@dataclass
class Box:
    """A box with its children, or with its body where it has none. ``head`` stands before the children."""

    kind: bytes
    head: bytes = b""
    children: list["Box"] = field(default_factory=list)
    said: int | None = None
    """A size other than the true one."""
    long: bool = False
    """Whether its size takes 64 bits."""

    def to_bytes(self) -> bytes:
        body = self.head + b"".join(child.to_bytes() for child in self.children)
        if self.long:
            size = len(body) + 16 if self.said is None else self.said
            return (1).to_bytes(4, "big") + self.kind + size.to_bytes(8, "big") + body
        size = len(body) + 8 if self.said is None else self.said
        return size.to_bytes(4, "big") + self.kind + body

    def walk(self) -> list["Box"]:
        return [self, *(box for child in self.children for box in child.walk())]


def parse(data: bytes, depth: int = 50) -> list[Box]:
    """Boxes whose sizes are right, not deeper than ``depth``."""
    if not depth:
        raise ValueError("too deep")
    found, at = [], 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        long = size == 1
        size = int.from_bytes(data[at + 8 : at + 16], "big") if long else size
        if size < (16 if long else 8) or at + size > len(data):
            raise ValueError(f"box at {at} says {size} bytes")
        body = data[at + (16 if long else 8) : at + size]
        if kind in _PARENTS:
            found.append(Box(kind, b"", parse(body, depth - 1)))
        elif kind == b"uuid" and body[:16] == C2PA_UUID:
            # uuid, version and flags, "manifest" and its NUL, the offset of an auxiliary box; then the store
            found.append(Box(kind, body[:37], parse(body[37:], depth - 1)))
        else:
            found.append(Box(kind, body, long=long))
        at += size
    return found


def join(boxes: list[Box]) -> bytes:
    return b"".join(box.to_bytes() for box in boxes)


def mutant(data: bytes, seed: int) -> tuple[str, bytes]:
    """(kind of mutation, the file)."""
    dice = random.Random(seed)
    kind = dice.choice(list(MUTATIONS))
    return kind, MUTATIONS[kind](data, dice)


def _flip(data: bytes, dice: random.Random, start: int, end: int, most: int = 8) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, most)):
        changed[dice.randrange(start, end)] ^= dice.randint(1, 255)
    return bytes(changed)


def _anywhere(data: bytes, dice: random.Random) -> bytes:
    return _flip(data, dice, 0, len(data))


def _span(data: bytes, kinds: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """(start, end) of the bodies of top-level boxes of these kinds."""
    spans, at = [], 0
    for box in parse(data):
        size = len(box.to_bytes())
        if box.kind in kinds:
            spans.append((at + 8, at + size))
        at += size
    return spans


def _content(data: bytes, dice: random.Random) -> bytes:
    spans = [span for span in _span(data, (b"mdat", b"moov")) if span[0] < span[1]]
    return _flip(data, dice, *dice.choice(spans))


def _manifest(data: bytes, dice: random.Random) -> bytes:
    return _flip(data, dice, *dice.choice(_span(data, (b"uuid",))))


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def _grown(data: bytes, dice: random.Random) -> bytes:
    junk = dice.randbytes(dice.randint(1, 64))
    if dice.random() < 0.5:
        junk = (len(junk) + 8).to_bytes(4, "big") + dice.choice(_ODD_KINDS) + junk
    return data + junk


def _unhashed(data: bytes, dice: random.Random) -> bytes:
    boxes = parse(data)
    places = [box for box in boxes if box.kind in UNHASHED and box.head]
    if dice.random() < 0.3 or not places:
        boxes.insert(dice.randint(0, len(boxes)), Box(dice.choice(UNHASHED), dice.randbytes(dice.randint(0, 40))))
    else:
        box = dice.choice(places)
        box.head = _flip(box.head, dice, 0, len(box.head))
    return join(boxes)


def _rearranged(boxes: list[Box], dice: random.Random, within: Callable[[Box], bool]) -> None:
    """Do one thing to one box, or to two."""
    top = Box(b"", b"", boxes)
    parents = [box for box in top.walk() if box.children and (box is not top or within(top))]
    parents = [box for box in parents if any(within(child) for child in box.children)]
    parent = dice.choice(parents)
    at = dice.choice([i for i, child in enumerate(parent.children) if within(child)])
    box = parent.children[at]
    match dice.randrange(9):
        case 0:
            del parent.children[at]
        case 1:
            parent.children.insert(at, box)
        case 2:
            other = dice.randrange(len(parent.children))
            parent.children[at], parent.children[other] = parent.children[other], box
        case 3:
            box.said = dice.choice((*_ODD_SIZES, dice.randrange(2**32), len(box.to_bytes()) + dice.randint(-9, 9)))
            box.said = max(0, box.said)
        case 4:
            box.kind = dice.choice((*_ODD_KINDS, dice.randbytes(4)))
        case 5:
            box.head = dice.randbytes(dice.randint(0, 30)) + box.head[dice.randint(0, 30) :]
        case 6:
            parent.children.insert(at, Box(dice.choice(_ODD_KINDS), dice.randbytes(dice.randint(0, 60))))
        case 7:
            box.head, box.children = box.to_bytes()[8 : 8 + dice.randint(0, 40)], []
        case 8:
            parent.children[at] = Box(box.kind, _nested(box.kind, box.to_bytes(), dice.choice((0, 9, 99, 2000))))


def _nested(kind: bytes, inner: bytes, depth: int) -> bytes:
    """``inner`` in so many boxes of a kind."""
    heads = [(len(inner) + 8 * n).to_bytes(4, "big") + kind for n in range(depth, 0, -1)]
    return b"".join(heads) + inner


def _in_manifest(boxes: list[Box]) -> set[int]:
    return {id(box) for top in boxes if top.kind == b"uuid" for box in top.walk()[1:]}


def _boxes(data: bytes, dice: random.Random) -> bytes:
    boxes = parse(data)
    inside = _in_manifest(boxes)
    for _ in range(dice.randint(1, 2)):
        _rearranged(boxes, dice, lambda box: id(box) not in inside)
    return join(boxes)


def _jumbf(data: bytes, dice: random.Random) -> bytes:
    boxes = parse(data)
    for _ in range(dice.randint(1, 2)):
        inside = _in_manifest(boxes)
        if not inside:
            break
        _rearranged(boxes, dice, lambda box, inside=inside: id(box) in inside)
    return join(boxes)


def _cbor(data: bytes, dice: random.Random) -> bytes:
    """A CBOR item exchanged for a strange one; the boxes around it fit."""
    boxes = parse(data)
    stores = [box for top in boxes if top.kind == b"uuid" for box in top.walk() if box.kind == b"cbor" and box.head]
    box = dice.choice(stores)
    at = dice.randrange(len(box.head))
    strange = dice.choice(
        (
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",  # an array of 2^64 - 1
            b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",  # a map
            b"\x5b\x00\x00\x00\x7f\xff\xff\xff\xff",  # a string of 512 GB
            b"\x7a\xff\xff\xff\xff",
            b"\x9f",  # without an end
            b"\xbf",
            b"\x5f\x5f\x5f",
            b"\xff",
            b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",  # infinity
            b"\xf9\x7e\x00",  # not a number
            b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xd8\x20" * 20,  # tags of tags
            b"\x81" * 5000,  # arrays in arrays
            b"\xa1\x60" * 5000,
            b"\xf8\x18",
            b"\x62\xff\xfe",  # no UTF-8
            b"\x1c",
            b"\xf6",
            b"\x60",
        )
    )
    size = dice.choice((0, 1, len(strange)))
    box.head = box.head[:at] + strange + box.head[at + size :]
    return join(boxes)


def _two(data: bytes, dice: random.Random) -> bytes:
    """Several kinds at once."""
    for _ in range(2):
        try:
            data = dice.choice((_manifest, _jumbf, _cbor, _unhashed, _boxes))(data, dice)
        except (ValueError, IndexError):
            break  # the first left nothing that can be parsed
    return data


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes anywhere": _anywhere,
    "bytes of content": _content,
    "bytes of the manifest": _manifest,
    "cut short": _cut,
    "grown": _grown,
    "unhashed boxes": _unhashed,
    "boxes": _boxes,
    "JUMBF boxes": _jumbf,
    "CBOR items": _cbor,
    "two of these": _two,
}
