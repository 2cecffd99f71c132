"""Models from the Hugging Face hub: fetched once, resumed where a download stopped, read from the cache offline."""

import re
from collections.abc import Mapping
from pathlib import Path

from sorajax.errors import CheckpointError, InputError

REPOSITORIES: Mapping[str, str] = {
    "wan2.1-t2v-1.3b": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "wan2.1-t2v-14b": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    "wan2.2-t2v-a14b": "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    "wan2.2-i2v-a14b": "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    "wan2.2-ti2v-5b": "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
}
"""Preset -> where its weights are published."""
CONFIGS = ("*.json", "*/*.json", "README.md", "tokenizer/*")
TENSORS = ("text_encoder/*.safetensors", "transformer*/*.safetensors", "vae/*.safetensors")
_NAME = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def is_named(model: str) -> bool:
    """Whether this is a preset whose weights are published, or OWNER/NAME or OWNER/NAME@REVISION."""
    return model in REPOSITORIES or _NAME.fullmatch(model) is not None


def fetch(model: str, *, weights: bool = True) -> Path:
    """The folder in the hub's cache that holds the model, or its configs alone; what is missing is downloaded.

    HF_HUB_OFFLINE=1 keeps it from the network. Raises InputError for a model that is not there, CheckpointError if it
    could not be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    named = _NAME.fullmatch(REPOSITORIES.get(model, model))
    assert named is not None, model
    patterns = [*CONFIGS, *(TENSORS if weights else ())]
    try:
        return Path(snapshot_download(named["id"], revision=named["revision"], allow_patterns=patterns))
    except GatedRepoError:
        raise InputError(
            f"model {model!r} is only for those who accepted its terms; do so, then: hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"model {model!r} is neither a folder here nor on the hub, or is private: check its name"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"model {named['id']!r} has no revision {named['revision']!r}; name one it has") from None
    except HFValidationError as error:
        raise InputError(f"model {model!r} is not a name on the hub: {error}") from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"model {model!r} is not in the cache and the hub cannot be reached; go online, unset HF_HUB_OFFLINE, "
            "or name a folder that holds it"
        ) from None
    except Exception as error:  # of many libraries: HTTP, its transport, files
        why = str(error).partition("\n")[0]
        raise CheckpointError(f"model {model!r} could not be fetched ({why}); run it again to resume") from None


def origin(folder: Path) -> dict[str, str]:
    """Repository, revision and licence of a folder in the hub's cache, for the manifest; empty for any other."""
    parts = folder.parts
    if len(parts) < 3 or parts[-2] != "snapshots" or not parts[-3].startswith("models--"):
        return {}
    facts = {"repository": parts[-3].removeprefix("models--").replace("--", "/"), "revision": parts[-1]}
    return facts | ({"licence": found} if (found := licence(folder)) else {})


def licence(folder: Path) -> str:
    """What the front matter of a model's card names; empty if it has none."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    matter = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([\w.+-]+)", matter[1], re.MULTILINE) if matter else None
    return found[1] if found else ""
