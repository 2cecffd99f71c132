"""Each reason why C2PA refuses a certificate has its sentence."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from provenance.keys import profile

EMAIL, CLAIMS = profile.EMAIL_PROTECTION, profile.CLAIM_SIGNING


def leaf(authority, key=None, **options) -> x509.Certificate:
    return authority.certificate(authority.issue(key or ec.generate_private_key(ec.SECP256R1()), **options)[0])


def test_a_good_certificate_has_no_problems_and_no_advice(authority) -> None:
    good = leaf(authority, eku=(EMAIL, CLAIMS))
    assert profile.problems(good) == [] and profile.advice(good) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": -9, "end": -1}, "expired on"),
        ({"start": 1, "end": 9}, "is not valid before"),
        ({"eku": "1.3.6.1.5.5.7.3.1"}, "for another purpose"),
        ({"eku": profile.ANY_PURPOSE}, "anyExtendedKeyUsage is not allowed"),
        ({"eku": (EMAIL, profile.TIME_STAMPING)}, "timeStamping and OCSPSigning cannot be combined"),
        ({"organisation": None}, "names no organisation"),
        ({"ca": True}, "is an authority's"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "has a key that cannot be used"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "has a key that cannot be used"),
        ({"key": dsa.generate_private_key(2048)}, "has a key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_reason_is_said(options: dict, says: str, authority) -> None:
    found = profile.problems(leaf(authority, **options))
    assert len(found) == 1 and says in found[0]


def bare(authority, *, usage: dict | None = None, identifier: bool = True, digest=None, critical: str | None = None):
    """A certificate with this and that left out."""
    key = ec.generate_private_key(ec.SECP256R1())
    good = leaf(authority, key)
    builder = x509.CertificateBuilder(good.issuer, good.subject, key.public_key(), good.serial_number)
    builder = builder.not_valid_before(good.not_valid_before_utc).not_valid_after(good.not_valid_after_utc)
    builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(EMAIL)]), critical=False)
    if usage is not None:
        others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
        bits = ("digital_signature", "key_cert_sign", "encipher_only", "decipher_only", *others)
        builder = builder.add_extension(x509.KeyUsage(**(dict.fromkeys(bits, False) | usage)), critical=True)
    if identifier:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
    if critical:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(critical), b"\x05\x00"), critical=True
        )
    return builder.sign(authority.key, digest or hashes.SHA256())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "its key usage lacks digitalSignature"),
        ({"usage": {"content_commitment": True}}, "its key usage lacks digitalSignature"),
        ({"usage": {"digital_signature": True, "key_cert_sign": True}}, "has the key usage keyCertSign"),
        ({"usage": {"digital_signature": True}, "identifier": False}, "has no authority key identifier"),
        ({"usage": {"digital_signature": True}, "digest": hashes.SHA224()}, "was issued with SHA224"),
        ({"usage": {"digital_signature": True}, "critical": "1.2.3.4"}, "has the critical extension 1.2.3.4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_left_out_is_said(options: dict, says: str, authority) -> None:
    found = profile.problems(bare(authority, **options))
    assert len(found) == 1 and says in found[0]


def test_a_self_signed_certificate_is_said_to_be_so(authority) -> None:
    assert any("is self-signed" in problem for problem in profile.problems(authority.own))


def test_advice_is_about_what_is_allowed_but_unwise(authority) -> None:
    assert "lacks the purpose C2PA claim signing" in profile.advice(leaf(authority, eku=EMAIL))[0]
    assert "lacks the purpose emailProtection" in profile.advice(leaf(authority, eku=CLAIMS))[0]
    assert "expires in 8 days" in profile.advice(leaf(authority, eku=(EMAIL, CLAIMS), end=9))[0]
