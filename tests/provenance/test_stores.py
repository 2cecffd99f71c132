"""A manifest store without its file: what can be checked is, and what cannot is not taken for a fault."""

import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import provenance
from provenance import keys, stores
from provenance.watermark import ALGORITHM

PAYLOAD = b"8 bytes!"


@pytest.fixture(scope="module")
def store(signed: Path) -> bytes:
    found = stores.find(signed.read_bytes())
    assert found is not None
    return found


def test_a_good_store_holds_without_its_file(store) -> None:
    found = stores.validate(store, keys.trust_policy())
    assert (found.state, found.failures, found.said["title"]) == ("Trusted", (), "a dog on a beach")
    assert found.bound(ALGORITHM) == PAYLOAD and found.label.startswith("urn:c2pa:")


def test_trust_is_that_of_today(store) -> None:
    assert stores.validate(store, keys.Trust()).state == "Valid"


def test_the_store_is_what_was_signed(store, signed) -> None:
    assert store in signed.read_bytes() and stores.find(b"no manifest store" * 10) is None
    assert stores.find(store[:-10]) is None and stores.find(b"") is None


def test_a_changed_statement_is_noticed(store) -> None:
    found = stores.validate(store.replace(b"a dog on a beach", b"a war on a beach"), keys.trust_policy())
    assert found.state == "Invalid" and found.failures


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_changed_byte_changes_what_a_store_that_holds_says(share: float, flip: int, store: bytes) -> None:
    trust = keys.trust_policy()
    data = bytearray(store)
    data[int(len(data) * share)] ^= flip
    found = stores.validate(bytes(data), trust)
    if found.state != "Invalid":  # labels and padding are not signed
        good = stores.validate(store, trust)
        assert (found.said, found.bindings) == (good.said, good.bindings)


@pytest.mark.parametrize("data", [b"", b"x", b"<html>", bytes(100), b"\0\0\0\x10jumb" * 9])
def test_something_else_is_invalid_and_never_raises(data: bytes) -> None:
    assert stores.validate(data, keys.Trust()).state == "Invalid"


def test_a_store_cut_short_or_too_large_is_invalid(store, monkeypatch) -> None:
    for share in (0.1, 0.5, 0.9, 0.999):
        assert stores.validate(store[: int(len(store) * share)], keys.Trust()).state == "Invalid"
    monkeypatch.setattr(stores, "LARGEST", len(store) - 1)
    assert "the limit is" in stores.validate(store, keys.Trust()).failures[0]


def test_a_file_signed_as_it_is_has_a_store_too(plain, tmp_path) -> None:
    provenance.sign(plain, tmp_path / "signed.mp4")
    found = stores.validate(stores.find((tmp_path / "signed.mp4").read_bytes()), keys.Trust())
    assert found.state == "Valid" and found.bound(ALGORITHM) is None


def test_a_store_whose_certificate_has_expired_does_not_hold_but_is_worth_keeping(plain, authority, tmp_path) -> None:
    signer = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1()), end=6 / 86400))
    expires = time.monotonic() + 6
    provenance.sign(plain, tmp_path / "signed.mp4", signer=signer)
    time.sleep(max(0, expires - time.monotonic()) + 0.5)
    found = stores.validate(stores.find((tmp_path / "signed.mp4").read_bytes()), keys.Trust())
    assert found.state == "Invalid" and found.intact
    forged = stores.find((tmp_path / "signed.mp4").read_bytes()).replace(b"plain.mp4", b"other.mp4")
    assert not stores.validate(forged, keys.Trust()).intact
