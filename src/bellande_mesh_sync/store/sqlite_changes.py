"""What a sequence of batches comes to, in rows: the net of them is written in a few statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from bellande_mesh_sync.core.data.knowledge import Ranges
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.statements.statement import id_of
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store.packs import Entry
from bellande_mesh_sync.store.sqlite_history import HistoryChanges
from bellande_mesh_sync.store.sqlite_rows import Row, as_json, insert_rows, record_row
from bellande_mesh_sync.store.sqlite_schema import LOG_MAX, SEQUENCE_MAX, row_id

LogName: TypeAlias = tuple[Shard, Author]

FINGERPRINT_MODULUS = 1 << 256
_encode = msgspec.msgpack.Encoder().encode


class Changes:
    """The rows to write and to delete for some batches; nothing is written yet.

    Args:
        logs: numbers of the logs that the database knows; new ones get the next numbers.
    """

    def __init__(self, batches: Sequence[Batch], logs: Mapping[LogName, int]) -> None:
        self._logs = logs
        self.new_logs: dict[LogName, int] = {}
        self.puts: dict[int, Row] = {}
        self.drops: dict[int, None] = {}
        self.passing: dict[int, Record] = {}
        """Put by one batch and dropped by the next: never written."""
        self._intervals: dict[tuple[int, int], int | None] = {}  # (log, low) -> high, None: gone.
        self.fingerprint_amounts: dict[Shard, int] = {}
        self._members: dict[bytes, bytes | None] = {}  # None: gone.
        self._statements: dict[bytes, bytes] = {}
        self._history = HistoryChanges()
        self._collected: dict[int, int] = {}
        self.set_aside: dict[int, DamagedRecord] = {}
        self._damaged: dict[int, str | None] = {}  # None: damaged no more.
        self._relearned: dict[int, None] = {}  # Logs whose intervals so far are void.
        self.epoch = b""
        self.clock = 0
        records: dict[int, Record] = {}
        for batch in batches:
            self._take(batch, records)

    def __bool__(self) -> bool:
        return bool(
            self.puts
            or self.drops
            or self._intervals
            or self.fingerprint_amounts
            or self._members
            or self._statements
            or self._history
            or self.epoch
            or self.clock
            or self._damaged
            or self._relearned
            or self._collected
        )

    def _take(self, batch: Batch, records: dict[int, Record]) -> None:
        for damaged in batch.set_aside:
            record_id = self._row_id(damaged.shard, damaged.dot.author, damaged.dot.sequence)
            self.set_aside[record_id] = damaged
            self._damaged[record_id] = damaged.key
        for shard, author, ranges in batch.relearned:
            self._relearn(self._log(shard, author), ranges)
        for shard, record in batch.puts:
            record_id = self._row_id(shard, record.author, record.sequence)
            self.puts[record_id] = record_row(record_id, record)
            records[record_id] = record
        for shard, _, dot in batch.drops:
            record_id = self._row_id(shard, dot.author, dot.sequence)
            if self.puts.pop(record_id, None) is None:
                self.drops[record_id] = None
            else:
                self.passing[record_id] = records[record_id]
        for old in batch.history:
            self._history.take(old)
        self._history.expired_ms = batch.expired_ms or self._history.expired_ms
        for change in batch.intervals:
            log = self._log(change.shard, change.author)
            for low in change.absorbed:
                self._intervals[log, low] = None
            self._intervals[log, change.low] = change.high
        for shard, amount in batch.fingerprints:
            self.fingerprint_amounts[shard] = self.fingerprint_amounts.get(shard, 0) + amount
        for shard, dot in batch.healed:
            self._damaged[self._row_id(shard, dot.author, dot.sequence)] = None
        for shard, author, number in batch.collected:
            self._collected[self._log(shard, author)] = number
        self._members.update(dict.fromkeys(batch.forgotten))
        for member in batch.members:
            self._members[member.node] = _encode(member)
        self._statements.update((id_of(each.statement), _encode(each)) for each in batch.statements)
        self.epoch = batch.epoch or self.epoch
        self.clock = batch.clock or self.clock

    def _relearn(self, log: int, ranges: Ranges) -> None:
        self._relearned[log] = None
        for place in [place for place in self._intervals if place[0] == log]:
            del self._intervals[place]
        self._intervals.update(((log, low), high) for low, high in ranges)

    def _log(self, shard: Shard, author: Author) -> int:
        name = (shard, author)
        log = self._logs.get(name) or self.new_logs.get(name)
        if log is None:
            log = self.new_logs[name] = len(self._logs) + len(self.new_logs) + 1
            if log > LOG_MAX:
                raise StorageError(reason="the store has no numbers left for further authors")
        return log

    def _row_id(self, shard: Shard, author: Author, sequence: int) -> int:
        if not 0 < sequence <= SEQUENCE_MAX:
            raise StorageError(reason=f"sequence number {sequence} is beyond what the store can hold")
        return row_id(self._log(shard, author), sequence)

    def write(
        self,
        connection: sqlite3.Connection,
        fingerprints: Mapping[Shard, int],
        chunks: Sequence[Entry],
        meta: Sequence[Row],
    ) -> None:
        """Write it all into the open transaction. Raises sqlite3.Error."""
        insert_rows(connection, "logs", [(log, *name) for name, log in self.new_logs.items()])
        removed = [*self.drops, *self.set_aside]
        if removed:
            connection.execute(
                "DELETE FROM records WHERE id IN (SELECT value FROM json_each(?))", (as_json(removed),)
            )
        insert_rows(connection, "records", list(self.puts.values()))
        if self._history:
            self._history.write(connection)
        self._write_damaged(connection)
        self._write_intervals(connection)
        insert_rows(connection, "collected", list(self._collected.items()))
        insert_rows(
            connection,
            "shards",
            [(shard, fingerprints[shard].to_bytes(32, "big")) for shard in self.fingerprint_amounts],
        )
        insert_rows(connection, "chunks", [(hash, *location) for hash, location in chunks])
        gone = [node.hex() for node, body in self._members.items() if body is None]
        if gone:
            connection.execute(
                "DELETE FROM members WHERE hex(node) IN (SELECT upper(value) FROM json_each(?))",
                (as_json(gone),),
            )
        known = [(node, body) for node, body in self._members.items() if body is not None]
        insert_rows(connection, "members", known)
        insert_rows(connection, "statements", list(self._statements.items()))
        insert_rows(connection, "meta", meta)

    def _write_damaged(self, connection: sqlite3.Connection) -> None:
        healed = [record_id for record_id, key in self._damaged.items() if key is None]
        if healed:
            connection.execute(
                "DELETE FROM damaged WHERE id IN (SELECT value FROM json_each(?))", (as_json(healed),)
            )
        damaged = [(record_id, key) for record_id, key in self._damaged.items() if key is not None]
        insert_rows(connection, "damaged", damaged)

    def _write_intervals(self, connection: sqlite3.Connection) -> None:
        if self._relearned:
            connection.execute(
                "DELETE FROM knowledge WHERE log IN (SELECT value FROM json_each(?))",
                (as_json(list(self._relearned)),),
            )
        gone: dict[int, list[int]] = {}
        for (log, low), high in self._intervals.items():
            if high is None:
                gone.setdefault(log, []).append(low)
        for log, lows in gone.items():
            connection.execute(
                "DELETE FROM knowledge WHERE log = ? AND low IN (SELECT value FROM json_each(?))",
                (log, as_json(lows)),
            )
        kept = [(log, low, high) for (log, low), high in self._intervals.items() if high is not None]
        insert_rows(connection, "knowledge", kept)

    def new_fingerprints(self, fingerprints: Mapping[Shard, int]) -> dict[Shard, int]:
        """The shards' fingerprints after these changes."""
        result = dict(fingerprints)
        for shard, amount in self.fingerprint_amounts.items():
            result[shard] = (result.get(shard, 0) + amount) % FINGERPRINT_MODULUS
        return result
