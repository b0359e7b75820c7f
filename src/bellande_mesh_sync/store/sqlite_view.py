"""A point-in-time view of the database, read page by page while writes go on."""

from __future__ import annotations

import sqlite3
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Final, NoReturn

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.errors import CorruptStoreError, StorageError
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.interface import Page
from bellande_mesh_sync.store.sqlite_checked import DamagedRow, read_checked
from bellande_mesh_sync.store.sqlite_rows import (
    SELECT_IN_RANGES,
    SIZES_IN_RANGES,
    as_json,
    read_knowledge,
    read_logs,
    select_records,
)
from bellande_mesh_sync.store.sqlite_schema import SEQUENCE_MAX, connect_reader, row_id

_RANGES_PER_STATEMENT: Final = 512
_ROWS_PER_PAGE_MAX: Final = 4_096
_SMALLEST_BODY_BYTES: Final = 128
_CACHE_KIB: Final = 1_024


class SqliteChangesView:
    """Records of some id ranges, as they were when the view was opened.

    Holds a connection of its own inside a read transaction; until it is closed the write-ahead log
    cannot start anew, so the store ends the oldest views when the log has grown too long.

    Args:
        shard, dots: whose records are wanted, in this order.
        on_close: called once, when the view is closed or ended.
        on_damaged: told which rows could not be read, before the page's error is raised.
    """

    def __init__(
        self,
        path: Path,
        shard: Shard,
        dots: Delta,
        on_close: Callable[[SqliteChangesView], None],
        on_damaged: Callable[[Sequence[DamagedRow]], None],
    ) -> None:
        self._path = path
        self._on_close = on_close
        self._on_damaged = on_damaged
        self._shard = shard
        self._lock = threading.Lock()
        with disk_errors(path):
            connection = connect_reader(path, _CACHE_KIB)
            try:
                connection.execute("BEGIN")
                # The first read fixes the moment. Everything has to be of that moment: the log of an
                # author that is new since would be known, but nothing of it found.
                self._knowledge = read_knowledge(connection, shard)
                self._ranges = deque(_row_ranges(read_logs(connection, shard), dots))
            except BaseException:
                connection.close()
                raise
        self._connection: sqlite3.Connection | None = connection

    def knowledge(self) -> Delta:
        return self._knowledge

    def read_page(self, size_bytes_max: int) -> Page:
        """As `ChangesView.read_page`. Raises CorruptStoreError, and StorageError after the view was ended."""
        with self._lock, disk_errors(self._path):
            if self._connection is None:
                raise StorageError(reason="the view was open for too long and was ended; open a new one")
            records: list[Record] = []
            size = 0
            while self._ranges and (size < size_bytes_max or not records):
                more, more_bytes = self._read_some(self._connection, size_bytes_max - size, bool(records))
                if not more and records and self._ranges:
                    break  # The next record does not fit.
                records += more
                size += more_bytes
            return Page(tuple(records), size, not self._ranges)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            self._ranges.clear()
        if connection is not None:
            connection.close()
            self._on_close(self)

    def _read_some(
        self, connection: sqlite3.Connection, size_max: int, may_be_empty: bool
    ) -> tuple[list[Record], int]:
        """Records from the next ranges that fit into `size_max`; moves the ranges on behind them."""
        window = list(islice(self._ranges, _RANGES_PER_STATEMENT))
        limit = min(max(size_max // _SMALLEST_BODY_BYTES, 1), _ROWS_PER_PAGE_MAX)
        ids, sizes = connection.execute(SIZES_IN_RANGES, (as_json(window), limit)).fetchone()
        if ids is None:
            self._drop_ranges(len(window))
            return [], 0
        numbers = [int(number) for number in ids.split(",")]
        totals = list(accumulate(map(int, sizes.split(",")))) if sizes else []
        if len(totals) != len(numbers):  # A body that is none has no length, and would be passed over.
            self._tell_damaged(connection, numbers)
        fitting = bisect_right(totals, size_max)
        if fitting == 0 and may_be_empty:
            return [], 0
        count = max(fitting, 1)
        records, size = self._read_rows(connection, window, numbers[:count])
        if count == len(totals) < limit:
            self._drop_ranges(len(window))
        else:
            self._move_behind(numbers[count - 1])
        return records, size

    def _read_rows(
        self, connection: sqlite3.Connection, window: list[tuple[int, int]], row_ids: Sequence[int]
    ) -> tuple[list[Record], int]:
        try:
            parameters = (as_json(window), len(row_ids))
            _, records, size = select_records(connection, self._path, SELECT_IN_RANGES, parameters)
        except (CorruptStoreError, ValueError, TypeError, AttributeError):
            self._tell_damaged(connection, row_ids)
        return records, size

    def _tell_damaged(self, connection: sqlite3.Connection, row_ids: Sequence[int]) -> NoReturn:
        names = {log: (self._shard, author) for author, log in read_logs(connection, self._shard).items()}
        self._on_damaged(read_checked(connection, row_ids, names).damaged)
        raise CorruptStoreError(path=str(self._path), reason="a record in it is damaged")

    def _drop_ranges(self, count: int) -> None:
        for _ in range(count):
            self._ranges.popleft()

    def _move_behind(self, last_id: int) -> None:
        """Ranges are not in order of ids, but the one that holds `last_id` is the first not yet read."""
        while True:
            low, high = self._ranges.popleft()
            if low <= last_id <= high:
                if last_id < high:
                    self._ranges.appendleft((last_id + 1, high))
                return


def _row_ranges(logs: Mapping[Author, int], dots: Delta) -> Iterator[tuple[int, int]]:
    for author, ranges in dots:
        log = logs.get(author)
        if log is not None:
            for low, high in ranges:
                if low <= SEQUENCE_MAX:
                    yield row_id(log, low), row_id(log, min(high, SEQUENCE_MAX))
