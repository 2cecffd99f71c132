"""Signing with an OCSP response: from a file or a responder, examined first; without one, the user's choice counts."""

import os
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from PIL import Image

import provenance
from provenance import cli, credentials, keys, responder, signatures, stores
from provenance.errors import InputError, SigningError
from tests.provenance.ocsp import Responder, days, serving
from tests.provenance.tsa import StampAuthority
from tests.provenance.tsa import serving as telling_the_time

GOOD = "an OCSP response in the file says that the signer's certificate is good"
KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps384": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def p256():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def registrar(authority):
    with serving(Responder(authority)) as running:
        yield running


@pytest.fixture(autouse=True)
def believed(authority, monkeypatch) -> None:
    """The newsroom's root is believed here, as it is where a newsroom signs; so the issuer of its signers is known."""
    monkeypatch.setenv("SORAJAX_TRUST", str(authority.root_pem))


@pytest.fixture
def signer(authority, registrar):
    return keys.load_signer(*authority.issue(p256(), responder=registrar.url))


@pytest.fixture
def certificate(signer):
    return keys.certificates(signer.chain_pem)[0]


def kept(store: bytes, label: str) -> tuple[bytes, ...]:
    return signatures.parse(store, label).responses


def test_a_response_is_fetched_and_kept_in_the_signature(small: Path, tmp_path: Path, signer, registrar) -> None:
    report = provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch")
    assert report.status == "authentic" and GOOD in report.findings
    store = stores.find((tmp_path / "x.mp4").read_bytes())
    assert kept(store, report.manifest["label"]) == (registrar.given,) and registrar.questions == 1


def test_nobody_is_asked_unless_told_to(small: Path, tmp_path: Path, signer, registrar) -> None:
    provenance.sign(small, tmp_path / "x.mp4", signer=signer)
    report = provenance.verify(tmp_path / "x.mp4")
    assert report.status == "authentic" and registrar.questions == 0


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        ("unknown", "its responder does not know the certificate"),
        ("stale", r"it is out of date since 20\d\d-\d\d-\d\d \d\d:\d\d UTC; fetch a newer one"),
        ("early", "it is dated 20.*, in the future; check the clock"),
        ("other", "it is about another certificate"),
        ("forged", "it is not signed by the certificate's issuer, nor by a responder of that issuer"),
        ("replay", "it answers another question"),
        ("refuse", r"it is a refusal \(try later\)"),
        ("nonsense", "it is not an OCSP response"),
        ("html", "its answer is text/html, not an OCSP response"),
        ("error", "it answered HTTP 503"),
        ("endless", "its answer is longer than 32768 bytes"),
    ],
)
def test_without_a_good_response_signing_fails_or_says_so(
    mood: str, says: str, small: Path, tmp_path: Path, signer, registrar
) -> None:
    registrar.mood = mood
    with pytest.raises(SigningError, match=f"{registrar.url} (gave no response|cannot be used): {says}") as error:
        provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch")
    assert "\n" not in str(error.value) and not list(tmp_path.glob("*.mp4"))
    report = provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch", ocsp_policy="optional")
    assert report.status == "authentic" and any(str(error.value) in finding for finding in report.findings)
    assert not any("in the file" in finding for finding in report.findings)


@pytest.mark.parametrize("policy", responder.POLICIES)
def test_a_revoked_certificate_signs_nothing(policy: str, small: Path, tmp_path: Path, signer, registrar) -> None:
    registrar.mood = "revoked"
    with pytest.raises(
        SigningError, match="says that the signer's certificate was revoked as of 20.*, key compromise;"
    ):
        provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch", ocsp_policy=policy)
    assert not list(tmp_path.glob("*.mp4"))


def test_a_responder_that_is_down_is_said_to_be_so(small: Path, tmp_path: Path, authority) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else takes the port
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        signer = keys.load_signer(*authority.issue(p256(), responder=url))
        with pytest.raises(SigningError, match=f"^the OCSP responder {url} gave no response: it cannot be reached"):
            provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch")


def test_a_responder_that_never_answers_is_given_up(authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        signer = keys.load_signer(*authority.issue(p256(), responder=url))
        with pytest.raises(responder.NoResponse, match=r"no answer within 0\.2 s"):
            responder.obtain("fetch", signer, keys.trust_policy(), patience=0.2)


def test_a_response_comes_from_a_file_too(small: Path, tmp_path: Path, signer, certificate, registrar) -> None:
    file = tmp_path / "good.der"
    file.write_bytes(registrar.response(certificate))
    report = provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp=file)
    assert report.status == "authentic" and GOOD in report.findings and registrar.questions == 0
    file.write_bytes(registrar.response(certificate, start=-9, end=-2))
    with pytest.raises(SigningError, match=r"good\.der cannot be used: it is out of date since"):
        provenance.sign(small, tmp_path / "y.mp4", signer=signer, ocsp=file)
    file.write_bytes(registrar.response(certificate, start=-9, end=None))
    report = provenance.sign(small, tmp_path / "y.mp4", signer=signer, ocsp=str(file))
    assert report.status == "authentic"  # without a nextUpdate it holds for a day from when it was made
    with pytest.raises(InputError, match=r"cannot read .*none\.der: No such file"):
        provenance.sign(small, tmp_path / "z.mp4", signer=signer, ocsp=tmp_path / "none.der", ocsp_policy="optional")


def test_who_cannot_be_asked_or_checked_is_named(small: Path, tmp_path: Path, authority, monkeypatch) -> None:
    silent = keys.load_signer(*authority.issue(p256()))
    with pytest.raises(SigningError, match=r"names no OCSP responder .*\(--ocsp FILE\)"):
        provenance.sign(small, tmp_path / "x.mp4", signer=silent, ocsp="fetch")
    for address in ("ldap://ca.example.org", "file:///etc/passwd", "http://a b/", "http://[1/"):
        odd = keys.load_signer(*authority.issue(p256(), responder=address))
        with pytest.raises(SigningError, match="named by the signer's certificate, is not a web address"):
            provenance.sign(small, tmp_path / "x.mp4", signer=odd, ocsp="fetch")
    with pytest.raises(InputError, match="'perhaps' is not known; choose from require, optional"):
        provenance.sign(small, tmp_path / "x.mp4", signer=silent, ocsp="fetch", ocsp_policy="perhaps")
    monkeypatch.delenv("SORAJAX_TRUST")
    with pytest.raises(SigningError, match="issuer, CN=Newsroom root; append it to the chain, or name its file in"):
        provenance.sign(small, tmp_path / "x.mp4", signer=silent, ocsp="fetch")
    assert os.listdir(tmp_path) == ["authority"]


def test_an_issuer_at_the_end_of_the_chain_is_enough(small, tmp_path, authority, registrar, monkeypatch) -> None:
    monkeypatch.delenv("SORAJAX_TRUST")
    certificate, key = authority.issue(p256(), responder=registrar.url)
    certificate.write_bytes(certificate.read_bytes() + authority.root_pem.read_bytes())
    report = provenance.sign(small, tmp_path / "x.mp4", signer=keys.load_signer(certificate, key), ocsp="fetch")
    assert report.status == "untrusted" and GOOD in report.findings


@pytest.mark.parametrize("alg", KEYS)
def test_every_kind_of_key_signs_with_a_response(alg: str, small: Path, tmp_path: Path, authority, registrar) -> None:
    signer = keys.load_signer(*authority.issue(KEYS[alg](), responder=registrar.url), alg=alg)
    for who in (signer, keys.callback_signer(signer.sign, alg, signer.chain_pem)):
        report = provenance.sign(small, tmp_path / "x.mp4", signer=who, ocsp="fetch", overwrite=True)
        assert report.status == "authentic" and GOOD in report.findings
        assert report.manifest["signer"]["algorithm"].lower() == alg


def test_credentials_that_fill_several_segments_of_a_jpeg_keep_a_response(clip, tmp_path, signer, registrar) -> None:
    picture, path = Image.fromarray(clip(3, frames=1, size=(128, 128))[0]), tmp_path / "a.jpg"
    picture.save(path)
    for step in range(5):  # each signature adds its credentials to those that were there
        after = tmp_path / f"{step}.jpg"
        report = provenance.sign(path, after, signer=signer, ocsp="fetch", again=step > 0)
        assert report.status == "authentic" and report.findings.count(GOOD) == 1
        path = after
    assert path.stat().st_size > (tmp_path / "a.jpg").stat().st_size + 65_536


def test_sidecars_keep_a_response(small: Path, tmp_path: Path, signer, registrar) -> None:
    report = provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch", sidecar=True)
    assert report.status == "authentic" and GOOD in report.findings
    assert (tmp_path / "x.mp4").read_bytes() == small.read_bytes()
    store = credentials.load(tmp_path / "x.c2pa")
    assert kept(store, report.manifest["label"]) == (registrar.given,)


def test_a_time_stamp_and_a_response_go_together(small: Path, tmp_path: Path, signer, registrar, authorities) -> None:
    with telling_the_time(StampAuthority(authorities("Clock root"))) as clocks:
        provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp="fetch", timestamp=clocks.url)
        policy = keys.trust_policy(tsa=clocks.root_pem)
    report = provenance.verify(tmp_path / "x.mp4", policy)
    assert report.status == "authentic" and report.manifest["time_stamp"]["trusted"]
    assert GOOD.replace("is good", "was good when it signed") in report.findings


def test_a_large_response_finds_room(small: Path, tmp_path: Path, signer, certificate, registrar, authority) -> None:
    file, far = tmp_path / "large.der", p256()
    long = authority.certificate(authority.issue(far, eku="1.3.6.1.5.5.7.3.9", responder="http://a/" + "x" * 15_000)[0])
    file.write_bytes(registrar.response(certificate, by=(far, long)))
    assert file.stat().st_size > 15_000
    report = provenance.sign(small, tmp_path / "x.mp4", signer=signer, ocsp=file)
    assert report.status == "authentic" and GOOD in report.findings


def test_the_command_line_fetches_and_does_without(small: Path, tmp_path: Path, authority, registrar, capsys) -> None:
    certificate, key = authority.issue(p256(), responder=registrar.url)
    signing = ["sign", str(small), "--cert", str(certificate), "--key", str(key), "-o"]
    assert cli.main([*signing, str(tmp_path / "a.mp4"), "--ocsp", "fetch"]) == 0
    assert GOOD in capsys.readouterr().out.replace("\n", " ")
    registrar.mood = "error"
    assert cli.main([*signing, str(tmp_path / "b.mp4"), "--ocsp", "fetch"]) == 2
    assert "gave no response: it answered HTTP 503" in capsys.readouterr().err
    assert cli.main([*signing, str(tmp_path / "b.mp4"), "--ocsp", "fetch", "--ocsp-optional"]) == 0
    assert "signed without an OCSP response" in capsys.readouterr().out
    assert cli.main([*signing, str(tmp_path / "c.mp4"), "--ocsp-optional"]) == 2
    assert "name one (--ocsp FILE, or --ocsp fetch)" in capsys.readouterr().err
    file = tmp_path / "fetch.der"
    file.write_bytes(registrar.response(authority.certificate(certificate), status="revoked", since=-2))
    assert cli.main([*signing, str(tmp_path / "c.mp4"), "--ocsp", str(file)]) == 2
    assert f"revoked as of {days(-2):%Y-%m-%d}" in capsys.readouterr().err
