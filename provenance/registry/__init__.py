"""A registry of signed clips: credentials that outlive the file they were in.

    with registry.opened() as known:               # $SORAJAX_REGISTRY, or a folder of the user's
        known.by_payload(b"8 bytes!")              # entries, newest first
        known.alike(fingerprint)                   # what a clip without a watermark may be a copy of

Files: ``places`` (which registry), ``schema``, ``blobs``, ``entry``, ``store`` (the registry), ``checking`` and
``archive`` (export and import). What it says is not proof: the manifest store it keeps is signed, and is validated by
whoever asks (``provenance.stores``).
"""

import os
from typing import TYPE_CHECKING

from provenance.registry.places import OFF, Place, place

if TYPE_CHECKING:
    from provenance.registry.store import Registry

__all__ = ["OFF", "Place", "opened", "place"]


def opened(registry: str | os.PathLike | Place | None = None, *, create: bool = True) -> "Registry":
    """Open a registry.

    Args:
        registry: a folder, a database URL, or a ``Place``; None is ``$SORAJAX_REGISTRY``, else a folder of the user's.
        create: make it if it is not there.

    Raises:
        RegistryError: it is "off", of a newer version, or cannot be opened.
    """
    from provenance.errors import RegistryError

    where = registry if isinstance(registry, Place) else place(registry)
    if where is None:
        raise RegistryError("the registry is off; set SORAJAX_REGISTRY to a folder or a database URL, or unset it")
    if not create and not where.exists:
        raise RegistryError(f"there is no registry at {where.shown}; sign a clip, or name another with --registry")
    from provenance.registry.store import Registry

    return Registry(where, create=create)
