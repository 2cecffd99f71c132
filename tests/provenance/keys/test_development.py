"""The development identity: made once, kept private, named for what it is, replaced without orphaning a clip."""

import datetime
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from provenance import keys
from provenance.errors import KeyFileError
from provenance.keys import chains, development


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for an identity."""
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "deep" / "keys"))
    return tmp_path / "deep" / "keys"


def test_the_identity_is_made_once_and_stays(folder: Path) -> None:
    first, second = keys.default_signer(), keys.default_signer()
    assert first == second and first.alg == "es256"
    assert sorted(path.name for path in folder.iterdir()) == [keys.ROOT_FILE, keys.LEAF_FILE]


@pytest.mark.parametrize("error", [OSError(36, "File name too long"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("file", [keys.ROOT_FILE, keys.LEAF_FILE])
def test_a_folder_that_cannot_be_looked_into_is_named(file: str, error: OSError, folder: Path, monkeypatch) -> None:
    keys.default_signer()
    exists = Path.exists

    def refuse(path: Path, **options: bool) -> bool:
        if path.name == file:
            raise error
        return exists(path, **options)

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(KeyFileError, match=f"{error.strerror}; set SORAJAX_KEYS to .* not {folder}$"):
        keys.default_signer()


def test_a_home_folder_that_nobody_has_is_named(monkeypatch) -> None:
    monkeypatch.setenv("SORAJAX_KEYS", "~nobody-of-that-name/keys")
    with pytest.raises(KeyFileError, match="SORAJAX_KEYS is ~nobody-of-that-name/keys"):
        keys.key_folder()


def test_its_files_are_for_the_owner_alone(folder: Path) -> None:
    keys.default_signer()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_it_is_called_a_development_identity_and_fit_for_claims(folder: Path) -> None:
    leaf = keys.certificates(keys.default_signer().chain_pem)[0]
    root = keys.certificates(keys.local_root() or "")[0]
    for certificate in (leaf, root):
        assert "development identity" in certificate.subject.rfc4514_string()
    leaf.verify_directly_issued_by(root)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {oid.dotted_string for oid in usage} == {"1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.62558.2.1"}


def test_keys_do_not_show_in_the_representation(folder: Path) -> None:
    assert "PRIVATE" not in repr(keys.default_signer())


def test_processes_that_start_together_agree_on_one_identity(folder: Path) -> None:
    code = "from provenance import keys; print(keys.local_root() if keys.default_signer() else '')"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    roots = {process.communicate(timeout=120)[0] for process in started}
    assert all(process.returncode == 0 for process in started)
    assert len(roots) == 1 and "BEGIN CERTIFICATE" in roots.pop()
    assert sorted(path.name for path in folder.iterdir()) == [keys.ROOT_FILE, keys.LEAF_FILE]


def test_an_expired_leaf_is_issued_anew_by_the_same_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, root = keys.default_signer(), keys.local_root()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * 6)
    monkeypatch.setattr(chains, "now", lambda: later)
    second = keys.default_signer()
    assert second.chain_pem != first.chain_pem and keys.local_root() == root
    assert keys.certificates(second.chain_pem)[0].not_valid_after_utc > later


def test_looking_for_anchors_makes_no_identity(folder: Path) -> None:
    assert keys.trust_anchors() == "" and not folder.exists()


def test_a_damaged_identity_is_named(folder: Path) -> None:
    keys.default_signer()
    (folder / keys.ROOT_FILE).write_text("nonsense")
    with pytest.raises(KeyFileError, match="development-root.pem is damaged; move it away"):
        keys.default_signer()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "keys"))
    with pytest.raises(KeyFileError, match="set SORAJAX_KEYS"):
        keys.default_signer()


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("")
    monkeypatch.setenv("SORAJAX_KEYS", str(tmp_path / "keys"))
    with pytest.raises(KeyFileError, match="set SORAJAX_KEYS"):
        keys.default_signer()


def test_a_new_leaf_keeps_the_root(folder: Path) -> None:
    first, root = keys.default_signer(), keys.local_root()
    second = keys.rotate()
    assert second.chain_pem != first.chain_pem and second.key_pem != first.key_pem
    assert keys.local_roots() == keys.local_root() == root and keys.default_signer() == second


def test_a_new_root_keeps_the_certificate_of_the_old_and_destroys_its_key(folder: Path) -> None:
    keys.default_signer()
    old, old_key = keys.local_root() or "", (folder / keys.ROOT_FILE).read_text().replace(keys.local_root() or "", "")
    keys.rotate(root=True)
    keys.rotate(root=True)
    assert old != keys.local_root() and old in keys.local_roots() and keys.local_roots().count("BEGIN") == 3
    assert "PRIVATE KEY" in old_key and not any(old_key in path.read_text() for path in folder.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_rotating_where_there_is_nothing_makes_an_identity(folder: Path) -> None:
    assert keys.rotate(root=True) == keys.default_signer() and not (folder / keys.FORMER_ROOTS_FILE).exists()


@pytest.mark.parametrize("write", [1, 2, 3])
def test_an_interrupted_rotation_orphans_no_clip(write: int, folder: Path, monkeypatch) -> None:
    keys.default_signer()
    old, install, done = keys.local_root() or "", development._install, []

    def stop(*arguments: object, **options: object) -> None:
        done.append(arguments)
        if len(done) == write:
            raise KeyboardInterrupt
        install(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(development, "_install", stop)
        keys.rotate(root=True)
    leaf = keys.certificates(keys.default_signer().chain_pem)[0]
    assert old in keys.local_roots() and leaf.issuer == keys.certificates(keys.local_root() or "")[0].subject
