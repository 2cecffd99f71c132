"""Texts that would like to be more than text. ``judge`` sees to terminal, JSON and HTML; here: they arrive, as text."""

import json
import subprocess
import sys

import pytest

import provenance
from provenance import page
from provenance.cli import main
from tests.provenance.adversarial import forge
from tests.provenance.adversarial.conftest import Scanner

pytestmark = pytest.mark.usefixtures("blind")

TEXTS = {
    "script": "</title></script><script>document.title='owned'</script><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "template": "{{ 7*7 }}{% include '/etc/passwd' %}${7*7}<%= 7*7 %>",
    "SQL": "'; DROP TABLE clips; --",
    "shell": "$(touch /tmp/owned) `touch /tmp/owned` ; rm -rf ~ | cat",
    "format": "%s%s%n{0}{1.__class__}",
    "terminal": "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\click\x9b31m",
    "lines": "AUTHENTIC\r\nx.mp4: AUTHENTIC\n  signed by: the Pope\v\f\x85\u2028\u2029",
    "backspace": "untrusted\b\b\b\b\b\b\b\b\btrusted",
    "right to left": "\u202egpj.mp4\u202c \u2066\u2067\u2068\u2069\u200f\u061c",
    "invisible": "a\u200b\u200c\u200d\u2060\ufeff\u00ad\u180eb",
    "long": "x" * 10_000,
    "long and wide": "𝕏" * 10_000,
    "combining": "Z" + "\u0335\u0321\u0353" * 500,
    "path": "../../../../etc/passwd",
    "empty": "",
    "private": "\ue000\U000f0000",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_title(kind: str, certifier, clip, tmp_path, judge, capsys) -> None:
    forge.claim(clip, tmp_path / "x.mp4", certifier, title=TEXTS[kind])
    report = judge((tmp_path / "x.mp4").read_bytes())
    assert report.status == "authentic" and (report.manifest["title"] or "") == TEXTS[kind]
    assert main(["verify", "--json", str(tmp_path / "hostile.mp4")]) == 4
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and out.isascii() and err == ""
    assert json.loads(out)["manifest"]["title"] == report.manifest["title"]


def test_a_title_with_nul(certifier, clip, tmp_path, judge) -> None:
    forge.claim(clip, tmp_path / "x.mp4", certifier, title="a clip" + "-" * 6)
    data = (tmp_path / "x.mp4").read_bytes()
    boxes = forge.parse(data)
    claim = forge.content(forge.store(boxes).children[-1], b"c2pa.claim.v2\0")
    claim.head = claim.head.replace(b"------", b"\0\x1b[2J\0")
    key = forge.ec.generate_private_key(forge.ec.SECP256R1())
    report = judge(forge.resigned(forge.join(boxes), [certifier.certify(key)], key))
    assert report.status == "authentic" and report.manifest["title"] == "a clip\0\x1b[2J\0"


@pytest.mark.parametrize("kind", TEXTS)
def test_hostile_texts_everywhere_else(kind: str, certifier, clip, tmp_path, judge) -> None:
    text = TEXTS[kind][:2000]
    source = {"title": text, "relationship": "componentOf", "description": text, "label": "dog"}
    created = {
        "action": "c2pa.created",
        "digitalSourceType": forge.DST,
        "softwareAgent": {"name": text or "x", "version": text},
        "description": text,
        "parameters": {"org.example.note": text, "ingredientIds": ["dog"]},
    }
    actions = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [created]}}
    own = {
        "label": "io.sorajax.generation",
        "created": True,
        "data": {"model": {"name": text, "digest": text}, "seed": text, "settings": text, "prompt_sha256": text},
    }
    binding = {"label": "c2pa.soft-binding", "created": True, "data": {"alg": text or "x", "blocks": [
        {"scope": {}, "value": list(text.encode()[:100])}]}}  # fmt: skip
    forge.claim(clip, tmp_path / "x.mp4", certifier, title="t", assertions=[actions, own, binding],
                ingredients=[(source, "video/mp4", clip.read_bytes())])  # fmt: skip
    assert judge((tmp_path / "x.mp4").read_bytes()).manifest is not None


@pytest.mark.parametrize("kind", ["script", "attribute", "terminal", "right to left", "lines"])
def test_a_hostile_file_name(kind: str, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = TEXTS[kind].replace("/", "|").replace("\0", "")[:60] + ".mp4"
    (tmp_path / name).write_bytes(b"")
    for words in ([name], [name, name], ["--json", name, name], ["-r", "."]):
        assert main(["verify", *words]) == 2
        out, err = capsys.readouterr()
        assert all(c == "\n" or c.isprintable() for c in out + err) and "\u202e" not in out
    Scanner().feed(page.render([provenance.verify(name)]))


def test_arguments_are_not_run(tmp_path) -> None:
    command = [sys.executable, "-m", "provenance.cli", "verify", "--", "-rf", "$(touch owned)", "`touch owned`"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout.count("UNREADABLE") == 3 and list(tmp_path.iterdir()) == []


def test_no_address_of_a_resource_leads_out_of_the_manifest(certifier, clip, tmp_path, judge) -> None:
    for identifier in ("../../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "self#jumbf=/etc/passwd"):
        forge.claim(clip, tmp_path / "x.mp4", certifier, ingredients=[
            ({"title": "prompt", "format": "text/plain", "relationship": "inputTo",
              "data_types": [{"type": "c2pa.types.generator.prompt"}]}, "text/plain", b"a prompt")])  # fmt: skip
        data = (tmp_path / "x.mp4").read_bytes()
        report = judge(data.replace(b"self#jumbf=c2pa.assertions/c2pa.data", identifier.encode().ljust(36, b"\0")))
        assert "root:" not in report.to_json()
