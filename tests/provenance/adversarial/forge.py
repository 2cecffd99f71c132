"""Tools of a forger: certificates of every wrong kind, manifests signed with them, boxes put where they hurt."""

import datetime
import hashlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import c2pa
import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
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
        self.large = rsa.generate_private_key(65537, 3072)
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
        more: Sequence[x509.ExtensionType] = (),
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
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())


def claim(
    source: Path,
    target: Path,
    certifier: Certifier,
    *,
    title: str = "a clip",
    assertions: list[dict] | None = None,
    ingredients: Sequence[tuple[dict, str, bytes]] = (),
    core: dict[str, Any] | None = None,
    prepare: Callable[[c2pa.Builder], Any] = lambda builder: None,
) -> bytes:
    """Sign ``source`` as another program might, with a certificate in order; the manifest store. A large RSA key leaves
    room for other certificates, see ``resigned``."""
    key = certifier.large
    chain = certifier.certify(key, "Ana " + "x" * 50).public_bytes(Encoding.PEM).decode()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    settings = {
        "trust": {"user_anchors": certifier.root_pem},
        "verify": {"remote_manifest_fetch": False, "verify_after_sign": False},
        "core": core or {},
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
    chain = [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    protected = cbor2.dumps({1: algorithm, 33: chain[0] if len(chain) == 1 else chain})
    signed = cbor2.dumps(["Signature1", protected, b"", claim_box.head])
    if algorithm == -37:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        signature = key.sign(signed, pss, hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    unpadded = cbor2.dumps(cbor2.CBORTag(18, [protected, {"pad": bytes(256)}, None, signature]))
    room = 256 + len(signature_box.head) - len(unpadded)
    assert room >= 256, "the certificates are too long"
    signature_box.head = cbor2.dumps(cbor2.CBORTag(18, [protected, {"pad": bytes(room)}, None, signature]))
    return join(boxes)


def restated(data: bytes, label: bytes, change: Callable[[bytes], bytes], certifier: Certifier) -> bytes:
    """A signed file in which the forger, being a signer, states something else: an assertion of the active manifest is
    changed, its digest in the claim too, and the claim is signed again."""
    boxes = parse(data)
    manifest = store(boxes).children[-1]
    assertion = next(
        box for box in manifest.walk() if box.children and box.children[0].kind == b"jumd"
        and label + b"\0" in box.children[0].head
    )  # fmt: skip
    before = hashlib.sha256(assertion.to_bytes()[8:]).digest()
    assertion.children[-1].head = change(assertion.children[-1].head)
    after = hashlib.sha256(assertion.to_bytes()[8:]).digest()
    claim_box = content(manifest, b"c2pa.claim.v2\0")
    assert before in claim_box.head, "the claim holds no digest of it"
    claim_box.head = claim_box.head.replace(before, after)
    key = ec.generate_private_key(ec.SECP256R1())
    return resigned(join(boxes), [certifier.certify(key)], key)


def names(data: bytes) -> list[bytes]:
    """Of the manifests in a file, the active one last."""
    return [re.search(rb"urn:c2pa:[0-9a-f-]{36}", box.children[0].head)[0] for box in store(parse(data)).children[1:]]


def store(boxes: list[Box]) -> Box:
    """The manifest store's superbox."""
    return next(box for box in boxes if box.kind == b"uuid" and box.children).children[0]


def content(manifest: Box, label: bytes) -> Box:
    """What stands beside the description box that bears a label."""
    for box in manifest.walk():
        if box.children and box.children[0].kind == b"jumd" and label in box.children[0].head:
            return box.children[-1]
    raise LookupError(label)
