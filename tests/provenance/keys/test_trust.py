"""Whom to believe: lists as C2PA publishes them, told apart by what they are for."""

import base64
import os
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from provenance import keys
from provenance.errors import KeyFileError
from provenance.keys import chains
from provenance.keys.trust import anchored, purpose_accepted


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for an identity."""
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "deep" / "keys"))
    return tmp_path / "deep" / "keys"


def test_anchors_are_the_local_root_the_environments_and_those_given(
    folder: Path, authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.default_signer()
    assert keys.trust_anchors() == keys.local_root()
    assert keys.trust_anchors(authority.root_pem).count("BEGIN CERTIFICATE") == 2
    monkeypatch.setenv("SORAJAX_TRUST", os.pathsep.join([str(authority.root_pem)] * 2))
    assert keys.trust_anchors().count("BEGIN CERTIFICATE") == 3


def test_a_folder_of_lists_is_read_by_the_names_that_c2pa_gives_them(
    authority, authorities, tmp_path: Path, folder: Path, monkeypatch
) -> None:
    clocks, lists = authorities("clocks"), tmp_path / "lists"
    leaf = authority.certificate(authority.issue(ec.generate_private_key(ec.SECP256R1()))[0])
    lists.mkdir()
    (lists / "C2PA-TRUST-LIST.pem").write_bytes(b"# the list of June\n" + authority.root_pem.read_bytes())
    (lists / "C2PA-TSA-TRUST-LIST.pem").write_bytes(clocks.root_pem.read_bytes())
    (lists / "allowed.sha256.txt").write_text(
        "// Ana\n" + base64.b64encode(leaf.fingerprint(hashes.SHA256())).decode() + "\n"
    )
    (lists / "store.cfg").write_text("// emailProtection\n1.3.6.1.5.5.7.3.4\n\n1.3.6.1.4.1.62558.2.1\n")
    (lists / "revoked.txt").write_text(f"{keys.fingerprint(leaf)} 2026-01-02\n")
    (lists / "README.md").write_text("not a list")
    monkeypatch.setenv("SORAJAX_TRUST", str(lists))
    policy = keys.trust_policy()
    assert (policy.anchors, policy.tsa_anchors) == ((authority.own,), (clocks.own,))
    assert policy.allowed == {keys.fingerprint(leaf)}
    assert policy.ekus == ("1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.62558.2.1")
    assert policy.revoked.find(leaf, []) is not None
    assert keys.trust_policy(lists).anchors == (authority.own, authority.own)  # a folder can be given, too


def test_a_policy_can_be_handed_to_another_process(authority, authorities, tmp_path: Path, folder: Path) -> None:
    leaf = authority.issue(ec.generate_private_key(ec.SECP256R1()))[0]
    (tmp_path / "list.txt").write_text("serial 1f")
    policy = keys.trust_policy(
        authority.root_pem,
        tsa=authorities("clocks").root_pem,
        allowed=leaf,
        revoked=[authority.crl((authority.certificate(leaf), chains.now(), None)), tmp_path / "list.txt"],
    )
    assert pickle.loads(pickle.dumps(policy)) == policy and pickle.loads(pickle.dumps(keys.Trust())) == keys.Trust()


def test_a_file_whose_name_has_tsa_inside_a_word_is_no_tsa_list(authority, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "Outsans.pem").write_bytes(authority.root_pem.read_bytes())
    assert keys.trust_policy(tmp_path / "lists").tsa_anchors == ()


def test_an_allowed_list_takes_certificates_too(authority, tmp_path: Path, folder: Path) -> None:
    leaf = authority.issue(ec.generate_private_key(ec.SECP256R1()))[0]
    assert keys.trust_policy(allowed=leaf).allowed == {keys.fingerprint(authority.certificate(leaf))}


@pytest.mark.parametrize(
    ("what", "content", "says"),
    [
        ("allowed", "hello", "is no allowed list"),
        ("config", "hello", "line 1: expected an object identifier"),
        ("config", "// nothing\n", "names no extended key usage"),
        ("revoked", "hello", "line 1: expected the SHA-256"),
        ("tsa", "hello", "holds no certificate"),
        ("trust", "hello", "holds no certificate"),
        ("trust", None, "cannot read"),
    ],
)
def test_a_list_that_holds_something_else_is_named(
    what: str, content: str | None, says: str, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(KeyFileError, match=says) as error:
        keys.trust_policy(**{what: path})
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_root_of_this_machine_is_left_out_with_a_note(authority, folder: Path) -> None:
    keys.default_signer()
    (folder / keys.ROOT_FILE).write_text("nonsense")
    policy = keys.trust_policy(authority.root_pem)
    assert policy.anchors == (authority.own,) and "is damaged and was left out" in policy.notes[0]


def test_a_chain_leads_through_authorities_that_are_valid(authorities) -> None:
    root, other = authorities("root"), authorities("other")
    middle = authorities("middle", above=root)
    files = middle.issue(ec.generate_private_key(ec.SECP256R1()))
    leaf, now = middle.certificate(files[0]), chains.now()
    assert anchored([leaf, middle.own], [root.own], now)
    assert anchored([leaf, middle.own, root.own], [root.own], now)
    assert anchored([leaf], [middle.own], now)  # whoever trusts an intermediate does not need its root
    assert not anchored([leaf], [root.own], now)
    assert not anchored([leaf, middle.own], [other.own], now)
    assert not anchored([leaf, other.own], [root.own], now)
    assert not anchored([leaf, middle.own], [root.own], leaf.not_valid_after_utc.replace(year=2060))


def test_who_was_certified_cannot_certify_others(authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    ana = authority.certificate(authority.issue(key)[0])
    authority.key, authority.name = key, ana.subject
    forged = authority.certificate(authority.issue(ec.generate_private_key(ec.SECP256R1()), name="Prime Minister")[0])
    assert chains.issued_by(forged, ana) and not anchored([forged, ana], [authority.own], chains.now())


@pytest.mark.parametrize(
    ("eku", "accepted", "fits"),
    [
        (keys.ACCEPTED_EKU[0], keys.ACCEPTED_EKU, True),
        (keys.ACCEPTED_EKU[0], keys.ACCEPTED_EKU[2:], False),
        ("1.2.3.4", ("1.2.3.4",), True),
        ("1.3.6.1.5.5.7.3.8", (*keys.ACCEPTED_EKU, "1.3.6.1.5.5.7.3.8"), False),
    ],
    ids=["default", "claim signing only", "own", "time stamps never"],
)
def test_a_policy_says_which_purposes_are_accepted(eku: str, accepted: tuple[str, ...], fits: bool, authority) -> None:
    leaf = authority.certificate(authority.issue(ec.generate_private_key(ec.SECP256R1()), eku=eku)[0])
    assert purpose_accepted(leaf, accepted) is fits
