"""A second validator, written by others from the specification, sees the same as the verifier does."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import provenance
from provenance import keys
from provenance.video import boxes
from tests.provenance.ocsp import Responder

encypher = pytest.importorskip("encypher_c2pa")


def second(path: Path, root: str | None) -> dict:
    return encypher.verify(path, "video/mp4", trust_pem=root, no_default_trust=True, telemetry=False, online=False)


def test_it_stays_off_the_network(signed: Path, monkeypatch) -> None:
    import socket

    monkeypatch.setattr(socket, "socket", None)
    assert second(signed, None)["present"]


def test_generated_clips(signed: Path) -> None:
    found = second(signed, keys.local_root())
    assert (found["integrity"], found["signature"], found["hard_binding"]) == ("valid", "valid", "match")
    assert found["validation_state"] == "Trusted" and found["validation_results"]["failure"] == []
    assert found["trust"]["status"] == "valid_for_supplied_material"


def test_files_signed_as_they_are_and_with_a_history(plain: Path, tmp_path: Path) -> None:
    provenance.sign(plain, tmp_path / "first.mp4")
    provenance.sign(tmp_path / "first.mp4", tmp_path / "again.mp4", again=True)
    for name in ("first.mp4", "again.mp4"):
        found = second(tmp_path / name, keys.local_root())
        assert (found["integrity"], found["hard_binding"]) == ("valid", "match"), name
        assert found["validation_state"] == "Trusted" and provenance.verify(tmp_path / name).status == "authentic"


def test_a_users_own_certificate(plain: Path, tmp_path: Path, authority) -> None:
    signer = keys.load_signer(*authority.issue(ec.generate_private_key(ec.SECP256R1())))
    provenance.sign(plain, tmp_path / "x.mp4", signer=signer)
    found = second(tmp_path / "x.mp4", authority.root_pem.read_text())
    assert (found["integrity"], found["hard_binding"], found["validation_state"]) == ("valid", "match", "Trusted")


def test_an_ocsp_response_in_the_signature(plain: Path, tmp_path: Path, authority) -> None:
    files = authority.issue(ec.generate_private_key(ec.SECP256R1()))
    response = tmp_path / "good.der"
    response.write_bytes(Responder(authority).response(authority.certificate(files[0])))
    files[0].write_bytes(files[0].read_bytes() + authority.root_pem.read_bytes())
    provenance.sign(plain, tmp_path / "x.mp4", signer=keys.load_signer(*files), ocsp=response)
    found = second(tmp_path / "x.mp4", authority.root_pem.read_text())
    assert (found["integrity"], found["hard_binding"], found["validation_state"]) == ("valid", "match", "Trusted")


def test_an_unknown_signer(signed: Path) -> None:
    found = second(signed, None)
    assert (found["integrity"], found["hard_binding"]) == ("valid", "match") and found["validation_state"] != "Trusted"


@pytest.mark.parametrize("where", ["mdat", "moov", "uuid"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_altered_files(where: str, share: float, signed: Path, tmp_path: Path) -> None:
    with signed.open("rb") as file:
        at, size = {kind: (at, size) for kind, at, size in boxes(file)}[where.encode()]
    data = bytearray(signed.read_bytes())
    data[at + int(size * share)] ^= 0x55
    (tmp_path / "x.mp4").write_bytes(data)
    found = second(tmp_path / "x.mp4", keys.local_root())
    assert found["validation_state"] == "Invalid"
    assert provenance.verify(tmp_path / "x.mp4").status in ("altered", "unreadable")
    if where == "mdat":
        assert (found["integrity"], found["signature"], found["hard_binding"]) == ("invalid", "valid", "mismatch")


def test_a_file_without_credentials(plain: Path) -> None:
    assert not second(plain, None)["present"]
