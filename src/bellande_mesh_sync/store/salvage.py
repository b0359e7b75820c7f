"""Salvage: a new database of what can still be read of a damaged one, which is kept beside it.

Only records whose checksum fits are taken over. Known is just what is there: the numbers of what was
replaced are unlearned (docs/decisions/0009), other nodes offer them again. There is no epoch in it, so its
node becomes a new author; and no index of chunks, so they are found by reading their packs.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.knowledge import IntervalSet
from bellande_mesh_sync.core.data.record import Record, fingerprint_of
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.placement.shards import placed_shard, shard_index, shard_parts
from bellande_mesh_sync.core.statements.statement import Judged, id_of
from bellande_mesh_sync.errors import NotFoundError
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.keys import shard_of, space_of
from bellande_mesh_sync.store import sqlite_schema as schema
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.epoch_file import sync_directory
from bellande_mesh_sync.store.sqlite_changes import FINGERPRINT_MODULUS
from bellande_mesh_sync.store.sqlite_rows import Row, insert_rows, record_row

_ROWS_PER_STEP: Final = 500
_ID_MAX: Final = (1 << 63) - 1
_ROWS: Final = (
    "SELECT id, CAST(body AS BLOB), crc, CAST(key AS BLOB) FROM records WHERE id >= ? ORDER BY id LIMIT ?"
)
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_statement = msgspec.msgpack.Decoder(Judged).decode
_decode_member = msgspec.msgpack.Decoder(MemberRecord).decode


class Salvaged(msgspec.Struct):
    """What came of it."""

    records: int = 0
    damaged: int = 0
    """Records that were read and do not fit their checksum; their keys are remembered as damaged."""
    gaps: int = 0
    """Stretches of the database that could not be read; how many records were there nobody can say."""
    members: int = 0
    kept_in: str = ""
    """The folder that the damaged files are in now."""


class _Logs:
    """The new database's logs: what each holds, and what all of a shard adds up to."""

    def __init__(self, cuts: Mapping[str, int]) -> None:
        """`cuts`: into how many shards each space is cut of which not every member holds all."""
        self._cuts = cuts
        self._numbers: dict[tuple[Shard, Author], int] = {}
        self._held: dict[int, IntervalSet] = {}
        self._fingerprints: dict[Shard, int] = {}
        self._damaged: dict[int, str] = {}
        self.clock = 0

    def _shard_of(self, key: str) -> Shard:
        space = space_of(key)
        count = self._cuts.get(space)
        return placed_shard(space, count, shard_index(key, count)) if count else shard_of(key)

    def add(self, record: Record) -> int:
        """Take it in; the number of its row."""
        shard = self._shard_of(record.key)
        log = self._log(shard, record.author)
        self._held.setdefault(log, IntervalSet()).add(record.sequence, record.sequence)
        self._fingerprints[shard] = self._fingerprints.get(shard, 0) + fingerprint_of(record)
        self.clock = max(self.clock, record.stamp)
        return schema.row_id(log, record.sequence)

    def _log(self, shard: Shard, author: Author) -> int:
        return self._numbers.setdefault((shard, author), len(self._numbers) + 1)

    def note_damaged(self, shard: Shard, author: Author, sequence: int, key: str) -> None:
        self._damaged[schema.row_id(self._log(shard, author), sequence)] = key

    def remove(self, record: Record) -> int:
        """It was replaced by another one that is here: its number stays known."""
        shard = self._shard_of(record.key)
        self._fingerprints[shard] -= fingerprint_of(record)
        return schema.row_id(self._numbers[shard, record.author], record.sequence)

    def has(self, record: Record) -> bool:
        log = self._numbers.get((self._shard_of(record.key), record.author))
        return log is not None and self._held[log].contains(record.sequence)

    def write(self, connection: sqlite3.Connection) -> None:
        insert_rows(connection, "logs", [(log, *name) for name, log in self._numbers.items()])
        held = [(log, low, high) for log, numbers in self._held.items() for low, high in numbers]
        insert_rows(connection, "knowledge", held)
        sums = [
            (shard, (amount % FINGERPRINT_MODULUS).to_bytes(32, "big"))
            for shard, amount in self._fingerprints.items()
        ]
        insert_rows(connection, "shards", sums)
        insert_rows(connection, "damaged", list(self._damaged.items()))
        insert_rows(connection, "meta", [("clock", self.clock.to_bytes(8, "big"))])


def salvage(database: Path, damaged_folder: Path) -> Salvaged:
    """Replace a database that no process has open. A crash in between leaves the old one, or the new one.

    Raises:
        NotFoundError: there is no database.
        DiskFullError, StorageError: the old one is still in its place.

    Cost: reads all of it and writes what is sound; takes as much room again.
    """
    if not database.exists():
        raise NotFoundError(what="database", name=str(database))
    fresh = database.with_name(database.name + ".salvaged")
    result = Salvaged()
    with disk_errors(database):
        for leftover in _files_of(fresh):
            leftover.unlink(missing_ok=True)
        with closing(schema.connect_writer(fresh)) as target:
            schema.create_tables(target)
            schema.add_damaged_table(target)
            schema.add_statements_table(target)
            target.execute("BEGIN IMMEDIATE")
            _copy(database, target, result)
            target.execute("COMMIT")
        _replace(database, fresh, damaged_folder, result)
    return result


def _copy(database: Path, target: sqlite3.Connection, result: Salvaged) -> None:
    logs = _Logs({})
    try:
        with closing(schema.connect_reader(database, 8_192)) as source:
            logs = _Logs(_cuts(source))
            damaged: list[tuple[int, str]] = []
            for records in _sound_records(source, result, damaged):
                rows = [record_row(logs.add(each), each) for each in records if not logs.has(each)]
                insert_rows(target, "records", rows)
                result.records += len(rows)
            _remember_damaged(source, logs, damaged)
            members = _members(source)
            insert_rows(target, "members", members)
            result.members = len(members)
            insert_rows(target, "statements", _statements(source))
    except sqlite3.DatabaseError:
        result.gaps += 1  # Not even its first page can be read.
    result.records -= _drop_replaced(target, logs)
    logs.write(target)


def _cuts(source: sqlite3.Connection) -> dict[str, int]:
    """As far as it can be read; a space of which nothing can be is taken for one that every member holds."""
    try:
        names = source.execute("SELECT DISTINCT shard FROM logs").fetchall()
    except sqlite3.DatabaseError:
        return {}
    parts = [shard_parts(shard) for (shard,) in names]
    return {space: count for space, count, _ in parts if count}


def _remember_damaged(source: sqlite3.Connection, logs: _Logs, damaged: list[tuple[int, str]]) -> None:
    """As far as it can still be said whose they were: their keys are not to look as if they were gone."""
    try:
        names = {log: (shard, author) for log, shard, author in source.execute("SELECT * FROM logs")}
        has_table = source.execute("SELECT count(*) FROM sqlite_master WHERE name = 'damaged'").fetchone()[0]
        damaged += source.execute("SELECT id, key FROM damaged").fetchall() if has_table else []
    except sqlite3.DatabaseError:
        return
    for row_id, key in damaged:
        name = names.get(row_id >> schema.SEQUENCE_BITS)
        if name is not None and key:
            logs.note_damaged(Shard(name[0]), Author(name[1]), row_id & schema.SEQUENCE_MAX, key)


def _sound_records(
    source: sqlite3.Connection, result: Salvaged, damaged: list[tuple[int, str]]
) -> Iterator[list[Record]]:
    """All that can be read, past the pages that cannot; rows and keys of the others go to `damaged`."""
    start, count = 0, _ROWS_PER_STEP
    while start <= _ID_MAX:
        rows = _rows_from(source, start, count)
        if rows is None and count > 1:
            count = 1  # Up to the page that is broken, one by one.
            continue
        if rows is None:
            result.gaps += 1
            start, count = _end_of_gap(source, start), _ROWS_PER_STEP
            continue
        if not rows:
            return
        records: list[Record] = []
        for row_id, body, check, key in rows:
            record = _sound(body, check)
            if record is None:
                result.damaged += 1
                damaged.append((row_id, key.decode(errors="replace") if isinstance(key, bytes) else ""))
            else:
                records.append(record)
        yield records
        start = rows[-1][0] + 1


def _rows_from(
    source: sqlite3.Connection, start: int, count: int
) -> list[tuple[int, object, object, object]] | None:
    """None if they cannot be read. Anything but damage is raised."""
    try:
        return source.execute(_ROWS, (start, count)).fetchall()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "disk I/O" not in str(error):
            raise
        return None


def _end_of_gap(source: sqlite3.Connection, start: int) -> int:
    """Where reading works again, at the next page that is well; beyond all numbers if there is none."""
    bad, step = start, 1
    while _rows_from(source, bad + step, 1) is None:
        bad += step
        step *= 2
        if bad + step > _ID_MAX:
            return _ID_MAX + 1
    good = bad + step
    while good - bad > 1:
        middle = (bad + good) // 2
        if _rows_from(source, middle, 1) is None:
            bad = middle
        else:
            good = middle
    return good


def _sound(body: object, check: object) -> Record | None:
    if not isinstance(body, bytes) or crc32(body) != check:
        return None
    try:
        return _decode_record(body)
    except msgspec.MsgspecError:
        return None


def _members(source: sqlite3.Connection) -> list[Row]:
    """Those that can be decoded; the others are met again."""
    found: list[Row] = []
    try:
        for node, body in source.execute("SELECT node, body FROM members"):
            try:
                _decode_member(body)
            except (msgspec.MsgspecError, TypeError):
                continue
            found.append((node, body))
    except sqlite3.DatabaseError:
        return found
    return found


def _statements(source: sqlite3.Connection) -> list[Row]:
    """Those that can be decoded; the others come back from the other nodes."""
    found: list[Row] = []
    with suppress(sqlite3.DatabaseError):  # It was made before there were any, or that page is broken.
        for name, body in source.execute("SELECT id, body FROM statements"):
            with suppress(msgspec.MsgspecError, TypeError):
                if id_of(_decode_statement(body).statement) == name:
                    found.append((name, body))
    return found


def _drop_replaced(target: sqlite3.Connection, logs: _Logs) -> int:
    """A broken tree may still lead to old pages: what a record beside it has replaced does not come back."""
    several = "SELECT key FROM records GROUP BY key HAVING count(*) > 1"
    gone: list[int] = []
    for (key,) in target.execute(several).fetchall():
        bodies = target.execute("SELECT body FROM records WHERE key = ?", (key,)).fetchall()
        siblings = [_decode_record(body) for (body,) in bodies]
        gone += [logs.remove(each) for each in siblings if _is_replaced(each, siblings)]
    target.executemany("DELETE FROM records WHERE id = ?", [(row_id,) for row_id in gone])
    return len(gone)


def _is_replaced(record: Record, siblings: Sequence[Record]) -> bool:
    return any(covers(other.context, record.author, record.sequence) for other in siblings if other != record)


def _replace(database: Path, fresh: Path, damaged_folder: Path, result: Salvaged) -> None:
    kept = _new_folder(damaged_folder)
    os.link(database, kept / database.name)
    # The log goes before the new file comes: it must never be applied to that.
    for path in _files_of(database)[1:]:
        if path.exists():
            path.replace(kept / path.name)
    sync_directory(database.parent)
    fresh.replace(database)
    sync_directory(database.parent)
    result.kept_in = str(kept)


def _new_folder(parent: Path) -> Path:
    number = 1
    while (parent / f"database-{number}").exists():
        number += 1
    folder = parent / f"database-{number}"
    folder.mkdir(mode=0o700, parents=True)
    return folder


def _files_of(database: Path) -> list[Path]:
    return [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))]
