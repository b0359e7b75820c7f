"""The history on the server: replaced versions, written with what replaced them. It is read from the copy."""

from __future__ import annotations

import sqlite3
from typing import Final

from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Author
from bellande_mesh_sync.store.interface import EXPIRED_PER_BATCH
from bellande_mesh_sync.store.postgres_rows import (
    VERSION_COLUMNS,
    binary,
    insert,
    pages,
    record_of,
    version_columns,
    whole,
)
from bellande_mesh_sync.store.postgres_server import Connection
from bellande_mesh_sync.store.sqlite_rows import Row, insert_rows, record_row

_COLUMNS: Final = {
    "until": "bigint",
    "kept_until_ms": "bigint",
    "author": "bytea",
    "sequence": "bigint",
    **VERSION_COLUMNS,
}
# A rank counts the versions that were replaced later: those replaced together have the same.
_FORGET_SURPLUS: Final = """
DELETE FROM history WHERE id IN (
  SELECT id FROM (SELECT id, rank() OVER (PARTITION BY key ORDER BY until DESC) AS place FROM history
                  WHERE key = ANY(%s::text[])) AS ranked
  WHERE place > %s)
"""
_FORGET_EXPIRED: Final = """
DELETE FROM history WHERE id IN (
  SELECT id FROM history WHERE kept_until_ms > 0 AND kept_until_ms <= %s ORDER BY kept_until_ms LIMIT %s)
"""


class ServerHistory:
    """What some batches come to in rows of history."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._keys: dict[int, dict[str, None]] = {}  # By how many versions of each key stay.
        self._expired_ms = 0

    def __bool__(self) -> bool:
        return bool(self._rows or self._expired_ms)

    def take(self, batch: Batch) -> None:
        for old in batch.history:
            record = old.record
            place = (old.until, old.expires_ms, record.author, record.sequence)
            self._rows.append((*place, *version_columns(record)))
            self._keys.setdefault(old.versions, {})[record.key] = None
        self._expired_ms = batch.expired_ms or self._expired_ms

    def write(self, connection: Connection) -> None:
        """Raises psycopg.Error."""
        insert(connection, "history", _COLUMNS, self._rows)
        for versions, keys in self._keys.items():
            connection.execute(_FORGET_SURPLUS, (list(keys), versions))
        if self._expired_ms:
            connection.execute(_FORGET_EXPIRED, (self._expired_ms, EXPIRED_PER_BATCH))


def copy_history(connection: Connection, writer: sqlite3.Connection) -> None:
    """All of it, into a copy that is being made. Raises psycopg.Error, sqlite3.Error, MsgspecError."""
    for rows in pages(connection, f"SELECT {', '.join(_COLUMNS)} FROM history ORDER BY id"):
        insert_rows(writer, "history", [_copied(row) for row in rows])


def _copied(row: Row) -> Row:
    until, kept_until_ms, author, sequence, *rest = row
    record = record_of(Author(binary(author)), whole(sequence), rest)
    _, key, _, check, body = record_row(0, record)
    return (None, key, until, kept_until_ms, check, body)
