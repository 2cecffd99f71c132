"""What the registry knows of one signed clip."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_LONGEST = {"title": 2000, "signer": 500, "signed_at": 40, "registered_at": 40, "payload": 16, "algorithm": 100}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A small picture of a clip, for people to compare."""

    seconds: float
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One signed clip. All but the digests is what whoever registered it said: only the manifest store is proof."""

    manifest_sha256: str
    """Of the manifest store, which is kept as a blob."""
    manifest_id: str
    """Label of its active manifest, such as urn:c2pa:..."""
    payload: str | None = None
    """The watermark's, in hexadecimal."""
    algorithm: str | None = None
    """Of the watermark, as in the soft-binding assertion."""
    title: str | None = None
    signer: str | None = None
    signed_at: str | None = None
    """As the signer says; ISO 8601."""
    registered_at: str = ""
    """ISO 8601, UTC, to the microsecond."""
    file_sha256: str | None = None
    """Of the signed file."""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration: float | None = None
    """Seconds."""
    fingerprint_sha256: str | None = None
    proof: str | None = None
    """Text that proves inclusion in a transparency log."""
    pictures: tuple[Picture, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "pictures"}
        return values | {"pictures": [{"seconds": p.seconds, "sha256": p.sha256} for p in self.pictures]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Entry":
        """What ``to_dict`` gave.

        Raises:
            TypeError, ValueError: something else.
        """
        kinds: dict[str, type | tuple[type, ...]] = {"width": int, "height": int, "fps": (int, float)}
        kinds["duration"] = (int, float)
        rest = dict(values)
        for name in ("manifest_sha256", "fingerprint_sha256", "file_sha256"):
            if rest.get(name) is not None and not re.fullmatch(r"[0-9a-f]{64}", str(rest[name])):
                raise ValueError(f"{name} is no SHA-256")
        pictures = tuple(Picture(seconds=float(p["seconds"]), sha256=str(p["sha256"])) for p in rest.pop("pictures"))
        for name, value in rest.items():
            if value is not None and not isinstance(value, kinds.get(name, str)):
                raise ValueError(f"{name} is a {type(value).__name__}")
            if isinstance(value, str):
                rest[name] = plain(value, _LONGEST.get(name, 100_000))
        if not all(math.isfinite(p.seconds) for p in pictures):
            raise ValueError("a picture has no time")
        return cls(**rest, pictures=pictures)


def described(said: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Title, signer and time of an entry, from what its manifest says."""
    signer = said.get("signer") or {}
    values = (said.get("title"), signer.get("name") or signer.get("organisation"), said.get("when"))
    longest = (_LONGEST[name] for name in ("title", "signer", "signed_at"))
    title, name, when = (None if v is None else plain(str(v), n) for v, n in zip(values, longest, strict=True))
    return title, name, when


def plain(text: str, longest: int) -> str:
    """What every database takes as text: no NUL, no half a character."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:longest]
