"""Which registry: a folder, a database with a place for blobs, or none."""

import os
from dataclasses import dataclass
from pathlib import Path

from provenance.errors import RegistryError

DATABASE_FILE = "registry.sqlite"
OFF = "off"
_KNOWN = ("sqlite", "postgresql")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where rows and blobs are."""

    database: str
    """A SQLAlchemy URL."""
    blobs: str
    """An fsspec address."""
    shown: str
    """For people: without a password."""
    folder: Path | None = None
    """Of a registry that is a folder."""

    @property
    def exists(self) -> bool:
        """False if it is a folder in which nothing was ever registered: nothing needs to be opened to know that."""
        try:
            return self.folder is None or (self.folder / DATABASE_FILE).exists()
        except OSError:
            return True  # opening it will say what is wrong


def place(registry: str | os.PathLike | None = None) -> Place | None:
    """The registry to use: the one given, else ``$SORAJAX_REGISTRY``, else a folder of the user's; None if "off".

    A folder holds database and blobs. A database URL such as postgresql+psycopg://user@host/name has its blobs in
    ``$SORAJAX_REGISTRY_BLOBS`` (a folder or any fsspec address), else in a folder of the user's.

    Raises:
        RegistryError: a URL that cannot be used.
    """
    chosen = os.fspath(registry) if registry is not None else os.environ.get("SORAJAX_REGISTRY") or ""
    chosen = os.fsdecode(chosen)
    if chosen == OFF:
        return None
    blobs = os.environ.get("SORAJAX_REGISTRY_BLOBS") or ""
    if "://" in chosen:
        return _database(chosen, blobs)
    try:
        folder = Path(chosen).expanduser() if chosen else _default_folder()
    except RuntimeError:
        raise RegistryError(f"the registry {chosen} is in a home folder that cannot be found; write it out") from None
    folder = folder.absolute()
    database = f"sqlite:///{folder / DATABASE_FILE}"
    return Place(database=database, blobs=blobs or str(folder / "blobs"), shown=str(folder), folder=folder)


def _default_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("sorajax")) / "registry"


def _database(url: str, blobs: str) -> Place:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise RegistryError("the registry's address is no database URL; write postgresql+psycopg://HOST/NAME") from None
    kind = parsed.get_backend_name()
    if kind not in _KNOWN:
        raise RegistryError(
            f"a registry in a {kind} database is not supported; give a folder, or postgresql+psycopg://HOST/NAME"
        )
    if kind == "postgresql" and parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    shown = parsed.render_as_string(hide_password=True)
    return Place(
        database=parsed.render_as_string(hide_password=False),
        blobs=blobs or str(_default_folder() / "blobs"),
        shown=shown,
    )
