"""OCSP responses in a signature, as a verifier finds them: what counts, whoever made them and whatever they say."""

import datetime
from pathlib import Path

import c2pa
import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags
from PIL import Image

import provenance
from provenance import credentials, formats, jumbf, keys, manifest, stapling, stores
from tests.provenance.ocsp import OCSP_SIGNING, Responder, days, forged
from tests.provenance.tsa import StampAuthority, serving

SAYS = "an OCSP response in the file"
GOOD = f"{SAYS} says that the signer's certificate is good"
IMPOSTOR = f"{SAYS} was not used: it is not signed by the certificate's issuer, nor by a responder of that issuer"


def p256():
    return ec.generate_private_key(ec.SECP256R1())


class Newsroom:
    """A signed clip, the responder of its signer's authority, and responses put into it as anybody could."""

    def __init__(self, authority, clip: Path, folder: Path):
        self.authority, self.clip, self.folder = authority, clip, folder
        self.registrar = Responder(authority)
        self.key = p256()
        self.files = authority.issue(self.key)
        self.certificate = authority.certificate(self.files[0])
        # A callback has the library leave room.
        held = keys.load_signer(*self.files)
        self.signer = keys.callback_signer(held.sign, held.alg, held.chain_pem)
        self.signed = folder / "signed.mp4"

    def sign(self, **options) -> None:
        provenance.sign(self.clip, self.signed, signer=self.signer, **options)

    def staple(self, *responses: bytes, path: Path | None = None) -> Path:
        path = path or self.signed
        store = stores.find(path.read_bytes())
        assert store is not None
        changed = with_headers(store, {"rVals": {"ocspVals": list(responses)}})
        stapling.replace_in_file(path, formats.of(path), store, changed)
        return path

    def report(self, path: Path | None = None, **trust) -> provenance.Report:
        return provenance.verify(path or self.signed, keys.trust_policy(self.authority.root_pem, **trust))


def with_headers(store: bytes, headers: dict) -> bytes:
    """The same store with these unprotected headers, its signature as good as before."""
    view = memoryview(store)
    held = bytes(next(jumbf.content(view, ("c2pa", jumbf.active(view), jumbf.SIGNATURE))))
    protected, before, payload, signature = cbor2.loads(held).value
    headers = {name: value for name, value in before.items() if name != "pad"} | headers
    bare = cbor2.dumps(cbor2.CBORTag(18, [protected, {**headers, "pad": bytes(256)}, payload, signature]))
    headers["pad"] = bytes(256 + len(held) - len(bare))
    return store.replace(held, cbor2.dumps(cbor2.CBORTag(18, [protected, headers, payload, signature])))


@pytest.fixture
def newsroom(authority, small: Path, tmp_path: Path) -> Newsroom:
    return Newsroom(authority, small, tmp_path)


def about_ocsp(report: provenance.Report) -> list[str]:
    return [finding for finding in report.findings if "OCSP" in finding or "revoked" in finding]


def stated(path: Path, policy: keys.Trust) -> set[str]:
    """C2PA's own codes, without ours."""
    with (
        path.open("rb") as file,
        manifest.context(policy) as ctx,
        c2pa.Reader("video/mp4", file, context=ctx) as reader,
    ):
        found = reader.get_validation_results()["activeManifest"]
    return {entry["code"].removeprefix("signingCredential.") for kind in found.values() for entry in kind}


@pytest.mark.parametrize("whose", ["responder", "issuer", "issuer, alone"])
def test_a_good_response_is_a_note(whose: str, newsroom) -> None:
    newsroom.sign()
    issuer = (newsroom.authority.key, newsroom.authority.own)
    by, enclose = (None if whose == "responder" else issuer), whose != "issuer, alone"
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, by=by, enclose=enclose))
    report = newsroom.report()
    assert report.status == "authentic" and about_ocsp(report) == [GOOD]


@pytest.mark.parametrize("whose", ["responder", "issuer", "issuer, alone"])
def test_a_revocation_is_one_line_and_altered(whose: str, newsroom) -> None:
    newsroom.sign()
    issuer = (newsroom.authority.key, newsroom.authority.own)
    by, enclose = (None if whose == "responder" else issuer), whose != "issuer, alone"
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, status="revoked", by=by, enclose=enclose))
    report = newsroom.report()
    since = f"{days(-1):%Y-%m-%d %H:%M} UTC"
    assert report.status == "altered" and about_ocsp(report) == [
        f"the signer's certificate was revoked as of {since}, key compromise ({SAYS}), and no time stamp proves an "
        "earlier signature (signingCredential.ocsp.revoked)"
    ]


def test_a_revocation_counts_however_old_the_response_is(newsroom) -> None:
    newsroom.sign()
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, status="revoked", start=-99, end=-92, since=-99))
    assert newsroom.report().status == "altered"


def test_a_good_response_does_not_hide_a_revocation_beside_it(newsroom) -> None:
    newsroom.sign()
    good, gone = (newsroom.registrar.response(newsroom.certificate, status=status) for status in ("good", "revoked"))
    newsroom.staple(good, gone)
    assert newsroom.report().status == "altered"


@pytest.mark.parametrize("reason", [None, ReasonFlags.superseded])
def test_a_time_stamp_older_than_the_revocation_saves_the_signature(reason, newsroom, authorities) -> None:
    with serving(StampAuthority(authorities("Clock root"))) as clocks:
        newsroom.sign(timestamp=clocks.url)
    later, gone = (
        newsroom.registrar.response(newsroom.certificate, status="revoked", since=since, reason=reason)
        for since in (0.5, -0.5)
    )
    newsroom.staple(later)
    report = newsroom.report(tsa=clocks.root_pem)
    assert report.status == "authentic" and len(about_ocsp(report)) == 1
    assert about_ocsp(report)[0].endswith("UTC, after it had signed")
    assert newsroom.report().status == "altered"  # whose time stamp nobody vouches for
    newsroom.staple(gone)
    assert newsroom.report(tsa=clocks.root_pem).status == "altered"


def test_out_of_date_is_not_revoked(newsroom) -> None:
    newsroom.sign()
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, start=-9, end=-2))
    report = newsroom.report()
    assert report.status == "authentic" and about_ocsp(report) == [
        f"{SAYS} says that the signer's certificate was good on {days(-9):%Y-%m-%d}, and nothing of the time after "
        f"{days(-2):%Y-%m-%d}"
    ]


def test_what_the_library_takes_for_a_revocation_is_looked_at_again(newsroom, authorities) -> None:
    with serving(StampAuthority(authorities("Clock root"))) as clocks:
        newsroom.sign(timestamp=clocks.url)
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, start=-9, end=-2))  # outlived by the time stamp
    assert "ocsp.revoked" in stated(
        newsroom.signed, keys.trust_policy(newsroom.authority.root_pem, tsa=clocks.root_pem)
    )
    report = newsroom.report(tsa=clocks.root_pem)
    assert report.status == "authentic" and "and nothing of the time after" in about_ocsp(report)[0]
    data = newsroom.signed.read_bytes()
    at = data.index(b"mdat") + 200
    newsroom.signed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    report = newsroom.report(tsa=clocks.root_pem)  # and what it found besides still counts
    assert report.status == "altered" and not any("revoked" in finding for finding in report.findings)


def test_what_the_library_reads_otherwise(newsroom) -> None:
    newsroom.sign()
    trusted = keys.trust_policy(newsroom.authority.root_pem)
    issuer, signer = (newsroom.authority.key, newsroom.authority.own), (newsroom.key, newsroom.certificate)
    for by, start, status, code in (
        (None, -1, "revoked", "ocsp.revoked"),
        (issuer, -1, "revoked", None),  # passed over
        (signer, -1, "revoked", "ocsp.revoked"),  # who may not say so
        (None, 2, "good", "ocsp.revoked"),  # not valid yet
    ):
        newsroom.staple(newsroom.registrar.response(newsroom.certificate, status=status, start=start, by=by))
        assert {code for code in stated(newsroom.signed, trusted) if "ocsp" in code} == ({code} if code else set())


def test_a_response_from_the_future_is_not_used(newsroom) -> None:
    newsroom.sign()
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, start=2, end=9))
    report = newsroom.report()
    assert report.status == "authentic"
    assert about_ocsp(report) == [f"{SAYS} was not used: it is dated {days(2):%Y-%m-%d}, in the future"]


def test_a_responder_that_does_not_know_is_quoted(newsroom) -> None:
    newsroom.sign()
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, status="unknown"))
    report = newsroom.report()
    assert report.status == "authentic" and about_ocsp(report) == [f"{SAYS} does not know the signer's certificate"]


@pytest.mark.parametrize("status", ["good", "revoked"])
@pytest.mark.parametrize("how", ["broken", "stranger", "namesake", "signer", "expired", "undated", "revoked"])
def test_a_forged_response_says_nothing(status: str, how: str, newsroom, authorities, tmp_path) -> None:
    newsroom.sign()
    authority, key, trust = newsroom.authority, p256(), {}
    by = {
        "broken": lambda: None,
        "stranger": lambda: _delegate(authorities("Another root"), key),
        "namesake": lambda: _delegate(type(authority)(tmp_path / "namesake"), key),
        "signer": lambda: (newsroom.key, newsroom.certificate),  # certified, but not for this
        "expired": lambda: _delegate(authority, key, start=-9, end=-1),
        "undated": lambda: _delegate(authority, key, start=1, end=9),
        "revoked": lambda: _delegate(authority, key),
    }[how]()
    response = newsroom.registrar.response(newsroom.certificate, status=status, by=by)
    if how == "broken":
        response = forged(response)
    if how == "revoked":
        trust["revoked"] = authority.crl((by[1], datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), None))
    newsroom.staple(response)
    report = newsroom.report(**trust)
    assert report.status == "authentic" and about_ocsp(report) == [IMPOSTOR]


def _delegate(authority, key, **days) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    return key, authority.certificate(authority.issue(key, eku=OCSP_SIGNING, name="Registrar", **days)[0])


@pytest.mark.parametrize("status", ["good", "revoked"])
def test_a_response_about_another_certificate_says_nothing(status: str, newsroom) -> None:
    newsroom.sign()
    neighbour = newsroom.authority.certificate(newsroom.authority.issue(p256())[0])
    newsroom.staple(newsroom.registrar.response(neighbour, status=status))
    report = newsroom.report()
    assert report.status == "authentic" and about_ocsp(report) == [
        f"{SAYS} was not used: it is about another certificate"
    ]


def test_an_authority_above_the_signer_may_be_revoked(authority, authorities, small, tmp_path) -> None:
    desk = authorities("Desk", above=authority)
    newsroom = Newsroom(desk, small, tmp_path)
    newsroom.sign()
    own, above = newsroom.registrar, Responder(authority)
    newsroom.staple(own.response(newsroom.certificate), above.response(desk.own))
    trusted = keys.trust_policy(authority.root_pem)
    report = provenance.verify(newsroom.signed, trusted)
    assert report.status == "authentic" and about_ocsp(report) == [GOOD]
    newsroom.staple(own.response(newsroom.certificate), above.response(desk.own, status="revoked"))
    report = provenance.verify(newsroom.signed, trusted)
    assert report.status == "altered" and about_ocsp(report)[0].startswith(
        "the certificate of an authority above the signer was revoked as of"
    )


@pytest.mark.parametrize(
    "held",
    [5, [], {}, {"ocspVals": 5}, {"ocspVals": "text"}, {"ocspVals": b"bytes"}, {"ocspVals": [5, "a", None, [b""]]}],
    ids=str,
)
def test_what_is_no_list_of_responses_is_passed_over(held, newsroom) -> None:
    newsroom.sign()
    store = stores.find(newsroom.signed.read_bytes())
    changed = with_headers(store, {"rVals": held})
    stapling.replace_in_file(newsroom.signed, formats.MP4, store, changed)
    report = newsroom.report()
    assert report.status == "authentic" and about_ocsp(report) == []


def test_nonsense_is_not_used_and_there_is_an_end_to_it(newsroom) -> None:
    newsroom.sign()
    newsroom.staple(*[b"%d" % n for n in range(99)], b"")
    report = newsroom.report()
    assert report.status == "authentic"
    assert about_ocsp(report) == [f"{SAYS} was not used: it is not an OCSP response"]


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_a_picture_by_a_revoked_signer_is_altered(suffix: str, clip, newsroom, tmp_path) -> None:
    picture, signed = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    Image.fromarray(clip(3, frames=1, size=(128, 128))[0]).save(picture)
    provenance.sign(picture, signed, signer=newsroom.signer)
    newsroom.staple(newsroom.registrar.response(newsroom.certificate), path=signed)
    report = newsroom.report(signed)
    assert report.status == "authentic" and about_ocsp(report) == [GOOD]
    newsroom.staple(newsroom.registrar.response(newsroom.certificate, status="revoked"), path=signed)
    assert newsroom.report(signed).status == "altered"


def test_a_sidecar_by_a_revoked_signer_is_altered(newsroom) -> None:
    newsroom.sign(sidecar=True)
    side = newsroom.signed.with_suffix(".c2pa")
    response = newsroom.registrar.response(newsroom.certificate, status="revoked")
    side.write_bytes(stapling.stapled(credentials.load(side), response))
    report = newsroom.report()
    assert report.status == "altered" and len(about_ocsp(report)) == 1
    store = stores.validate(side.read_bytes(), keys.trust_policy(newsroom.authority.root_pem))
    assert store.state == "Invalid" and not store.intact


def test_a_source_by_a_revoked_signer_is_not_vouched_for(newsroom, tmp_path) -> None:
    newsroom.sign()
    issuer = (newsroom.authority.key, newsroom.authority.own)
    edited = tmp_path / "edited.mp4"
    for status, believed in (("good", "authentic"), ("revoked", "untrusted")):
        newsroom.staple(newsroom.registrar.response(newsroom.certificate, status=status, by=issuer))
        other = keys.load_signer(*newsroom.authority.issue(p256()))
        provenance.sign(newsroom.signed, edited, signer=other, again=True, overwrite=True)
        report = newsroom.report(edited)
        assert report.status == "authentic" and report.manifest["ingredients"][0]["status"] == believed
