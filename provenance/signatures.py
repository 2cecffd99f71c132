"""Who signed a manifest and when, and may both be believed? C2PA's verdict, examined once more.

C2PA's library keeps one list of roots for signers and time stamp authorities, takes a certificate for time stamps as a
signer's, and knows no revocation list. What it found valid is therefore judged here again, on the certificates:

- the chain has to lead to a root *of signers*, through authorities only, all valid when the file was signed;
- the time is that of a time stamp whose chain leads to a root *of time stamp authorities*, else now;
- a certificate on the allowed list is believed by itself;
- nothing in the chain may have been revoked by then, see ``provenance.keys.revocation``;
- OCSP responses in the signature are read here alone, see ``provenance.responses``.

A judgement can only take away from C2PA's verdict, but for the allowed list, which C2PA's library reads and ignores,
and for what the library makes of OCSP responses.
"""

import datetime
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provenance import jumbf, responses
from provenance.keys import chains, profile, trust
from provenance.keys.revocation import Revoked
from provenance.keys.trust import Trust

if TYPE_CHECKING:
    from c2pa import Reader
    from cryptography import x509

_MOST = 20
_MOST_RESPONSES = 4
_OCSP_REVOKED = "signingCredential.ocsp.revoked"
# Of responses that are not in the signature itself, but in a statement of a manifest: C2PA's library reads them.
_OCSP = {
    "signingCredential.ocsp.notRevoked": "an OCSP response in the file says that the signer's certificate is good",
    "signingCredential.ocsp.unknown": "an OCSP response in the file does not know the signer's certificate",
}


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A time stamp (RFC 3161), as it stands in a file."""

    time: datetime.datetime
    chain: tuple["x509.Certificate", ...]
    """Of the authority, its own certificate first."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The signature of one manifest."""

    chain: tuple["x509.Certificate", ...]
    """Of the signer, its own certificate first."""
    stamp: Stamp | None = None
    responses: tuple[bytes, ...] = ()
    """OCSP responses, DER."""


@dataclass(kw_only=True)
class Judgement:
    """What is to be believed of a signature."""

    state: str
    """C2PA's word for it: Trusted, Valid or Invalid."""
    failures: list[str] = field(default_factory=list)
    """Why it is Invalid, a sentence each with a code."""
    codes: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    """What a reader should know, a sentence each."""
    stamp: dict[str, Any] | None = None
    """``time`` (ISO 8601), ``authority`` and ``trusted``; None without a time stamp that fits the signature."""


def judge(
    reader: "Reader", store: Mapping[str, Any], results: Mapping[str, Any], state: str, policy: Trust
) -> Judgement:
    """The active manifest's signature.

    Args:
        reader: C2PA's, open.
        store: ``reader.json()``, parsed.
        results: ``reader.get_validation_results()``.
        state: C2PA's verdict on the signature: Trusted, Valid or Invalid.
        policy: whom to believe.
    """
    label = store.get("active_manifest")
    try:
        with _quiet():
            signature = read(reader, label) if isinstance(label, str) else None
            if signature is not None:
                return _judge(signature, results, state, policy)
    except Exception:  # parsers of certificates raise what they like, and a stranger wrote these
        pass
    doubt = "the signer's certificates could not be examined, so the signer is not believed"
    return Judgement(state="Valid", notes=[doubt]) if state == "Trusted" else Judgement(state=state)


def _judge(signature: Signature, results: Mapping[str, Any], state: str, policy: Trust) -> Judgement:
    result = Judgement(state=state)
    active = results.get("activeManifest") or {}
    codes = {str(found.get("code")) for kind in ("success", "informational") for found in active.get(kind) or []}
    believed = _judge_stamp(signature, codes, policy, result)
    if signature.responses:
        result.notes += responses.about(signature.responses, signature.chain, believed, policy)
    else:
        result.notes += [sentence for code, sentence in _OCSP.items() if code in codes]
    _judge_signer(signature, believed, policy, result)
    return result


def reviewed(reader: "Reader", store: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Validation results without what C2PA's library made of OCSP responses in the active manifest's signature, for
    ``judge`` reads them itself; as they are if there are none, or if the signature is not valid otherwise."""
    active, label = results.get("activeManifest") or {}, store.get("active_manifest")
    kept = [failure for failure in active.get("failure") or [] if failure.get("code") != _OCSP_REVOKED]
    valid = {"claimSignature.validated", "claimSignature.insideValidity"}
    if len(kept) == len(active.get("failure") or []) or not isinstance(label, str):
        return dict(results)
    signature = read(reader, label)
    if signature is None or not signature.responses:
        return dict(results)
    if not valid <= {success.get("code") for success in active.get("success") or []}:
        return dict(results)
    return {**results, "activeManifest": {**active, "failure": kept}}


def believable(reader: "Reader", label: str, policy: Trust) -> bool:
    """Whether a manifest of a source that C2PA trusts, by label, was signed by somebody to believe."""
    try:
        with _quiet():
            signature = read(reader, label)
            if signature is None:
                return False
            # Nobody checked that this time stamp is of this signature: it does not help against a revocation.
            at = signature.stamp.time if signature.stamp is not None and _vouched(signature.stamp, policy) else None
            return _vouched_for(signature, at, policy) is None and _revoked(signature, None, policy) is None
    except Exception:  # as in ``judge``
        return False


def read(reader: "Reader", label: str) -> Signature | None:
    """The signature of a manifest; None if it cannot be examined."""
    from c2pa import C2paError

    data = io.BytesIO()
    try:
        reader.resource_to_stream(f"self#jumbf=/c2pa/{label}/c2pa.signature", data)  # gives the whole store
    except C2paError:
        return None
    return parse(data.getvalue(), label)


def parse(store: bytes, label: str) -> Signature | None:
    """The same, out of a manifest store in JUMBF form (ISO 19566-5; C2PA specification, 11.1.4 and 14.3)."""
    import cbor2
    from cryptography import x509

    try:
        cose = next(jumbf.content(memoryview(store), ("c2pa", label, jumbf.SIGNATURE)), None)
        if cose is None:
            return None
        sign1 = cbor2.loads(bytes(cose))
        protected, unprotected = sign1.value[0], sign1.value[1]
        headers = {**unprotected, **(cbor2.loads(protected) if protected else {})}
        held: Any = headers.get(33, headers.get("x5chain"))  # RFC 9360, section 2
        ders = [held] if isinstance(held, bytes) else list(held)[:_MOST]
        with _quiet():
            chain = tuple(x509.load_der_x509_certificate(der) for der in ders)
        return Signature(chain=chain, stamp=_stamp(unprotected), responses=_responses(unprotected)) if chain else None
    except Exception:  # parsers raise what they like, and a stranger wrote it
        return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of libraries about odd certificates: a stranger chose what they would be about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _responses(headers: Mapping[Any, Any]) -> tuple[bytes, ...]:
    """OCSP responses in a signature's unprotected headers (C2PA specification, "Credential Revocation Information")."""
    held = headers.get("rVals")
    values = held.get("ocspVals") if isinstance(held, Mapping) else None
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        return ()
    return tuple(value for value in values[:_MOST_RESPONSES] if isinstance(value, bytes))


def _stamp(headers: Mapping[Any, Any]) -> Stamp | None:
    """The time stamp token in a signature's unprotected headers (C2PA specification, 10.3.2.5)."""
    held = headers.get("sigTst2", headers.get("sigTst"))
    if held is None:
        return None
    from asn1crypto import cms, tsp
    from cryptography import x509

    try:
        token = held["tstTokens"][0]["val"]
        try:
            content = cms.ContentInfo.load(token)
            signed = content["content"]
            info = signed["encap_content_info"]["content"].parsed
        except (ValueError, TypeError, KeyError):  # a whole response, as the older header holds it
            signed = tsp.TimeStampResp.load(token)["time_stamp_token"]["content"]
            info = signed["encap_content_info"]["content"].parsed
        ders = [choice.chosen.dump() for choice in signed["certificates"]][:_MOST]
        signer = signed["signer_infos"][0]
        with _quiet():
            certificates = [x509.load_der_x509_certificate(der) for der in ders]
            own = next(c for c in certificates if _signed_by(signer["sid"], c))
        time = _signing_time(signer) or info["gen_time"].native
        return Stamp(time=time, chain=tuple(chains.ordered(own, certificates)))
    except Exception:  # as in ``parse``
        return None


def _signed_by(sid: Any, certificate: "x509.Certificate") -> bool:
    """Whether a CMS signer identifier means this certificate (RFC 5652, 5.3)."""
    from cryptography import x509

    if sid.name == "issuer_and_serial_number":
        issuer = certificate.issuer.public_bytes()
        return sid.chosen["serial_number"].native == certificate.serial_number and (
            sid.chosen["issuer"].dump() == issuer
        )
    try:
        own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return sid.chosen.native == own


def _signing_time(signer: Any) -> datetime.datetime | None:
    """The CMS attribute, which C2PA's library takes for the time of the stamp where it is there."""
    for attribute in signer["signed_attrs"]:
        if attribute["type"].native == "signing_time":
            return attribute["values"][0].native
    return None


def _judge_stamp(signature: Signature, codes: set[str], policy: Trust, result: Judgement) -> datetime.datetime | None:
    """The time that a believed time stamp proves, else None."""
    stamp = signature.stamp
    if stamp is None or "timeStamp.validated" not in codes:
        if stamp is not None:
            result.notes.append("its time stamp does not fit the signature and was not used")
        return None
    authority = chains.name_of(stamp.chain[0])
    vouched = "timeStamp.trusted" in codes and _vouched(stamp, policy)
    revoked = _find(stamp.chain, policy)
    gone = revoked if revoked is not None and revoked.covers_stamp(stamp.time) else None
    result.stamp = {
        "time": stamp.time.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "authority": authority,
        "trusted": vouched and gone is None,
    }
    if gone is not None:
        result.notes.append(f"the certificate of its time stamp authority {authority} was revoked ({gone.source})")
    elif not vouched:
        result.notes.append(
            f"no list given here vouches for its time stamp authority {authority}, so its time is not believed "
            "(--tsa-trust PEM)"
        )
    return stamp.time if vouched and gone is None else None


def _vouched(stamp: Stamp, policy: Trust) -> bool:
    purposes = profile.ekus(stamp.chain[0])
    return purposes == {profile.TIME_STAMPING} and trust.anchored(stamp.chain, policy.tsa_anchors, stamp.time)


def _judge_signer(signature: Signature, at: datetime.datetime | None, policy: Trust, result: Judgement) -> None:
    leaf, unproven = signature.chain[0], at is None
    expired = unproven and chains.now() > leaf.not_valid_after_utc
    if expired and result.state != "Invalid":  # C2PA believed a time stamp that is not believed here
        result.state = "Invalid"
        result.codes.add("signingCredential.expired")
        result.failures.append(
            "the signer's certificate has expired, and no time stamp proves an earlier signature "
            "(signingCredential.expired)"
        )
    revoked = _revoked(signature, at, policy)
    if revoked is not None:
        why, code = revoked
        result.state = "Invalid"
        result.codes.add(code)
        result.failures.append(f"{why} ({code})")
    issuers = [*signature.chain, *policy.anchors]
    result.notes += dict.fromkeys(doubt for c in signature.chain for doubt in policy.revoked.doubts(c, issuers))
    if result.state == "Invalid":
        return
    why = _vouched_for(signature, at, policy)
    if why is not None:
        result.notes += [why] if why else []
        result.state = "Valid"
    elif chains.fingerprint(leaf) in policy.allowed:
        result.state = "Trusted"


def _vouched_for(signature: Signature, at: datetime.datetime | None, policy: Trust) -> str | None:
    """Why a signer is not believed ("" if simply nobody vouches); None if it is."""
    leaf = signature.chain[0]
    if not trust.purpose_accepted(leaf, policy.ekus):
        return "the signer's certificate is for none of the purposes that are accepted here"
    if chains.fingerprint(leaf) in policy.allowed:
        return None
    when = at or chains.now()
    if trust.anchored(signature.chain, policy.anchors, when):
        return None
    if any(not profile.is_authority(issuer) for issuer in signature.chain[1:]):
        return "the signer's certificate was issued by a certificate that is no authority's, so it proves nothing"
    if trust.anchored(signature.chain, policy.tsa_anchors, when):
        return "only a root of time stamp authorities vouches for the signer, which says nothing about signers"
    return ""


def _find(chain: tuple["x509.Certificate", ...], policy: Trust) -> Revoked | None:
    issuers = [*chain, *policy.anchors, *policy.tsa_anchors]
    found = [policy.revoked.find(certificate, issuers) for certificate in chain]
    return next((revoked for revoked in found if revoked is not None), None)


def _revoked(signature: Signature, at: datetime.datetime | None, policy: Trust) -> tuple[str, str] | None:
    """What revocation counts against a signature of that proven time, if any, and its code."""
    issuers = [*signature.chain, *policy.anchors]
    for i, certificate in enumerate(signature.chain):
        listed = policy.revoked.find(certificate, issuers)
        answers, _ = responses.answers(signature.responses, signature.chain, certificate, policy)
        stapled = [answer.revoked for answer in answers]
        for revoked in (listed, *stapled):
            if revoked is None or not revoked.covers(at):
                continue
            whose = "the signer's certificate" if i == 0 else "the certificate of an authority above the signer"
            since = f" as of {revoked.since:%Y-%m-%d %H:%M} UTC" if revoked.since else ""
            reason = f", {revoked.reason.replace('_', ' ')}" if revoked.reason else ""
            proof = ", and no time stamp proves an earlier signature" if at is None and revoked.since else ""
            code = "signingCredential.revoked" if revoked is listed else _OCSP_REVOKED
            return f"{whose} was revoked{since}{reason} ({revoked.source}){proof}", code
    return None
