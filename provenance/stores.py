"""A manifest store on its own, without the file it was signed for: is its signature good, and what does it say?

The hash of the content cannot be checked without the content; everything else is: the signature, the certificate and
whether it is trusted, and that every statement is as it was signed (C2PA specification, 15.10 and 15.11).
"""

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance import keys, signatures
from provenance.keys import Trust

if TYPE_CHECKING:
    from mmap import mmap

MIME = "application/c2pa"
LARGEST = 16 * 2**20
"""Bytes that a manifest store may have here."""

_CONTENT = frozenset(
    {
        "assertion.bmffHash.mismatch",
        "assertion.bmffHash.malformed",
        "assertion.dataHash.mismatch",
        "assertion.boxesHash.mismatch",
        "assertion.boxesHash.unknownBox",
        "assertion.collectionHash.mismatch",
    }
)
_EXPIRED = ("(signingCredential.expired)", "(claimSignature.outsideValidity)")
_JUMBF_C2PA = bytes.fromhex("6332706100110010800000aa00389b71")


@dataclass(frozen=True, kw_only=True)
class Store:
    """A manifest store that was looked at."""

    said: dict[str, Any] | None
    """What the active manifest says; None if it cannot be read."""
    state: str
    """Trusted, Valid (by a signer whom nobody here vouches for) or Invalid."""
    failures: tuple[str, ...] = ()
    """Why it is Invalid, in plain words."""
    bindings: tuple[tuple[str, bytes], ...] = ()
    """(algorithm, value) of every soft binding."""

    @property
    def intact(self) -> bool:
        """Whether it is as it was signed, even if its certificate has expired since: such a one is worth keeping."""
        return self.said is not None and all(failure.endswith(_EXPIRED) for failure in self.failures)

    @property
    def label(self) -> str:
        """Of the active manifest."""
        return str((self.said or {}).get("label") or "")

    def bound(self, algorithm: str) -> bytes | None:
        """The first value bound by this algorithm."""
        return next((value for alg, value in self.bindings if alg == algorithm), None)


def validate(store: bytes, trust: Trust) -> Store:
    """Look at a manifest store. Never raises for what it may hold.

    Args:
        store: JUMBF, as a sidecar has it.
        trust: whom to believe, today.
    """
    from c2pa import C2paError, Reader

    from provenance.description import describe
    from provenance.manifest import context

    if len(store) > LARGEST:
        return _invalid(f"it has {len(store)} bytes; the limit is {LARGEST}")
    if store[4:8] != b"jumb" or _JUMBF_C2PA not in store[:64]:
        return _invalid("it is no C2PA manifest store")
    try:
        with context(trust) as settings, Reader(MIME, io.BytesIO(store), context=settings) as reader:
            active = json.loads(reader.json())
            results = signatures.reviewed(reader, active, reader.get_validation_results() or {})
            said = describe(active, reader, results)
            found = results.get("activeManifest") or {}
            codes = {str(success.get("code")) for success in found.get("success") or []}
            failures = _failures(results)
            if not failures and "claimSignature.validated" not in codes:
                failures = ("nothing says that its signature is good",)
            state = "Invalid" if failures else "Trusted" if "signingCredential.trusted" in codes else "Valid"
            judged = signatures.judge(reader, active, results, state, trust)
            for source in said["ingredients"]:
                if source["status"] == "authentic" and not signatures.believable(reader, source["label"], trust):
                    source["status"] = "untrusted"
    except (C2paError, ValueError, RecursionError) as error:
        return _invalid(f"it cannot be read: {_one_line(error)}")
    said["signer"]["development"] = said["signer"]["organisation"] == keys.DEVELOPMENT
    failures = (*failures, *judged.failures)
    said["time_stamp"] = judged.stamp
    if judged.stamp is not None:
        said["when"] = judged.stamp["time"]
    state = "Invalid" if failures else judged.state
    return Store(said=said, state=state, failures=failures, bindings=_bindings(active))


def find(data: "bytes | mmap") -> bytes | None:
    """The first manifest store that lies in one piece within a file's bytes, as in MP4, PNG and WebP."""
    # A store is a box of boxes: its size, "jumb"; then the description's size, "jumd" and type (ISO/IEC 19566-5).
    at = data.find(b"jumd" + _JUMBF_C2PA) + 4
    start = at - 16
    if start < 0 or data[start + 4 : start + 8] != b"jumb":
        return None
    size = int.from_bytes(data[start : start + 4], "big")
    return data[start : start + size] if 16 < size <= len(data) - start else None


def _invalid(why: str) -> Store:
    return Store(said=None, state="Invalid", failures=(why,))


def _failures(results: Mapping[str, Any]) -> tuple[str, ...]:
    """All but the signer being unknown, which is a state of its own, and the content, which is not here."""
    groups = [(results.get("activeManifest") or {}, True)]
    groups += [(delta.get("validationDeltas") or {}, False) for delta in results.get("ingredientDeltas") or []]
    found = []
    for group, active in groups:
        for failure in group.get("failure") or []:
            code = str(failure.get("code"))
            if code == "signingCredential.untrusted" or (active and code in _CONTENT):
                continue
            found.append(f"{_one_line(failure.get('explanation') or 'something does not hold')} ({code})")
    return tuple(dict.fromkeys(found))


def _bindings(store: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    found = []
    try:
        for assertion in store["manifests"][store["active_manifest"]].get("assertions") or []:
            if str(assertion.get("label", "")).split("__")[0] != "c2pa.soft-binding":
                continue
            for block in assertion["data"]["blocks"]:
                value = block["value"]
                plain = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
                found.append((str(assertion["data"]["alg"]), plain))
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error):
        pass  # a stranger wrote it; what came before counts
    return tuple(found)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
