"""Who signed and when, from the file's certificates: what C2PA's library lets through is caught here."""

import datetime
import io
import json
import time
from pathlib import Path

import c2pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

import provenance
from provenance import keys, manifest, signatures
from provenance.keys import chains, profile
from tests.provenance.tsa import StampAuthority, serving

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"es256": ec.SECP256R1(), "es384": ec.SECP384R1(), "es512": ec.SECP521R1()}


def new_key(alg: str):
    if alg == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(CURVES[alg]) if alg in CURVES else rsa.generate_private_key(65537, 2048)


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def stated(path: Path, policy: keys.Trust) -> str | None:
    """C2PA's own verdict, without ours."""
    with (
        path.open("rb") as file,
        manifest.context(policy) as ctx,
        c2pa.Reader("video/mp4", file, context=ctx) as reader,
    ):
        return reader.get_validation_state()


@pytest.fixture
def clocks(authorities):
    """A time stamp authority at work, under a root of its own."""
    with serving(StampAuthority(authorities("Clock root"))) as authority:
        yield authority


@pytest.mark.parametrize("alg", keys.ALGORITHMS)
def test_every_algorithm_signs_from_a_file_and_through_a_callback(alg: str, small, tmp_path, authority) -> None:
    key = new_key(alg)
    files = authority.issue(key)

    def in_a_kms(data: bytes) -> bytes:
        if alg == "ed25519":
            return key.sign(data)
        digest = HASHES[alg[2:]]
        if alg.startswith("es"):
            return key.sign(data, ec.ECDSA(digest))
        return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)

    for signer in (keys.load_signer(*files, alg=alg), keys.callback_signer(in_a_kms, alg, files[0].read_text())):
        provenance.sign(small, tmp_path / "signed.mp4", signer=signer, overwrite=True)
        report = provenance.verify(tmp_path / "signed.mp4", authority.root_pem)
        assert report.status == "authentic" and report.manifest["signer"]["algorithm"].lower() == alg


@pytest.mark.parametrize("alg", CURVES)
def test_ecdsa_from_a_callback_may_be_raw(alg: str, small, tmp_path, authority) -> None:
    key = new_key(alg)

    def raw(data: bytes) -> bytes:
        r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[alg[2:]])))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size) + s.to_bytes(size)

    signer = keys.callback_signer(raw, alg, authority.issue(key)[0].read_text())
    provenance.sign(small, tmp_path / "signed.mp4", signer=signer)
    assert provenance.verify(tmp_path / "signed.mp4", authority.root_pem).status == "authentic"


def test_a_chain_through_intermediates_is_believed_by_its_root(small, tmp_path, authorities) -> None:
    root = authorities("root")
    desk = authorities("desk", above=authorities("middle", above=root))
    provenance.sign(small, tmp_path / "x.mp4", signer=keys.load_signer(*desk.issue(p256())))
    assert provenance.verify(tmp_path / "x.mp4", root.root_pem).status == "authentic"


@pytest.fixture
def signed_by_ana(small, tmp_path, authority):
    """(clip, Ana's certificate), with no time stamp."""
    files = authority.issue(p256())
    provenance.sign(small, tmp_path / "ana.mp4", signer=keys.load_signer(*files))
    return tmp_path / "ana.mp4", authority.certificate(files[0])


def test_a_root_of_time_stamps_vouches_for_no_signer(signed_by_ana, authority) -> None:
    clip, _ = signed_by_ana
    policy = keys.trust_policy(tsa=authority.root_pem)
    assert stated(clip, policy) == "Trusted"  # why this is checked here
    report = provenance.verify(clip, policy)
    assert report.status == "untrusted" and any("only a root of time stamp authorities" in f for f in report.findings)


def test_a_certificate_for_time_stamps_signs_no_clip(small, tmp_path, authority) -> None:
    files = authority.issue(p256(), eku=profile.TIME_STAMPING)
    signer = keys.Signer(alg="es256", chain_pem=files[0].read_text(), key_pem=files[1].read_text())
    provenance.sign(small, tmp_path / "x.mp4", signer=signer)
    policy = keys.trust_policy(authority.root_pem)
    assert stated(tmp_path / "x.mp4", policy) == "Trusted"  # why this is checked here
    assert provenance.verify(tmp_path / "x.mp4", policy).status == "untrusted"


def test_who_was_certified_cannot_certify_others(small, tmp_path, authority) -> None:
    key = p256()
    ana, _ = authority.issue(key)
    policy = keys.trust_policy(authority.root_pem)
    authority.key, authority.name = key, authority.certificate(ana).subject
    forged, forged_key = authority.issue(p256(), name="Prime Minister")
    forged.write_bytes(forged.read_bytes() + ana.read_bytes())
    provenance.sign(small, tmp_path / "x.mp4", signer=keys.load_signer(forged, forged_key))
    report = provenance.verify(tmp_path / "x.mp4", policy)
    assert report.status == "untrusted" and any("is no authority's" in finding for finding in report.findings)


def test_the_allowed_list_believes_one_certificate(signed_by_ana, small, tmp_path, authority) -> None:
    clip, ana = signed_by_ana
    (tmp_path / "allowed.pem").write_text(chains.pem(ana))
    policy = keys.trust_policy(allowed=tmp_path / "allowed.pem")
    assert stated(clip, policy) == "Valid" and provenance.verify(clip, policy).status == "authentic"
    provenance.sign(small, tmp_path / "ben.mp4", signer=keys.load_signer(*authority.issue(p256(), name="Ben")))
    assert provenance.verify(tmp_path / "ben.mp4", policy).status == "untrusted"


def test_a_trust_configuration_says_which_purposes_are_accepted(signed_by_ana, tmp_path, authority) -> None:
    clip, _ = signed_by_ana
    (tmp_path / "store.cfg").write_text(f"// only the newest\n{profile.CLAIM_SIGNING}\n")
    report = provenance.verify(clip, keys.trust_policy(authority.root_pem, config=tmp_path / "store.cfg"))
    assert report.status == "untrusted" and any("for none of the purposes" in finding for finding in report.findings)
    (tmp_path / "store.cfg").write_text(profile.EMAIL_PROTECTION)
    assert provenance.verify(clip, keys.trust_policy(authority.root_pem, config=tmp_path / "store.cfg")).exit_code == 0


def test_a_purpose_of_ones_own_is_accepted_where_it_is_configured(small, tmp_path, authority) -> None:
    files = authority.issue(p256(), eku=(profile.DOCUMENT_SIGNING, "1.2.3.4.5"))
    provenance.sign(small, tmp_path / "x.mp4", signer=keys.load_signer(*files))
    (tmp_path / "store.cfg").write_text("1.2.3.4.5")
    policy = keys.trust_policy(authority.root_pem, config=tmp_path / "store.cfg")
    assert provenance.verify(tmp_path / "x.mp4", policy).status == "authentic"


# When


def test_the_report_says_whose_word_the_time_is(small, tmp_path, authority, clocks) -> None:
    signer = keys.load_signer(*authority.issue(p256()))
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    provenance.sign(small, tmp_path / "x.mp4", signer=signer, timestamp=clocks.url)
    report = provenance.verify(tmp_path / "x.mp4", keys.trust_policy(authority.root_pem, tsa=clocks.root_pem))
    stamp = report.manifest["time_stamp"]
    assert (stamp["authority"], stamp["trusted"]) == ("Clockmakers", True) and report.manifest["when"] == stamp["time"]
    assert before <= datetime.datetime.fromisoformat(stamp["time"]) <= datetime.datetime.now(datetime.UTC)
    assert f"{stamp['time']} (by time stamp authority Clockmakers)" in report.to_text()
    report = provenance.verify(tmp_path / "x.mp4", authority.root_pem)
    assert report.status == "authentic" and not report.manifest["time_stamp"]["trusted"]
    assert "(by time stamp authority Clockmakers, whom nobody here vouches for)" in report.to_text()
    provenance.sign(small, tmp_path / "y.mp4", signer=signer)
    assert "(as the signer says)" in provenance.verify(tmp_path / "y.mp4").to_text()


def test_a_time_stamp_keeps_a_clip_good_when_the_certificate_has_expired(small, tmp_path, authority, clocks) -> None:
    signer = keys.load_signer(*authority.issue(p256(), end=6 / 86400))
    provenance.sign(small, tmp_path / "stamped.mp4", signer=signer, timestamp=clocks.url)
    provenance.sign(small, tmp_path / "bare.mp4", signer=signer)
    end = keys.certificates(signer.chain_pem)[0].not_valid_after_utc
    time.sleep(max(0.0, (end - datetime.datetime.now(datetime.UTC)).total_seconds() + 1.1))
    good = keys.trust_policy(authority.root_pem, tsa=clocks.root_pem)
    assert provenance.verify(tmp_path / "stamped.mp4", good).status == "authentic"
    # A root of signers vouches for no time stamp: then the certificate has to be valid now. C2PA's library says yes.
    mixed = keys.trust_policy([authority.root_pem, clocks.root_pem])
    assert stated(tmp_path / "stamped.mp4", mixed) == "Trusted"
    for clip, policy in [("stamped", mixed), ("stamped", keys.trust_policy(authority.root_pem)), ("bare", good)]:
        report = provenance.verify(tmp_path / f"{clip}.mp4", policy)
        assert report.status == "altered" and "has expired, and no time stamp proves" in report.findings[0]


# Revoked


@pytest.mark.parametrize("how", ["list", "crl"])
def test_a_revoked_certificate_is_not_believed(how: str, signed_by_ana, tmp_path, authority) -> None:
    clip, ana = signed_by_ana
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    (tmp_path / "list.txt").write_text(keys.fingerprint(ana))
    revoked = tmp_path / "list.txt" if how == "list" else authority.crl((ana, yesterday, None))
    report = provenance.verify(clip, keys.trust_policy(authority.root_pem, revoked=revoked))
    assert report.status == "altered" and report.findings[0].startswith("the signer's certificate was revoked")
    assert "signingCredential.revoked" in report.findings[0] and str(revoked) in report.findings[0]


def test_a_clip_stamped_before_the_revocation_stays_good(small, tmp_path, authority, clocks) -> None:
    files = authority.issue(p256())
    ana, now = authority.certificate(files[0]), datetime.datetime.now(datetime.UTC)
    provenance.sign(small, tmp_path / "stamped.mp4", signer=keys.load_signer(*files), timestamp=clocks.url)
    provenance.sign(small, tmp_path / "bare.mp4", signer=keys.load_signer(*files))
    later = authority.crl((ana, now + datetime.timedelta(hours=1), None))
    earlier = authority.crl((ana, now - datetime.timedelta(hours=1), None))
    for clip, crl, tsa, status in [
        ("stamped", later, clocks.root_pem, "authentic"),
        ("stamped", earlier, clocks.root_pem, "altered"),
        ("stamped", later, None, "altered"),  # a time that is not believed proves nothing
        ("bare", later, clocks.root_pem, "altered"),
    ]:
        policy = keys.trust_policy(authority.root_pem, tsa=tsa, revoked=crl)
        assert provenance.verify(tmp_path / f"{clip}.mp4", policy).status == status, (clip, crl)


def test_a_revoked_time_stamp_authority_proves_nothing(small, tmp_path, authority, clocks) -> None:
    provenance.sign(small, tmp_path / "x.mp4", signer=keys.load_signer(*authority.issue(p256())), timestamp=clocks.url)
    (tmp_path / "list.txt").write_text(keys.fingerprint(keys.certificates(clocks.certificate_pem.read_text())[0]))
    policy = keys.trust_policy(authority.root_pem, tsa=clocks.root_pem, revoked=tmp_path / "list.txt")
    report = provenance.verify(tmp_path / "x.mp4", policy)
    assert not report.manifest["time_stamp"]["trusted"]
    assert any("of its time stamp authority Clockmakers was revoked" in finding for finding in report.findings)


def test_a_revoked_authority_takes_what_it_issued_along(small, tmp_path, authorities) -> None:
    root = authorities("root")
    middle = authorities("middle", above=root)
    provenance.sign(small, tmp_path / "x.mp4", signer=keys.load_signer(*middle.issue(p256())))
    crl = root.crl((middle.own, datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1), None))
    report = provenance.verify(tmp_path / "x.mp4", keys.trust_policy(root.root_pem, revoked=crl))
    assert report.status == "altered" and "an authority above the signer was revoked" in report.findings[0]


# Keys change, clips stay


def test_clips_of_a_replaced_development_identity_stay_authentic(small, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "keys"))
    for name in ("first", "new leaf", "new root"):
        if name != "first":
            keys.rotate(root=name == "new root")
        provenance.sign(small, tmp_path / f"{name}.mp4")
    for name in ("first", "new leaf", "new root"):
        report = provenance.verify(tmp_path / f"{name}.mp4")
        assert report.status == "authentic" and report.manifest["signer"]["development"]


def test_clips_of_an_organisations_old_and_new_chain_both_verify(small, tmp_path, authority) -> None:
    for name in ("Ana 2025", "Ana 2026"):
        signer = keys.load_signer(*authority.issue(p256(), name=name))
        provenance.sign(small, tmp_path / f"{name}.mp4", signer=signer)
    for name in ("Ana 2025", "Ana 2026"):
        report = provenance.verify(tmp_path / f"{name}.mp4", authority.root_pem)
        assert report.status == "authentic" and report.manifest["signer"]["name"] == name


# Hostile stores


def test_a_source_of_a_signer_not_believed_here_is_not_called_authentic(small, tmp_path, authority) -> None:
    files = authority.issue(p256(), eku=profile.TIME_STAMPING)
    signer = keys.Signer(alg="es256", chain_pem=files[0].read_text(), key_pem=files[1].read_text())
    provenance.sign(small, tmp_path / "source.mp4", signer=signer)
    provenance.sign(tmp_path / "source.mp4", tmp_path / "edited.mp4", again=True)
    report = provenance.verify(tmp_path / "edited.mp4", authority.root_pem)
    assert [source["status"] for source in report.manifest["ingredients"]] == ["untrusted"]


def test_a_store_that_makes_no_sense_gives_nothing(signed_by_ana) -> None:
    clip, ana = signed_by_ana
    with clip.open("rb") as file, manifest.context() as ctx, c2pa.Reader("video/mp4", file, context=ctx) as reader:
        label = json.loads(reader.json())["active_manifest"]
        stream = io.BytesIO()
        reader.resource_to_stream(f"self#jumbf=/c2pa/{label}/c2pa.signature", stream)
    store = stream.getvalue()
    found = signatures.parse(store, label)
    assert found is not None and found.chain[0] == ana
    assert signatures.parse(store, "another") is None
    for cut in range(0, len(store), 7):
        assert signatures.parse(store[:cut], label) is None
    for i in range(len(store)):
        changed = bytearray(store)
        changed[i] ^= 0xFF
        signatures.parse(bytes(changed), label)  # whatever it says, it says it without an exception
