"""Sign a video or a picture. The signed file is verified before it appears, and appears whole or not at all.

Credentials go into the file where its format has a place for them (``provenance.formats``), else into a sidecar beside
it, ``NAME.c2pa``: then both appear, or neither.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import (
    credentials,
    formats,
    history,
    localise,
    outputs,
    recording,
    responder,
    stapling,
    stills,
    timestamping,
    unhashed,
    video,
)
from provenance import fingerprint as fingerprints
from provenance import registry as registries
from provenance.c2pa_signer import c2pa_signer
from provenance.errors import InputError, MediaError, SigningError
from provenance.formats import Format
from provenance.history import History
from provenance.keys import Signer, default_signer, trust_policy
from provenance.outputs import publish_all as _publish
from provenance.report import Report
from provenance.verification import verify

if TYPE_CHECKING:
    from provenance.manifest import Facts

_LONGEST_ADDRESS = 2000


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What is to be written where."""

    format: Format
    account: History = History()
    beside: bool = False
    """Credentials into a sidecar."""
    remote: str | None = None
    timestamp: str | None = None
    """Address of a time stamp authority."""
    response: bytes | None = None
    """OCSP response about the signer's certificate, DER."""


class _NoTimeStamp(SigningError):
    """Everything would have been well without."""


def sign(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    facts: "Facts | None" = None,
    title: str | None = None,
    signer: Signer | None = None,
    overwrite: bool = False,
    sidecar: bool = False,
    remote: str | None = None,
    again: bool = False,
    parent: str | os.PathLike | None = None,
    inputs: Iterable[str | os.PathLike] = (),
    components: Iterable[str | os.PathLike] = (),
    edits: Iterable[str] = (),
    training: str | None = None,
    training_terms: str | None = None,
    timestamp: str | None = None,
    timestamp_policy: str = "require",
    ocsp: str | os.PathLike | None = None,
    ocsp_policy: str = "require",
    registry: str | os.PathLike | None = None,
) -> Report:
    """Write a signed copy of ``src`` to ``dst``.

    Args:
        src: a video or a picture, see ``provenance.formats``.
        dst: the new file, with a suffix of the same format. It is written beside itself under a hidden name, verified,
            then moved. With a sidecar it may be ``src`` itself, which is then left as it is.
        facts: what to state about a generated clip, whose watermark must then be readable. None signs the file as it
            is (``c2pa.opened``), with no claim about how it was made.
        title: of a file signed as it is; its name if None. A generated clip has its title in ``facts``.
        signer: None is the development identity, see ``provenance.keys``.
        overwrite: replace ``dst``, and its sidecar, if they exist.
        sidecar: leave the media as they are, bit for bit, and write the credentials to ``dst`` with the suffix .c2pa.
            Formats that cannot hold credentials always get one.
        remote: an address (https://...) at which you will put the sidecar; it is written into the file, instead of the
            credentials.
        again: sign a file that carries credentials. They become part of its history: it is its own parent.
        parent: the file that ``src`` was edited from, whose credentials are carried along.
        inputs: files that a model or program was given to make it.
        components: files that were put into it.
        edits: what was done to the parent, in order, from ``history.EDITS``, such as "trimmed".
        training: allowed, notAllowed or constrained: may it be used for training, inference and data mining?
        training_terms: what constrained means, text or an address.
        timestamp: address of a time stamp authority (RFC 3161). Its stamp proves when the file was signed, so that it
            stays good after the certificate has expired. The authority learns a digest and your network address.
        timestamp_policy: when there is no stamp to be had, "require" fails, and "optional" signs without and says so.
        ocsp: a file with an OCSP response (RFC 6960, DER) about the signer's certificate; or "fetch", to ask the
            responder that the certificate names, which learns that it signs, and your network address. It is examined,
            and kept in the signature: proof that the certificate was not revoked when the file was signed.
        ocsp_policy: when there is no good response to be had, "require" fails, and "optional" signs without and says
            so. With a certificate that was revoked nothing is signed.
        registry: where to register the signed clip, so that its credentials are found again once they are lost: a
            folder, a database URL, "off"; None is ``$SORAJAX_REGISTRY``, else the user's own. A clip that cannot be
            registered is signed all the same, and a finding says so.

    Returns:
        The report on the file at ``dst``: authentic, or untrusted when the signer's root is on no trust list here.

    Raises:
        InputError: a path or an argument that cannot be used.
        MediaError: ``src`` or a source of it cannot be read.
        KeyFileError: the signing identity cannot be used.
        SigningError: signing failed, or what was signed did not verify, or there was no time stamp or no OCSP
            response, or the certificate was revoked. Nothing is left at ``dst``.
    """
    src, dst = Path(src), Path(dst)
    if parent is not None and _same(Path(parent), src):
        parent, again = None, True
    if timestamp is not None:
        timestamping.check(timestamp, timestamp_policy)
    if ocsp is not None:
        responder.check(ocsp_policy)
    account = history.checked(parent, inputs, components, edits, training, training_terms)
    format = _check_source(src, again)
    beside = sidecar or remote is not None or not format.embeds
    order = _Order(format=format, account=account, beside=beside, remote=remote, timestamp=timestamp)
    _check_order(src, order, facts, sidecar)
    side = formats.sidecar_of(dst) if order.beside else None
    in_place = side is not None and remote is None and _same(src, dst)
    _check_destination(dst, format, side, overwrite, in_place)
    signer, lacking = signer or default_signer(), ()
    if ocsp is not None:
        try:
            order = replace(order, response=responder.obtain(ocsp, signer, trust_policy()))
        except responder.NoResponse as error:
            if ocsp_policy != "optional":
                raise
            lacking = (f"signed without an OCSP response: {error}",)
    looked = recording.seen(src)
    fingerprint = looked and looked.fingerprint.binding()
    try:
        with ExitStack() as stack:
            part = stack.enter_context(outputs.hidden(dst))
            name = title if title is not None else src.name
            try:
                store = _write_signed(src, part, facts, name, signer, order, fingerprint)
            except _NoTimeStamp as error:
                if timestamp_policy != "optional":
                    raise
                lacking = (*lacking, f"signed without a time stamp: {error}")
                order = replace(order, timestamp=None)
                store = _write_signed(src, part, facts, name, signer, order, fingerprint)
            side_part = None
            if side is not None:
                side_part = stack.enter_context(outputs.hidden(side))
                side_part.write_bytes(store)
                outputs.sync(side_part)
            report = verify(part, manifest=side_part, registry=registries.OFF)
            _check_signed(report, facts)
            parts = [] if in_place else [(part, dst)]
            if side is not None and side_part is not None:
                parts.insert(0, (side_part, side))
            _publish(parts, overwrite)
    except OSError as error:
        raise outputs.cannot_write(dst, error, SigningError) from None
    where = (f"the credentials are in {side.name}; keep it beside the file",) if side is not None else ()
    trouble = recording.register(dst, store, report.manifest or {}, looked, registry)
    return replace(
        report, path=str(dst), findings=(*report.findings, *lacking, *where, *([trouble] if trouble else []))
    )


def _check_source(src: Path, again: bool) -> Format:
    """Whether the file can be read and may be signed; its format."""
    try:
        format = formats.of(src)
        _ = video.probe(src) if format.container else stills.probe(src)
        carried = credentials.where(src, format)
    except MediaError as error:
        raise MediaError(f"{src}: {error}") from None
    if carried is not None and not again:
        at = "" if carried == "inside" else f" ({carried})"
        raise InputError(
            f"{src} carries credentials already{at}; signing would replace them, so it is refused. "
            "To keep them as its history, sign it again (again=True, --again)"
        )
    return format


def _check_order(src: Path, order: _Order, facts: "Facts | None", sidecar: bool) -> None:
    account = order.account
    if facts is not None and (account.parent or account.edits or account.components):
        raise InputError("a generated clip has no parent, edits or components; give what it was made from as inputs")
    if order.remote is None:
        return
    if sidecar:
        raise InputError("a sidecar leaves the file as it is, an address is written into it; choose one of the two")
    if not order.format.embeds:
        raise InputError(f"{src} is {order.format.name}, which has no place for an address; leave it out")
    address = order.remote
    if not address.startswith(("https://", "http://")) or not address.isascii() or not address.isprintable():
        raise InputError(f"the address {address!r} cannot be used; it must begin with https:// and be plain ASCII")
    if " " in address or len(address) > _LONGEST_ADDRESS:
        raise InputError(f"the address {address[:80]!r} cannot be used; it holds spaces or is too long")


def _check_destination(dst: Path, format: Format, side: Path | None, overwrite: bool, in_place: bool) -> None:
    if dst.suffix.lower() not in format.suffixes:
        raise InputError(
            f"the destination {dst} must end in {' or '.join(format.suffixes)}, for the source is {format.name}; "
            "its format is not changed by signing"
        )
    if not in_place:
        outputs.check(dst, overwrite=overwrite)
    if side is not None:
        outputs.check(side, overwrite=overwrite)


def _same(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except (OSError, ValueError):
        return False


def _write_signed(
    src: Path,
    part: Path,
    facts: "Facts | None",
    title: str,
    signer: Signer,
    order: _Order | None = None,
    fingerprint: bytes | None = None,
) -> bytes:
    """The file at ``part``, and the manifest store. Without an order the store goes inside, with no further account."""
    from c2pa import C2paError

    from provenance import __version__, sources
    from provenance.manifest import as_it_is, context, generated

    order = order or _Order(format=formats.of(src))
    mime, account = order.format.mime, order.account
    failed: list[BaseException] = []
    with timestamping.relay(order.timestamp) as authority, outputs.hidden(part) as wide:
        try:
            media = wide if order.format.is_bmff and not order.beside and localise.widened(src, wide) else src
            extra = [unhashed.assertion(media)] if order.format.is_bmff else []
            extra += [fingerprints.assertion(fingerprint)] if fingerprint is not None else []
            chunk = localise.chunk_size(media, order.format, short=order.beside)
            with context(trust_policy(), chunk=chunk) as ctx:
                if facts is not None:
                    builder = generated(facts, ctx, mime=mime, account=account, extra=extra)
                else:
                    agent = {"name": "sorajax provenance", "version": __version__}
                    builder = as_it_is(title, agent, ctx, mime=mime, account=account, extra=extra)
                    if account.parent is None:
                        sources.add_source(builder, src, "parentOf", "parent", ctx, title)
                sources.add_sources(builder, account, ctx)
                if order.beside:
                    builder.set_no_embed()
                if order.remote is not None:
                    builder.set_remote_url(order.remote)
                with media.open("rb") as source, part.open("w+b") as target:
                    stamped = authority.address if authority is not None else None
                    room = len(order.response) + stapling.HEADROOM if order.response is not None else 0
                    store = bytes(builder.sign(c2pa_signer(signer, failed, stamped, room), mime, source, target))
                    target.flush()
                    os.fsync(target.fileno())
            if order.response is not None:
                bare, store = store, stapling.stapled(store, order.response)
                if not order.beside:
                    stapling.replace_in_file(part, order.format, bare, store)
            return store
        except C2paError as error:
            reason = " ".join(str(failed[0] if failed else error).split())
            if authority is not None and not failed and (authority.asked or "http" in reason.lower()):
                why = authority.trouble or f"its answer was not accepted: {reason}"
                raise _NoTimeStamp(f"the time stamp authority {authority.url} gave none: {why}") from None
            raise SigningError(f"{src} could not be signed: {reason}") from None


def _check_signed(report: Report, facts: "Facts | None") -> None:
    if report.status not in ("authentic", "untrusted"):
        why = report.findings[0] if report.findings else report.summary
        raise SigningError(f"the signed file did not verify ({report.status}: {why}), so it was not kept")
    carried = report.watermark.payload if report.watermark else None
    if facts is not None and facts.payload is not None and carried != facts.payload:
        raise SigningError(
            f"the watermark {facts.payload.hex()} cannot be read back from the encoded pictures, so the file was not "
            "kept; encode at a higher quality, or embed the watermark before saving"
        )
