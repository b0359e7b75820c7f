"""What refers to chunks: the manifests of all records in the database, live and replaced ones."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bellande_mesh_sync.core.data.record import Manifest
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.sqlite_rows import select_records
from bellande_mesh_sync.store.sqlite_schema import connect_reader

ROWS_PER_STEP: Final = 512
_CACHE_KIB: Final = 1_024
_TABLES: Final = ("records", "history")
"""In this order: what is replaced goes from the one to the other."""
_BODIES: Final = """
SELECT count(*), group_concat(id), group_concat(length(body)), group_concat(crc),
       CAST(group_concat(body, '') AS BLOB)
FROM (SELECT id, crc, body FROM {table} WHERE id > ? ORDER BY id LIMIT ?)
"""


class SqliteManifests:
    """One reading of them, of one moment, on a connection of its own."""

    def __init__(self, path: Path, on_close: Callable[[SqliteManifests], None]) -> None:
        self._path = path
        self._on_close = on_close
        self._lock = threading.Lock()
        with disk_errors(path):
            self._connection: sqlite3.Connection | None = connect_reader(path, _CACHE_KIB)

    def read(self, pause: Callable[[int], None]) -> Iterator[Manifest]:
        """As `Store.manifests`."""
        with self._lock, disk_errors(self._path):
            self._usable().execute("BEGIN")
        for table in _TABLES:
            statement = _BODIES.format(table=table)
            last = -1
            while True:
                with self._lock, disk_errors(self._path):
                    ids, records, size_bytes = select_records(
                        self._usable(), self._path, statement, (last, ROWS_PER_STEP)
                    )
                if not ids:
                    break
                for record in records:
                    if record.manifest is not None:
                        yield record.manifest
                last = max(ids)
                pause(size_bytes)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._on_close(self)

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(reason="the reading of the store was ended; start it again")
        return self._connection
