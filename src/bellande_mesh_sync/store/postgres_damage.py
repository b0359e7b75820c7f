"""What was found damaged in the copy, on the server: taken out of its place, and kept.

The server's own row of it may well be sound, and the only one there is: it goes into a table beside the
others, until the record has come back or was replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from bellande_mesh_sync.core.data.knowledge import Ranges
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store.postgres_rows import Place, delete, move, pages, upsert, whole
from bellande_mesh_sync.store.postgres_server import Connection
from bellande_mesh_sync.store.sqlite_rows import insert_rows
from bellande_mesh_sync.store.sqlite_schema import row_id

_COLUMNS: Final = {"log": "integer", "sequence": "bigint", "key": "text"}


class ServerDamage:
    """What some batches say of damage.

    Args:
        log_of: the number of a log, a new one if need be.
    """

    def __init__(self, log_of: Callable[[Shard, Author], int]) -> None:
        self._log_of = log_of
        self.set_aside: dict[Place, None] = {}
        self._keys: dict[Place, str | None] = {}  # None: damaged no more.

    def __bool__(self) -> bool:
        return bool(self._keys)

    def take(self, batch: Batch) -> None:
        for damaged in batch.set_aside:
            place = (self._log_of(damaged.shard, damaged.dot.author), damaged.dot.sequence)
            self.set_aside[place] = None
            self._keys[place] = damaged.key

    def heal(self, batch: Batch) -> None:
        for shard, dot in batch.healed:
            self._keys[self._log_of(shard, dot.author), dot.sequence] = None

    def write(self, connection: Connection) -> None:
        """Before the records themselves are written. Raises psycopg.Error."""
        move(connection, "records", "set_aside", ("log", "sequence"), list(self.set_aside))
        healed = [place for place, key in self._keys.items() if key is None]
        delete(connection, "damaged", ("log", "sequence"), healed)
        delete(connection, "set_aside", ("log", "sequence"), healed)
        damaged = [(*place, key) for place, key in self._keys.items() if key is not None]
        upsert(connection, "damaged", _COLUMNS, 2, damaged)


class Relearned:
    """Logs of which just what follows is known."""

    def __init__(self) -> None:
        self._logs: dict[int, None] = {}

    def __bool__(self) -> bool:
        return bool(self._logs)

    def take(self, log: int, ranges: Ranges, intervals: dict[Place, int | None]) -> None:
        self._logs[log] = None
        for place in [place for place in intervals if place[0] == log]:
            del intervals[place]
        intervals.update(((log, low), high) for low, high in ranges)

    def write(self, connection: Connection) -> None:
        """Before the intervals are written. Raises psycopg.Error."""
        if self._logs:
            connection.execute("DELETE FROM knowledge WHERE log = ANY(%s::integer[])", (list(self._logs),))


def copy_damage(connection: Connection, writer: sqlite3.Connection) -> None:
    """Into a copy that is being made. Raises psycopg.Error, sqlite3.Error."""
    for rows in pages(connection, "SELECT log, sequence, key FROM damaged"):
        insert_rows(writer, "damaged", [(row_id(whole(row[0]), whole(row[1])), row[2]) for row in rows])
