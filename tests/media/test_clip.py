"""No clip leaves unsigned, and nothing half made appears at its destination."""

import base64
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import provenance
import provenance.signing
from provenance import Facts
from provenance.errors import SigningError
from sorajax.errors import InputError, SorajaxError
from sorajax.media import clip as clip_module
from sorajax.media import video
from sorajax.media.clip import Clip, derive_payload, make_clip

PROMPT = "a dog runs to the left on a beach at sunset"


def facts(**changes: object) -> Facts:
    known = Facts(
        title=PROMPT[:20],
        model_name="mini",
        model_digest="sha256:0123",
        seed=7,
        prompt=PROMPT,
        settings={"steps": 5, "guidance": 4.0, "negative": "a blurry cat"},
    )
    return replace(known, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A disc moves to the left over a sky and a ground: 6 frames of 64 x 64."""
    t, y, x = np.mgrid[:6, :64, :64]
    disc = (x - 50 + 6 * t) ** 2 + (y - 36) ** 2 < 80
    background = np.where((y < 40)[..., None], np.stack([90 + y, 140 + y, 250 - y], -1), [120, 170, 60])
    return np.where(disc[..., None], [240, 200, 40], background).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(frames: np.ndarray) -> Clip:
    return make_clip(frames, fps=8, facts=facts())


def test_a_clip_is_at_least_256_pixels_a_side_and_carries_its_payload(clip: Clip) -> None:
    assert clip.frames.shape == (6, 256, 256, 3) and clip.frames.dtype == np.uint8
    found = provenance.watermark.detect(clip.frames)
    assert found.found and found.payload == clip.payload == clip.facts.payload
    assert clip.duration == 0.75


def test_the_watermark_costs_less_than_40_db(clip: Clip, frames: np.ndarray) -> None:
    from sorajax.media.post import upscale

    error = np.mean((clip.frames.astype(float) - upscale(frames)) ** 2)
    assert 10 * np.log10(255**2 / error) >= 40


def test_the_same_frames_and_facts_give_the_same_clip(clip: Clip, frames: np.ndarray) -> None:
    again = make_clip(frames.copy(), fps=8, facts=facts())
    assert again.payload == clip.payload
    assert np.array_equal(again.frames, clip.frames)


@pytest.mark.parametrize("change", [{"seed": 8}, {"prompt": "a cat"}, {"model_digest": "x"}, {"settings": {}}])
def test_another_origin_gives_another_payload(frames: np.ndarray, change: dict) -> None:
    assert derive_payload(frames, facts()) != derive_payload(frames, facts(**change))


def test_one_other_pixel_gives_another_payload(frames: np.ndarray) -> None:
    other = frames.copy()
    other[-1, -1, -1, -1] ^= 1
    assert derive_payload(frames, facts()) != derive_payload(other, facts())


def test_frames_of_a_clip_cannot_be_changed_by_accident(clip: Clip) -> None:
    with pytest.raises(ValueError, match="read-only"):
        clip.frames[0] = 0


def test_every_stage_is_told(frames: np.ndarray) -> None:
    stages: list[str] = []
    make_clip(frames, fps=8, facts=facts(), notify=stages.append)
    assert stages == ["enlarging", "watermarking", "checking"]


def test_pictures_that_do_not_hold_a_watermark_make_no_clip(
    frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance.watermark, "embed", lambda large, payload: large.copy())
    with pytest.raises(SorajaxError, match="cannot be read back"):
        make_clip(frames, fps=8, facts=facts())


def test_a_saved_clip_is_signed_and_verifies(clip: Clip, tmp_path: Path) -> None:
    report = clip.save(tmp_path / "dog.mp4")
    assert report.status == "authentic" and report.path == str(tmp_path / "dog.mp4")
    later = provenance.verify(tmp_path / "dog.mp4")
    assert later.status == "authentic"
    assert later.watermark is not None and later.watermark.payload == clip.payload
    assert PROMPT in json.dumps(later.manifest)
    assert [p.name for p in tmp_path.iterdir()] == ["dog.mp4"]


def test_a_saved_clip_can_be_read_by_others(clip: Clip, tmp_path: Path) -> None:
    clip.save(tmp_path / "dog.mp4")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "dog.mp4").stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_is_saved_looks_like_the_clip(clip: Clip, tmp_path: Path) -> None:
    clip.save(tmp_path / "dog.mp4")
    read, fps = video.read_mp4(tmp_path / "dog.mp4")
    assert read.shape == clip.frames.shape and fps == 8
    error = np.mean((read.astype(float) - clip.frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 32


def test_a_prompt_may_be_kept_out_of_the_file(clip: Clip, tmp_path: Path) -> None:
    clip.save(tmp_path / "dog.mp4", store_prompt=False)
    data = (tmp_path / "dog.mp4").read_bytes()
    for secret in (PROMPT, PROMPT[:20], "blurry cat"):
        assert secret.encode() not in data
    assert provenance.manifest.prompt_digest(PROMPT) in json.dumps(provenance.verify(tmp_path / "dog.mp4").manifest)


def test_the_players_page_escapes_the_prompt(frames: np.ndarray) -> None:
    page = make_clip(frames, fps=8, facts=facts(prompt='"><script>'))._repr_html_()
    assert "<script>" not in page and "&quot;&gt;&lt;script&gt;" in page
    assert 'src="data:video/mp4;base64,' in page and 'width="256"' in page


def test_what_is_saved_from_the_page_is_signed_too(clip: Clip, tmp_path: Path) -> None:
    data = clip._repr_html_().partition("base64,")[2].partition('"')[0]
    (tmp_path / "from-page.mp4").write_bytes(base64.b64decode(data))
    assert provenance.verify(tmp_path / "from-page.mp4").status == "authentic"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip.avi", "does not end in .mp4"),
        ("clip", "does not end in .mp4"),
        (".mp4", "does not end in .mp4"),
        ("missing/clip.mp4", "does not exist"),
        ("folder.mp4", "is a folder"),
        ("there.mp4", "exists"),
    ],
)
def test_a_destination_that_cannot_be_used_is_refused_before_any_work(
    clip: Clip, tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "there.mp4").write_bytes(b"mine")
    monkeypatch.setattr(video, "write_mp4", lambda *a, **k: pytest.fail("encoding began"))
    with pytest.raises(InputError, match=message) as error:
        clip.save(tmp_path / name)
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.mp4", "there.mp4"]
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_refused(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the superuser may write anywhere
    with pytest.raises(InputError, match="cannot be written"):
        clip.save(tmp_path / "dog.mp4")


def test_overwriting_is_done_only_when_asked(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "dog.mp4").write_bytes(b"old")
    assert clip.save(tmp_path / "dog.mp4", overwrite=True).status == "authentic"


def disk_full(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def half_written(then: Callable[..., None]) -> Callable[..., None]:
    def write(path: Path, *args: object, **kwargs: object) -> None:
        Path(path).write_bytes(b"half a video")
        then()

    return write


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("module", "name", "failing", "raised"),
    [
        (video, "write_mp4", half_written(disk_full), InputError),
        (video, "write_mp4", half_written(interrupted), KeyboardInterrupt),
        (provenance.signing, "verify", interrupted, KeyboardInterrupt),
        (provenance.signing, "_write_signed", disk_full, SigningError),
    ],
    ids=["disk full while encoding", "Ctrl-C while encoding", "Ctrl-C while verifying", "disk full while signing"],
)
def test_a_save_that_fails_leaves_everything_as_it_was(
    clip: Clip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    failing: Callable[..., None],
    raised: type[BaseException],
    existing: bool,
) -> None:
    if existing:
        (tmp_path / "dog.mp4").write_bytes(b"old")
    monkeypatch.setattr(module, name, failing)
    with pytest.raises(raised):
        clip.save(tmp_path / "dog.mp4", overwrite=existing)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"old"] if existing else [])


def test_a_signer_that_fails_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    def refuse(data: bytes) -> bytes:
        raise RuntimeError("the key service is away")

    signer = provenance.callback_signer(refuse, "es256", provenance.default_signer().chain_pem)
    with pytest.raises(SigningError, match="the key service is away"):
        clip.save(tmp_path / "dog.mp4", signer=signer)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_really_fills_up_gives_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A process that may write no more than 4 KiB to a file stands for the full disk."""
    script = f"""
import resource, signal, numpy as np
from sorajax.media import destination, video
from sorajax.errors import InputError
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
try:
    with destination.hidden(Path({str(tmp_path / "dog.mp4")!r})) as part:
        video.write_mp4(part, noise, 8)
except InputError as error:
    print("refused:", error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.stdout.startswith("refused: destination"), result.stdout + result.stderr
    assert "File too large" in result.stdout and result.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_media_is_imported_without_jax() -> None:
    """Saving and looking at clips must not wait for a compiler."""
    script = f"import sys, {clip_module.__name__}; print('jax' in sys.modules, 'c2pa' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.split() == ["False", "False"]
