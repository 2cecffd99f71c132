"""What an OCSP response says of a certificate, and whose word counts (RFC 6960)."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ReasonFlags
from cryptography.x509 import ocsp as requests

from provenance.keys import ocsp
from tests.provenance.ocsp import OCSP_SIGNING, Responder, days


@pytest.fixture
def registrar(authority) -> Responder:
    return Responder(authority)


@pytest.fixture
def certificate(authority) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    return authority.certificate(authority.issue(key, responder="http://ocsp.example.org/")[0])


def test_a_response_says_what_and_for_how_long(authority, registrar, certificate) -> None:
    answer = ocsp.read(registrar.response(certificate, start=-1, end=6), certificate, [authority.own])
    assert (answer.status, answer.since, answer.until) == ("good", days(-1), days(6)) and answer.revoked is None
    assert not answer.outdated(days(5.9)) and answer.outdated(days(6.1))
    assert answer.early(days(-1.1)) and not answer.early(days(-1) - datetime.timedelta(minutes=4))


def test_without_a_next_update_it_holds_for_a_day(authority, registrar, certificate) -> None:
    answer = ocsp.read(registrar.response(certificate, end=None), certificate, [authority.own])
    assert not answer.outdated(days(0.9)) and answer.outdated(days(1.1))


@pytest.mark.parametrize("reason", [None, ReasonFlags.key_compromise, ReasonFlags.superseded])
def test_a_revocation_has_a_date_and_perhaps_a_reason(reason, authority, registrar, certificate) -> None:
    response = registrar.response(certificate, status="revoked", since=-3, reason=reason)
    revoked = ocsp.read(response, certificate, [authority.own], source="somebody").revoked
    assert (revoked.source, revoked.since, revoked.reason) == ("somebody", days(-3), reason and reason.name)
    assert revoked.covers(None) and revoked.covers(days(-2)) and not revoked.covers(days(-4))


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_certificates_are_named_by_any_usual_hash(digest, authority, registrar, certificate) -> None:
    response = registrar.response(certificate, digest=digest)
    assert ocsp.read(response, certificate, [authority.own]).status == "good"


@pytest.mark.parametrize("kind", ["P-384", "RSA", "Ed25519"])
def test_responders_may_have_any_usual_key(kind: str, authority, registrar, certificate) -> None:
    key = {
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    own = authority.certificate(authority.issue(key, eku=OCSP_SIGNING)[0])
    response = registrar.response(certificate, by=(key, own))
    assert ocsp.read(response, certificate, [authority.own]).status == "good"
    without = response.replace(own.signature, bytes(len(own.signature)))  # a certificate that nobody issued
    with pytest.raises(ocsp.Unusable, match="not signed by the certificate's issuer, nor by a responder"):
        ocsp.read(without, certificate, [authority.own])


def test_a_namesake_of_the_issuer_is_another(authority, registrar, certificate, tmp_path) -> None:
    namesake = type(authority)(tmp_path / "namesake")
    assert namesake.own.subject == authority.own.subject
    response = registrar.response(certificate)
    with pytest.raises(ocsp.Unusable, match="the issuer of the certificate is not known"):
        ocsp.read(response, certificate, [namesake.own])
    assert ocsp.read(response, certificate, [namesake.own, authority.own]).status == "good"
    theirs = Responder(namesake).response(certificate)  # says that the namesake issued it
    with pytest.raises(ocsp.OfAnother):
        ocsp.read(theirs, certificate, [namesake.own, authority.own])


def test_a_damaged_response_is_unusable_and_nothing_worse(authority, registrar, certificate) -> None:
    whole = registrar.response(certificate)
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            try:
                answer = ocsp.read(damaged, certificate, [authority.own])
            except ocsp.Unusable:
                continue
            assert answer.status == "good"  # what was hit is not covered by the signature, and says nothing
    with pytest.raises(ocsp.Unusable, match="it is longer than 32768 bytes"):
        ocsp.read(bytes(ocsp.LARGEST + 1), certificate, [authority.own])


def test_a_question_names_the_certificate_and_its_issuer(authority, certificate) -> None:
    asked = requests.load_der_ocsp_request(ocsp.question(certificate, authority.own, b"n" * 32))
    assert asked.serial_number == certificate.serial_number
    assert asked.issuer_key_hash == x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key()).digest
    assert asked.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32


def test_the_responder_is_the_one_that_the_certificate_names(authority, certificate) -> None:
    assert ocsp.responder(certificate) == "http://ocsp.example.org/" and ocsp.responder(authority.own) is None
