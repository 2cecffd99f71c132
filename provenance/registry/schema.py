"""The registry's tables. Rows are small; manifest stores, fingerprints and pictures are blobs named by SHA-256."""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 1
"""Of the tables; raised when older code could no longer read or write them."""

metadata = MetaData()

facts = Table(
    "registry_facts",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

clips = Table(
    "clips",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("manifest_sha256", String(64), nullable=False, unique=True),
    Column("manifest_id", Text, nullable=False, index=True),
    Column("payload", String(16), index=True),
    Column("algorithm", String(100)),
    Column("title", Text),
    Column("signer", Text),
    Column("signed_at", String(40)),
    Column("registered_at", String(40), nullable=False),
    Column("file_sha256", String(64)),
    Column("width", Integer),
    Column("height", Integer),
    Column("fps", Float),
    Column("duration", Float),
    Column("fingerprint_sha256", String(64)),
    # The fingerprint's hashes once more, eight bytes each: all of them are searched at once.
    Column("hashes", LargeBinary),
    Column("proof", Text),
)

pictures = Table(
    "pictures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("clip_id", Integer, ForeignKey("clips.id", ondelete="CASCADE"), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("sha256", String(64), nullable=False),
    UniqueConstraint("clip_id", "seconds"),
    Index("pictures_by_clip", "clip_id"),
)
