"""What an append that was cut short left behind: finish it, or remove it.

The checkpoint is the commit point. Tiles are on disk before a checkpoint over them is signed, so

- an append that ended before its checkpoint was signed is as if it had never been: its tiles are removed;
- one whose signed checkpoint lies whole in ``.incoming`` is finished by moving it to its place. To remove it instead
  would mean to sign another root over the same number of entries later, which a log must never do.
"""

from collections.abc import Iterator

from provenance.errors import LogError, ProofError
from provenance.log import checkpoints, files, merkle, notes, tiles
from provenance.log.checkpoints import Checkpoint
from provenance.log.reading import Reader

PENDING = f"{files.INCOMING}/{checkpoints.PATH}"
_MOST_GROUPS = 7  # of three digits each; enough for tiles.HIGHEST_SIZE


def recover(disk: files.Files, verifier: notes.Verifier, before: int | None) -> None:
    """Leave the log as one append or another left it; to be called with the lock held.

    Args:
        before: the size of the log when the append began, if that is known.

    Raises:
        LogError, ProofError: the log is damaged beyond what an append can leave behind.
    """
    with Reader(disk.folder, verifier) as reader:
        size = reader.size
    if (later := _pending(disk, verifier, size)) is not None:
        disk.move(PENDING, checkpoints.PATH)
        size = later
    disk.sync_folder(".")
    for name in disk.names(files.INCOMING):
        disk.remove(f"{files.INCOMING}/{name}")
    for path, is_folder in _beyond(disk, size):
        (disk.remove_folder if is_folder else disk.remove)(path)
    if before is not None:
        drop_partials(disk, before, size)


def signed_size(disk: files.Files, verifier: notes.Verifier) -> int:
    """How many entries the log has under its newest signed checkpoint, in its place or not.

    Raises:
        LogError, ProofError: the log is damaged.
    """
    with Reader(disk.folder, verifier) as reader:
        return _pending(disk, verifier, reader.size) or reader.size


def drop_partials(disk: files.Files, before: int, size: int) -> None:
    """Remove the partial tiles that a tree of ``before`` entries had and that are full in one of ``size``."""
    for level in range(tiles.levels(before)):
        n, width = tiles.counts(level, before)
        if width and n < tiles.counts(level, size)[0]:
            disk.remove_folder(f"{tiles.tile_path(level, n)}.p")
            if level == 0:
                disk.remove_folder(f"{tiles.tile_path(tiles.ENTRIES, n)}.p")


def load_edge(reader: Reader) -> tuple[tiles.Edge, bytes]:
    """The right edge of the tree, and the partial bundle of entries, both checked against the checkpoint.

    Raises:
        ProofError: they do not belong to it; to append would carry the damage on.
    """
    size = reader.size
    widths = [tiles.counts(level, size) for level in range(tiles.levels(size))]
    edge = tiles.Edge(size, [reader.tile(level, n) if width else b"" for level, (n, width) in enumerate(widths)])
    if edge.root() != reader.checkpoint.root:
        raise ProofError(f"the last tiles of the log {reader.source.name} do not belong to its checkpoint")
    entries = reader.bundle(size // tiles.WIDTH) if size % tiles.WIDTH else []
    if b"".join(map(merkle.leaf_hash, entries)) != edge.partial(0):
        raise ProofError(f"the last entries of the log {reader.source.name} do not belong to its checkpoint")
    return edge, tiles.join_bundle(entries)


def _pending(disk: files.Files, verifier: notes.Verifier, size: int) -> int | None:
    """The size under a checkpoint that only waits to be moved to its place; None if there is none."""
    try:
        checkpoint = Checkpoint.from_text((disk.folder / PENDING).read_bytes())
        with Reader(disk.folder, verifier, checkpoint=checkpoint) as reader:
            if checkpoint.size <= size:
                return None
            load_edge(reader)
    except (FileNotFoundError, LogError, ProofError):
        return None  # cut short before it was whole, so nobody can have seen it
    return checkpoint.size


def _beyond(disk: files.Files, size: int) -> Iterator[tuple[str, bool]]:
    """The tiles on disk that a tree of ``size`` entries does not have: (path, whether it is a folder of partials)."""
    for name in disk.names("tile"):
        if name != tiles.ENTRIES and not (name.isdigit() and len(name) < 3):
            continue
        full, partial = tiles.counts(0 if name == tiles.ENTRIES else int(name), size)
        for groups in range(1, _MOST_GROUPS + 1):
            for path, n, is_folder in _from(disk, f"tile/{name}", full, groups):
                if n > full or not is_folder:
                    yield path, is_folder
                    continue
                for width in disk.names(path):
                    if not width.isdigit() or int(width) > partial:
                        yield f"{path}/{width}", False


def _from(disk: files.Files, folder: str, first: int, groups: int) -> Iterator[tuple[str, int, bool]]:
    """Tiles below ``folder`` with names of so many groups of digits and an index of at least ``first``."""
    span = 1000 ** (groups - 1)
    for name in disk.names(folder):
        if groups > 1:
            group = tiles.group_of(name)
            if group is not None and (group + 1) * span > first:
                start = group * span
                for path, n, is_folder in _from(disk, f"{folder}/{name}", max(0, first - start), groups - 1):
                    yield path, start + n, is_folder
        elif (last := tiles.last_of(name)) is not None and last[0] >= first:
            yield f"{folder}/{name}", last[0], last[1]
