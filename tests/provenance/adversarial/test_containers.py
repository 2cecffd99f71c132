"""Files that are cut, swollen, or built to break whoever walks through their boxes."""

import pytest

from benchmarks.fuzz_mutants import C2PA_UUID, Box, join, parse
from benchmarks.fuzz_verifier import decoded
from tests.provenance.adversarial import forge

pytestmark = pytest.mark.usefixtures("blind")


@pytest.mark.parametrize("share", [0, 0.0005, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_unreadable(share: float, signed, judge) -> None:
    assert judge(signed[: int(len(signed) * share)]).status == "unreadable"


@pytest.mark.parametrize("kind", [b"ftyp", b"uuid", b"mdat", b"moov"])
@pytest.mark.parametrize("size", [0, 2, 4, 7, 2**31, 2**32 - 1], ids=lambda size: f"size {size}")
def test_a_top_level_box_of_a_wrong_size(kind: bytes, size: int, signed, judge) -> None:
    boxes = parse(signed)
    next(box for box in boxes if box.kind == kind).said = size
    last = boxes[-1].kind == kind and size == 0  # "to the end of the file", which is true of the last box
    assert judge(join(boxes)).status == ("altered" if last else "unreadable")


@pytest.mark.parametrize("size", [0, 1, 15, 2**40, 2**63, 2**64 - 1], ids=lambda size: f"size {size}")
def test_a_long_box_size_that_overflows(size: int, signed, judge) -> None:
    assert judge(signed + (1).to_bytes(4, "big") + b"free" + size.to_bytes(8, "big")).status == "unreadable"


@pytest.mark.parametrize("kind", [b"trak", b"stbl", b"stsz", b"stco", b"stsc", b"stts", b"avcC", b"hdlr"])
@pytest.mark.parametrize("size", [0, 4, 2**31])
def test_an_inner_box_of_a_wrong_size(kind: bytes, size: int, signed, judge) -> None:
    at = signed.index(kind) - 4
    assert judge(signed[:at] + size.to_bytes(4, "big") + signed[at + 4 :]).status in ("altered", "unreadable")


@pytest.mark.parametrize("kind", [b"moov", b"uuid", b"jumb"])
def test_boxes_nested_three_thousand_deep(kind: bytes, signed, judge) -> None:
    nested = b"".join((8 * n).to_bytes(4, "big") + kind for n in range(3000, 0, -1))
    head = signed[: int.from_bytes(signed[:4], "big")]
    assert judge(head + nested).status == "unreadable"
    assert judge(signed + nested).status in ("altered", "unreadable")


@pytest.mark.parametrize("kind", [b"skip", b"moof", b"junk", b"moov"])
def test_a_flood_of_boxes_is_refused(kind: bytes, signed, judge) -> None:
    # Time to read them grows with the square of their number: 200,000 took minutes.
    flood = signed + (8).to_bytes(4, "big") + kind
    report = judge(flood + (b"\0\0\0\x08" + kind) * 50_000)
    assert report.status == "unreadable" and "boxes" in report.findings[0]


def test_a_flood_of_boxes_in_a_box_is_refused(signed, judge) -> None:
    boxes = parse(signed)
    moov = next(box for box in boxes if box.kind == b"moov")
    moov.children.append(Box(b"udta", b"\0\0\0\x08free" * 50_000))
    assert "boxes" in judge(join(boxes)).findings[0]


def test_sample_tables_that_promise_billions(signed, judge) -> None:
    for kind in (b"stsz", b"stts", b"stsc", b"stco"):
        at = signed.index(kind) + 4 + (8 if kind == b"stsz" else 4)
        assert judge(signed[:at] + b"\xff\xff\xff\xff" + signed[at + 4 :]).status in ("altered", "unreadable")


def test_two_manifest_boxes_are_not_a_choice(certifier, clip, signed, folder, judge) -> None:
    box = next(box for box in parse(signed) if box.kind == b"uuid")
    assert judge(signed + box.to_bytes()).status == "altered"
    forge.claim(clip, folder / "other.mp4", certifier, title="another story")
    other = next(box for box in parse((folder / "other.mp4").read_bytes()) if box.kind == b"uuid")
    for boxes in (parse(signed) + [other], [parse(signed)[0], other] + parse(signed)[1:]):
        assert judge(join(boxes)).status in ("altered", "unreadable")


@pytest.mark.parametrize("junk", [b"junk", b"\0\0\0\x0cjunkjunk", b"\0\0\0\x08mdat", b"\0\0\0\x08moov", bytes(4096)],
                         ids=["bytes", "unknown box", "mdat", "moov", "zeros"])  # fmt: skip
def test_appended_junk_is_not_passed_over(junk: bytes, signed, judge) -> None:
    assert judge(signed + junk).status in ("altered", "unreadable")


def test_what_c2pa_does_not_hash_can_change_no_picture(signed, folder, tmp_path, judge) -> None:
    boxes = parse(signed)
    brand = [Box(b"ftyp", b"mp42" + boxes[0].head[4:]), *boxes[1:]]
    for data in (
        join(brand),
        signed + Box(b"free", b"a hidden message").to_bytes(),
        signed + Box(b"skip", b"a hidden message").to_bytes(),
        signed + Box(b"mfra", bytes(16)).to_bytes(),
    ):
        report = judge(data)
        if report.status == "authentic":
            assert decoded(tmp_path / "hostile.mp4") == decoded(folder / "signed.mp4")
        else:
            assert report.status == "altered"


def test_an_empty_manifest_box_is_not_no_manifest(clip, judge) -> None:
    data = clip.read_bytes()
    head = int.from_bytes(data[:4], "big")
    for body in (b"", b"\0\0\0\0manifest\0" + bytes(8), b"\0\0\0\0merkle\0" + bytes(8), bytes(100)):
        report = judge(data[:head] + Box(b"uuid", C2PA_UUID + body).to_bytes() + data[head:])
        assert report.status in ("altered", "unreadable")


@pytest.mark.parametrize("name", ["x.txt", "x.png", "x", "x.mkv", "x.json", "x" * 200 + ".mp4", "-x.mp4", "a\nb.mp4"])
def test_a_name_decides_nothing(name: str, signed, judge) -> None:
    assert judge(signed, name).status == "authentic"


FAKES = {
    "empty": b"",
    "one byte": b"\0",
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
    "text": b"Breaking news\n" * 100,
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "a program": b"\x7fELF" + bytes(500),
    "an archive": b"PK\x03\x04" + bytes(500),
    "a PDF": b"%PDF-1.7\n" + bytes(500),
    "an executable disguised": b"\0\0\0\x20ftypisom" + b"MZ" * 500,
}


@pytest.mark.parametrize("fake", FAKES)
def test_what_is_no_video_is_unreadable(fake: str, judge) -> None:
    report = judge(FAKES[fake])
    assert report.status == "unreadable" and len(report.findings) == 1
