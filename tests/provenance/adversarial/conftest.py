"""A small signed clip, and a judge who sees to it that nothing escapes from what is shown of a hostile file."""

import json
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import provenance
from benchmarks import fuzz_verifier
from provenance import page, watermark
from tests.provenance.adversarial import forge

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "section", "article", "footer", "div", "span"),
    *("h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "small", "b", "bdi", "strong", "code", "pre", "a"),
    *("figure", "img", "figcaption", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"),
}


class Scanner(HTMLParser):
    """Refuses whatever a report has no use for."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        for name, value in attrs:
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ("href", "src"):
                assert value.startswith("#") if tag == "a" else value.startswith("data:image/jpeg;base64,"), value

    def handle_data(self, data: str) -> None:
        assert all(unicodedata.category(c) not in ("Cc", "Cf") for c in data if c != "\n"), data


def nothing_escapes(report: provenance.Report) -> None:
    """On the terminal, in JSON, in HTML."""
    harmless = ("Cc", "Cf", "Cs", "Zl", "Zp")
    for text in (report.to_line(), *report.to_text().split("\n"), report.to_json()):
        assert all(unicodedata.category(c) not in harmless for c in text), text
    assert json.loads(report.to_json())["status"] == report.status
    assert all(finding and "\n" not in finding and "Traceback" not in finding for finding in report.findings)
    Scanner().feed(page.render([report]))


@pytest.fixture(scope="session")
def certifier() -> forge.Certifier:
    return forge.Certifier()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, certifier: forge.Certifier) -> Path:
    """``clip.mp4``; ``signed.mp4``, by a certificate of ``root.pem``."""
    folder = tmp_path_factory.mktemp("adversarial")
    (folder / "clip.mp4").write_bytes(fuzz_verifier.clip())
    (folder / "root.pem").write_text(certifier.root_pem)
    forge.claim(folder / "clip.mp4", folder / "signed.mp4", certifier)
    return folder


@pytest.fixture(scope="session")
def clip(folder: Path) -> Path:
    return folder / "clip.mp4"


@pytest.fixture(scope="session")
def signed(folder: Path) -> bytes:
    return (folder / "signed.mp4").read_bytes()


@pytest.fixture
def judge(folder: Path, tmp_path: Path) -> Callable[..., provenance.Report]:
    """Verify bytes as a file of some name, the newsroom's root being trusted."""

    def judged(data: bytes, name: str = "hostile.mp4") -> provenance.Report:
        path = tmp_path / name
        path.write_bytes(data)
        report = provenance.verify(path, trust=folder / "root.pem")
        nothing_escapes(report)
        return report

    return judged


@pytest.fixture
def blind(monkeypatch) -> None:
    """Leave the watermark out: it takes seconds, and has tests of its own."""
    monkeypatch.setattr(watermark, "Detector", fuzz_verifier.Blind)
