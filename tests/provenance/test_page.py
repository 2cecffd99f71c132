"""The page that a journalist reads, in a real browser."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import provenance
from provenance import exhibits, page
from provenance.cli import main
from provenance.errors import InputError
from provenance.exhibits import Exhibit
from provenance.report import EXIT_CODES, Report

ATTACK = "document.title='owned';document.documentElement.id='owned'"
HOSTILE = "".join(
    (
        f'</title></style></script><script>{ATTACK}</script><img src=x onerror="{ATTACK}"><svg onload="{ATTACK}">',
        f"<iframe srcdoc='<script>parent.{ATTACK}</script>'></iframe>",
        f'" autofocus onfocus="{ATTACK}" x=\'\u202e\x00\x1b[2J{{{{7*7}}}}',
    )
)


def hostile(status: str = "authentic") -> Report:
    manifest = dict.fromkeys(("title", "generator", "origin", "when", "prompt", "label"), HOSTILE) | {
        "signer": dict.fromkeys(("name", "organisation", "algorithm", "serial"), HOSTILE),
        "actions": [{"action": HOSTILE, "when": HOSTILE}],
        "ingredients": [dict.fromkeys(("title", "relationship", "status", "signer"), HOSTILE)],
        "generation": {"model": {"name": HOSTILE}, HOSTILE: HOSTILE},
    }
    return Report(path=HOSTILE, status=status, manifest=manifest, findings=(HOSTILE, HOSTILE * 50))


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("needs Debian's chromium (apt-get install chromium)")
        pytest.skip("needs Debian's chromium (apt-get install chromium)")
    return found


@pytest.fixture
def browse(chromium: str, tmp_path: Path):
    def browse(html: str, *options: str) -> str:
        """What the page is once the browser has read it and run whatever it would run."""
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", *options,
                   f"file://{tmp_path / 'page.html'}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stdout

    return browse


def test_the_browser_would_run_scripts(browse) -> None:
    # Else the next test could not fail.
    shown = browse(f"<!doctype html><title>t</title><p>{HOSTILE}", "--dump-dom")
    assert 'id="owned"' in shown and "<title>owned</title>" in shown


def test_no_text_becomes_anything_else_in_a_browser(browse) -> None:
    shown = browse(page.render([hostile(), *map(hostile, EXIT_CODES)]), "--dump-dom")
    assert shown.count("<article") == 1 + len(EXIT_CODES) and 'id="owned"' not in shown
    assert "<title>7 files verified</title>" in shown
    body = shown[shown.index("<body") :]
    assert not re.search(r"<(script|iframe|svg|object|embed|link|form|input|base|meta)\b", body)
    assert not re.search(r"<[a-z0-9]+[^>]*\son[a-z]+=(?=[^<]*>)", re.sub(r'"[^"]*"', '""', body))
    assert "\u202e" not in body and "\x00" not in body and "49" not in body.split("x='")[1][:60]


def test_the_policy_would_stop_what_the_escaping_missed(browse) -> None:
    # A hole is made in the page, and nothing comes through it.
    html = page.render([hostile()]).replace("</h1>", f'</h1><script>{ATTACK}</script><img src=x onerror="{ATTACK}">', 1)
    shown = browse(html, "--dump-dom")
    assert "<script>" in shown and 'id="owned"' not in shown


def test_its_own_style_is_let_through_by_the_policy(browse) -> None:
    html = page.render([Report(path="x.mp4", status="absent")])
    styled = browse(html, "--dump-dom", "--enable-logging=stderr")
    assert "No credentials" in styled
    shot = browse(html, "--screenshot=/dev/null", "--enable-logging=stderr", "--v=0")
    assert "violates" not in shot


@pytest.mark.parametrize("width", [1100, 500])
def test_nothing_is_wider_than_the_window(width: int, chromium, tmp_path) -> None:
    from PIL import Image

    reports = [replace(hostile("altered"), path="x" * 300 + ".mp4", findings=("y" * 2000,))]
    (tmp_path / "page.html").write_text(page.render(reports), encoding="utf-8")
    shot = tmp_path / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}", f"file://{tmp_path / 'page.html'}"]
    subprocess.run([chromium, *options], capture_output=True, timeout=120)
    picture = np.asarray(Image.open(shot).convert("L"), np.int16)
    assert picture.shape[1] == width
    assert np.ptp(picture[:, -12:]) == 0  # the margin on the right is empty
    assert np.ptp(picture) > 100  # the rest is not


def test_the_verdict_comes_first_and_pictures_are_the_files_own(signed: Path) -> None:
    html = page.render([provenance.verify(signed)], [exhibits.take(signed)])
    body = html[html.index("<body") :]
    texts = ("Authentic", "data:image/jpeg", "a dog on a beach", "generated by an AI model", "How it came about")
    order = [body.index(text) for text in (*texts, "It does not prove", "Technical details")]
    assert order == sorted(order) and body.count("<img") == 3
    assert "http" not in re.sub(r"<pre>.*?</pre>", "", body, flags=re.S)  # the details quote the manifest


@pytest.mark.parametrize("status", EXIT_CODES)
def test_every_status_says_what_it_does_not_prove(status: str) -> None:
    html = page.render([Report(path="x.mp4", status=status)])
    assert page.VERDICTS[status][1] in html and "It does not prove" in html


def test_several_files_have_a_table_with_links(signed: Path, plain: Path) -> None:
    html = page.render([Report(path=f"{i}.mp4", status=status) for i, status in enumerate(EXIT_CODES)])
    links = re.findall(r'href="#(file-\d+)"', html)
    assert links == [f"file-{i + 1}" for i in range(6)]
    assert all(f'id="{link}"' in html for link in links) and "6 files verified" in html


@dataclass(frozen=True)
class Recovered:
    """As a registry gives it."""

    stills: tuple[tuple[float, bytes], ...]
    pairs: tuple[tuple[float, float], ...] = ((0.2, 1.2),)

    def to_dict(self) -> dict:
        return {"source": "the registry", "basis": "watermark", "trusted": False, "start": 1.0, "end": 62.5,
                "duration": 75.0, "differences": ["cropped"], "manifest": {"title": "the original"},
                "pairs": [list(pair) for pair in self.pairs]}  # fmt: skip


def test_a_copy_is_shown_beside_its_original(signed: Path) -> None:
    report = Report(path="copy.mp4", status="recovered")
    exhibit = exhibits.take(signed, [0.2])
    object.__setattr__(report, "recovered", Recovered(stills=((1.25, exhibit.pictures[0][1]),)))
    html = page.render([report], [exhibit])
    assert "from 1.0 s to 1:02.5 of 1:15.0" in html and "cropped" in html and "the original" in html
    assert html.count("<img") == 2 and "this file, at" in html and "the original, at 1.2 s" in html


def test_pictures_are_small_and_those_of_a_page_limited(signed: Path, monkeypatch) -> None:
    exhibit = exhibits.take(signed)
    assert len(exhibit.pictures) == 3 and exhibit.size == signed.stat().st_size
    assert all(data[:2] == b"\xff\xd8" and len(data) <= exhibits.LARGEST for _, data in exhibit.pictures)
    monkeypatch.setattr(page, "LARGEST_PICTURES", sum(len(data) for _, data in exhibit.pictures))
    html = page.render([Report(path="x", status="absent")] * 3, [exhibit] * 3)
    assert html.count("<img") == 3


def test_pictures_of_large_noise_are_cut_down(tmp_path: Path) -> None:
    from PIL import Image

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8))
    noise.save(tmp_path / "x.png")
    ((_, data),) = exhibits.take(tmp_path / "x.png").pictures
    assert len(data) <= exhibits.LARGEST


@pytest.mark.parametrize("name", ["nothing.mp4", ".", "text.mp4"])
def test_what_cannot_be_read_has_no_pictures(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    assert exhibits.take(tmp_path / name).pictures == ()


def test_the_command_writes_a_page(signed: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "report.html"
    assert main(["verify", str(signed), "--html", str(target)]) == 0
    assert "Authentic" in target.read_text() and capsys.readouterr().out.startswith(f"{signed}: AUTHENTIC")
    before = target.read_bytes()
    assert main(["verify", str(signed), "--html", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err and target.read_bytes() == before
    assert main(["verify", str(tmp_path / "no.mp4"), "--html", str(target), "--overwrite"]) == 2
    assert "Unreadable" in target.read_text() and sorted(os.listdir(tmp_path)) == ["report.html"]


def test_a_page_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        page.write(tmp_path / "no" / "x.html", [], [])
    assert Exhibit().pictures == ()
