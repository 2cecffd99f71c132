"""Where a model is: shipped, in a folder, or on the hub."""

import difflib
from pathlib import Path

from sorajax.errors import InputError
from sorajax.weights import hub

SHIPPED = Path(__file__).parent.parent / "weights_data"


def models() -> list[str]:
    """Names of the models whose weights ship with sorajax."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/sorajax.json"))


def find(model: str | Path, *, weights: bool = True) -> Path:
    """The folder of a shipped model, of the user's own, or of one on the hub (its configs alone, without ``weights``).

    Raises InputError with the nearest names for one that is nowhere, CheckpointError for one that cannot be fetched.
    """
    if str(model) in models():
        return SHIPPED / str(model)
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if hub.is_named(str(model)) and not str(model).startswith((".", "~")):
        return hub.fetch(str(model), weights=weights)
    near = difflib.get_close_matches(str(model), [*models(), *hub.REPOSITORIES], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"unknown model {str(model)!r}; {hint}shipped models: {', '.join(models()) or 'none'}; "
        f"fetched: {', '.join(hub.REPOSITORIES)}; or a folder, or OWNER/NAME on the hub"
    )
