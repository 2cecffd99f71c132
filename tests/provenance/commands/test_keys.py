"""``provenance keys`` and the options for who signs, as a person types them."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from provenance import keys
from provenance.cli import main
from provenance.keys import profile
from tests.provenance.tsa import StampAuthority, serving


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def test_rotate_replaces_leaf_or_root_and_shows_what_is_believed(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "keys"))
    assert main(["keys", "show"]) == 0
    first = capsys.readouterr().out
    assert main(["keys", "rotate"]) == 0
    second = capsys.readouterr().out
    assert main(["keys", "rotate", "--root"]) == 0
    third = capsys.readouterr().out
    assert len({first, second, third}) == 3 and "former" not in second and "former" in third
    assert main(["keys", "export-root"]) == 0
    assert capsys.readouterr().out == keys.local_roots() != keys.local_root()


def test_csr_makes_a_key_and_a_request(tmp_path, capsys) -> None:
    arguments = ["keys", "csr", "-o", str(tmp_path / "a.csr"), "--key", str(tmp_path / "a.key")]
    assert main([*arguments, "--organisation", "Newsroom", "--kind", "ed25519"]) == 0
    out = capsys.readouterr().out
    assert "to be sent to an authority" in out and "a new key" in out and "PRIVATE" not in out
    assert main([*arguments, "--organisation", "Newsroom"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_check_says_what_is_wrong_in_plain_words(authority, tmp_path, capsys) -> None:
    good = authority.issue(p256(), eku=(profile.EMAIL_PROTECTION, profile.CLAIM_SIGNING))[0]
    assert main(["keys", "check", str(good)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("CN=Ana,O=Newsroom: fit to sign C2PA claims\n") and "does not come with its issuer" in out
    bad = authority.issue(p256(), eku="1.3.6.1.5.5.7.3.1", end=-0.5, name="Eve\x1b[2J", organisation=None)[0]
    assert main(["keys", "check", str(bad)]) == 1
    out = capsys.readouterr().out
    for said in ("NOT fit", "- it expired on", "- it is for another purpose", "- it names no organisation"):
        assert said in out
    assert "\x1b" not in out
    assert main(["keys", "check", str(authority.issue(p256())[1])]) == 2


def test_check_finds_certificates_that_do_not_belong(authority, authorities, tmp_path, capsys) -> None:
    chain = tmp_path / "chain.pem"
    leaf = authority.issue(p256())[0].read_bytes()
    chain.write_bytes(leaf + authorities("stranger").root_pem.read_bytes())
    assert main(["keys", "check", str(chain)]) == 1
    assert "is followed by 1 that issued none of those before" in capsys.readouterr().out
    chain.write_bytes(leaf + authority.root_pem.read_bytes())
    assert main(["keys", "check", str(chain)]) == 0


def test_sign_with_pkcs12_a_password_file_and_a_time_stamp(small, authority, authorities, tmp_path, capsys) -> None:
    key, clip = p256(), tmp_path / "signed.mp4"
    leaf = authority.certificate(authority.issue(key)[0])
    secret = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "ana.p12").write_bytes(pkcs12.serialize_key_and_certificates(b"Ana", key, leaf, None, secret))
    (tmp_path / "word").write_text("secret\n")
    with serving(StampAuthority(authorities("Clock root"))) as clocks:
        signing = ["sign", str(small), "-o", str(clip), "--p12", str(tmp_path / "ana.p12"), "--timestamp", clocks.url]
        assert main([*signing, "--password-file", str(tmp_path / "word")]) == 0
        clocks.mood = "error"
        assert main([*signing, "--password-file", str(tmp_path / "word"), "--overwrite"]) == 2
        assert "gave none: it answered HTTP 500" in capsys.readouterr().err
        roots = ["--trust", str(authority.root_pem), "--tsa-trust", str(clocks.root_pem)]
        assert main(["verify", str(clip), *roots, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["manifest"]["time_stamp"]["trusted"] is True
        signing = [*signing, "--password-file", str(tmp_path / "word"), "--overwrite", "--timestamp-optional"]
        assert main(signing) == 0
        assert "signed without a time stamp" in capsys.readouterr().out


def test_the_password_may_be_in_the_environment(small, authority, tmp_path, monkeypatch) -> None:
    key = p256()
    cert, path = authority.issue(key)
    secret = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    signing = ["sign", str(small), "-o", str(tmp_path / "x.mp4"), "--cert", str(cert), "--key", str(path)]
    assert main(signing) == 2
    monkeypatch.setenv("SORAJAX_PASSWORD", "secret")
    assert main(signing) == 0


def test_verify_takes_the_lists(small, authority, tmp_path, capsys) -> None:
    files, clip = authority.issue(p256()), tmp_path / "x.mp4"
    assert main(["sign", str(small), "-o", str(clip), "--cert", str(files[0]), "--key", str(files[1])]) == 0
    (tmp_path / "store.cfg").write_text(profile.CLAIM_SIGNING)
    (tmp_path / "revoked.txt").write_text(keys.fingerprint(authority.certificate(files[0])))
    root = ["--trust", str(authority.root_pem)]
    for options, code in [
        (root, 0),
        (["--allowed", str(files[0])], 0),
        ([*root, "--trust-config", str(tmp_path / "store.cfg")], 4),
        ([*root, "--revoked", str(tmp_path / "revoked.txt")], 1),
        (["--tsa-trust", str(authority.root_pem)], 4),
    ]:
        assert main(["verify", str(clip), *options]) == code, options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--key", "a", "--p12", "b"], "three ways to name a key"),
        (["--p12", "a", "--cert", "b"], "three ways to name a key"),
        (["--key", "a"], "--cert and --key go together"),
        (["--alg", "ps384"], "--alg is for your own RSA key"),
        (["--timestamp-optional"], "name whom to ask"),
        (["--timestamp", "nowhere"], "is not an address"),
        (["--pkcs11", "pkcs11:object=x?module-path=/m.so&pin-value=1"], "holds a PIN"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(options: list[str], says: str, small, tmp_path, capsys) -> None:
    assert main(["sign", str(small), "-o", str(tmp_path / "x.mp4"), *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err and not (tmp_path / "x.mp4").exists()
