"""The index of chunks in the database, for any thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.manifests import HASH_BYTES
from bellande_mesh_sync.store.packs import Entry, Location
from bellande_mesh_sync.store.sqlite_rows import as_json, insert_rows
from bellande_mesh_sync.store.sqlite_schema import connect_reader

_HASHES_PER_STATEMENT: Final = 500
_CACHE_KIB: Final = 2_048
# One row of aggregates: each row more is one more wait for the interpreter lock.
_SELECT: Final = (
    "SELECT CAST(group_concat(hash, '') AS BLOB), group_concat(pack), group_concat(position), "
    "group_concat(size)"
)
_PAGE: Final = f"{_SELECT} FROM (SELECT * FROM chunks WHERE hash > ? ORDER BY hash LIMIT ?)"


class ChunkTable:
    """Look-ups of chunk locations over a connection of their own."""

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

    def find(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
        """Locations of those chunks that are indexed. Raises CorruptStoreError, StorageError."""
        found: dict[bytes, Location] = {}
        for start in range(0, len(hashes), _HASHES_PER_STATEMENT):
            found.update(self._find_some(hashes[start : start + _HASHES_PER_STATEMENT]))
        return found

    def page(self, after: bytes, limit: int) -> list[Entry]:
        """The next chunks above this hash, in order. Raises StorageError."""
        with self._lock, disk_errors(self._path):
            assert self._connection is not None, "the store is not open"
            row = self._connection.execute(_PAGE, (after, limit)).fetchone()
        return sorted(_entries(row).items())

    def _find_some(self, hashes: Sequence[bytes]) -> dict[bytes, Location]:
        statement = f"{_SELECT} FROM chunks WHERE hash IN ({','.join('?' * len(hashes))})"
        with self._lock, disk_errors(self._path):
            assert self._connection is not None, "the store is not open"
            row = self._connection.execute(statement, hashes).fetchone()
        return _entries(row)


def rewrite_chunks(
    writer: sqlite3.Connection,
    gone: Sequence[Entry],
    entries: Sequence[Entry],
    packs_end: tuple[int, int],
) -> None:
    """A transaction: some chunks leave the index, others come in. Raises sqlite3.Error."""
    try:
        writer.execute("BEGIN IMMEDIATE")
        for start in range(0, len(gone), _HASHES_PER_STATEMENT):
            hashes = [hash for hash, _ in gone[start : start + _HASHES_PER_STATEMENT]]
            writer.execute(f"DELETE FROM chunks WHERE hash IN ({','.join('?' * len(hashes))})", hashes)
        insert_rows(writer, "chunks", [(hash, *location) for hash, location in entries])
        insert_rows(writer, "meta", [("packs_end", as_json(packs_end))])
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise


def _entries(row: Sequence[Any]) -> dict[bytes, Location]:
    names, *columns = row
    if names is None:
        return {}
    numbers = (map(int, column.split(",")) for column in columns)
    return {
        names[index * HASH_BYTES : (index + 1) * HASH_BYTES]: Location(*values)
        for index, values in enumerate(zip(*numbers, strict=True))
    }
