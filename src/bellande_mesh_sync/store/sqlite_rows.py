"""Moving many rows in one step of the database.

Python's sqlite3 gives the interpreter lock away and takes it back at every step. Beside a busy
event loop each taking costs up to the 5 ms switch interval, so one-row steps fall to a few hundred
rows a second. Therefore each statement here writes, deletes or returns thousands of rows at once:
reads come back as aggregates in a single row, whose bodies together are one MessagePack list.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.errors import CorruptStoreError
from bellande_mesh_sync.ids import AUTHOR_BYTES, Author, Shard

Row = tuple[object, ...]

_ROWS_PER_STATEMENT: Final = 2_000
_encode_json = msgspec.json.Encoder().encode
_encode_record = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_records = msgspec.msgpack.Decoder(list[Record]).decode

_AGGREGATES: Final = (
    "count(*), group_concat(id), group_concat(length(body)), group_concat(crc), "
    "CAST(group_concat(body, '') AS BLOB)"
)
SELECT_BY_ID: Final = f"SELECT {_AGGREGATES} FROM records WHERE id IN (SELECT value FROM json_each(?1))"
_IN_RANGES: Final = (
    "json_each(?1) AS range CROSS JOIN records AS r "
    "WHERE r.id BETWEEN json_extract(range.value, '$[0]') AND json_extract(range.value, '$[1]') LIMIT ?2"
)
SELECT_IN_RANGES: Final = f"SELECT {_AGGREGATES} FROM (SELECT r.id, r.crc, r.body FROM {_IN_RANGES})"
SIZES_IN_RANGES: Final = (
    "SELECT group_concat(id), group_concat(size) "
    f"FROM (SELECT r.id AS id, length(r.body) AS size FROM {_IN_RANGES})"
)
_SELECT_KNOWLEDGE: Final = (
    "SELECT CAST(group_concat(author, '') AS BLOB), group_concat(low), group_concat(high) FROM ("
    "SELECT author, low, high FROM knowledge JOIN logs ON log = id WHERE shard = ? ORDER BY author, low)"
)


def as_json(values: Sequence[int] | Sequence[str] | Sequence[Sequence[int]]) -> str:
    return _encode_json(values).decode()


def record_row(row_id: int, record: Record) -> Row:
    """The row of a record. The CRC is there because SQLite would hand out flipped bits as they are."""
    body = _encode_record(record)
    return (row_id, record.key, record.kind, crc32(body), body)


def insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Insert or replace rows, thousands a statement. Raises sqlite3.Error."""
    if not rows:
        return
    width = len(rows[0])
    step = min(_ROWS_PER_STATEMENT, connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // width)
    places = "(" + ",".join("?" * width) + ")"
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        statement = f"INSERT OR REPLACE INTO {table} VALUES " + ",".join([places] * len(part))
        connection.execute(statement, [value for row in part for value in row])


def select_one(connection: sqlite3.Connection, path: Path, row_id: int) -> dict[int, Record]:
    """The record of one row, checked; empty if there is none. Three times as fast as an aggregate.

    Raises CorruptStoreError, sqlite3.Error.
    """
    row = connection.execute("SELECT crc, body FROM records WHERE id = ?", (row_id,)).fetchone()
    if row is None:
        return {}
    check, body = row
    _check_bodies(body, [len(body)], [check], path)
    try:
        return {row_id: _decode_record(body)}
    except msgspec.MsgspecError as error:
        raise CorruptStoreError(path=str(path), reason=f"a record cannot be decoded: {error}") from error


def select_records(
    connection: sqlite3.Connection, path: Path, statement: str, parameters: Iterable[object]
) -> tuple[list[int], list[Record], int]:
    """Ids, records and total body size of one aggregated SELECT, each record checked.

    Raises CorruptStoreError, sqlite3.Error.
    """
    count, ids, sizes, checks, bodies = connection.execute(statement, tuple(parameters)).fetchone()
    if not count:
        return [], [], 0
    _check_bodies(bodies, map(int, sizes.split(",")), map(int, checks.split(",")), path)
    try:
        # 0xdd and a count: the head of a MessagePack list, whose items are the stored bodies.
        records = _decode_records(b"\xdd" + count.to_bytes(4, "big") + bodies)
    except msgspec.MsgspecError as error:
        raise CorruptStoreError(path=str(path), reason=f"a record cannot be decoded: {error}") from error
    return list(map(int, ids.split(","))), records, len(bodies)


def read_knowledge(connection: sqlite3.Connection, shard: Shard) -> Delta:
    """A shard's knowledge. Raises sqlite3.Error."""
    authors, lows, highs = connection.execute(_SELECT_KNOWLEDGE, (shard,)).fetchone()
    if authors is None:
        return ()
    ranges: dict[Author, list[tuple[int, int]]] = {}
    pairs = zip(map(int, lows.split(",")), map(int, highs.split(",")), strict=True)
    for index, pair in enumerate(pairs):
        author = Author(authors[index * AUTHOR_BYTES : (index + 1) * AUTHOR_BYTES])
        ranges.setdefault(author, []).append(pair)
    return tuple((author, tuple(held)) for author, held in ranges.items())


def read_logs(connection: sqlite3.Connection, shard: Shard) -> dict[Author, int]:
    """The numbers of a shard's logs. Raises sqlite3.Error."""
    statement = "SELECT CAST(group_concat(author, '') AS BLOB), group_concat(id) FROM logs WHERE shard = ?"
    authors, numbers = connection.execute(statement, (shard,)).fetchone()
    if authors is None:
        return {}
    return {
        Author(authors[index * AUTHOR_BYTES : (index + 1) * AUTHOR_BYTES]): int(number)
        for index, number in enumerate(numbers.split(","))
    }


def _check_bodies(bodies: bytes, sizes: Iterable[int], checks: Iterable[int], path: Path) -> None:
    position = 0
    view = memoryview(bodies)
    for size, check in zip(sizes, checks, strict=True):
        if crc32(view[position : position + size]) != check:
            raise CorruptStoreError(path=str(path), reason="a record does not fit its checksum")
        position += size
    if position != len(bodies):
        raise CorruptStoreError(path=str(path), reason="a record is not of the stated length")
