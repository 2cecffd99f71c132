"""The model that a new run begins with, put where its stages look for the parts before them."""

import os
import shutil
import tempfile
from pathlib import Path

from sorajax.errors import CheckpointError
from sorajax.hosts.arrays import broadcast, is_primary
from sorajax.train import card
from sorajax.weights.find import find


def begin(model: str, folder: Path) -> None:
    """Put the parts of a model, by its name or folder, into ``folder`` unless something is there already.

    Files are linked where the file system can do that, else copied; an export replaces them and never writes into
    them. The folder appears whole. Raises InputError for a model that is not known, CheckpointError if there is no
    space for it.
    """
    if is_primary() and not folder.exists():
        source = find(model)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".start-") as draft:
            try:
                shutil.copytree(source, Path(draft) / "model", copy_function=_link)
                card.began(source, model, Path(draft) / "model")
            except (OSError, shutil.Error) as error:
                raise CheckpointError(f"{source} could not be copied to {folder}: {error}; free some space") from None
            os.replace(Path(draft) / "model", folder)
    broadcast(0)  # the others wait until it is there


def _link(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
