"""The files that another was made from, put into its manifest with their own credentials."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance import credentials, formats, history
from provenance.errors import MediaError
from provenance.formats import Format
from provenance.history import History

if TYPE_CHECKING:
    from c2pa import Builder, Context


def add_sources(builder: "Builder", account: History, ctx: "Context") -> None:
    """All ingredients of an account, but for a parent that is the file itself.

    Raises:
        MediaError: one that cannot be read.
    """
    if account.parent is not None:
        add_source(builder, account.parent, "parentOf", "parent", ctx)
    for relationship, kind, paths in (
        ("componentOf", "component", account.components),
        ("inputTo", "input", account.inputs),
    ):
        for i, path in enumerate(paths):
            add_source(builder, path, relationship, history.label(kind, i), ctx)


def add_source(
    builder: "Builder", path: Path, relationship: str, label: str, ctx: "Context", title: str | None = None
) -> None:
    """One ingredient with its own credentials, validated now: from inside the file, or from the sidecar beside it.

    Raises:
        MediaError: it cannot be read.
    """
    from c2pa import C2paError

    mime, format = history.kind(path)
    said: dict[str, Any] = {"title": title or path.name, "format": mime, "relationship": relationship, "label": label}
    try:
        carried = credentials.where(path, format) if format is not None else None
        beside = formats.sidecar_of(path)
        if carried not in (None, "inside") and not beside.is_file():
            raise MediaError(
                f"{path} says that its credentials are at {carried}; fetch them and put them beside it as {beside.name}"
            )
        if format is not None and carried not in (None, "inside"):
            said |= _from_sidecar(builder, path, format, label, ctx)
        with path.open("rb") as file:
            builder.add_ingredient(said, mime, file)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MediaError as error:
        raise error if str(path) in str(error) else MediaError(f"{path}: {error}") from None
    except C2paError as error:
        raise MediaError(f"{path} cannot be stated as a source: {' '.join(str(error).split())[:300]}") from None


def _from_sidecar(builder: "Builder", path: Path, format: Format, label: str, ctx: "Context") -> dict[str, Any]:
    """What C2PA wants to know of an ingredient whose credentials it does not find itself."""
    from c2pa import Reader

    store = credentials.load(formats.sidecar_of(path))
    with path.open("rb") as file, Reader(format.mime, file, manifest_data=store, context=ctx) as reader:
        active = json.loads(reader.json())["active_manifest"]
        results = reader.get_validation_results()
    identifier = f"{label}.c2pa"
    builder.add_resource(identifier, io.BytesIO(store))
    return {
        "active_manifest": active,
        "validation_results": results,
        "manifest_data": {"format": "application/c2pa", "identifier": identifier},
    }
