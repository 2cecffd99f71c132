"""Rebuild sorajax/data/assets/atlas.webp from the Fluent animated emoji packages.

    python tools/build_atlas.py lobehub-fluent-emoji-anim-1-1.0.0.tgz ... [-o sorajax/data/assets/atlas.webp]

The arguments are the npm tarballs (or folders of .webp files). Which emoji are taken, and in which order, is
read from assets/objects.json. One row per object, FRAMES poses spread evenly over one cycle of its animation,
each object cropped to the union of its poses so that its longer side fills the cell.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

CELL = 48
FRAMES = 16
ASSETS = Path(__file__).parent.parent / "sorajax" / "data" / "assets"


def emoji_files(sources: list[Path], wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """(code, bytes) of every wanted emoji found in the tarballs and folders."""
    for source in sources:
        if source.is_dir():
            for path in sorted(source.rglob("*.webp")):
                if path.stem in wanted:
                    yield path.stem, path.read_bytes()
            continue
        with tarfile.open(source) as archive:
            for member in archive:
                stem = Path(member.name).stem
                if member.isfile() and member.name.endswith(".webp") and stem in wanted:
                    extracted = archive.extractfile(member)
                    assert extracted is not None
                    yield stem, extracted.read()


def poses(data: bytes, cell: int = CELL, frames: int = FRAMES) -> list[Image.Image]:
    """The poses of one animated emoji, RGBA, each `cell` pixels square, standing on the cell's floor."""
    animation = Image.open(io.BytesIO(data))
    count = getattr(animation, "n_frames", 1)
    pictures = []
    for k in range(frames):
        animation.seek(k * count // frames)
        pictures.append(animation.convert("RGBA"))
    boxes = [p.getchannel("A").point([0] * 24 + [255] * 232).getbbox() for p in pictures]
    left, top = (min(b[i] for b in boxes if b) for i in (0, 1))
    right, bottom = (max(b[i] for b in boxes if b) for i in (2, 3))
    scale = cell / max(right - left, bottom - top)
    width, height = (max(1, round((b - a) * scale)) for a, b in ((left, right), (top, bottom)))
    out = []
    for picture in pictures:
        # Premultiplied, or the colour under transparent pixels bleeds into the edge.
        small = picture.convert("RGBa").resize((width, height), Image.Resampling.LANCZOS, (left, top, right, bottom))
        square = Image.new("RGBa", (cell, cell))
        square.paste(small, ((cell - width) // 2, cell - height))
        out.append(square.convert("RGBA"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path, help="npm tarballs, or folders of .webp files")
    parser.add_argument("-o", "--output", type=Path, default=ASSETS / "atlas.webp")
    args = parser.parse_args()
    objects = json.loads((ASSETS / "objects.json").read_text(encoding="utf-8"))
    codes = {entry["emoji"]: row for row, entry in enumerate(objects)}
    atlas = Image.new("RGBA", (FRAMES * CELL, len(objects) * CELL))
    found = set()
    for code, data in emoji_files(args.sources, set(codes)):
        for k, pose in enumerate(poses(data)):
            atlas.paste(pose, (k * CELL, codes[code] * CELL))
        found.add(code)
    missing = [entry["name"] for entry in objects if entry["emoji"] not in found]
    if missing:
        parser.error(f"not in the given packages: {', '.join(missing)}")
    atlas.save(args.output, lossless=True, quality=100, method=6)
    print(f"{args.output}: {len(objects)} objects, {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
