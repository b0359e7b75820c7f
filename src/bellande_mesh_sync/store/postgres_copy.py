"""The copy on this node's disk of what the server holds: made when it is missing or not of the same commit.

A core reads what it knows at once, and a round trip to a server is not at once. So all of it is
read from a database of the embedded kind, which follows the server commit by commit.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bellande_mesh_sync.errors import CorruptStoreError
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store import sqlite_schema as schema
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.epoch_file import sync_directory
from bellande_mesh_sync.store.postgres_changes import RECORD_COLUMNS, LogName
from bellande_mesh_sync.store.postgres_damage import copy_damage
from bellande_mesh_sync.store.postgres_history import copy_history
from bellande_mesh_sync.store.postgres_rows import pages, record_of, whole
from bellande_mesh_sync.store.postgres_server import Connection
from bellande_mesh_sync.store.sqlite_history import add_tables
from bellande_mesh_sync.store.sqlite_rows import Row, insert_rows, record_row

COMMIT_NOTE: Final = "server_commit"
"""The row of the copy's table `meta` that says which commit of the server it has reached."""
COPY_NAME: Final = "server-copy.db"
_ROWS_PER_COMMIT: Final = 50_000
_OF_THE_HOME: Final = ("epoch", "place", "packs_end")


class CopyState(NamedTuple):
    commit: bytes
    """b"": there is no copy, or none that can be read."""
    home: Sequence[Row]
    """What in it is not of the server: the author epoch, and where the index of chunks ends."""


def read_state(path: Path) -> CopyState:
    """Raises StorageError."""
    if not path.exists():
        return CopyState(b"", [])
    try:
        with closing(schema.connect_reader(path, 1_024)) as reader:
            schema.check_schema(reader, path)
            meta = dict(reader.execute("SELECT name, value FROM meta"))
    except (sqlite3.Error, CorruptStoreError):
        return CopyState(b"", [])  # It is only a copy: a new one is made, and this one set aside.
    home = [(name, meta[name]) for name in _OF_THE_HOME if name in meta]
    return CopyState(meta.get(COMMIT_NOTE, b""), home)


def make_copy(
    connection: Connection, path: Path, commit: bytes, home: Sequence[Row], server: str, *, keep_old: bool
) -> Path | None:
    """Read the whole schema into a new file, and put it in the place of the old one.

    Args:
        commit: the server's last; nobody else writes while this reads.
        home: rows of `meta` to take over from the old copy.
        keep_old: leave the old one beside it, as `NAME.old`.

    Returns:
        Where the old one is, if there was one and it was kept.

    Raises:
        psycopg.Error, StorageError, CorruptStoreError: the old copy is where it was.

    Cost: one pass over all records, some 50,000 a second; disk space for a second copy meanwhile.
    """
    fresh = path.with_name(path.name + ".new")
    with disk_errors(fresh):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove(fresh)
        with closing(schema.connect_writer(fresh)) as writer:
            writer.execute("PRAGMA synchronous=off")  # A file that is not whole is never opened again.
            schema.create_tables(writer)
            add_tables(writer)
            schema.add_damaged_table(writer)
            schema.add_statements_table(writer)
            _fill(connection, writer, server)
            if any(name == "packs_end" for name, _ in home):
                _take_chunk_index(writer, path)
            insert_rows(writer, "meta", [*home, (COMMIT_NOTE, commit)])
        _sync(fresh)
        old = _set_aside(path)
        fresh.replace(path)
        sync_directory(path.parent)
        if old is not None and not keep_old:
            _remove(old)
            old = None
    return old


def _fill(connection: Connection, writer: sqlite3.Connection, server: str) -> None:
    (clock,) = connection.execute("SELECT clock FROM store").fetchone() or (0,)
    names = {
        log: (Shard(shard), Author(author))
        for log, shard, author in connection.execute("SELECT log, shard, author FROM logs", binary=True)
    }
    writer.execute("BEGIN")
    insert_rows(writer, "meta", [("clock", clock.to_bytes(8, "big"))] if clock else [])
    insert_rows(writer, "logs", [(log, *name) for log, name in names.items()])
    count = 0
    try:
        for rows in pages(connection, f"SELECT {', '.join(RECORD_COLUMNS)} FROM records"):
            insert_rows(writer, "records", [_copied(names, row) for row in rows])
            count += len(rows)
            if count >= _ROWS_PER_COMMIT:
                writer.execute("COMMIT")
                writer.execute("BEGIN")
                count = 0
        copy_history(connection, writer)
        copy_damage(connection, writer)
    except (msgspec.MsgspecError, KeyError) as error:
        raise CorruptStoreError(path=server, reason=f"a record cannot be decoded: {error}") from error
    for table, columns in (
        ("knowledge", "log, low, high"),
        ("collected", "log, number"),
        ("shards", "shard, fingerprint"),
        ("members", "node, body"),
        ("statements", "id, body"),
    ):
        for rows in pages(connection, f"SELECT {columns} FROM {table}"):
            insert_rows(writer, table, rows)
    writer.execute("COMMIT")


def _copied(names: Mapping[int, LogName], row: Row) -> Row:
    log, sequence = whole(row[0]), whole(row[1])
    _, author = names[log]
    return record_row(schema.row_id(log, sequence), record_of(author, sequence, row[2:]))


def _take_chunk_index(writer: sqlite3.Connection, old: Path) -> None:
    writer.execute("ATTACH ? AS old", (str(old),))
    writer.execute("INSERT INTO chunks SELECT * FROM old.chunks")
    writer.execute("DETACH old")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_aside(path: Path) -> Path | None:
    """Rename a database with all its files, itself first: what is left of a crash is never mixed up."""
    old = path.with_name(path.name + ".old")
    _remove(old)
    there = path.exists()
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(old.with_name(old.name + suffix))
    return old if there else None


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
