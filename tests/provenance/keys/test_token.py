"""Keys on a token, SoftHSM2 standing in for the hardware: found by URI, opened by PIN, never read out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

import provenance
from provenance import keys
from provenance.errors import KeyFileError
from provenance.keys.token import parse_uri

PIN = "4711"


class Token:
    """A token with a key of each kind and the certificate to each, of the same label and id."""

    def __init__(self, module: str, folder: Path, authority):
        import pkcs11
        from pkcs11 import Attribute, KeyType
        from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
        from pkcs11.util.rsa import encode_rsa_public_key
        from pkcs11.util.x509 import decode_x509_certificate

        self.module, self.folder, self.authority = module, folder, authority
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "news desk", "--pin", PIN, "--so-pin", "0000"],
            check=True,
            capture_output=True,
        )
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        token = pkcs11.lib(module).get_token(token_label="news desk")
        with token.open(user_pin=PIN, rw=True) as session:
            curves = {"es256": "secp256r1", "es384": "secp384r1", "es512": "secp521r1", "ed25519": None, "ps": None}
            for number, (label, curve) in enumerate(curves.items(), 1):
                options = {"store": True, "label": label, "id": bytes([number])}
                if label == "ps":
                    public, _ = session.generate_keypair(KeyType.RSA, 2048, **options)
                    key = load_der_public_key(encode_rsa_public_key(public))
                elif curve:
                    named = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
                    public, _ = session.create_domain_parameters(KeyType.EC, named, local=True).generate_keypair(
                        **options
                    )
                    key = load_der_public_key(encode_ec_public_key(public))
                else:
                    named = {Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")}
                    parameters = session.create_domain_parameters(KeyType.EC_EDWARDS, named, local=True)
                    public, _ = parameters.generate_keypair(**options)
                    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes(public[Attribute.EC_POINT])[-32:])
                leaf = authority.certify(key)
                said = decode_x509_certificate(leaf.public_bytes(Encoding.DER))
                session.create_object(
                    said | {Attribute.TOKEN: True, Attribute.LABEL: label, Attribute.ID: bytes([number])}
                )

    def uri(self, key: str, more: str = "") -> str:
        return f"pkcs11:token=news%20desk;object={key}?module-path={self.module}{more}"


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory, authority_at):
    module = next(
        (
            path
            for path in (
                "/usr/lib/softhsm/libsofthsm2.so",
                "/usr/local/lib/softhsm/libsofthsm2.so",
                "/opt/homebrew/lib/softhsm/libsofthsm2.so",
            )
            if os.path.exists(path)
        ),
        None,
    )
    if module is None or shutil.which("softhsm2-util") is None:
        if os.environ.get("CI"):
            pytest.fail("needs Debian's softhsm2 (apt-get install softhsm2)")
        pytest.skip("needs Debian's softhsm2 (apt-get install softhsm2)")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        yield Token(module, folder, authority_at(folder / "authority"))


@pytest.mark.parametrize("alg", keys.ALGORITHMS)
def test_every_algorithm_signs_from_a_token(alg: str, token: Token, small: Path, tmp_path: Path) -> None:
    label = "ps" if alg.startswith("ps") else alg
    signer = keys.pkcs11_signer(token.uri(label), pin=PIN, alg=alg)
    assert (signer.alg, signer.key_pem) == (alg, None) and PIN not in repr(signer)
    provenance.sign(small, tmp_path / "signed.mp4", signer=signer)
    report = provenance.verify(tmp_path / "signed.mp4", token.authority.root_pem)
    assert report.status == "authentic" and report.manifest["signer"]["algorithm"].lower() == alg


def test_the_chain_may_be_a_file_and_the_pin_in_one(token: Token, tmp_path: Path) -> None:
    on_token = keys.pkcs11_signer(token.uri("es256"), pin=PIN)
    (tmp_path / "chain.pem").write_text(on_token.chain_pem)
    (tmp_path / "pin").write_text(PIN + "\n")
    by_id = f"pkcs11:serial={_serial(token)};id=%01?module-path={token.module}&pin-source=file:{tmp_path}/pin"
    assert keys.pkcs11_signer(by_id, cert=tmp_path / "chain.pem").chain_pem == on_token.chain_pem


def _serial(token: Token) -> str:
    import pkcs11

    return pkcs11.lib(token.module).get_token(token_label="news desk").serial.decode().rstrip()


def test_a_chain_of_another_key_is_noticed_at_once(token: Token, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text(keys.pkcs11_signer(token.uri("es256"), pin=PIN).chain_pem)
    certificate = token.authority.issue(ec.generate_private_key(ec.SECP256R1()))[0]
    with pytest.raises(KeyFileError, match="does not belong to the certificate"):
        keys.pkcs11_signer(token.uri("es256"), pin=PIN, cert=certificate)
    rsa_certificate = token.authority.issue(rsa.generate_private_key(65537, 2048))[0]
    with pytest.raises(KeyFileError, match="does not belong to the certificate"):
        keys.pkcs11_signer(token.uri("es256"), pin=PIN, cert=rsa_certificate)


def test_what_is_not_there_is_named_with_what_is(token: Token, tmp_path: Path) -> None:
    for uri, pin, says in [
        (token.uri("es256"), "0815", "'news desk' refuses this PIN"),
        (token.uri("es256"), None, r"no private keys.*give the PIN \(--pin-file FILE\)"),
        (token.uri("nothing"), PIN, "no private keys of that name.*check object and id"),
        (token.uri("es256").replace("news", "old"), PIN, "no token there.*tokens present: 'news desk'"),
        (f"pkcs11:object=x?module-path={tmp_path}/no.so", PIN, "no.so is not there"),
        (f"pkcs11:object=x?module-path={__file__}", PIN, "cannot be used"),
    ]:
        with pytest.raises(KeyFileError, match=says) as error:
            keys.pkcs11_signer(uri, pin=pin)
        assert "\n" not in str(error.value) and PIN not in str(error.value)


def test_the_command_signs_from_a_token(token: Token, small: Path, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(PIN + "\n")
    command = [sys.executable, "-m", "provenance.cli", "sign", str(small), "-o", str(tmp_path / "signed.mp4")]
    command += ["--pkcs11", token.uri("es384"), "--pin-file", str(tmp_path / "pin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "signer:     Ana" in done.stdout


def test_a_uri_names_a_key() -> None:
    found = parse_uri("pkcs11:token=news%20desk;id=%01%ff;object=k%3b;type=private;slot-id=3?module-path=/a%20b.so")
    assert (found.token, found.id, found.object, found.slot, found.module) == (
        "news desk", b"\x01\xff", "k;", 3, "/a b.so"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file:///x", "is not a PKCS#11 URI"),
        ("pkcs11:object=x", "names no module"),
        ("pkcs11:token=x?module-path=/m.so", "names no key"),
        ("pkcs11:object=x?module-path=/m.so&pin-value=4711", "holds a PIN"),
        ("pkcs11:object=x;colour=red?module-path=/m.so", "has 'colour'"),
        ("pkcs11:object=x;object=y?module-path=/m.so", "has 'object' twice"),
        ("pkcs11:object=x;type=public?module-path=/m.so", "names a public"),
        ("pkcs11:object=x;slot-id=one?module-path=/m.so", "has the slot 'one'"),
    ],
)
def test_a_uri_that_cannot_be_used_is_named(uri: str, says: str) -> None:
    with pytest.raises(KeyFileError, match=says) as error:
        parse_uri(uri)
    assert "4711" not in str(error.value)


def test_without_the_package_the_remedy_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyFileError, match=r"pip install 'sorajax\[pkcs11\]'"):
        keys.pkcs11_signer("pkcs11:object=x?module-path=/m.so", pin=PIN)
