"""Facts about a clip -> a C2PA manifest.

C2PA specification 2.x: ``c2pa.created`` with the IPTC digital source type trainedAlgorithmicMedia says that the whole
picture came from a model; ``c2pa.watermarked.bound`` with a ``c2pa.soft-binding`` assertion says which watermark points
to this manifest; prompt and model are ``inputTo`` ingredients of the creation. Seed, settings and digests go into an
assertion of our own, ``io.sorajax.generation``. All are *created* assertions, so that the signer answers for them.

A file that is signed as it is, made elsewhere, gets ``c2pa.opened`` on itself, or on the file that it was edited from,
as ``parentOf`` ingredient: the signer vouches that these are the bits it had, and claims nothing about how they were
made. The files named are put in by ``provenance.sources``.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provenance import history
from provenance.errors import InputError
from provenance.fingerprint import ALGORITHM as FINGERPRINT
from provenance.history import History
from provenance.watermark import ALGORITHM, PAYLOAD_BYTES

if TYPE_CHECKING:
    from c2pa import Builder, Context

    from provenance.keys import Trust

MIME = "video/mp4"
GENERATION = "io.sorajax.generation"
"""Label of our own assertion."""
NOTHING = History()
"""No account but that of the file itself."""
AI_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the signer states about a generated clip.

    Give ``prompt`` to store it readable by all; leave it None and give ``prompt_sha256`` (see ``prompt_digest``) to let
    only those who know the prompt check it.

    Raises:
        InputError: values that a manifest cannot hold.
    """

    title: str
    model_name: str
    model_digest: str
    """Of the weights, for example sha256:..."""
    seed: int
    payload: bytes | None = None
    """The watermark's 8 bytes; None if the pictures carry none."""
    prompt: str | None = None
    prompt_sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Plain values only: strings, whole and finite numbers, booleans, None, lists and dicts of them."""
    cost: Mapping[str, Any] = field(default_factory=dict)
    """What its making cost, in plain values: ``device_seconds``, ``flops``, ``kwh``, what they rest on (``energy``)."""
    generator_name: str = "sorajax"
    generator_version: str = "0"
    algorithm: str = ALGORITHM

    def __post_init__(self) -> None:
        if self.payload is not None and len(self.payload) != PAYLOAD_BYTES:
            raise InputError(f"a watermark payload is {PAYLOAD_BYTES} bytes, not {len(self.payload)}")
        for name in ("title", "model_name", "model_digest", "generator_name", "generator_version", "algorithm"):
            _check_plain(getattr(self, name), name)
        for name in ("prompt", "prompt_sha256", "seed", "settings", "cost"):
            _check_plain(getattr(self, name), name)


def prompt_digest(prompt: str) -> str:
    """SHA-256 of the prompt's UTF-8, in hexadecimal."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def context(trust: "Trust | None" = None, *, chunk: int | None = None) -> "Context":
    """C2PA settings for signing and reading: the roots to believe, and never a network address.

    Args:
        trust: whom to believe; None is nobody. C2PA's library has one list of roots for signers and time stamps, and
            accepts more purposes than it should: ``provenance.signatures`` has the last word.
        chunk: KiB of media data that get a hash of their own, see ``provenance.localise``; None hashes them as one.
    """
    from c2pa import Context

    from provenance.keys import ACCEPTED_EKU

    chunks = {} if chunk is None else {"merkle_tree_chunk_size_in_kb": chunk, "merkle_tree_max_proofs": 0}
    believed = {"trust_config": "\n".join({*ACCEPTED_EKU, *(trust.ekus if trust else ())})}
    if trust is not None and trust.pem:
        believed["user_anchors"] = trust.pem
    return Context.from_dict(
        {
            "trust": believed,
            "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
            "core": {"allowed_network_hosts": [], **chunks},
            "soft_binding": {"soft_binding_algorithms": [ALGORITHM, FINGERPRINT]},
            "builder": {"thumbnail": {"enabled": False}},  # of a still it would be many times its size
        }
    )


def generated(
    facts: Facts, ctx: "Context", *, mime: str = MIME, account: History = NOTHING, extra: Sequence[dict[str, Any]] = ()
) -> "Builder":
    """A manifest for a clip that a model made, maybe out of the account's inputs. ``extra`` are more assertions."""
    from c2pa import Builder

    agent = {"name": facts.generator_name, "version": facts.generator_version}
    ingredients = [
        {
            "title": facts.model_name,
            "description": facts.model_digest,
            "relationship": "inputTo",
            "label": "model",
            "data_types": [{"type": "c2pa.types.model.jax"}],
        }
    ]
    if facts.prompt is not None:
        ingredients.append(
            {
                "title": "prompt",
                "format": "text/plain",
                "relationship": "inputTo",
                "label": "prompt",
                "data": {"format": "text/plain", "identifier": "prompt.txt"},
                "data_types": [{"type": "c2pa.types.generator.prompt"}],
            }
        )
    created = {
        "action": "c2pa.created",
        "when": _now(),
        "digitalSourceType": AI_MEDIA,
        "softwareAgent": agent,
        "parameters": {
            "ingredientIds": [ingredient["label"] for ingredient in ingredients] + history.input_labels(account)
        },
    }
    digest = facts.prompt_sha256 or (None if facts.prompt is None else prompt_digest(facts.prompt))
    generation = {
        "model": {"name": facts.model_name, "digest": facts.model_digest},
        "prompt_sha256": digest,
        "seed": facts.seed,
        # As JSON text: on its way into CBOR, c2pa-python takes a list of whole numbers for bytes, modulo 256.
        "settings": json.dumps(facts.settings, sort_keys=True, default=dict),
    }
    generation |= {"cost": json.dumps(facts.cost, sort_keys=True, default=dict)} if facts.cost else {}
    actions: list[dict[str, Any]] = [created]
    assertions = [{"label": GENERATION, "created": True, "data": generation}, *history.assertions(account), *extra]
    if facts.payload is not None:
        actions.append({"action": "c2pa.watermarked.bound", "softwareAgent": agent})
        # C2PA says a byte string; c2pa-python has no way to write one, and this is what its readers take for one.
        binding = {"alg": facts.algorithm, "blocks": [{"scope": {}, "value": list(facts.payload)}]}
        assertions.append({"label": "c2pa.soft-binding", "created": True, "data": binding})
    assertions.insert(0, {"label": "c2pa.actions.v2", "created": True, "data": {"actions": actions}})
    builder = Builder(
        {
            "title": facts.title,
            "format": mime,
            "claim_generator_info": [agent],
            "assertions": assertions,
            "ingredients": ingredients,
        },
        ctx,
    )
    if facts.prompt is not None:
        builder.add_resource("prompt.txt", io.BytesIO(facts.prompt.encode()))
    return builder


def as_it_is(
    title: str,
    generator: Mapping[str, str],
    ctx: "Context",
    *,
    mime: str = MIME,
    account: History = NOTHING,
    extra: Sequence[dict[str, Any]] = (),
) -> "Builder":
    """A manifest for a file made elsewhere: ``c2pa.opened`` on its parent, then the account's edits; no claim about its
    making. The parent is the file itself unless the account names another."""
    from c2pa import Builder

    _check_plain(title, "title")
    _check_plain(account.terms, "terms")
    assertions = [
        {"label": "c2pa.actions.v2", "created": True, "data": {"actions": history.actions(account, _now())}},
        *history.assertions(account),
        *extra,
    ]
    said = {"title": title, "format": mime, "claim_generator_info": [dict(generator)], "assertions": assertions}
    return Builder(said, ctx)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_plain(value: Any, name: str) -> None:
    """Raise unless CBOR and JSON both hold the value as it is."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{name} holds a lone surrogate, which is no text; remove it") from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(f"{name} has the key {key!r}; keys must be strings")
            _check_plain(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check_plain(item, f"{name}[{i}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{name} is {value}; only finite numbers can be signed")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{name} is {value}; whole numbers must fit 64 bits")
    elif value is not None:
        raise InputError(f"{name} is a {type(value).__name__}; only plain values can be signed")
