"""What batches come to in rows on the server, and how they get there: a few statements in one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.statements.statement import id_of
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store.postgres_damage import Relearned, ServerDamage
from bellande_mesh_sync.store.postgres_history import ServerHistory
from bellande_mesh_sync.store.postgres_rows import VERSION_COLUMNS, Place, delete, upsert, version_columns
from bellande_mesh_sync.store.postgres_server import Connection

LogName: TypeAlias = tuple[Shard, Author]

FINGERPRINT_MODULUS: Final = 1 << 256
_encode: Final = msgspec.msgpack.Encoder().encode

_LOGS: Final = {"log": "integer", "shard": "text", "author": "bytea"}
RECORD_COLUMNS: Final = {"log": "integer", "sequence": "bigint", **VERSION_COLUMNS}
_KNOWLEDGE: Final = {"log": "integer", "low": "bigint", "high": "bigint"}
_COLLECTED: Final = {"log": "integer", "number": "bigint"}
_SHARDS: Final = {"shard": "text", "fingerprint": "bytea"}
_STATEMENTS: Final = {"id": "bytea", "body": "bytea"}
_MEMBERS: Final = {"node": "bytea", "body": "bytea"}


class ServerChanges:
    """The rows to write and to delete for some batches; nothing is written yet.

    Args:
        logs: numbers of the logs that the server knows; new ones get the next numbers.
    """

    def __init__(
        self, batches: Sequence[Batch], logs: Mapping[LogName, int], fingerprints: Mapping[Shard, int]
    ) -> None:
        self._logs = logs
        self.new_logs: dict[LogName, int] = {}
        self._puts: dict[Place, Record] = {}
        self._drops: dict[Place, None] = {}
        self._intervals: dict[Place, int | None] = {}  # (log, low) -> high, None: gone.
        self._members: dict[bytes, bytes | None] = {}  # None: gone.
        self._statements: dict[bytes, bytes] = {}
        self._damage = ServerDamage(self._log)
        self._relearned = Relearned()
        self._amounts: dict[Shard, int] = {}
        self._history = ServerHistory()
        self._collected: dict[int, int] = {}
        self._clock = 0
        for batch in batches:
            self._take(batch)
        self.fingerprints = {
            shard: (fingerprints.get(shard, 0) + amount) % FINGERPRINT_MODULUS
            for shard, amount in self._amounts.items()
        }

    def __bool__(self) -> bool:
        return bool(
            self._puts
            or self._drops
            or self._intervals
            or self._amounts
            or self._members
            or self._statements
            or self._history
            or self._damage
            or self._relearned
            or self._collected
            or self._clock
        )

    def _take(self, batch: Batch) -> None:
        self._damage.take(batch)
        for shard, author, ranges in batch.relearned:
            self._relearned.take(self._log(shard, author), ranges, self._intervals)
        for shard, record in batch.puts:
            self._puts[self._log(shard, record.author), record.sequence] = record
        for shard, _, dot in batch.drops:
            place = (self._log(shard, dot.author), dot.sequence)
            if self._puts.pop(place, None) is None:
                self._drops[place] = None
        for change in batch.intervals:
            log = self._log(change.shard, change.author)
            for low in change.absorbed:
                self._intervals[log, low] = None
            self._intervals[log, change.low] = change.high
        for shard, amount in batch.fingerprints:
            self._amounts[shard] = self._amounts.get(shard, 0) + amount
        self._damage.heal(batch)
        self._members.update(dict.fromkeys(batch.forgotten))
        for member in batch.members:
            self._members[member.node] = _encode(member)
        self._statements.update((id_of(each.statement), _encode(each)) for each in batch.statements)
        self._history.take(batch)
        for shard, author, number in batch.collected:
            self._collected[self._log(shard, author)] = number
        self._clock = batch.clock or self._clock

    def _log(self, shard: Shard, author: Author) -> int:
        name = (shard, author)
        log = self._logs.get(name) or self.new_logs.get(name)
        if log is None:
            log = self.new_logs[name] = len(self._logs) + len(self.new_logs) + 1
        return log

    def write(self, connection: Connection, commit_id: bytes) -> None:
        """Send all but the COMMIT of one transaction, in one round trip. Raises psycopg.Error."""
        with connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(
                "UPDATE store SET previous_commit_id = commit_id, commit_id = %s, "
                "clock = CASE WHEN %s::bigint > 0 THEN %s::bigint ELSE clock END",
                (commit_id, self._clock, self._clock),
            )
            upsert(connection, "logs", _LOGS, 1, [(log, *name) for name, log in self.new_logs.items()])
            self._damage.write(connection)
            delete(connection, "records", ("log", "sequence"), list(self._drops))
            puts = [(*place, *version_columns(record)) for place, record in self._puts.items()]
            upsert(connection, "records", RECORD_COLUMNS, 2, puts)
            if self._history:
                self._history.write(connection)
            self._relearned.write(connection)
            gone = [place for place, high in self._intervals.items() if high is None]
            delete(connection, "knowledge", ("log", "low"), gone)
            kept = [(*place, high) for place, high in self._intervals.items() if high is not None]
            upsert(connection, "knowledge", _KNOWLEDGE, 2, kept)
            upsert(connection, "collected", _COLLECTED, 1, list(self._collected.items()))
            shards = [(shard, value.to_bytes(32, "big")) for shard, value in self.fingerprints.items()]
            upsert(connection, "shards", _SHARDS, 1, shards)
            forgotten = [node for node, body in self._members.items() if body is None]
            if forgotten:
                connection.execute("DELETE FROM members WHERE node = ANY(%b::bytea[])", (forgotten,))
            members = [(node, body) for node, body in self._members.items() if body is not None]
            upsert(connection, "members", _MEMBERS, 1, members)
            upsert(connection, "statements", _STATEMENTS, 1, list(self._statements.items()))
