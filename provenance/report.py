"""What a verifier says, for people and for programs.

=========== ==== =====================================================================================
status      code meaning
=========== ==== =====================================================================================
authentic   0    a valid C2PA manifest by a trusted signer, content unchanged, nothing contradicts it
altered     1    a manifest is there but something does not hold; the findings say what
unreadable  2    not a video or picture, cut short, or not there
absent      3    no manifest. A watermark may still be there: then the findings name its payload, which
                 says where to ask, but proves nothing by itself, since the public key lets anyone write one
untrusted   4    everything holds, but nobody on a trust list vouches for the signer
recovered   5    no manifest in the file, but its watermark leads to a registered one
=========== ==== =====================================================================================

``authentic`` is about origin, not truth: this signer signed exactly these pictures. It does not say that what they show
happened, nor that the signer's account of how they were made is correct.

Several files give the worst code, from best to worst: authentic, recovered, untrusted, absent, unreadable, altered.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provenance.localise import Span
    from provenance.recovery import Recovery
    from provenance.watermark import Detection

EXIT_CODES = {"authentic": 0, "altered": 1, "unreadable": 2, "absent": 3, "untrusted": 4, "recovered": 5}
BEST_TO_WORST = ("authentic", "recovered", "untrusted", "absent", "unreadable", "altered")

_LARGEST_COST = 1e30
"""Numbers beyond are no cost; a stranger may have written anything."""

_SUMMARIES = {
    "authentic": "signed by a trusted signer, and unchanged since",
    "altered": "carries credentials that do not hold",
    "unreadable": "cannot be read",
    "absent": "carries no credentials",
    "untrusted": "signed and unchanged since, but by a signer that nobody here vouches for",
    "recovered": "a copy of a registered clip, without its credentials",
}
_LONGEST = 400


@dataclass(frozen=True, kw_only=True)
class Report:
    """The verdict on one file. Everything in ``manifest`` and ``findings`` may hold text by strangers: ``to_text``
    and ``to_json`` escape it."""

    path: str
    status: str
    """authentic, altered, unreadable, absent, untrusted or recovered."""
    manifest: dict[str, Any] | None = None
    """What the active manifest says; None without one. See ``provenance.description.describe``."""
    watermark: "Detection | None" = None
    """None when the pictures were not looked at."""
    recovered: "Recovery | None" = None
    """What the file is a copy of, and the credentials of that; ``manifest`` stays None, for the file has none."""
    findings: tuple[str, ...] = ()
    """What was noticed, a sentence each, the decisive ones first."""
    altered: "tuple[Span, ...]" = ()
    """Which seconds of an altered video are not those that were signed, where that can be said."""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.status]

    @property
    def summary(self) -> str:
        """The verdict in a few words."""
        if self.status == "authentic" and ((self.manifest or {}).get("signer") or {}).get("development"):
            return "signed with a development identity known here, and unchanged since"
        return _SUMMARIES[self.status]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the payload in hexadecimal."""
        mark = self.watermark
        return {
            "path": self.path,
            "status": self.status,
            "exit_code": self.exit_code,
            "summary": self.summary,
            "manifest": self.manifest,
            "watermark": mark
            and {"found": mark.found, "payload": mark.payload and mark.payload.hex(), "p_value": mark.p_value},
            "recovered": self.recovered and self.recovered.to_dict(),
            "findings": list(self.findings),
            "altered": [{"kind": span.kind, "start": span.start, "end": span.end} for span in self.altered],
        }

    def to_json(self) -> str:
        """One line of pure ASCII without control characters."""
        return json.dumps(self.to_dict(), ensure_ascii=True).replace("\x7f", "\\u007f")

    def to_line(self) -> str:
        """One line: file, status, the decisive finding."""
        why = self.findings[0] if self.findings else self.summary
        return f"{escape(self.path)}: {self.status.upper()}: {escape(why)}"

    def to_text(self) -> str:
        """A page for a person: verdict first, then who, when, with what, and every finding."""
        lines = [f"{escape(self.path)}: {self.status.upper()}", f"  {self.summary}"]
        lines += [f"  {name + ':':<12}{escape(value)}" for name, value in self._facts() if value]
        lines += [f"  - {escape(finding)}" for finding in self.findings]
        return "\n".join(lines)

    def _facts(self) -> Iterable[tuple[str, str]]:
        if said := self.manifest or (self.recovered and self.recovered.manifest):
            yield "title", _text(said.get("title"))
            signer = said.get("signer") or {}
            yield "signer", _text(signer.get("name") or signer.get("organisation"))
            yield "made with", _text(said.get("generator"))
            yield "origin", _text(said.get("origin"))
            yield "time", f"{said['when']} ({clock(said.get('time_stamp'))})" if said.get("when") else ""
            model = (said.get("generation") or {}).get("model")
            if isinstance(model, dict):
                yield "model", " ".join(_text(model.get(part)) for part in ("name", "digest") if model.get(part))
            yield "cost", making_cost(said.get("generation") or {})
            yield "prompt", _text(said.get("prompt"))
            for source in said.get("ingredients") or []:
                if source.get("status") != "absent" or source.get("relationship") != "inputTo":
                    yield "source", _source(source)
            yield "training", training_choice(said.get("training") or {})
            yield "actions", ", ".join(_text(a.get("action")) for a in said.get("actions") or [])
        mark = self.watermark
        if mark is not None:
            found = f"{mark.payload.hex()} (p = {mark.p_value:.1e})" if mark.payload else "none found"
            yield "watermark", found


def worst_exit_code(reports: Iterable[Report]) -> int:
    """The exit code of several files; 0 for none."""
    return EXIT_CODES[max((r.status for r in reports), key=BEST_TO_WORST.index, default="authentic")]


def escape(text: str, longest: int = _LONGEST) -> str:
    """Make a stranger's text safe to print: control, invisible and direction-changing characters as \\u{...},
    and no more than ``longest`` characters."""
    out = "".join(f"\\u{{{ord(c):x}}}" if _unsafe(c) else c for c in text[:longest])
    return out + "..." if len(text) > longest else out


def _unsafe(char: str) -> bool:
    # Cc control, Cf format (bidi overrides, zero width), Cs lone surrogate, Co private, Cn unassigned, Zl/Zp lines.
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clock(stamp: dict[str, Any] | None) -> str:
    """Whose word the time is."""
    if not stamp:
        return "as the signer says"
    doubt = "" if stamp.get("trusted") else ", whom nobody here vouches for"
    return f"by time stamp authority {_text(stamp.get('authority'))}{doubt}"


def _source(source: dict[str, Any]) -> str:
    """A file it was made from: name, relationship, and what its own credentials were worth."""
    own = "without credentials" if source.get("status") == "absent" else f"credentials {source.get('status')}"
    signer = f", signed by {source['signer']}" if source.get("signer") else ""
    return f"{_text(source.get('title'))} ({_text(source.get('relationship'))}, {own}{signer})"


def making_cost(generation: dict[str, Any]) -> str:
    """What the making of a clip cost, as its signer says; empty if nothing is said, or not in numbers."""
    said = generation.get("cost")
    said = said if isinstance(said, dict) else {}
    units = {"device_seconds": "device seconds", "flops": "FLOPs", "kwh": "kWh", "co2_grams": "g CO2e", "money": ""}
    parts = []
    for name, unit in units.items():
        value = said.get(name)
        if isinstance(value, (int, float)) and abs(value) < _LARGEST_COST:
            unit = _text(said.get("currency")) if name == "money" else unit
            parts.append(f"{value:.3g} {unit}".strip())
    device = f" ({_text(said.get('device'))})" if said.get("device") else ""
    return ", ".join(parts) + device if parts else ""


def training_choice(entries: dict[str, Any]) -> str:
    """What may be done with it: one word if it is the same for all."""
    said = {
        name.removeprefix("cawg."): " ".join(_text(entry.get(part)) for part in ("use", "terms") if entry.get(part))
        for name, entry in entries.items()
    }
    if len(said) > 1 and len(set(said.values())) == 1:
        return f"{next(iter(said.values()))} ({', '.join(said)})"
    return ", ".join(f"{name} {use}" for name, use in said.items())


def _text(value: Any) -> str:
    return "" if value is None else str(value)
