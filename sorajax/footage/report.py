"""The report of a preparation as one page: what was kept, and what was dropped and why, with pictures."""

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

SHOWN = 24
"""Scenes of each kind with their pictures."""


def short(name: str) -> str:
    """A name for a source's pictures."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def write(path: Path, summary: str, kept: list[dict[str, Any]], dropped: list[dict[str, Any]]) -> None:
    """Write the page; its pictures are beside it in ``pictures/``."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in dropped:
        groups[record["reason"]].append(record)
    page = Environment(loader=PackageLoader("sorajax.footage"), autoescape=True).get_template("report.html.j2")
    path.write_text(
        page.render(
            summary=summary,
            kept=spread(kept),
            kept_count=len(kept),
            groups=[
                (word, len(group), spread(group)) for word, group in sorted(groups.items(), key=lambda g: -len(g[1]))
            ],
        ),
        encoding="utf-8",
        errors="replace",
    )


def spread(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most ``SHOWN`` of them, evenly."""
    step = max(1, -(-len(records) // SHOWN))
    return records[::step]
