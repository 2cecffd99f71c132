"""A clip: frames that carry a watermark, and the facts that will be signed with them.

``make_clip`` is the only door from bare frames: it enlarges, marks, and reads the mark back. ``Clip.save`` is the only
door to a file: it encodes, signs and verifies beside the destination, and only then does the clip appear there.
"""

import base64
import dataclasses
import hashlib
import html
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import provenance
from provenance import Facts, Report, Signer
from sorajax.errors import SorajaxError
from sorajax.media import destination, video
from sorajax.media.post import check_frames, upscale

MIN_SIDE = 256
"""Least width and height of a clip, in pixels: smaller frames are enlarged before the watermark goes in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A generated video in memory. Made by ``make_clip``, written by ``save``.

    frames: uint8 [t, h, w, 3], sRGB, watermarked, read-only.
    fps: frames a second.
    facts: what ``save`` signs: prompt, model, seed, settings and the watermark's payload.
    """

    frames: NDArray[np.uint8] = field(repr=False)
    fps: float
    facts: Facts

    @property
    def payload(self) -> bytes:
        """The 8 bytes that the watermark carries, which the manifest names too."""
        assert self.facts.payload is not None
        return self.facts.payload

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.frames) / self.fps

    def save(
        self,
        path: str | Path,
        *,
        signer: Signer | None = None,
        overwrite: bool = False,
        store_prompt: bool = True,
        crf: float = video.CRF,
    ) -> Report:
        """Encode, sign and verify; then the file appears at ``path``, which must end in .mp4.

        Args:
            path: the destination. It is looked at before any work is done.
            signer: ``provenance.load_signer`` or ``callback_signer`` make one; None is the development identity.
            overwrite: replace a file that is there. Until the new one is verified, the old one stays.
            store_prompt: False keeps prompt and negative prompt out of the file; only their SHA-256 go in.
            crf: x264's constant rate factor; larger is smaller and worse.

        Returns:
            What ``provenance.verify`` says of the file at ``path``.

        Raises:
            InputError: a destination that cannot be used, or a full disk.
            provenance.errors.ProvenanceError: a signer that cannot sign, or a result that does not verify.
            Whatever is raised, KeyboardInterrupt too, nothing is left at ``path`` that was not there before.
        """
        path = destination.check(path, suffix=".mp4", overwrite=overwrite)
        facts = self.facts if store_prompt else _without_prompt(self.facts)
        with destination.hidden(path) as part:
            video.write_mp4(part, self.frames, self.fps, crf=crf)
            return provenance.sign(part, path, facts=facts, signer=signer, overwrite=overwrite)

    def _repr_html_(self) -> str:
        """A player for notebooks, with the clip as ``save`` writes it: what is saved from the page is signed too."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "clip.mp4"
            self.save(file)
            data = base64.b64encode(file.read_bytes()).decode()
        _, height, width, _ = self.frames.shape
        return (
            f'<video width="{width}" height="{height}" title="{html.escape(self.facts.prompt or self.facts.title)}" '
            f'controls autoplay loop muted playsinline src="data:video/mp4;base64,{data}"></video>'
        )


def make_clip(
    frames: NDArray[np.uint8],
    *,
    fps: float | Fraction,
    facts: Facts,
    min_side: int = MIN_SIDE,
    notify: Callable[[str], None] | None = None,
) -> Clip:
    """Enlarge and watermark what a model made.

    Args:
        frames: uint8 [t, h, w, 3], unmarked.
        fps: frames a second.
        facts: what is known of the making; ``payload`` is filled in here.
        min_side: frames are enlarged by a whole factor until both sides have as many pixels.
        notify: called with "enlarging", "watermarking" and "checking" as each begins.

    Raises:
        InputError: frames or fps that cannot become a clip.
        SorajaxError: pictures in which the watermark cannot be read back.
    """
    say = notify or (lambda stage: None)
    check_frames(frames)
    payload = derive_payload(frames, facts)
    say("enlarging")
    large = upscale(frames, min_side=min_side)
    video.check_video(large, fps)
    say("watermarking")
    marked = provenance.watermark.embed(large, payload)
    say("checking")
    found = provenance.watermark.detect(marked, thorough=False)
    if found.payload != payload:
        raise SorajaxError(
            f"the watermark {payload.hex()} cannot be read back from the pictures, so there is no clip; "
            "they may be blank: try another seed or prompt"
        )
    marked.setflags(write=False)
    return Clip(frames=marked, fps=float(fps), facts=dataclasses.replace(facts, payload=payload))


def derive_payload(frames: NDArray[np.uint8], facts: Facts) -> bytes:
    """8 bytes that name this clip: the start of SHA-256 over the facts, as canonical JSON, and the unmarked frames.

    Derived rather than drawn, so that the same seed gives the same clip, and another prompt, model or setting another.
    """
    known = dataclasses.asdict(facts)
    del known["payload"], known["cost"]  # the same clip, made again, costs other seconds
    header = {"facts": known, "shape": frames.shape}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    hasher = hashlib.sha256(text.encode())
    hasher.update(np.ascontiguousarray(frames).data)
    return hasher.digest()[: provenance.watermark.PAYLOAD_BYTES]


def _without_prompt(facts: Facts) -> Facts:
    """The same facts, with prompt and negative prompt replaced by their digests, and a title that cannot quote them."""
    settings = dict(facts.settings)
    if negative := settings.pop("negative", None):
        settings["negative_sha256"] = provenance.manifest.prompt_digest(negative)
    digest = facts.prompt_sha256 if facts.prompt is None else provenance.manifest.prompt_digest(facts.prompt)
    title = f"A clip by {facts.model_name}"
    return dataclasses.replace(facts, title=title, prompt=None, prompt_sha256=digest, settings=settings)
