"""Credentials of a file, inside it or beside it: what they say, and whether they hold. No address is followed."""

import json
import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provenance import formats, keys, signatures, video
from provenance.errors import MediaError
from provenance.formats import Format
from provenance.keys import Trust

LARGEST_STORE = 64 * 2**20
"""Bytes that a sidecar may have."""
_REMOTE = "Remote:"  # how c2pa-python begins when it would have to fetch a manifest and may not

_REASONS = {
    "assertion.bmffHash.mismatch": "the content is not what was signed: pictures, sound or their order were changed",
    "assertion.dataHash.mismatch": "the content is not what was signed",
    "assertion.hashedURI.mismatch": "a statement in the manifest was changed after signing",
    "assertion.missing": "a statement that was signed is missing from the manifest",
    "claimSignature.mismatch": "the signature does not belong to this manifest",
    "claimSignature.missing": "the manifest has no signature",
    "claimSignature.outsideValidity": "the certificate was not valid when the file was signed",
    "signingCredential.expired": "the signer's certificate has expired, and no time stamp proves an earlier signature",
    "signingCredential.invalid": "the signer's certificate may not be used to sign credentials",
    "signingCredential.revoked": "the signer's certificate was revoked",
    "signingCredential.ocsp.revoked": "the signer's certificate was revoked",
    "timeStamp.mismatch": "the time stamp belongs to another signature",
    "ingredient.manifest.mismatch": "the credentials of a source file were changed",
}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What was found. Without any, ``state`` is None."""

    said: dict[str, Any] | None = None
    """What the active manifest says, see ``provenance.description.describe``."""
    state: str | None = None
    """C2PA's: Trusted, Valid or Invalid."""
    failures: tuple[str, ...] = ()
    """Why it does not hold, in plain words."""
    codes: frozenset[str] = frozenset()
    """C2PA's codes of the same."""
    binding: dict[str, Any] | None = None
    """The assertion that binds the manifest to the content, with its hashes."""
    notes: tuple[str, ...] = ()
    """Where it was found or may be found."""


def read(path: Path, format: Format, trust: Trust, manifest: Path | None = None) -> Credentials:
    """The credentials in a file; else those in the sidecar beside it.

    Args:
        path: the file.
        format: of it.
        trust: whom to believe.
        manifest: a sidecar to use instead of everything else.

    Raises:
        MediaError: the file or ``manifest`` cannot be read.
    """
    if manifest is not None:
        return _read(path, format, trust, store=load(manifest), name=manifest.name)
    beside = formats.sidecar_of(path)
    beside = beside if beside != path and _is_file(beside) else None
    found = _read(path, format, trust) if format.embeds else Credentials()
    if found.state is None and beside is not None:
        elsewhere = found.notes
        found = _read(path, format, trust, store=load(beside), name=beside.name)
        doubt = ", which may belong to another file of that name" if found.state == "Invalid" else ""
        note = f"the credentials are those in {beside.name}, beside the file{doubt}"
        return replace(found, notes=(*elsewhere, *found.notes, note))
    if beside is not None:
        note = f"{beside.name}, beside the file, was not used, for the file carries credentials itself"
        return replace(found, notes=(*found.notes, note))
    return found


def where(path: Path, format: Format) -> str | None:
    """Where a file's credentials are, readable or not: "inside", the sidecar's name, an address, or None.

    Raises:
        MediaError: the file cannot be read.
    """
    from c2pa import C2paError, Reader

    from provenance.manifest import context

    try:
        if format.is_bmff and video.has_manifest_box(path):
            return "inside"
        if format.embeds:
            with path.open("rb") as file, context() as settings:
                reader = Reader.try_create(format.mime, file, context=settings)
                if reader is not None:
                    reader.close()
                    return "inside"
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror or error}") from None
    except C2paError as error:
        if address := _address(error):
            return address
        if _has_marker(path, format):
            return "inside"
    beside = formats.sidecar_of(path)
    return beside.name if beside != path and _is_file(beside) else None


def _read(path: Path, format: Format, trust: Trust, store: bytes | None = None, name: str = "") -> Credentials:
    """Of one place: the file itself, or a ``store`` from a file of this ``name``."""
    from c2pa import C2paError, Reader

    from provenance.description import describe
    from provenance.manifest import context

    subject = f"the manifest in {name}" if store is not None else "the manifest"
    try:
        with path.open("rb") as file, context(trust) as settings:
            reader = Reader.try_create(format.mime, file, manifest_data=store, context=settings)
            if reader is None:
                if _claims_manifest(path, format, store):
                    return _invalid("a C2PA box is there, but holds no manifest")
                return Credentials()
            with reader:
                stated = reader.get_validation_results() or {}
                parsed = json.loads(reader.json())
                results = signatures.reviewed(reader, parsed, stated)
                said = describe(parsed, reader, results)
                said["signer"]["development"] = said["signer"]["organisation"] == keys.DEVELOPMENT
                state = reader.get_validation_state() or "Invalid"
                if state != "Invalid" or (results != stated and _holds(results)):
                    state = "Trusted" if _vouched_for(results) else "Valid"
                judged = signatures.judge(reader, parsed, results, state, trust)
                for source in said["ingredients"]:
                    if source["status"] == "authentic" and not signatures.believable(reader, source["label"], trust):
                        source["status"] = "untrusted"
                binding = _binding(json.loads(reader.detailed_json()))
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror or error}") from None
    except (C2paError, ValueError, RecursionError) as error:
        if store is None and (address := _address(error)):
            return Credentials(
                notes=(
                    f"the file says that its credentials are at {address}; they were not fetched. Fetch them yourself "
                    "if you trust that address, and give them with --manifest FILE",
                )
            )
        if _claims_manifest(path, format, store):
            return _invalid(f"{subject} cannot be read: {_one_line(error)}")
        return Credentials()
    failures, codes = _failures(results)
    if state != "Invalid":
        failures = ()
    failures, codes = (*failures, *judged.failures), codes | judged.codes
    if judged.state == "Invalid" and not failures:
        failures = ("the manifest is not valid",)
    said["time_stamp"] = judged.stamp
    if judged.stamp is not None:
        said["when"] = judged.stamp["time"]
    return Credentials(
        said=said, state=judged.state, failures=failures, codes=codes, binding=binding, notes=tuple(judged.notes)
    )


def _invalid(why: str) -> Credentials:
    return Credentials(state="Invalid", failures=(why,))


def _claims_manifest(path: Path, format: Format, store: bytes | None) -> bool:
    """Whether something stands where a manifest would, though it cannot be read as one."""
    if store is not None:
        return True
    return video.has_manifest_box(path) if format.is_bmff else _has_marker(path, format)


def _has_marker(path: Path, format: Format) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return bool(format.marker) and data.find(format.marker) >= 0


def _address(error: BaseException) -> str | None:
    """Where C2PA would have gone for a manifest, had it been allowed to."""
    text = " ".join(str(error).split())
    return text.rpartition(" url ")[2][:400] if text.startswith(_REMOTE) else None


def load(path: Path) -> bytes:
    """A sidecar's content.

    Raises:
        MediaError: it cannot be read, or is too large to be one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_STORE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"its credentials in {path} cannot be read: {reason}") from None
    if len(data) > LARGEST_STORE:
        raise MediaError(f"its credentials in {path} are larger than {LARGEST_STORE} bytes; is it the right file?")
    return data


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _binding(detailed: Any) -> dict[str, Any] | None:
    """The hard binding of the active manifest (C2PA specification, 9.2); a stranger wrote it."""
    try:
        assertions = detailed["manifests"][detailed["active_manifest"]]["assertion_store"]
        found = [data for label, data in assertions.items() if label.startswith("c2pa.hash.")]
        return found[0] if found and isinstance(found[0], dict) else None
    except (KeyError, TypeError, AttributeError):
        return None


def _vouched_for(results: dict[str, Any]) -> bool:
    """Whether the signer of a valid manifest is trusted. C2PA's state is about the signers of its sources as well."""
    active = results.get("activeManifest") or {}
    said = [str(success.get("code")) for success in active.get("success") or []]
    return "signingCredential.trusted" in said and not active.get("failure")


def _holds(results: dict[str, Any]) -> bool:
    """Whether nothing fails, and the content was found to be the signed one."""
    successes = (results.get("activeManifest") or {}).get("success") or []
    return not _failures(results)[0] and any(str(found.get("code")).endswith("Hash.match") for found in successes)


def _failures(results: dict[str, Any]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Every failure in plain words and as a code, the signer being unknown left out: that is a status of its own."""
    groups = [results.get("activeManifest") or {}]
    groups += [delta.get("validationDeltas") or {} for delta in results.get("ingredientDeltas") or []]
    found, codes = [], set()
    for group in groups:
        for failure in group.get("failure") or []:
            code = str(failure.get("code"))
            if code != "signingCredential.untrusted":
                plain = _REASONS.get(code) or _one_line(failure.get("explanation") or "something does not hold")
                found.append(f"{plain} ({code})")
                codes.add(code)
    return tuple(dict.fromkeys(found)), frozenset(codes)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
