"""Credentials out of a file: what they say, and whether they hold."""

import json
from pathlib import Path
from typing import Any

from provenance import keys, video
from provenance.errors import MediaError

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


def read(path: Path, anchors: str) -> tuple[dict[str, Any] | None, str | None, list[str]]:
    """(what it says, C2PA's validation state, why it does not hold); all empty without a manifest."""
    from c2pa import C2paError, Reader

    from provenance.description import describe
    from provenance.manifest import MIME, context

    try:
        with path.open("rb") as file:
            reader = Reader.try_create(MIME, file, context=context(anchors))
            if reader is None:
                if video.has_manifest_box(path):
                    return None, "Invalid", ["a C2PA box is there, but holds no manifest"]
                return None, None, []
            store = json.loads(reader.json())
            said = describe(store, reader)
            said["signer"]["development"] = said["signer"]["organisation"] == keys.DEVELOPMENT
            state = reader.get_validation_state() or "Invalid"
            results = reader.get_validation_results() or {}
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror or error}") from None
    except (C2paError, ValueError, RecursionError) as error:
        if video.has_manifest_box(path):
            return None, "Invalid", [f"the manifest cannot be read: {_one_line(error)}"]
        return None, None, []
    failures = _failures(results)
    if state == "Invalid" and not failures:
        failures = ["the manifest is not valid"]
    return said, state, failures if state == "Invalid" else []


def _failures(results: dict[str, Any]) -> list[str]:
    """Every failure in plain words, the signer being unknown left out: that is a status of its own."""
    groups = [results.get("activeManifest") or {}]
    groups += [delta.get("validationDeltas") or {} for delta in results.get("ingredientDeltas") or []]
    found = []
    for group in groups:
        for failure in group.get("failure") or []:
            code = str(failure.get("code"))
            if code != "signingCredential.untrusted":
                plain = _REASONS.get(code) or _one_line(failure.get("explanation") or "something does not hold")
                found.append(f"{plain} ({code})")
    return list(dict.fromkeys(found))


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
