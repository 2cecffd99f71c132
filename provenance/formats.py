"""Which files can be signed and read, as a table: told apart by their first bytes, never by name.

Credentials are embedded where C2PA says how (its specification, appendix A, and c2pa-python does it). Matroska and WebM
have no place for them: there they go into a file beside it, the sidecar.

====== ================ ============ =========
format MIME             suffixes     credentials
====== ================ ============ =========
MP4    video/mp4        .mp4 .m4v    embedded, fragmented or not
M4V    video/x-m4v      .m4v .mp4    embedded
MOV    video/quicktime  .mov .qt     embedded
AVI    video/avi        .avi         embedded
WebM   video/webm       .webm        sidecar
MKV    video/x-matroska .mkv         sidecar
PNG    image/png        .png .apng   embedded
JPEG   image/jpeg       .jpg .jpeg   embedded
WebP   image/webp       .webp        embedded
GIF    image/gif        .gif         embedded
====== ================ ============ =========
"""

import os
from dataclasses import dataclass
from pathlib import Path

from provenance.errors import MediaError

SIDECAR = ".c2pa"
"""Suffix of a file that holds nothing but credentials (C2PA specification, 11.4)."""

_HEAD = 4096
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"styp", b"pnot"}


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file."""

    name: str
    """As people write it."""
    mime: str
    suffixes: tuple[str, ...]
    """That a file of this kind may have, lower case, the usual one first."""
    embeds: bool
    """Whether credentials can be put inside."""
    marker: bytes = b""
    """Bytes that credentials inside cannot do without; ISO BMFF has a box instead."""
    container: str | None = None
    """mp4, mov, matroska or avi for video; None for a still."""
    reader: str | None = None
    """Pillow's name for a still."""

    @property
    def is_bmff(self) -> bool:
        """Whether it is made of ISO BMFF boxes."""
        return self.container in ("mp4", "mov")


MP4 = Format(name="MP4", mime="video/mp4", suffixes=(".mp4", ".m4v"), embeds=True, container="mp4")
M4V = Format(name="M4V", mime="video/x-m4v", suffixes=(".m4v", ".mp4"), embeds=True, container="mp4")
MOV = Format(name="MOV", mime="video/quicktime", suffixes=(".mov", ".qt"), embeds=True, container="mov")
AVI = Format(name="AVI", mime="video/avi", suffixes=(".avi",), embeds=True, marker=b"C2PA", container="avi")
WEBM = Format(name="WebM", mime="video/webm", suffixes=(".webm",), embeds=False, container="matroska")
MKV = Format(name="MKV", mime="video/x-matroska", suffixes=(".mkv",), embeds=False, container="matroska")
PNG = Format(name="PNG", mime="image/png", suffixes=(".png", ".apng"), embeds=True, marker=b"caBX", reader="PNG")
JPEG = Format(name="JPEG", mime="image/jpeg", suffixes=(".jpg", ".jpeg"), embeds=True, marker=b"jumb", reader="JPEG")
WEBP = Format(name="WebP", mime="image/webp", suffixes=(".webp",), embeds=True, marker=b"C2PA", reader="WEBP")
GIF = Format(name="GIF", mime="image/gif", suffixes=(".gif",), embeds=True, marker=b"C2PA_GIF", reader="GIF")

FORMATS = (MP4, M4V, MOV, AVI, WEBM, MKV, PNG, JPEG, WEBP, GIF)


def of(path: str | os.PathLike) -> Format:
    """The format of a file.

    Raises:
        MediaError: missing, a directory, empty, not readable, or none of ``FORMATS``.
    """
    head = _read_head(Path(path))
    if (found := of_head(head)) is None:
        names = ", ".join(format.name for format in FORMATS)
        raise MediaError(f"not a video or picture file; {names} can be read")
    return found


def of_head(head: bytes) -> Format | None:
    """The format of a file that begins with these bytes; the first 4096 are enough."""
    if head[4:8] in _FIRST_BOXES:
        if head[4:12] in (b"ftypM4V ", b"ftypM4VH", b"ftypM4VP"):
            return M4V
        return MOV if head[4:12] == b"ftypqt  " or head[4:8] != b"ftyp" else MP4
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return WEBM if b"\x42\x82\x84webm" in head else MKV  # the element DocType (RFC 8794, 11.2.6)
    if head[:4] == b"RIFF":
        return {b"AVI ": AVI, b"WEBP": WEBP}.get(head[8:12])
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return PNG
    if head[:3] == b"\xff\xd8\xff":
        return JPEG
    return GIF if head[:6] in (b"GIF87a", b"GIF89a") else None


def sidecar_of(path: Path) -> Path:
    """Where the credentials of a file are that does not carry them itself."""
    return path.with_suffix(SIDECAR)


def _read_head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise MediaError("is a directory; give a file")
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "no such file"
            raise MediaError(f"{what}; check the path")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not head:
        raise MediaError("the file is empty; fetch it again")
    return head
