"""What the OCSP responses in a signature say, and which of them count.

C2PA's library reads them too, but it passes over those that the issuer itself signed; takes a good one that is out of
date by the time of the time stamp, or not valid yet, for a revocation; and believes a signer of claims who acts as a
responder. So its word is not asked: who signed a response, about whom, and for when, is found out here.
"""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from provenance.keys import Trust, chains, ocsp

if TYPE_CHECKING:
    from cryptography import x509

SOURCE = "an OCSP response in the file"


def answers(
    responses: Sequence[bytes], chain: Sequence["x509.Certificate"], certificate: "x509.Certificate", policy: Trust
) -> tuple[list[ocsp.Answer], list[ocsp.Unusable]]:
    """What the responses say of a certificate in the chain, and what is wrong with those that say nothing.

    A revocation counts whenever it was said; the time for which a response holds matters for a good one alone.

    Args:
        responses: DER.
        chain: of the signer, its own certificate first.
        certificate: one of the chain.
        policy: whose roots may have issued it, and who is known to be revoked.
    """
    found, unusable = [], []
    issuers = [*chain, *policy.anchors]
    for response in responses:
        try:
            found.append(ocsp.read(response, certificate, issuers, policy.revoked, SOURCE))
        except ocsp.Unusable as error:
            unusable.append(error)
    return found, unusable


def about(
    responses: Sequence[bytes], chain: Sequence["x509.Certificate"], at: datetime.datetime | None, policy: Trust
) -> list[str]:
    """What a reader should know of them, a sentence each. A revocation that counts is a failure, and is not here.

    Args:
        responses: DER.
        chain: of the signer, its own certificate first.
        at: the proven time of the signature; None if nothing proves it.
        policy: as ``answers``.
    """
    leaf, *above = chain
    found, unusable = answers(responses, chain, leaf, policy)
    notes = [note for answer in found if (note := _note(answer, at)) is not None]
    of_others = sum(len(answers(responses, chain, certificate, policy)[0]) for certificate in above)
    for error in unusable:
        if isinstance(error, ocsp.OfAnother) and of_others:
            of_others -= 1  # about an authority above the signer
        else:
            notes.append(f"{SOURCE} was not used: {error}")
    return list(dict.fromkeys(notes))


def _note(answer: ocsp.Answer, at: datetime.datetime | None) -> str | None:
    revoked, now = answer.revoked, chains.now()
    if revoked is not None:
        if revoked.covers(at):
            return None
        return (
            f"{SOURCE} says that the signer's certificate was revoked as of {revoked.since:%Y-%m-%d %H:%M} UTC, after "
            "it had signed"
        )
    if answer.status != "good":
        return f"{SOURCE} does not know the signer's certificate"
    if answer.early(now):
        return f"{SOURCE} was not used: it is dated {answer.since:%Y-%m-%d}, in the future"
    if answer.outdated(at or now):
        return (
            f"{SOURCE} says that the signer's certificate was good on {answer.since:%Y-%m-%d}, and nothing of the time "
            f"after {answer.until:%Y-%m-%d}"
        )
    return f"{SOURCE} says that the signer's certificate {'is good' if at is None else 'was good when it signed'}"
