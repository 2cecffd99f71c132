"""Tools of a forger: certificates of every wrong kind, manifests signed with them, boxes put where they hurt."""

import datetime
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.fuzz_mutants import Box, join, parse

EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
DST = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"
CREATED = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [
    {"action": "c2pa.created", "digitalSourceType": DST}]}}  # fmt: skip


class Certifier:
    """A root that certifies whatever it is asked to."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root of the newsroom")])
        self.root = self.certify(self.key, self.name, ca=True, eku=None, days=(-1000, 3650))
        self.root_pem = self.root.public_bytes(Encoding.PEM).decode()

    def certify(
        self,
        key: Any,
        subject: x509.Name | str = "Ana",
        *,
        days: tuple[float, float] = (-1, 365),
        eku: str | None = EMAIL_PROTECTION,
        ca: bool = False,
        usage: bool = True,
        authority: bool = True,
        own: bool = False,
    ) -> x509.Certificate:
        """A certificate for ``key``, valid from and to so many days from now, by the root or by itself (``own``)."""
        now = datetime.datetime.now(datetime.UTC)
        if isinstance(subject, str):
            parts = ((NameOID.ORGANIZATION_NAME, "Newsroom"), (NameOID.COMMON_NAME, subject))
            subject = x509.Name([x509.NameAttribute(*part) for part in parts])
        issuer_key, issuer = (key, subject) if own or key is self.key else (self.key, self.name)
        builder = (
            x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if usage:
            kinds = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                     "decipher_only")  # fmt: skip
            builder = builder.add_extension(
                x509.KeyUsage(**dict.fromkeys(kinds, False), digital_signature=not ca, key_cert_sign=ca, crl_sign=ca),
                critical=True,
            )
        if eku is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(eku)]), critical=False)
        if authority:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())


def claim(
    source: Path,
    target: Path,
    certifier: Certifier,
    *,
    title: str = "a clip",
    assertions: list[dict] | None = None,
    ingredients: list[tuple[dict, str, bytes]] = (),
    prepare: Callable[[c2pa.Builder], Any] = lambda builder: None,
) -> bytes:
    """Sign ``source`` as another program might, with a certificate in order; the manifest store. A large RSA key leaves
    room for other certificates, see ``resigned``."""
    key = rsa.generate_private_key(65537, 3072)
    chain = certifier.certify(key, "Ana " + "x" * 50).public_bytes(Encoding.PEM).decode()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    settings = {
        "trust": {"user_anchors": certifier.root_pem},
        "verify": {"remote_manifest_fetch": False, "verify_after_sign": False},
    }
    with c2pa.Context.from_dict(settings) as ctx:
        definition = {
            "title": title,
            "format": "video/mp4",
            "assertions": [CREATED] if assertions is None else assertions,
        }
        builder = c2pa.Builder(definition, ctx)
        for said, mime, data in ingredients:
            builder.add_ingredient(said, mime, io.BytesIO(data))
        prepare(builder)
        info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.PS256, chain.encode(), pem.encode(), None)
        with source.open("rb") as old, target.open("w+b") as new, c2pa.Signer.from_info(info) as signer:
            return bytes(builder.sign(signer, "video/mp4", old, new))


def resigned(data: bytes, certificates: list[x509.Certificate], key: Any) -> bytes:
    """The active manifest signed anew with any key, under any certificates, as no honest program would: COSE_Sign1
    (RFC 9052, 4.2; C2PA specification, 13.2) with the certificates in x5chain, padded to the old length."""
    boxes = parse(data)
    manifest = store(boxes).children[-1]
    claim_box = content(manifest, b"c2pa.claim.v2\0")
    signature_box = content(manifest, b"c2pa.signature\0")
    algorithm = -37 if isinstance(key, rsa.RSAPrivateKey) else -7
    chain = [cbor(certificate.public_bytes(Encoding.DER)) for certificate in certificates]
    x5chain = chain[0] if len(chain) == 1 else _head(4, len(chain)) + b"".join(chain)
    protected = _head(5, 2) + cbor(1) + cbor(algorithm) + cbor(33) + x5chain
    signed = _head(4, 4) + cbor("Signature1") + cbor(protected) + cbor(b"") + cbor(claim_box.head)
    if algorithm == -37:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        signature = key.sign(signed, pss, hashes.SHA256())
    else:
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    before = b"\xd2" + _head(4, 4) + cbor(protected) + _head(5, 1) + cbor("pad")
    after = b"\xf6" + cbor(signature)
    room = len(signature_box.head) - len(before) - len(after) - 3
    assert room >= 256, "the certificates are too long"
    signature_box.head = before + b"\x59" + room.to_bytes(2, "big") + bytes(room) + after
    return join(boxes)


def store(boxes: list[Box]) -> Box:
    """The manifest store's superbox."""
    return next(box for box in boxes if box.kind == b"uuid" and box.children).children[0]


def content(manifest: Box, label: bytes) -> Box:
    """What stands beside the description box that bears a label."""
    for box in manifest.walk():
        if box.children and box.children[0].kind == b"jumd" and label in box.children[0].head:
            return box.children[-1]
    raise LookupError(label)


def cbor(value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    data = value if isinstance(value, bytes) else value.encode()
    return _head(2 if isinstance(value, bytes) else 3, len(data)) + data


def _head(kind: int, number: int) -> bytes:
    """RFC 8949, 3: the major type and its argument."""
    if number < 24:
        return bytes([kind << 5 | number])
    for extra, size in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * size:
            return bytes([kind << 5 | extra]) + number.to_bytes(size, "big")
    raise ValueError(number)
