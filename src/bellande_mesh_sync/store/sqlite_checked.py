"""Reading records that may be damaged: the sound ones come out, the others are named, nothing is raised.

Thousands of rows a step as in `sqlite_rows`; only a step in which something does not fit is read again
row by row. A row is sound if its checksum fits, it can be decoded, and all that stands beside its body
(number, key, kind) says the same as the body.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.placement.shards import is_of_shard
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store.sqlite_rows import as_json
from bellande_mesh_sync.store.sqlite_schema import SEQUENCE_BITS, SEQUENCE_MAX

_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_records = msgspec.msgpack.Decoder(list[Record]).decode

_COLUMNS: Final = (
    "count(*), group_concat(id), group_concat(length(body)), group_concat(crc), group_concat(kind), "
    "group_concat(length(CAST(key AS BLOB))), CAST(group_concat(key, '') AS BLOB), "
    "CAST(group_concat(body, '') AS BLOB)"
)
_BY_ID: Final = f"SELECT {_COLUMNS} FROM records WHERE id IN (SELECT value FROM json_each(?1))"
_ONE: Final = "SELECT CAST(key AS BLOB), kind, crc, body, typeof(body) FROM records WHERE id = ?1"

LogNames = Mapping[int, tuple[Shard, Author]]
"""Shard and author by the number of their log."""


class DamagedRow(NamedTuple):
    row_id: int
    key: str
    """As the row says, if that can be read."""
    reason: str


class Checked(NamedTuple):
    records: dict[int, Record]
    """By row."""
    damaged: list[DamagedRow]
    size_bytes: int


def read_checked(connection: sqlite3.Connection, row_ids: Sequence[int], logs: LogNames) -> Checked:
    """These rows, as far as they are there. Raises sqlite3.Error where a whole page cannot be read."""
    found = _read_together(connection, row_ids, logs)
    return found if found is not None else _read_one_by_one(connection, row_ids, logs)


def _read_together(connection: sqlite3.Connection, row_ids: Sequence[int], logs: LogNames) -> Checked | None:
    """All of them, or None if anything does not fit."""
    row = connection.execute(_BY_ID, (as_json(list(row_ids)),)).fetchone()
    count, ids, sizes, checks, kinds, key_sizes, keys, bodies = row
    if not count:
        return Checked({}, [], 0)
    try:
        columns = [list(map(int, column.split(","))) for column in (ids, sizes, checks, kinds, key_sizes)]
        if any(len(column) != count for column in columns) or sum(columns[1]) != len(bodies):
            return None
        if not _fit(bodies, columns[1], columns[2]):
            return None
        records = _decode_records(b"\xdd" + count.to_bytes(4, "big") + bodies)
    except (ValueError, AttributeError, TypeError, OverflowError):
        return None
    position = 0
    for row_id, record, kind, size in zip(columns[0], records, columns[3], columns[4], strict=True):
        key = keys[position : position + size]
        position += size
        if not _belongs(record, row_id, key, kind, logs):
            return None
    return Checked(dict(zip(columns[0], records, strict=True)), [], len(bodies))


def _read_one_by_one(connection: sqlite3.Connection, row_ids: Sequence[int], logs: LogNames) -> Checked:
    checked = Checked({}, [], 0)
    size_bytes = 0
    for row_id in row_ids:
        row = connection.execute(_ONE, (row_id,)).fetchone()
        if row is None:
            continue
        key, kind, check, body, body_type = row
        reason = ""
        record = None
        if body_type != "blob" or not isinstance(check, int) or crc32(body) != check:
            reason = "it does not fit its checksum"
        else:
            size_bytes += len(body)
            try:
                record = _decode_record(body)
            except msgspec.MsgspecError as error:
                reason = f"it cannot be decoded: {error}"
            if record is not None and not _belongs(record, row_id, key, kind, logs):
                reason = "it stands where another record belongs, or is filed under another key"
        if record is None or reason:
            known = record.key if record is not None else _text(key)
            checked.damaged.append(DamagedRow(row_id, known, reason))
        else:
            checked.records[row_id] = record
    return checked._replace(size_bytes=size_bytes)


def _fit(bodies: bytes, sizes: Sequence[int], checks: Sequence[int]) -> bool:
    position = 0
    view = memoryview(bodies)
    for size, check in zip(sizes, checks, strict=True):
        if crc32(view[position : position + size]) != check:
            return False
        position += size
    return True


def _belongs(record: Record, row_id: int, key: object, kind: object, logs: LogNames) -> bool:
    name = logs.get(row_id >> SEQUENCE_BITS)
    return (
        name is not None
        and record.sequence == row_id & SEQUENCE_MAX
        and record.author == name[1]
        and kind == record.kind
        and key == record.key.encode()
        and is_of_shard(record.key, name[0])
    )


def _text(key: object) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else ""
