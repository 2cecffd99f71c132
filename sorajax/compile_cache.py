"""Compiled programs kept on disk, so that only the first run of a model compiles."""

import os
from pathlib import Path

import jax
import platformdirs


def enable(folder: Path | None = None) -> None:
    """Keep compiled programs in ``folder`` (default: $SORAJAX_CACHE, else the user's cache folder).

    A folder that cannot be written is passed over: programs are then compiled each time.
    """
    folder = folder or Path(os.environ.get("SORAJAX_CACHE") or platformdirs.user_cache_path("sorajax")) / "programs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
