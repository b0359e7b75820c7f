"""The database file: its tables, how it is opened, and what tells that it is damaged or not ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from bellande_mesh_sync.errors import CorruptStoreError

SCHEMA_VERSION: Final = 2
"""2: tombstones are in no fingerprint, and up to where they were collected is noted."""
_APPLICATION_ID: Final = 0x424D5331  # "BMS1"

SEQUENCE_BITS: Final = 40
SEQUENCE_MAX: Final = (1 << SEQUENCE_BITS) - 1
"""Row ids are log << 40 | sequence: a trillion writes per author and shard, 8 million such logs."""
LOG_MAX: Final = (1 << (63 - SEQUENCE_BITS)) - 1

CHECKPOINT_PAGES: Final = 2_000
"""32 MiB of write-ahead log, then the writer moves it into the database."""
WAL_KEPT_BYTES: Final = 64 << 20
_PAGE_BYTES: Final = 16_384

_TABLES: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE logs(id INTEGER PRIMARY KEY, shard TEXT NOT NULL, author BLOB NOT NULL);
CREATE TABLE records(id INTEGER PRIMARY KEY, key TEXT NOT NULL, kind INTEGER NOT NULL,
                     crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE knowledge(log INTEGER, low INTEGER, high INTEGER NOT NULL,
                       PRIMARY KEY(log, low)) WITHOUT ROWID;
CREATE TABLE collected(log INTEGER PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE shards(shard TEXT PRIMARY KEY, fingerprint BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks(hash BLOB PRIMARY KEY, pack INTEGER NOT NULL, position INTEGER NOT NULL,
                    size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE members(node BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_DAMAGED_TABLE: Final = "CREATE TABLE IF NOT EXISTS damaged(id INTEGER PRIMARY KEY, key TEXT NOT NULL)"
"""Records that were set aside: the numbers of their rows, and their keys. Databases of before lack it."""


_STATEMENTS_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS statements(id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID"
)
"""What the mesh agreed on for ever. Databases of before lack it."""


def row_id(log: int, sequence: int) -> int:
    return log << SEQUENCE_BITS | sequence


def connect_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)
    for pragma in (
        f"page_size={_PAGE_BYTES}",  # Only counts for a new file.
        "auto_vacuum=none",
        "journal_mode=wal",
        "synchronous=full",  # An acknowledged commit is on the disk: WAL's default would not sync.
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        f"journal_size_limit={WAL_KEPT_BYTES}",
        "cache_size=-16384",
        "secure_delete=off",
        "busy_timeout=5000",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_reader(path: Path, cache_kib: int) -> sqlite3.Connection:
    """A connection that cannot write, not even by closing. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=32,
    )
    connection.execute(f"PRAGMA cache_size=-{cache_kib}")
    connection.execute("PRAGMA busy_timeout=5000")
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Make a new, empty database; a crash leaves either none of it or all. Raises sqlite3.Error."""
    connection.executescript(
        f"BEGIN; PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
        f"{_TABLES} COMMIT;"
    )


def add_damaged_table(connection: sqlite3.Connection) -> None:
    """For a database that was made before there was this table. Raises sqlite3.Error."""
    connection.execute(_DAMAGED_TABLE)


def add_statements_table(connection: sqlite3.Connection) -> None:
    """For a database that was made before there was this table. Raises sqlite3.Error."""
    connection.execute(_STATEMENTS_TABLE)


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether there is nothing in it yet: made, but never filled. Raises sqlite3.Error."""
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(count == 0)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise CorruptStoreError unless this is a database of ours, of this version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise CorruptStoreError(path=str(path), reason="it is a database of another program")
    if version != SCHEMA_VERSION:
        raise CorruptStoreError(
            path=str(path), reason=f"its format is {version}, this version reads {SCHEMA_VERSION}"
        )


def quick_check(connection: sqlite3.Connection, path: Path) -> None:
    """Walk all pages. Raises CorruptStoreError, sqlite3.Error. Cost: about 1 s a GiB."""
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise CorruptStoreError(path=str(path), reason=" ".join(answer.split()))
