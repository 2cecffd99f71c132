"""Certificates that must not vouch for anything, over a signature that is right in every other way."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.provenance.adversarial import forge

pytestmark = pytest.mark.usefixtures("blind")

SERVER, ANY = "1.3.6.1.5.5.7.3.1", "2.5.29.37.0"
WRONG = {
    "expired": ({"days": (-300, -1)}, "altered", "signingCredential.expired"),
    "not valid yet": ({"days": (1, 300)}, "altered", "signingCredential.expired"),
    "for web servers": ({"eku": SERVER}, "altered", "signingCredential.invalid"),
    "for anything": ({"eku": ANY}, "altered", "signingCredential.invalid"),
    "for nothing": ({"eku": None}, "altered", "signingCredential.invalid"),
    "without authority key identifier": ({"authority": False}, "altered", "signingCredential.invalid"),
    "without key usage": ({"usage": False}, "altered", "signingCredential.invalid"),
    "an authority's own": ({"ca": True}, "altered", "signingCredential.invalid"),
    "self-signed": ({"own": True}, "untrusted", "no trust list"),
    "self-signed authority": ({"own": True, "ca": True}, "altered", "signingCredential.invalid"),
}


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_the_forger_can_sign(key, certifier, signed, judge) -> None:
    # Else the tests below would pass for the wrong reason.
    for chain in ([certifier.certify(key)], [certifier.certify(key), certifier.root]):
        report = judge(forge.resigned(signed, chain, key))
        assert report.status == "authentic" and report.manifest["signer"]["name"] == "Ana"


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_certificate_is_never_authentic(kind: str, key, certifier, signed, judge) -> None:
    options, status, says = WRONG[kind]
    report = judge(forge.resigned(signed, [certifier.certify(key, **options)], key))
    assert report.status == status and says in report.findings[0]


def test_another_key_than_the_certificates(key, certifier, signed, judge) -> None:
    report = judge(forge.resigned(signed, [certifier.certify(key)], ec.generate_private_key(ec.SECP256R1())))
    assert report.status == "altered" and "claimSignature.mismatch" in report.findings[0]


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())],
                         ids=["RSA of 1024 bits", "a curve for coins"])  # fmt: skip
def test_keys_that_are_too_weak_or_not_allowed(key, certifier, signed, judge) -> None:
    report = judge(forge.resigned(signed, [certifier.certify(key)], key))
    assert report.status == "altered" and "may not be used to sign" in report.findings[0]


def test_a_certificate_by_a_root_of_the_same_name(key, signed, judge) -> None:
    report = judge(forge.resigned(signed, [forge.Certifier().certify(key)], key))
    assert report.status == "untrusted"


def test_a_certificate_by_another_leaf(key, certifier, signed, judge) -> None:
    # A signer must not be able to make signers.
    mine = forge.Certifier()
    leaf = certifier.certify(mine.key, mine.name)
    report = judge(forge.resigned(signed, [mine.certify(key), leaf], key))
    assert report.status in ("untrusted", "altered")


@pytest.mark.parametrize(
    "name", ["Ana\x1b[2J\u202e\u2066<script>alert(1)</script>", "'; DROP TABLE clips;--", "x" * 64]
)
def test_names_in_certificates_are_text(name: str, key, certifier, signed, judge) -> None:
    report = judge(forge.resigned(signed, [certifier.certify(key, name)], key))
    assert report.status == "authentic" and report.manifest["signer"]["name"] == name
