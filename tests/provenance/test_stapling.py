"""A response finds its place in a signature, and nothing else in the file moves."""

from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import provenance
from provenance import formats, jumbf, keys, stapling, stores
from provenance.errors import SigningError


@pytest.fixture
def signed(small: Path, tmp_path: Path, authority) -> Path:
    held = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1())))
    signer = keys.callback_signer(held.sign, held.alg, held.chain_pem)  # the library leaves room for a time stamp
    provenance.sign(small, tmp_path / "signed.mp4", signer=signer)
    return tmp_path / "signed.mp4"


def signature(store: bytes) -> list:
    view = memoryview(store)
    held = next(jumbf.content(view, ("c2pa", jumbf.active(view), jumbf.SIGNATURE)))
    return cbor2.loads(held).value


def test_a_response_takes_the_place_of_padding(signed: Path) -> None:
    store = stores.find(signed.read_bytes())
    before = signature(store)
    room = len(before[1]["pad"])
    # Lengths of padding around those at which its own length is written in more bytes: some need a second padding.
    for left in (*range(24, 80), *range(270, 320), 5000, room - 1):
        changed = stapling.stapled(store, bytes(room - left))
        after = signature(changed)
        assert len(changed) == len(store) and (after[0], *after[2:]) == (before[0], *before[2:])
        assert list(after[1]["rVals"]["ocspVals"]) == [bytes(room - left)]
        pads = {name: value for name, value in after[1].items() if name != "rVals"}
        assert pads.keys() <= {"pad", "pad2"} and not any(map(any, pads.values()))


def test_a_second_response_takes_the_place_of_the_first(signed: Path) -> None:
    store = stores.find(signed.read_bytes())
    assert stapling.stapled(stapling.stapled(store, b"first"), b"second") == stapling.stapled(store, b"second")


def test_a_response_without_room_is_refused(signed: Path) -> None:
    store = stores.find(signed.read_bytes())
    room = len(signature(store)[1]["pad"])
    for length in (room - 5, room, room * 2):
        with pytest.raises(SigningError, match="no room for the OCSP response"):
            stapling.stapled(store, bytes(length))


@pytest.mark.parametrize("store", [b"", bytes(100), b"\0\0\0\x10jumb\0\0\0\x08jumb"], ids=len)
def test_a_store_without_signature_takes_none(store: bytes) -> None:
    with pytest.raises(SigningError, match="holds no signature"):
        stapling.stapled(store, b"response")


def test_only_the_store_changes_in_the_file(signed: Path) -> None:
    before = signed.read_bytes()
    store = stores.find(before)
    changed = stapling.stapled(store, b"response")
    stapling.replace_in_file(signed, formats.MP4, store, changed)
    assert signed.read_bytes() == before.replace(store, changed)
    with pytest.raises(SigningError, match=r"signed\.mp4 were not found again"):
        stapling.replace_in_file(signed, formats.MP4, store, changed)
