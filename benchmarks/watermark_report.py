"""Tables (Markdown) and pictures (PNG, drawn with Pillow) of what ``watermark.py`` measured."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from watermark_measure import OURS, PEERS

from provenance import watermark
from provenance.attacks import ATTACKS

_PUBLISHED = """
### Published figures of others

Their weights could not be had here; these are other clips and measures: the share of bits, not of payloads, that are
right. A payload of 96 or 256 bits is exact far less often than its bits are right.

| | clips | none | crop | rotation 10 | brightness .5 | frames averaged by 5 | JPEG 60 | noise .05 | source |
|---|---|---|---|---|---|---|---|---|---|
| VideoSeal (version not stated), PSNR 40.6 | VideoMarkBench | .988 | .955 (.90, resized) | | | .975 | .954 | .893 \
| metrics.json of Video-Bench in AI-LAB-C-for-S-T-AI/AIGC-Identification-Toolkit |
| VideoSeal 0.0, 96 bits | SA-V | | .952 (.71), .718 (.55) | .938 | .988 | | | | omnisealbench, sav_val |

VideoSeal 0.0 on SA-V besides: rotation 90 .511, resize .55 .989, brightness 1.5 .978 (the same source). Users report
that frames recognised fall from about 90 % to under 40 % after H.264 and to about 80 % after H.265 (videoseal, issue
40). TrustMark is for pictures: 100 bits, of which 40 to 75 are payload, PSNR 43 to 45 (variants Q and B), over 96 % in
severe noise (Q), by its own documentation; it has no figures for video.
"""


def published() -> str:
    """What others say of themselves."""
    return _PUBLISHED


def _label(method: str) -> str:
    bits = PEERS[method].bits if method in PEERS else 8 * watermark.PAYLOAD_BYTES
    return f"{method} ({bits} bits)"


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def clip_table(names: str, facts: dict[str, dict]) -> str:
    """What was measured on."""
    rows = [
        (n, f["kind"], "{}x{}".format(*f["size"]), f["frames"], f["fps"], f["source"], f["licence"])
        for n, f in facts.items()
    ]
    head = ("clip", "what it shows", "size", "frames", "a second", "from", "licence")
    return f"\n### Clips: {names}\n\n{_table(head, rows)}"


def quality_table(records: list[dict], methods: Sequence[str]) -> str:
    """Visibility and time of each method; times are for a megapixel, and against ours."""
    quality = {(r["method"], r["clip"]): r for r in records if "psnr" in r}
    plain = {(r["method"], r["clip"]): r for r in records if r.get("attack") == "none"}
    times: dict[str, tuple[float, float]] = {}
    rows = []
    for method in methods:
        of = {clip: r for (m, clip), r in quality.items() if m == method}
        if not of:
            continue
        embed = float(np.median([r["embed_ms"] / r["pixels"] * 1e6 for r in of.values()]))
        read = [
            1e9 * plain[method, clip]["seconds"] / plain[method, clip].get("frames", r["frames"]) / r["pixels"]
            for clip, r in of.items()
            if (method, clip) in plain
        ]
        times[method] = embed, float(np.median(read)) if read else math.nan
        least = min(of.values(), key=lambda r: r["psnr"])
        rows.append(
            [
                _label(method),
                len(of),
                f"{least['psnr']:.1f} ({least['clip']})",
                f"{np.mean([r['psnr'] for r in of.values()]):.1f}",
                f"{min(r['ssim_luma'] for r in of.values()):.4f}",
                f"{min(r['ssim_rgb'] for r in of.values()):.4f}",
                f"{np.mean([r['ssim_rgb'] for r in of.values()]):.4f}",
            ]
        )
    for row, (embed, read) in zip(rows, times.values(), strict=True):
        base = times.get(OURS)
        row += [
            f"{t:.0f}" + (f" (x{t / b:.1f})" if base else "")
            for t, b in zip((embed, read), base or (1, 1), strict=True)
        ]
    head = (
        "method",
        "clips",
        "PSNR, dB: least",
        "mean",
        "SSIM, luma: least",
        "R, G, B: least",
        "mean",
        "marking, ms a frame and megapixel",
        "reading, the same",
    )
    return f"\n### Visibility and time\n\n{_table(head, rows)}\n"


def shares(records: list[dict], methods: Sequence[str]) -> dict[tuple[str, str], tuple[float, int]]:
    """(method, attack) -> share of clips recovered exactly, and of how many."""
    last = {(r["method"], r["attack"], r["clip"]): bool(r["ok"]) for r in records if "attack" in r}
    cells: dict[tuple[str, str], list[bool]] = {}
    for (method, attack, _), ok in last.items():
        if method in methods:
            cells.setdefault((method, attack), []).append(ok)
    return {cell: (float(np.mean(oks)), len(oks)) for cell, oks in cells.items()}


def recovery_table(records: list[dict], methods: Sequence[str], attacks: Sequence[str]) -> str:
    """Exact recovery by attack and method, where ours is below its target, and on which clips."""
    of = shares(records, methods)
    counts = {m: max((n for (method, _), (_, n) in of.items() if method == m), default=0) for m in methods}
    rows, short = [], []
    for name in attacks:
        row: list[object] = [ATTACKS[name].group, name, f"{ATTACKS[name].target:.0%}"]
        for method in methods:
            share, n = of.get((method, name), (math.nan, 0))
            row.append("" if not n else f"{share:.0%}" + ("" if n == counts[method] else f" of {n}"))
        rows.append(row)
        share, n = of.get((OURS, name), (1.0, 0))
        if n and share < ATTACKS[name].target - 1e-9:
            lost = {r["clip"] for r in records if r.get("attack") == name and r["method"] == OURS and not r["ok"]}
            short.append(f"{name} ({', '.join(sorted(lost))})")
    head = ["", "attack", "target", *(f"{_label(m)}, {counts[m]} clips" for m in methods)]
    means = [f"{np.mean([s for (m, _), (s, _) in of.items() if m == method] or [math.nan]):.0%}" for method in methods]
    rows.append(["", "mean over attacks", "", *means])
    text = f"### Share of clips whose payload is recovered exactly\n\n{_table(head, rows)}\n"
    pooled = "; ".join(f"{m}: {PEERS[m].marked} frames at most, {PEERS[m].read} read" for m in methods if m in PEERS)
    if pooled:
        text += f"\nPeers mark every frame and their soft bits are averaged over frames read ({pooled}); they have no\n"
        text += "test of whether a mark is there at all, so any right guess counts.\n"
    if OURS in methods:
        text += f"\nBelow target: {'; '.join(short) or 'nothing'}.\n"
    return text


def false_alarm_table(values: NDArray[np.floating]) -> str:
    """Are p-values uniform? Counts below powers of ten, with what 99 of 100 uniform samples would show."""
    n = len(values)
    if not n:
        return "\nNo windows were measured.\n"
    rows = []
    for exponent in range(1, 10):
        level = 10.0**-exponent
        low, high = _binomial_range(n, level)
        rows.append((f"1e-{exponent}", int((values < level).sum()), f"{n * level:.4g}", f"{low} to {high}"))
    table = _table(("p below", "windows", "expected if uniform", "99 % range"), rows)
    distance, p = kolmogorov_smirnov(values)
    one = float(np.mean(values >= 1.0))
    return (
        f"\n### False alarms: {n} windows of unmarked video, each with a key of its own\n\n{table}\n\n"
        f"Least p: {values.min():.2g}. Farthest from uniform: {distance:.4f} (Kolmogorov-Smirnov, p = {p:.2g}).\n"
        f"Exactly 1, nothing to look at: {one:.2%}.\n"
    )


def kolmogorov_smirnov(values: NDArray[np.floating]) -> tuple[float, float]:
    """Largest distance of the empirical distribution from the uniform one on [0, 1], and its p-value (Stephens)."""
    x, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - x).max(), (x - steps[:-1]).max()))
    t = distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * t * t) for k in range(1, 101))
    return distance, float(np.clip(p, 0, 1)) if t > 0.2 else 1.0


def _binomial_range(n: int, p: float, level: float = 0.99) -> tuple[int, int]:
    """Counts that hold the middle ``level`` of a binomial distribution."""
    if p >= 1:
        return n, n
    if n * p > 700:
        spread = 2.5758 * math.sqrt(n * p * (1 - p))
        return math.floor(n * p - spread), math.ceil(n * p + spread)
    total, low = 0.0, None
    term = math.exp(n * math.log1p(-p))
    for k in range(n + 1):
        total += term
        if low is None and total > (1 - level) / 2:
            low = k
        if total >= (1 + level) / 2:
            return low or 0, k
        term *= (n - k) / (k + 1) * p / (1 - p)
    return low or 0, n


# --- pictures ---------------------------------------------------------------------------------------------------------


def _colour(share: float) -> tuple[int, int, int]:
    """Red over yellow to green; white where nothing was measured."""
    if math.isnan(share):
        return (255, 255, 255)
    low, middle, high = np.array([214, 82, 73]), np.array([250, 221, 130]), np.array([86, 171, 107])
    mix = low + (middle - low) * 2 * share if share < 0.5 else middle + (high - middle) * (2 * share - 1)
    red, green, blue = (int(round(value)) for value in mix)
    return red, green, blue


def plot_recovery(records: list[dict], methods: Sequence[str], attacks: Sequence[str], path: Path) -> None:
    """A column for each method, a row for each attack, groups apart; the target beside."""
    of = shares(records, methods)
    big, font = ImageFont.load_default(26), ImageFont.load_default(20)
    row, column, left, top = 30, 240, 330, 90
    groups = list(dict.fromkeys(ATTACKS[a].group for a in attacks))
    image = Image.new(
        "RGB", (left + column * len(methods) + 110, top + row * (len(attacks) + len(groups)) + 20), "white"
    )
    draw = ImageDraw.Draw(image)
    draw.text((20, 12), "Share of clips whose payload is recovered exactly", font=big, fill="black")
    for i, method in enumerate(methods):
        bits = PEERS[method].bits if method in PEERS else 8 * watermark.PAYLOAD_BYTES
        draw.text((left + column * (i + 0.5), 66), f"{method}, {bits} bits", font=font, fill="black", anchor="mm")
    draw.text((left + column * len(methods) + 55, 66), "target", font=font, fill="grey", anchor="mm")
    y = top
    for group in groups:
        draw.text((20, y + row / 2), group, font=font, fill="grey", anchor="lm")
        y += row
        for name in (a for a in attacks if ATTACKS[a].group == group):
            draw.text((left - 12, y + row / 2), name, font=font, fill="black", anchor="rm")
            for i, method in enumerate(methods):
                share, n = of.get((method, name), (math.nan, 0))
                x = left + column * i
                draw.rectangle((x + 1, y + 1, x + column - 2, y + row - 2), fill=_colour(share))
                if n:
                    draw.text((x + column / 2, y + row / 2), f"{share:.0%}", font=font, fill="black", anchor="mm")
            text = f"{ATTACKS[name].target:.0%}"
            draw.text((left + column * len(methods) + 55, y + row / 2), text, font=font, fill="grey", anchor="mm")
            y += row
    _save(image, path)


def plot_p_values(values: NDArray[np.floating], path: Path) -> None:
    """Share of windows whose p-value is at most p, over p, both logarithmic; grey: 99 % range of uniform values."""
    n, side, margin = len(values), 720, 110
    if not n:
        return
    decades = max(1, math.ceil(math.log10(n)))
    image = Image.new("RGB", (side + 2 * margin, side + 2 * margin), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(20)

    def at(p: float, share: float) -> tuple[float, float]:
        x, y = (max(-decades, math.log10(max(v, 1e-300))) / decades for v in (p, share))
        return margin + side * (1 + x), margin - side * y

    levels = [10 ** (-decades * k / 60) for k in range(60)] + [10.0**-decades]
    ranges = [_binomial_range(n, p) for p in levels]
    band = [at(p, min(1, high / n)) for p, (_, high) in zip(levels, ranges, strict=True)]
    band += [at(p, max(0, low / n)) for p, (low, _) in list(zip(levels, ranges, strict=True))[::-1]]
    draw.polygon(band, fill=(222, 222, 222))
    draw.line([at(1, 1), at(10**-decades, 10**-decades)], fill=(150, 150, 150), width=2)
    x = np.sort(values)
    draw.line([at(float(p), (i + 1) / n) for i, p in enumerate(x)], fill=(30, 90, 170), width=3)
    draw.rectangle((margin, margin, margin + side, margin + side), outline="black")
    for k in range(decades + 1):
        label = "1" if k == 0 else f"1e-{k}"
        px, py = at(10.0**-k, 10.0**-k)
        draw.text((px, margin + side + 16), label, font=font, fill="black", anchor="mt")
        draw.text((margin - 14, py), label, font=font, fill="black", anchor="rm")
    title = f"p-values of {n} windows of unmarked video"
    draw.text((margin + side / 2, margin / 2), title, font=font, fill="black", anchor="mm")
    draw.text((margin + side / 2, margin + side + 60), "p", font=font, fill="black", anchor="mm")
    draw.text((16, margin - 34), "share of windows with a p-value up to p", font=font, fill="black", anchor="lm")
    _save(image, path)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
