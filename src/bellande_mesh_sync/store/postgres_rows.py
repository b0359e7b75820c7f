"""Many rows at once, there and back: lists a column to the server, pages of rows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
from psycopg import sql

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import Manifest, Record
from bellande_mesh_sync.ids import Author, Stamp
from bellande_mesh_sync.store.postgres_server import Connection
from bellande_mesh_sync.store.sqlite_rows import Row

Place: TypeAlias = tuple[int, int]
"""A log and a number in it: the primary key of records, and of intervals."""

_STATEMENT_BYTES: Final = 4 << 20
_STATEMENT_ROWS: Final = 8_000
_ROWS_PER_FETCH: Final = 5_000

VERSION_COLUMNS: Final = {
    "key": "text",
    "kind": "smallint",
    "stamp": "bigint",
    "size": "bigint",
    "digest": "bytea",
    "content_type": "text",
    "expires_ms": "bigint",
    "context": "bytea",
    "value": "bytea",
    "manifest": "bytea",
}
"""A record's columns, but for its author and number."""

_NOTHING: Final = sql.SQL("")
_PLACES: Final = sql.SQL("(SELECT * FROM unnest(%b::integer[], %b::bigint[]))")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_context: Final = msgspec.msgpack.Decoder(Context).decode
_decode_manifest: Final = msgspec.msgpack.Decoder(Manifest).decode


def version_columns(record: Record) -> Row:
    return (
        record.key,
        record.kind,
        record.stamp,
        record.size,
        record.digest,
        record.content_type,
        record.expires_ms,
        _encode(record.context),
        record.inline,
        None if record.manifest is None else _encode(record.manifest),
    )


def record_of(author: Author, sequence: int, columns: Sequence[object]) -> Record:
    """The record in a row. Raises MsgspecError."""
    key, kind, stamp, size, digest, content_type, expires_ms, context, value, manifest = columns
    return Record(
        key=str(key),
        author=author,
        sequence=sequence,
        stamp=Stamp(whole(stamp)),
        kind=whole(kind),
        size=whole(size),
        digest=binary(digest),
        content_type=str(content_type),
        context=_decode_context(binary(context)),
        inline=None if value is None else binary(value),
        manifest=None if manifest is None else _decode_manifest(binary(manifest)),
        expires_ms=whole(expires_ms),
    )


def whole(value: object) -> int:
    assert isinstance(value, int), "a column of whole numbers"
    return value


def binary(value: object) -> bytes:
    assert isinstance(value, bytes), "a column of bytes"
    return value


def pages(connection: Connection, statement: str) -> Iterator[list[Row]]:
    """All rows of a SELECT, some thousands at a time. Raises psycopg.Error."""
    with connection.transaction(), connection.cursor(name="bms_pages", binary=True) as cursor:
        cursor.execute(statement)
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            yield rows


def upsert(
    connection: Connection, table: str, columns: Mapping[str, str], key_width: int, rows: Sequence[Row]
) -> None:
    """Insert rows, or replace those with the same key, the first columns. Raises psycopg.Error."""
    if not rows:
        return
    names = list(columns)
    tail = sql.SQL(" ON CONFLICT ({key}) DO UPDATE SET ({rest}) = ROW({excluded})").format(
        key=_listed(names[:key_width]),
        rest=_listed(names[key_width:]),
        excluded=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in names[key_width:]),
    )
    insert(connection, table, columns, rows, tail)


def insert(
    connection: Connection,
    table: str,
    columns: Mapping[str, str],
    rows: Sequence[Row],
    tail: sql.Composable = _NOTHING,
) -> None:
    """A list a column, taken apart by the server: thousands of rows a statement. Raises psycopg.Error."""
    statement = sql.SQL("INSERT INTO {table}({names}) SELECT * FROM unnest({lists})").format(
        table=sql.Identifier(table),
        names=_listed(list(columns)),
        lists=sql.SQL(", ").join(sql.SQL(f"%b::{kind}[]") for kind in columns.values()),
    )
    for part in _portions(rows):
        connection.execute(statement + tail, [list(column) for column in zip(*part, strict=True)])


def _portions(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    first, size = 0, 0
    for index, row in enumerate(rows):
        size += sum(len(value) for value in row if isinstance(value, bytes))
        if size >= _STATEMENT_BYTES or index + 1 - first == _STATEMENT_ROWS:
            yield rows[first : index + 1]
            first, size = index + 1, 0
    if first < len(rows):
        yield rows[first:]


def delete(connection: Connection, table: str, key: tuple[str, str], places: Sequence[Place]) -> None:
    """Delete rows by keys of two numbers. Raises psycopg.Error."""
    if places:
        statement = sql.SQL("DELETE FROM {} WHERE ({}) IN {}").format(
            sql.Identifier(table), _listed(key), _PLACES
        )
        connection.execute(statement, [list(column) for column in zip(*places, strict=True)])


def move(
    connection: Connection, table: str, target: str, key: tuple[str, str], places: Sequence[Place]
) -> None:
    """Move rows to a table with the same columns, if they are there. Raises psycopg.Error."""
    if places:
        statement = sql.SQL(
            "WITH moved AS (DELETE FROM {} WHERE ({}) IN {} RETURNING *) "
            "INSERT INTO {} SELECT * FROM moved ON CONFLICT DO NOTHING"
        ).format(sql.Identifier(table), _listed(key), _PLACES, sql.Identifier(target))
        connection.execute(statement, [list(column) for column in zip(*places, strict=True)])


def _listed(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
