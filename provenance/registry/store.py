"""The registry itself: signed clips by watermark, by manifest and by likeness.

Blobs are written before the row that names them, and a row with its pictures in one transaction: a writer that is
killed leaves at worst blobs that nobody names, which ``checking`` finds.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, NoSuchModuleError, SQLAlchemyError

from provenance import likeness
from provenance.errors import RegistryError
from provenance.fingerprint import NOTHING_TO_SEE, SIDE, Fingerprint, distances, hashes_of, symmetry_masks
from provenance.registry import schema
from provenance.registry.blobs import Blobs
from provenance.registry.entry import Entry, Picture
from provenance.registry.places import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR = 12
"""Bits of 64 by which hashes of the same picture may differ."""
_BUSY_SECONDS = 30
_CHUNK = 1 << 16
_ASKED = 32


@dataclass(frozen=True, kw_only=True)
class Alike:
    """A clip that a fingerprint may be a copy of."""

    entry: Entry
    share: float
    """Of the copy's hashes that have a near one in the clip, 0 to 1."""


class Registry:
    """An open registry; close it, or use it in a ``with`` block.

    Raises:
        RegistryError: from every method, where database or blobs cannot be used.
    """

    def __init__(self, where: Place, *, create: bool = True):
        self.place = where
        self.blobs = Blobs(where.blobs)
        self._engine = _engine(where)
        try:
            with self._reporting():
                if create:
                    _create(self._engine, where)
                self._check_version()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back."""
        self._engine.dispose()

    def add(
        self,
        entry: Entry,
        *,
        manifest: bytes,
        fingerprint: Fingerprint | bytes | None = None,
        pictures: Sequence[tuple[float, bytes]] = (),
    ) -> Entry:
        """Keep a clip. The same manifest store again replaces what was said of it, and keeps a proof that was there.

        Args:
            entry: its digests and pictures are made here.
            manifest: the manifest store, JUMBF.
            fingerprint: of its pictures; as bytes it is kept bit for bit, for its digest may be signed.
            pictures: (seconds, JPEG).
        """
        whole = fingerprint.to_bytes() if isinstance(fingerprint, Fingerprint) else fingerprint
        hashes = None if whole is None else Fingerprint.from_bytes(whole).hashes.astype("<u8").tobytes()
        kept = [Picture(seconds=float(at), sha256=self.blobs.put(data)) for at, data in pictures]
        entry = replace(
            entry,
            manifest_sha256=self.blobs.put(manifest),
            fingerprint_sha256=None if whole is None else self.blobs.put(whole),
            registered_at=entry.registered_at or datetime.now(UTC).isoformat(timespec="microseconds"),
            pictures=tuple(kept),
        )
        values = {k: v for k, v in entry.to_dict().items() if k != "pictures"}
        values["hashes"] = hashes
        with self._writing() as connection:
            self._upsert(connection, values)
            clip = connection.scalar(
                select(schema.clips.c.id).where(schema.clips.c.manifest_sha256 == entry.manifest_sha256)
            )
            connection.execute(delete(schema.pictures).where(schema.pictures.c.clip_id == clip))
            rows = {p.seconds: {"clip_id": clip, "seconds": p.seconds, "sha256": p.sha256} for p in kept}
            if rows:
                connection.execute(insert(schema.pictures), list(rows.values()))
        return entry

    def _upsert(self, connection: Connection, values: dict[str, Any]) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(schema.clips).values(**values)
        said = [name for name in values if name not in ("manifest_sha256", "proof")]
        changes: dict[str, Any] = {name: statement.excluded[name] for name in said}
        changes["proof"] = func.coalesce(statement.excluded.proof, schema.clips.c.proof)
        connection.execute(statement.on_conflict_do_update(index_elements=["manifest_sha256"], set_=changes))

    def set_proof(self, manifest_sha256: str, proof: str) -> bool:
        """Keep the text that proves a clip's inclusion in a transparency log; whether the clip is here."""
        with self._writing() as connection:
            change = update(schema.clips).where(schema.clips.c.manifest_sha256 == manifest_sha256).values(proof=proof)
            return connection.execute(change).rowcount > 0

    def by_payload(self, payload: bytes, *, most: int = 100) -> list[Entry]:
        """Clips that carry this watermark, newest first: one seed gives one clip, signed as often as it is saved."""
        return self._entries(schema.clips.c.payload == payload.hex(), most)

    def by_manifest_id(self, manifest_id: str) -> list[Entry]:
        """The clips whose active manifest has this label, newest first: one, unless somebody repeated a label."""
        return self._entries(schema.clips.c.manifest_id == manifest_id, 100)

    def by_digest(self, sha256: str) -> list[Entry]:
        """The clips whose manifest store or signed file has this digest, in hexadecimal."""
        either = (schema.clips.c.manifest_sha256 == sha256) | (schema.clips.c.file_sha256 == sha256)
        return self._entries(either, 100)

    def newest(self, most: int = 100) -> list[Entry]:
        """The clips registered last."""
        return self._entries(None, most)

    def count(self) -> int:
        """How many clips there are."""
        with self._reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(schema.clips)) or 0)

    def entries(self) -> Iterator[Entry]:
        """Every clip, oldest first."""
        last = 0
        while True:
            with self._reading() as connection:
                query = select(schema.clips).where(schema.clips.c.id > last).order_by(schema.clips.c.id).limit(500)
                rows = connection.execute(query).mappings().all()
                found = [_entry(row, self._pictures_of(connection, row["id"])) for row in rows]
            if not rows:
                return
            yield from found
            last = rows[-1]["id"]

    def manifest(self, entry: Entry) -> bytes:
        """Its manifest store."""
        return self.blobs.get(entry.manifest_sha256)

    def fingerprint(self, entry: Entry) -> Fingerprint | None:
        """Its fingerprint, if it has one.

        Raises:
            InputError: it is damaged, though its digest is right.
        """
        return (
            None
            if entry.fingerprint_sha256 is None
            else Fingerprint.from_bytes(self.blobs.get(entry.fingerprint_sha256))
        )

    def alike(self, fingerprint: Fingerprint, *, most: int = 5, least: float = 0.4) -> list[Alike]:
        """The clips that most of a copy's hashes are near to: as they are, mirrored, turned by right angles, without
        bars, or as negatives. Every hash of every clip is compared.
        """
        clips, owners, hashes = self._hashes()
        shares = np.zeros(len(clips))
        for asked in _asked(fingerprint):
            shares = np.maximum(shares, _shares(asked, hashes, owners, len(clips)))
        order = np.argsort(-shares, kind="stable")[:most]
        found = []
        for index in order:
            if shares[index] >= least:
                entries = self._entries(schema.clips.c.id == clips[index], 1)
                found += [Alike(entry=entry, share=round(float(shares[index]), 3)) for entry in entries]
        return found

    def _hashes(self) -> tuple[list[int], "NDArray[np.intp]", "NDArray[np.uint64]"]:
        """(clips, newest first; which of them each hash belongs to; the hashes)."""
        query = select(schema.clips.c.id, schema.clips.c.hashes).where(schema.clips.c.hashes.is_not(None))
        query = query.order_by(schema.clips.c.registered_at.desc(), schema.clips.c.id.desc())
        with self._reading() as connection:
            rows = [(row[0], row[1]) for row in connection.execute(query) if len(row[1]) % 8 == 0 and row[1]]
        hashes = np.frombuffer(b"".join(row[1] for row in rows), "<u8").astype(np.uint64)
        owners = np.repeat(np.arange(len(rows)), [len(row[1]) // 8 for row in rows])
        return [row[0] for row in rows], owners, hashes

    def _entries(self, condition: Any, most: int) -> list[Entry]:
        query = select(schema.clips).order_by(schema.clips.c.registered_at.desc(), schema.clips.c.id.desc())
        query = query.limit(most) if condition is None else query.where(condition).limit(most)
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
            return [_entry(row, self._pictures_of(connection, row["id"])) for row in rows]

    def _pictures_of(self, connection: Connection, clip: int) -> tuple[Picture, ...]:
        query = select(schema.pictures).where(schema.pictures.c.clip_id == clip).order_by(schema.pictures.c.seconds)
        rows = connection.execute(query).mappings()
        return tuple(Picture(seconds=row["seconds"], sha256=row["sha256"]) for row in rows)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Whatever the database says, as one line."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
            raise RegistryError(f"the registry at {self.place.shown} cannot be used: {reason}") from None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._reporting(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._reporting(), self._engine.begin() as connection:
            yield connection

    def _check_version(self) -> None:
        with self._engine.connect() as connection:
            found = connection.scalar(select(schema.facts.c.value).where(schema.facts.c.name == "schema"))
        if found != str(schema.VERSION):
            raise RegistryError(
                f"the registry at {self.place.shown} has version {found} of its tables, and this is for version "
                f"{schema.VERSION}; use the sorajax that wrote it, or a newer one"
            )


def _asked(copy: Fingerprint) -> "Iterator[NDArray[np.uint64]]":
    """The hashes to look for: at most ``_ASKED`` of the copy, of it transposed, and of it without bars."""
    chosen = copy.pictures[likeness.spaced(len(copy.pictures), _ASKED)]
    variants = [copy.hashes, hashes_of(chosen.transpose(0, 2, 1))]
    inner = likeness.content(copy.pictures)
    if inner is not None:
        variants.append(hashes_of(likeness.cut(chosen, SIDE, SIDE, inner)))
    for variant in variants:
        distinct = np.unique(variant[variant != NOTHING_TO_SEE])
        if len(distinct):
            yield distinct[likeness.spaced(len(distinct), _ASKED)]


def _shares(
    asked: "NDArray[np.uint64]", hashes: "NDArray[np.uint64]", owners: "NDArray[np.intp]", clips: int
) -> "NDArray[np.float64]":
    """For each clip the largest share of asked hashes, over the symmetries, that it has a near one of."""
    best = np.zeros(clips)
    masks = symmetry_masks()
    for mask in np.concatenate([masks, ~masks]):
        votes = np.zeros(clips)
        for value in asked ^ mask:
            seen = np.zeros(clips, bool)
            for start in range(0, len(hashes), _CHUNK):
                part = hashes[start : start + _CHUNK]
                near = (distances(value[None], part)[0] <= NEAR) & (part != NOTHING_TO_SEE)
                seen[owners[start : start + _CHUNK][near]] = True
            votes += seen
        best = np.maximum(best, votes / len(asked))
    return best


def _entry(row: Any, pictures: tuple[Picture, ...]) -> Entry:
    values = {name: value for name, value in row.items() if name not in ("id", "hashes")}
    return Entry(**values, pictures=pictures)


def _engine(where: Place) -> Engine:
    try:
        engine = create_engine(where.database)
    except (ImportError, NoSuchModuleError) as error:
        name = getattr(error, "name", None) or error
        raise RegistryError(
            f"the registry at {where.shown} needs the package {name}: pip install 'sorajax[registry]'"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    # Transactions are begun by hand, so that a writer waits for its turn at the beginning, where waiting works.
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {_BUSY_SECONDS * 1000}", "foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _write_ahead(raw: Any) -> None:
    """Of several who switch a new database at once, SQLite refuses all but one without letting them wait."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _create(engine: Engine, where: Place) -> None:
    """Make tables that are not there; of several who do it at once, one does."""
    if where.folder is not None:
        where.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.rollback()
            _write_ahead(raw)
    with engine.connect() as connection:
        if engine.dialect.has_table(connection, schema.facts.name):
            return
    for attempt in range(2):
        try:
            with engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7309453)")
                else:
                    connection.exec_driver_sql("ROLLBACK")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                schema.metadata.create_all(connection)
                if connection.scalar(select(schema.facts.c.value).where(schema.facts.c.name == "schema")) is None:
                    connection.execute(insert(schema.facts).values(name="schema", value=str(schema.VERSION)))
            return
        except IntegrityError:
            if attempt:
                raise
