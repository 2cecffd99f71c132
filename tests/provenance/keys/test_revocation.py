"""Revocation lists: believed only from who may write them, and from their date on."""

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ReasonFlags

from provenance import keys
from provenance.errors import KeyFileError
from provenance.keys import chains, revocation

JUNE = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
MAY, JULY = JUNE.replace(month=5), JUNE.replace(month=7)


@pytest.fixture
def leaf(authority):
    return authority.certificate(authority.issue(ec.generate_private_key(ec.SECP256R1()))[0])


def test_a_crl_counts_for_what_its_signer_issued(authority, authorities, leaf) -> None:
    listed = revocation.load([authority.crl((leaf, JUNE, ReasonFlags.key_compromise))])
    found = listed.find(leaf, [authority.own])
    assert found is not None and (found.since, found.reason) == (JUNE, "key_compromise")
    other = authority.certificate(authority.issue(ec.generate_private_key(ec.SECP256R1()))[0])
    assert listed.find(other, [authority.own]) is None
    assert listed.find(leaf, [authorities("somebody else").own]) is None


def test_a_crl_in_pem_form_may_hold_several(authority, leaf, tmp_path: Path) -> None:
    from cryptography import x509

    pem = b"".join(
        x509.load_der_x509_crl(crl.read_bytes()).public_bytes(serialization.Encoding.PEM)
        for crl in (authority.crl(), authority.crl((leaf, JUNE, None)))
    )
    (tmp_path / "crls.pem").write_bytes(pem)
    assert revocation.load([tmp_path / "crls.pem"]).find(leaf, [authority.own]) is not None


def test_a_forged_crl_is_not_used_and_said_to_be_so(authority, leaf) -> None:
    forged = authority.crl((leaf, JUNE, None), key=ec.generate_private_key(ec.SECP256R1()))
    listed = revocation.load([forged])
    assert listed.find(leaf, [authority.own]) is None
    assert "is not signed by the authority it names" in listed.doubts(leaf, [authority.own])[0]


def test_an_old_crl_is_used_with_a_warning(authority, leaf) -> None:
    listed = revocation.load([authority.crl((leaf, JUNE, None), age=30)])
    assert listed.find(leaf, [authority.own]) is not None
    assert "is out of date since" in listed.doubts(leaf, [authority.own])[0]
    assert revocation.load([authority.crl()]).doubts(leaf, [authority.own]) == []


def test_a_plain_list_names_certificates_by_hash_or_serial(leaf, tmp_path: Path) -> None:
    digest = keys.fingerprint(leaf).upper()
    for line, since in [
        (digest, None),
        (":".join(digest[i : i + 2] for i in range(0, 64, 2)) + " 2026-06-01  # lost laptop", JUNE),
        (f"serial {leaf.serial_number:x} 2026-06-01T02:00:00+02:00", JUNE),
        (f"SERIAL 0x{leaf.serial_number:X}", None),
    ]:
        (tmp_path / "list.txt").write_text(f"# ours\n\n{line}\n")
        found = revocation.load([tmp_path / "list.txt"]).find(leaf, [])
        assert found is not None and found.since == since


def test_the_earliest_of_several_dates_counts(authority, leaf, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{keys.fingerprint(leaf)} 2026-05-01\n")
    listed = revocation.load([authority.crl((leaf, JUNE, None)), tmp_path / "list.txt"])
    found = listed.find(leaf, [authority.own])
    assert found is not None and found.since == MAY


def test_a_revocation_counts_from_its_date_unless_nothing_proves_the_time() -> None:
    revoked = revocation.Revoked(source="x", since=JUNE)
    assert [revoked.covers(at) for at in (MAY, JUNE, JULY, None)] == [False, True, True, True]
    assert revocation.Revoked(source="x").covers(MAY)


def test_an_authoritys_own_stamps_outlive_its_revocation_only_if_no_key_was_lost() -> None:
    retired = revocation.Revoked(source="x", since=JUNE, reason="cessation_of_operation")
    stolen = revocation.Revoked(source="x", since=JUNE, reason="key_compromise")
    assert not retired.covers_stamp(MAY) and retired.covers_stamp(JULY) and stolen.covers_stamp(MAY)


@pytest.mark.parametrize("line", ["hello", "ab" * 31, "ab" * 32 + " soon", "serial xyz", "ab" * 32 + " 2026-06-01 x"])
def test_a_line_that_cannot_be_read_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"# ours\n{line}\n")
    with pytest.raises(KeyFileError, match="list.txt, line 2: expected the SHA-256"):
        revocation.load([tmp_path / "list.txt"])


def test_a_damaged_crl_is_named(authority, tmp_path: Path) -> None:
    (tmp_path / "cut.crl").write_bytes(authority.crl().read_bytes()[:-9])
    with pytest.raises(KeyFileError, match="cut.crl is not a revocation list"):
        revocation.load([tmp_path / "cut.crl", authority.root_pem])
    with pytest.raises(KeyFileError, match="is not a revocation list"):
        revocation.load([authority.root_pem])
    assert chains.now() > JUNE


def test_a_list_that_begins_with_the_digit_0_is_text(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("0" * 64)
    assert revocation.load([tmp_path / "list.txt"]).fingerprints[0][0] == "0" * 64
