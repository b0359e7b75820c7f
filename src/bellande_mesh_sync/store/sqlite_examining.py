"""Examining a shard: every record of it is read and compared with what the shard is said to hold."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.data.examination import Examination, examination_of
from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import Manifest, fingerprint_of
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.ids import Author, Dot, Shard
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.sqlite_changes import FINGERPRINT_MODULUS
from bellande_mesh_sync.store.sqlite_checked import Checked, LogNames, read_checked
from bellande_mesh_sync.store.sqlite_rows import read_knowledge, read_logs
from bellande_mesh_sync.store.sqlite_schema import SEQUENCE_BITS, SEQUENCE_MAX, connect_reader, row_id

ROWS_PER_STEP: Final = 512
DAMAGED_MAX: Final = 10_000
"""Damaged records that one examination names; when those are set aside the next one names more."""
_CACHE_KIB: Final = 1_024
_IDS: Final = (
    "SELECT group_concat(id) FROM (SELECT id FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)"
)


class SqliteExaminer:
    """One shard, read once, on a connection of its own.

    Args:
        is_deep: hash each value that its record holds itself, too.
    """

    def __init__(
        self, path: Path, shard: Shard, on_close: Callable[[SqliteExaminer], None], *, is_deep: bool = False
    ) -> None:
        self._path = path
        self._shard = shard
        self._is_deep = is_deep
        self._on_close = on_close
        self._lock = threading.Lock()
        self._large: list[int] = []
        with disk_errors(path):
            self._connection: sqlite3.Connection | None = connect_reader(path, _CACHE_KIB)

    def run(self, pause: Callable[[int], None] = lambda size_bytes: None) -> Examination:
        """Read all of it, as of one moment.

        Args:
            pause: called after each step with the bytes it read; may sleep, or raise to give up.

        Raises:
            CorruptStoreError: pages of the database cannot be read at all.
            StorageError: the store was closed meanwhile, or held up too much of its log for this.
        """
        with disk_errors(self._path):
            with self._lock:
                connection = self._usable()
                connection.execute("BEGIN")
                knowledge = read_knowledge(connection, self._shard)
                logs = read_logs(connection, self._shard)
                stored = connection.execute(
                    "SELECT fingerprint FROM shards WHERE shard = ?", (self._shard,)
                ).fetchone()
            live = Knowledge()
            damaged: list[DamagedRecord] = []
            fingerprint = count = size_bytes = 0
            for checked in self._steps(logs, pause):
                for number, record in checked.records.items():
                    if self._is_deep and not _fits_digest(record.inline, record.digest):
                        damaged.append(DamagedRecord(self._shard, record.dot, record.key))
                        continue
                    if record.manifest is not None:
                        self._large.append(number)
                    live.add(record.author, record.sequence, record.sequence)
                    fingerprint += fingerprint_of(record)
                names = {log: author for author, log in logs.items()}
                for row in checked.damaged:
                    dot = Dot(names[row.row_id >> SEQUENCE_BITS], row.row_id & SEQUENCE_MAX)
                    damaged.append(DamagedRecord(self._shard, dot, row.key))
                count += len(checked.records) + len(checked.damaged)
                size_bytes += checked.size_bytes
            with self._lock:
                self._usable().execute("COMMIT")
        return examination_of(
            self._shard,
            knowledge,
            live,
            fingerprint_stored=int.from_bytes(stored[0], "big") if stored is not None else 0,
            fingerprint=fingerprint % FINGERPRINT_MODULUS,
            damaged=damaged[:DAMAGED_MAX],
            record_count=count,
            size_bytes=size_bytes,
        )

    def large_values(self) -> Iterator[tuple[str, Manifest]]:
        """After `run`: keys and chunk lists of the records that it found sound, as they are now."""
        names: LogNames = {}
        for start in range(0, len(self._large), ROWS_PER_STEP):
            part = self._large[start : start + ROWS_PER_STEP]
            with self._lock, disk_errors(self._path):
                connection = self._usable()
                names = names or _names(connection, self._shard)
                checked = read_checked(connection, part, names)
            for record in checked.records.values():
                if record.manifest is not None:
                    yield record.key, record.manifest

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._on_close(self)

    def _steps(self, logs: dict[Author, int], pause: Callable[[int], None]) -> Iterator[Checked]:
        names: LogNames = {log: (self._shard, author) for author, log in logs.items()}
        for log in sorted(names):
            low, high = row_id(log, 0), row_id(log, SEQUENCE_MAX)
            while True:
                with self._lock:
                    ids = _ids_between(self._usable(), low, high)
                    checked = read_checked(self._usable(), ids, names) if ids else None
                if checked is None:
                    break
                yield checked
                low = ids[-1] + 1
                pause(checked.size_bytes)

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(reason="the examination of the store was ended; start it again")
        return self._connection


def _ids_between(connection: sqlite3.Connection, low: int, high: int) -> Sequence[int]:
    (ids,) = connection.execute(_IDS, (low, high, ROWS_PER_STEP)).fetchone()
    return [] if ids is None else list(map(int, ids.split(",")))


def _names(connection: sqlite3.Connection, shard: Shard) -> LogNames:
    return {log: (shard, author) for author, log in read_logs(connection, shard).items()}


def _fits_digest(inline: bytes | None, digest: bytes) -> bool:
    return inline is None or blake3(inline).digest() == digest
