"""Clips, files and certificates to sign and to break."""

import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

import provenance

PAYLOAD = b"8 bytes!"
EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"


@pytest.fixture(scope="session", autouse=True)
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every test signs with an identity of its own, not the user's."""
    folder = tmp_path_factory.mktemp("keys") / "identity"
    before = {name: os.environ.pop(name, None) for name in ("SORAJAX_KEYS", "SORAJAX_TRUST", "SORAJAX_REGISTRY")}
    # What one test signs, another must not recover: tests of the registry name one of their own.
    os.environ |= {"SORAJAX_KEYS": str(folder), "SORAJAX_REGISTRY": "off"}
    yield folder
    del os.environ["SORAJAX_KEYS"], os.environ["SORAJAX_REGISTRY"]
    os.environ.update({name: value for name, value in before.items() if value is not None})


def enlarge(small: np.ndarray, height: int, width: int) -> np.ndarray:
    """Linear interpolation of [t, h, w, 3] to another size."""

    def weights(old: int, new: int) -> np.ndarray:
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), old - 2)
        matrix = np.zeros((new, old))
        matrix[np.arange(new), low] = 1 - (at - low)
        matrix[np.arange(new), low + 1] += at - low
        return matrix

    rows, columns = weights(small.shape[1], height), weights(small.shape[2], width)
    return np.einsum("yh,thwc,xw->tyxc", rows, small, columns, optimize=True)


def draw(
    seed: int, *, frames: int = 9, size: tuple[int, int] = (256, 256), brightness: float = 1.0, grey: bool = False
) -> np.ndarray:
    """A smooth cartoon: a gradient with moving discs, drawn at a quarter of the size and enlarged; ``size`` [h, w]."""
    rng = np.random.default_rng(seed)
    h, w = size[0] // 4, size[1] // 4
    y, x = np.mgrid[0:h, 0:w] / h
    angle, (first, second) = rng.uniform(0, 2 * np.pi), rng.uniform(0, 255, (2, 3))
    ramp = np.cos(angle) * x + np.sin(angle) * y
    background = first + (second - first) * ((ramp - ramp.min()) / np.ptp(ramp))[..., None]
    discs = [(*rng.uniform(0, 1, 2), *rng.uniform(-0.04, 0.04, 2), rng.uniform(0.05, 0.25)) for _ in range(4)]
    colours = rng.uniform(0, 255, (4, 3))
    clip = np.empty((frames, h, w, 3))
    for t in range(frames):
        clip[t] = background
        for (cy, cx, vy, vx, radius), colour in zip(discs, colours, strict=True):
            inside = np.clip((radius - np.hypot(y - cy - vy * t, x - cx - vx * t)) * h + 0.5, 0, 1)[..., None]
            clip[t] = clip[t] * (1 - inside) + colour * inside
    if grey:
        clip = np.repeat(clip.mean(-1, keepdims=True), 3, -1)
    return np.clip(np.rint(enlarge(clip * brightness, *size)), 0, 255).astype(np.uint8)


def write(path: Path, frames: np.ndarray, *, crf: int = 17, size: tuple[int, int] | None = None) -> Path:
    """Encode as H.264, yuv420p, 8 frames a second; resized to ``size`` [w, h] on the way if given."""
    width, height = size or (frames.shape[2], frames.shape[1])
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(width=width, height=height, interpolation="BICUBIC")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip() -> Callable[..., np.ndarray]:
    return draw


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip without watermark and credentials that is quick to search."""
    return write(tmp_path_factory.mktemp("clips") / "small.mp4", draw(3, frames=2, size=(128, 128)))


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A marked clip without credentials."""
    frames = provenance.watermark.embed(draw(1), PAYLOAD)
    return write(tmp_path_factory.mktemp("clips") / "marked.mp4", frames)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip without watermark and credentials."""
    return write(tmp_path_factory.mktemp("clips") / "plain.mp4", draw(2))


@pytest.fixture(scope="session")
def facts() -> "provenance.Facts":
    return provenance.Facts(
        title="a dog on a beach",
        model_name="mini",
        model_digest="sha256:0123",
        seed=7,
        payload=PAYLOAD,
        prompt="a dog runs on a beach",
        settings={"steps": 30, "guidance": 4.5, "size": [256, 256], "negative": None},
        generator_version="0.1.0",
    )


@pytest.fixture(scope="session")
def signed(marked: Path, facts: "provenance.Facts", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated clip as it leaves the house."""
    path = tmp_path_factory.mktemp("clips") / "signed.mp4"
    provenance.sign(marked, path, facts=facts)
    return path


class Authority:
    """A certificate authority that issues what it is asked for, right or wrong."""

    def __init__(self, folder: Path, name: str = "Newsroom root", above: "Authority | None" = None):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.above = above
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, key = (above.name, above.key) if above else (self.name, self.key)
        builder = _builder(self.name, issuer, self.key.public_key(), -1, 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.own = builder.sign(key, hashes.SHA256())
        self.root_pem = folder / "root.pem"
        self.root_pem.write_bytes(self.own.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        key,
        *,
        start: float = -1,
        end: float = 365,
        eku: str | tuple[str, ...] = EMAIL_PROTECTION,
        name: str = "Ana",
        organisation: str | None = "Newsroom",
        ca: bool = False,
        critical_eku: bool = False,
        responder: str | None = None,
    ):
        """(certificate path, key path) of a signer valid from ``start`` to ``end`` days from now; ``responder`` is the
        address at which to ask whether it was revoked."""
        parts = [(NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, name)]
        subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts if value])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"), False
        )
        usage |= {"digital_signature": True, "crl_sign": False, "encipher_only": False, "decipher_only": False}
        purposes = [eku] if isinstance(eku, str) else eku
        builder = _builder(subject, self.name, key.public_key(), start, end)
        for extension, critical in (
            (x509.BasicConstraints(ca=ca, path_length=None), True),
            (x509.KeyUsage(**usage), True),
            (x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in purposes]), critical_eku),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        if responder is not None:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        stem = f"{len(list(self.folder.iterdir()))}"
        certificate, private = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        chain = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        authority = self
        while authority.above is not None:  # the root itself is left out
            chain += authority.own.public_bytes(serialization.Encoding.PEM)
            authority = authority.above
        certificate.write_bytes(chain)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private

    def certify(self, public_key) -> x509.Certificate:
        """A certificate for a key that cannot be had, only its public half."""

        class Half:
            def public_key(self):
                return public_key

            def private_bytes(self, *_: object) -> bytes:
                return b""

        return self.certificate(self.issue(Half())[0])

    @staticmethod
    def certificate(path: Path) -> x509.Certificate:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]

    def crl(
        self, *entries: tuple[x509.Certificate, datetime.datetime, x509.ReasonFlags | None], key=None, age: int = 0
    ) -> Path:
        """A revocation list of (certificate, since, reason), ``age`` days old and good for 7; ``key`` forges it."""
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now)
        builder = builder.next_update(now + datetime.timedelta(days=7))
        for certificate, since, reason in entries:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(since)
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        path = self.folder / f"{len(list(self.folder.iterdir()))}.crl"
        path.write_bytes(builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
        return path


def _builder(subject, issuer, key, start: float, end: float) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=start))
        .not_valid_after(now + datetime.timedelta(days=end))
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def authorities(tmp_path: Path) -> Callable[..., Authority]:
    """More authorities, by name; ``above=`` one puts them under it."""

    def make(name: str, above: Authority | None = None) -> Authority:
        return Authority(tmp_path / name.replace(" ", "-"), name, above)

    return make


@pytest.fixture(scope="session")
def authority_at() -> Callable[[Path], Authority]:
    """An authority in a folder of one's own."""
    return Authority
