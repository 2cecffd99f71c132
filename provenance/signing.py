"""Sign a video file. The signed file is verified before it appears, and appears whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from provenance import outputs, video
from provenance.errors import InputError, MediaError, SigningError
from provenance.keys import Signer, default_signer, trust_anchors
from provenance.outputs import publish as _publish
from provenance.report import Report
from provenance.verification import verify

if TYPE_CHECKING:
    import c2pa

    from provenance.manifest import Facts


def sign(
    src: str | os.PathLike,
    dst: str | os.PathLike,
    *,
    facts: "Facts | None" = None,
    title: str | None = None,
    signer: Signer | None = None,
    overwrite: bool = False,
) -> Report:
    """Write a signed copy of ``src`` to ``dst``.

    Args:
        src: an MP4 without credentials.
        dst: the new file, ending in .mp4. It is written beside itself under a hidden name, verified, then moved.
        facts: what to state about a generated clip, whose watermark must then be readable. None signs the file as it
            is (``c2pa.opened``), with no claim about how it was made.
        title: of a file signed as it is; its name if None. A generated clip has its title in ``facts``.
        signer: None is the development identity, see ``provenance.keys``.
        overwrite: replace ``dst`` if it exists.

    Returns:
        The report on the file at ``dst``: authentic, or untrusted when the signer's root is on no trust list here.

    Raises:
        InputError: a path that cannot be used.
        MediaError: ``src`` is not readable video.
        KeyFileError: the signing identity cannot be used.
        SigningError: signing failed, or what was signed did not verify. Nothing is left at ``dst``.
    """
    src, dst = Path(src), Path(dst)
    _check_paths(src, dst, overwrite)
    signer = signer or default_signer()
    try:
        with outputs.hidden(dst) as part:
            _write_signed(src, part, facts, title if title is not None else src.name, signer)
            report = verify(part)
            _check_signed(report, facts)
            _publish(part, dst, overwrite)
    except OSError as error:
        raise outputs.cannot_write(dst, error, SigningError) from None
    return Report(
        path=str(dst),
        status=report.status,
        manifest=report.manifest,
        watermark=report.watermark,
        findings=report.findings,
    )


def _check_paths(src: Path, dst: Path, overwrite: bool) -> None:
    """Everything that can be said before any work is done."""
    if dst.suffix.lower() != ".mp4":
        raise InputError(f"the destination {dst} must end in .mp4")
    outputs.check(dst, overwrite=overwrite)
    try:
        info = video.probe(src)
    except MediaError as error:
        raise MediaError(f"{src}: {error}") from None
    if info.container != "mp4":
        raise InputError(f"{src} is {info.container}, not MP4; convert it first")
    if video.has_manifest_box(src):
        raise InputError(f"{src} carries credentials already; signing would replace them, so it is refused")


def _write_signed(src: Path, part: Path, facts: "Facts | None", title: str, signer: Signer) -> None:
    from c2pa import C2paError

    from provenance import __version__
    from provenance.manifest import MIME, as_it_is, context, generated

    ctx = context(trust_anchors())
    failed: list[BaseException] = []
    try:
        if facts is not None:
            builder = generated(facts, ctx)
        else:
            builder = as_it_is(title, {"name": "sorajax provenance", "version": __version__}, ctx)
        with src.open("rb") as source, part.open("w+b") as target:
            builder.sign(_c2pa_signer(signer, failed), MIME, source, target)
            target.flush()
            os.fsync(target.fileno())
    except C2paError as error:
        reason = " ".join(str(failed[0] if failed else error).split())
        raise SigningError(f"{src} could not be signed: {reason}") from None


def _c2pa_signer(signer: Signer, failed: list[BaseException]) -> "c2pa.Signer":
    """C2PA's signer; what a callback raises is kept in ``failed``, for C2PA swallows it."""
    from c2pa import C2paSignerInfo, C2paSigningAlg
    from c2pa import Signer as C2paSigner

    algorithm = C2paSigningAlg[signer.alg.upper()]
    if signer.key_pem is not None:
        # No time stamp authority is None: an empty address fails at signing.
        info = C2paSignerInfo(algorithm, signer.chain_pem.encode(), signer.key_pem.encode(), None)
        return C2paSigner.from_info(info)
    if signer.callback is None:
        raise SigningError("the signer has neither a key nor a callback; give one of them")
    return C2paSigner.from_callback(_recording(signer.callback, failed), algorithm, signer.chain_pem)


def _recording(callback: Callable[[bytes], bytes], failed: list[BaseException]) -> Callable[[bytes], bytes]:
    def call(data: bytes) -> bytes:
        try:
            return callback(data)
        except BaseException as error:
            failed.append(error)
            raise

    return call


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
