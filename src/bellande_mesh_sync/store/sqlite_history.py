"""The history in the database: old versions by key, written with what replaced them, read in bulk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bellande_mesh_sync.core.data.history import OldVersion
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Stamp
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.interface import EXPIRED_PER_BATCH, OldVersions
from bellande_mesh_sync.store.sqlite_rows import Row, as_json, insert_rows, record_row, select_records
from bellande_mesh_sync.store.sqlite_schema import connect_reader

_CACHE_KIB: Final = 2_048

# Databases of before there was a history get these tables when they are opened; an older version of this
# program opens such a database as well, and keeps no history in it.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS history(id INTEGER PRIMARY KEY, key TEXT NOT NULL, until INTEGER NOT NULL,
                                   expires_ms INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS history_of_key ON history(key, until);
CREATE INDEX IF NOT EXISTS history_expiry ON history(expires_ms) WHERE expires_ms > 0;
"""

# A rank counts the versions that were replaced later: those replaced together have the same.
_FORGET_SURPLUS: Final = """
DELETE FROM history WHERE id IN (
  SELECT id FROM (SELECT id, rank() OVER (PARTITION BY key ORDER BY until DESC) AS place FROM history
                  WHERE key IN (SELECT value FROM json_each(?1)))
  WHERE place > ?2)
"""
_FORGET_EXPIRED: Final = """
DELETE FROM history WHERE id IN (
  SELECT id FROM history WHERE expires_ms > 0 AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)
"""

_KEYS: Final = "SELECT DISTINCT key FROM history WHERE key >= ?1 AND key > ?2 ORDER BY key LIMIT ?3"
_SIZES: Final = """
SELECT group_concat(place), group_concat(size) FROM (
  SELECT wanted.key AS place, sum(length(body)) AS size FROM json_each(?1) AS wanted
  CROSS JOIN history ON history.key = wanted.value GROUP BY wanted.key)
"""
# As elsewhere one row of aggregates; where others have the id, this has the stamp of the replacement.
_SELECT_OLD: Final = """
SELECT count(*), group_concat(until), group_concat(length(body)), group_concat(crc),
       CAST(group_concat(body, '') AS BLOB)
FROM history WHERE key IN (SELECT value FROM json_each(?1))
"""


def add_tables(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.Error."""
    connection.executescript(_TABLES)


class HistoryChanges:
    """What some batches come to in rows of history."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._keys: dict[int, dict[str, None]] = {}  # By how many versions of each key stay.
        self.expired_ms = 0

    def __bool__(self) -> bool:
        return bool(self._rows or self.expired_ms)

    def take(self, old: OldVersion) -> None:
        *_, check, body = record_row(0, old.record)
        key = old.record.key
        self._rows.append((None, key, old.until, old.expires_ms, check, body))
        self._keys.setdefault(old.versions, {})[key] = None

    def write(self, connection: sqlite3.Connection) -> None:
        """Write it all into the open transaction. Raises sqlite3.Error."""
        insert_rows(connection, "history", self._rows)
        for versions, keys in self._keys.items():
            connection.execute(_FORGET_SURPLUS, (as_json(list(keys)), versions))
        if self.expired_ms:
            connection.execute(_FORGET_EXPIRED, (self.expired_ms, EXPIRED_PER_BATCH))


class HistoryTable:
    """Look-ups over a connection of their own, from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Raises sqlite3.Error."""
        self._connection = connect_reader(self._path, _CACHE_KIB)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Up to `limit` keys with this prefix above `after` that have old versions, in order.

        Raises CorruptStoreError, StorageError. Cost: O(their old versions).
        """
        with self._lock, disk_errors(self._path):
            assert self._connection is not None, "the store is not open"
            rows = self._connection.execute(_KEYS, (prefix, after, limit)).fetchall()
        return [key for (key,) in rows if key.startswith(prefix)]

    def read(self, keys: Sequence[str], size_bytes_max: int) -> list[OldVersions]:
        """As `Store.old_versions`. Raises CorruptStoreError, StorageError."""
        with self._lock, disk_errors(self._path):
            assert self._connection is not None, "the store is not open"
            fitting = keys[: _fitting_count(self._connection, keys, size_bytes_max)]
            stamps, records, _ = select_records(
                self._connection, self._path, _SELECT_OLD, (as_json(fitting),)
            )
        found: dict[str, list[tuple[Stamp, Record]]] = {}
        for stamp, record in zip(stamps, records, strict=True):
            found.setdefault(record.key, []).append((Stamp(stamp), record))
        return [tuple(sorted(found.get(key, ()), key=lambda pair: pair[0])) for key in fitting]


def _fitting_count(connection: sqlite3.Connection, keys: Sequence[str], size_bytes_max: int) -> int:
    """How many of the first of these keys have no more bytes than this together; at least one."""
    places, sizes = connection.execute(_SIZES, (as_json(keys),)).fetchone()
    if places is None:
        return len(keys)
    total = 0
    for place, size in sorted(zip(map(int, places.split(",")), map(int, sizes.split(",")), strict=True)):
        total += size
        if total > size_bytes_max and place > 0:
            return place
    return len(keys)
