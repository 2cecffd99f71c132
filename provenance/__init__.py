"""Where does a video come from? Sign, watermark and verify clips (C2PA), without JAX.

    report = provenance.verify("dog.mp4")             # report.status, .exit_code, .manifest, .watermark, .findings
    provenance.sign("edited.mp4", "signed.mp4", parent="original.mp4", edits=["trimmed"])   # a file made elsewhere
    provenance.marking.mark_file("a.mov", "b.mov", payload=b"8 bytes!")   # a watermarked copy of a file
    provenance.label.label_file("a.mp4", "b.mp4")     # says, for everybody to see, that it was AI-generated
    marked = provenance.watermark.embed(frames, payload=b"8 bytes!")
    found = provenance.watermark.detect(marked)       # .found, .payload, .p_value

Everything is imported when first used, so ``import provenance`` costs nothing. Which module may import which is written
in pyproject.toml and checked by the tests.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provenance import (
        errors,
        formats,
        history,
        keys,
        label,
        log,
        manifest,
        marking,
        page,
        report,
        video,
        watermark,
    )
    from provenance.keys import Signer, callback_signer, default_signer, load_signer
    from provenance.manifest import Facts
    from provenance.report import Report
    from provenance.signing import sign
    from provenance.verification import verify

__version__ = "0.1.0"

__all__ = [
    "Facts",
    "Report",
    "Signer",
    "callback_signer",
    "default_signer",
    "errors",
    "formats",
    "history",
    "keys",
    "label",
    "load_signer",
    "log",
    "manifest",
    "marking",
    "page",
    "report",
    "sign",
    "verify",
    "video",
    "watermark",
]

# No submodule bears the name of a function here, so import order cannot change what a name means.
_HOMES = {
    "Facts": "manifest",
    "Report": "report",
    "Signer": "keys",
    "callback_signer": "keys",
    "default_signer": "keys",
    "load_signer": "keys",
    "sign": "signing",
    "verify": "verification",
}
_MODULES = (
    "errors",
    "formats",
    "history",
    "keys",
    "label",
    "log",
    "manifest",
    "marking",
    "page",
    "report",
    "video",
    "watermark",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"provenance.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"provenance.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'provenance' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
