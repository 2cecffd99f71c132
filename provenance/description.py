"""What a manifest says, in plain words and types, with nothing trusted: a stranger wrote it."""

import base64
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from provenance.fingerprint import ALGORITHM as FINGERPRINT
from provenance.manifest import GENERATION
from provenance.unhashed import LABEL as UNHASHED

if TYPE_CHECKING:
    from c2pa import Reader

_LARGEST_PROMPT = 100_000


def describe(
    store: Mapping[str, Any], reader: "Reader | None" = None, results: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The active manifest of a store (``Reader.json()`` parsed), in plain words and types, with nothing trusted:
    a stranger wrote it, and any part may be missing or of an unexpected kind."""
    active = _dict(_dict(store.get("manifests")).get(store.get("active_manifest", "")))
    assertions = _assertions(active)

    def data(prefix: str) -> list[dict]:
        return _data(assertions, prefix)

    actions = [
        {"action": a.get("action"), "when": a.get("when"), "origin": a.get("digitalSourceType")}
        for label in ("c2pa.actions.v2", "c2pa.actions")
        for found in data(label)
        for a in _list(found.get("actions"))
        if isinstance(a, dict)
    ]
    origins = [str(a["origin"]).rstrip("/").rsplit("/", 1)[-1] for a in actions if a["origin"]]
    signature = _dict(active.get("signature_info"))
    ingredients = [i for i in _list(active.get("ingredients")) if isinstance(i, dict)]
    generators = [_dict(g) for g in _list(active.get("claim_generator_info"))]
    return {
        "label": active.get("label") or store.get("active_manifest"),
        "title": active.get("title"),
        "generator": " ".join(str(g[k]) for g in generators[:1] for k in ("name", "version") if g.get(k)) or None,
        "origin": origins[0] if origins else None,
        "when": next((a["when"] for a in actions if a["when"]), None),
        "time_stamp": None,  # to be judged first, see provenance.signatures
        "signer": {
            "name": signature.get("common_name"),
            "organisation": signature.get("issuer"),
            "algorithm": signature.get("alg"),
            "serial": signature.get("cert_serial_number"),
        },
        "actions": actions,
        "ingredients": [_ingredient(i, store, _dict(results)) for i in ingredients],
        "training": _training(data("cawg.training-mining")),
        "prompt": _prompt(ingredients, reader),
        "generation": next((_with_settings(d) for d in data(GENERATION)), None),
        "soft_bindings": _soft_bindings(assertions),
        "unhashed": next(iter(data(UNHASHED)), None),
    }


def _assertions(manifest: dict) -> list[dict]:
    return [a for a in _list(manifest.get("assertions")) if isinstance(a, dict)]


def _data(assertions: list[dict], prefix: str) -> list[dict]:
    return [_dict(a.get("data")) for a in assertions if str(a.get("label", "")).split("__")[0] == prefix]


def _soft_bindings(assertions: list[dict]) -> list[dict[str, Any]]:
    return [
        {"alg": binding.get("alg"), "payload": _hex(_dict(block).get("value"))}
        for binding in _data(assertions, "c2pa.soft-binding")
        if binding.get("alg") != FINGERPRINT  # long, and for machines
        for block in _list(binding.get("blocks"))
    ]


def _ingredient(ingredient: dict, store: Mapping[str, Any], results: dict) -> dict[str, Any]:
    """A source of the file, and what its own credentials were found to be worth: the status of a report.

    The signer's program validated them when it took the source in; what is different now, above all whom this machine
    trusts, C2PA gives as differences from that.
    """
    label = ingredient.get("active_manifest")
    own = _dict(_dict(store.get("manifests")).get(label)) if isinstance(label, str) else {}
    checked = _dict(_dict(ingredient.get("validation_results")).get("activeManifest"))
    differs = [
        _dict(_dict(delta).get("validationDeltas"))
        for delta in _list(results.get("ingredientDeltas"))
        if str(_dict(delta).get("ingredientAssertionURI")).endswith(f"/{ingredient.get('label')}")
    ]
    trusted, unknown = "signingCredential.trusted", "signingCredential.untrusted"
    new = _codes(differs, "success") | _codes(differs, "failure")
    vouched = trusted in (new if new & {trusted, unknown} else _codes([checked], "success"))
    wrong = sorted((_codes([checked], "failure") | _codes(differs, "failure")) - {unknown})
    if not label:
        status = "absent"
    elif wrong or not own:
        status = "altered"
    else:
        status = "authentic" if vouched else "untrusted"
    signature = _dict(own.get("signature_info"))
    return {
        **{k: ingredient.get(k) for k in ("title", "relationship", "format")},
        "label": label,
        "status": status,
        "failures": wrong,
        "signer": signature.get("common_name") or signature.get("issuer"),
        "soft_bindings": _soft_bindings(_assertions(own)),
    }


def _codes(results: list[dict], kind: str) -> set[str]:
    return {str(_dict(found).get("code")) for result in results for found in _list(result.get(kind))}


def _training(assertions: list[dict]) -> dict[str, Any] | None:
    """What the signer allows to be done with the file (CAWG training and data mining assertion 1.1)."""
    entries = {
        str(name): {"use": entry.get("use"), "terms": entry.get("constraint_info")}
        for assertion in assertions
        for name, entry in _dict(assertion.get("entries")).items()
        if isinstance(entry, dict)
    }
    return entries or None


def _prompt(ingredients: list[dict], reader: "Reader | None") -> str | None:
    """Text of the prompt ingredient, where it was stored."""
    from c2pa import C2paError

    for ingredient in ingredients:
        kinds = {_dict(t).get("type") for t in _list(ingredient.get("data_types"))}
        uri = _dict(ingredient.get("data")).get("identifier")
        if reader is not None and "c2pa.types.generator.prompt" in kinds and isinstance(uri, str):
            stream = io.BytesIO()
            try:
                reader.resource_to_stream(uri, stream)
            except C2paError:
                continue
            return stream.getvalue()[:_LARGEST_PROMPT].decode("utf-8", "replace")
    return None


def _with_settings(generation: dict) -> dict:
    """Our own assertion with its settings and cost parsed."""
    for name in ("settings", "cost"):
        try:
            generation = generation | {name: json.loads(generation[name])}
        except (KeyError, TypeError, ValueError, RecursionError):
            continue
    return generation


def _hex(value: Any) -> str | None:
    """A byte string as c2pa-python reads it back: base64 text, or a list of bytes."""
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True).hex()
        return bytes(value).hex() if isinstance(value, list) else None
    except (ValueError, TypeError):
        return None


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []
