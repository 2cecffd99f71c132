"""When the time stamp authority does not answer, or answers nonsense, the user's choice counts."""

import os
import socket
import threading
from pathlib import Path

import pytest

import provenance
from provenance import timestamping
from provenance.errors import InputError, SigningError
from tests.provenance.tsa import StampAuthority, serving


@pytest.fixture
def clocks(authority):
    with serving(StampAuthority(authority)) as running:
        yield running


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        ("refuse", r"it refused: bad request \(not today\)"),
        ("nonsense", "its answer is not a time stamp"),
        ("html", "its answer is text/html, not a time stamp"),
        ("error", "it answered HTTP 500"),
        ("other", "its answer was not accepted: .*does not match data"),
    ],
)
def test_an_authority_that_gives_no_stamp_fails_or_is_done_without(
    mood: str, says: str, small: Path, tmp_path: Path, clocks
) -> None:
    clocks.mood = mood
    with pytest.raises(SigningError, match=f"^the time stamp authority {clocks.url} gave none: {says}"):
        provenance.sign(small, tmp_path / "x.mp4", timestamp=clocks.url)
    assert sorted(os.listdir(tmp_path)) == ["authority"]
    report = provenance.sign(small, tmp_path / "x.mp4", timestamp=clocks.url, timestamp_policy="optional")
    assert report.status == "authentic" and report.manifest["time_stamp"] is None
    assert any(f.startswith("signed without a time stamp: ") and clocks.url in f for f in report.findings)


def test_an_authority_that_is_down_is_said_to_be_so(small: Path, tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else takes the port
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        with pytest.raises(SigningError, match="it cannot be reached: Connection refused"):
            provenance.sign(small, tmp_path / "x.mp4", timestamp=url)
    assert os.listdir(tmp_path) == []


def test_an_authority_that_never_answers_is_given_up(authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relay = timestamping.Relay(f"http://127.0.0.1:{silent.getsockname()[1]}/", patience=0.2)
        assert relay.ask(b"what time is it?") is None and relay.trouble == "no answer within 0.2 s"


def test_a_stamp_is_asked_for_once_and_no_thread_stays(small: Path, tmp_path: Path, clocks) -> None:
    before = threading.active_count()
    report = provenance.sign(small, tmp_path / "x.mp4", timestamp=clocks.url)
    assert report.manifest["time_stamp"]["authority"] == "Clockmakers"
    assert clocks.questions == 1 and threading.active_count() == before


def test_a_failing_key_is_not_blamed_on_the_authority(small: Path, tmp_path: Path, authority, clocks) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    def refuse(data: bytes) -> bytes:
        raise PermissionError("the vault is sealed")

    chain = authority.issue(ec.generate_private_key(ec.SECP256R1()))[0].read_text()
    signer = provenance.callback_signer(refuse, "es256", chain)
    with pytest.raises(SigningError, match="the vault is sealed"):
        provenance.sign(small, tmp_path / "x.mp4", signer=signer, timestamp=clocks.url, timestamp_policy="optional")


@pytest.mark.parametrize(
    ("url", "policy", "says"),
    [
        ("tsa.example.org", "require", "is not an address"),
        ("ftp://tsa.example.org", "require", "is not an address"),
        ("http://", "require", "is not an address"),
        ("http://a b/", "require", "is not an address"),
        ("http://a:99999/", "require", "is not an address"),
        ("http://a\n/", "require", "is not an address"),
        ("http://tsa.example.org", "perhaps", "'perhaps' is not known; choose from require, optional"),
    ],
)
def test_what_cannot_be_asked_is_named(url: str, policy: str, says: str, small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as error:
        provenance.sign(small, tmp_path / "x.mp4", timestamp=url, timestamp_policy=policy)
    assert "\n" not in str(error.value) and os.listdir(tmp_path) == []
