"""Reading a database at start: is it sound, and what does it hold?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bellande_mesh_sync.core.data.cuts import CutTold
from bellande_mesh_sync.core.data.knowledge import Delta, Ranges
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.reader import DamagedRecord, StoredShard
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.errors import CorruptStoreError
from bellande_mesh_sync.ids import Author, Dot, Shard
from bellande_mesh_sync.store import sqlite_schema as schema
from bellande_mesh_sync.store.key_index import KeyIndex
from bellande_mesh_sync.store.sqlite_changes import LogName

CHECKED_BYTES_MAX: Final = 64 << 20
"""Up to this size all pages are checked at every start (0.05 s)."""
CHECKED_AFTER_CRASH_BYTES_MAX: Final = 1 << 30
"""Up to this size all pages are checked when the last run did not close the database (under 1 s)."""
_ROWS_PER_FETCH: Final = 20_000

_decode_statement = msgspec.msgpack.Decoder(Judged).decode
_decode_member = msgspec.msgpack.Decoder(MemberRecord).decode


class LoadedState(NamedTuple):
    epoch: bytes
    """b"" if there is none yet."""
    place: bytes
    """Which writing of the epoch file was there at the last start; b"" if it was not noted."""
    logs: dict[LogName, int]
    fingerprints: dict[Shard, int]
    shards: tuple[StoredShard, ...]
    members: tuple[MemberRecord, ...]
    packs_end: tuple[int, int] | None
    clock: int
    damaged: tuple[DamagedRecord, ...] = ()
    statements: tuple[Judged, ...] = ()


def load_state(path: Path, wal_path: Path, index: KeyIndex) -> LoadedState:
    """Check the database and read all but the records' bodies; `index` is filled.

    Raises CorruptStoreError, sqlite3.Error. Nothing is written, whatever is found.
    """
    with closing(schema.connect_reader(path, 8_192)) as reader:
        schema.check_schema(reader, path)
        if _needs_check(path, wal_path):
            schema.quick_check(reader, path)
        _load_index(reader, index)
        meta = dict(reader.execute("SELECT name, value FROM meta"))
        names: dict[int, LogName] = {
            log: (Shard(shard), Author(author))
            for log, shard, author in reader.execute("SELECT id, shard, author FROM logs")
        }
        fingerprints = {
            Shard(shard): int.from_bytes(value, "big")
            for shard, value in reader.execute("SELECT shard, fingerprint FROM shards")
        }
        try:
            members = tuple(
                _decode_member(body) for (body,) in reader.execute("SELECT body FROM members ORDER BY node")
            )
            packs_end = json.loads(meta["packs_end"]) if "packs_end" in meta else None
            knowledge = _load_knowledge(reader, names)
            collected = _load_collected(reader, names)
            damaged = _load_damaged(reader, names)
            statements = _load_statements(reader)
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            raise CorruptStoreError(path=str(path), reason=f"a row cannot be decoded: {error}") from error
    shards = tuple(
        StoredShard(shard, knowledge.get(shard, ()), fingerprints.get(shard, 0), collected.get(shard, ()))
        for shard in sorted(knowledge.keys() | fingerprints.keys())
    )
    return LoadedState(
        epoch=meta.get("epoch", b""),
        place=meta.get("place", b""),
        logs={name: log for log, name in names.items()},
        fingerprints=fingerprints,
        shards=shards,
        members=members,
        packs_end=None if packs_end is None else (packs_end[0], packs_end[1]),
        clock=int.from_bytes(meta.get("clock", b""), "big"),
        damaged=damaged,
        statements=statements,
    )


def _needs_check(path: Path, wal_path: Path) -> bool:
    # A clean end empties the write-ahead log into the database and removes it.
    crashed = wal_path.exists() and wal_path.stat().st_size > 0
    size = path.stat().st_size
    return size <= (CHECKED_AFTER_CRASH_BYTES_MAX if crashed else CHECKED_BYTES_MAX)


def _load_index(reader: sqlite3.Connection, index: KeyIndex) -> None:
    cursor = reader.execute("SELECT key, CASE kind WHEN 0 THEN id ELSE -id END FROM records")
    while rows := cursor.fetchmany(_ROWS_PER_FETCH):
        index.load(rows)
    index.prepare()


def _load_damaged(reader: sqlite3.Connection, names: dict[int, LogName]) -> tuple[DamagedRecord, ...]:
    if not reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'damaged'").fetchone()[0]:
        return ()
    found: list[DamagedRecord] = []
    for number, key in reader.execute("SELECT id, key FROM damaged ORDER BY id"):
        shard, author = names[number >> schema.SEQUENCE_BITS]
        found.append(DamagedRecord(shard, Dot(author, number & schema.SEQUENCE_MAX), key))
    return tuple(found)


def _load_statements(reader: sqlite3.Connection) -> tuple[Judged, ...]:
    if not reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'statements'").fetchone()[0]:
        return ()
    rows = reader.execute("SELECT body FROM statements ORDER BY id")
    return tuple(_decode_statement(body) for (body,) in rows)


def _load_collected(reader: sqlite3.Connection, names: dict[int, LogName]) -> dict[Shard, CutTold]:
    shards: dict[Shard, list[tuple[Author, int]]] = {}
    for log, number in reader.execute("SELECT log, number FROM collected"):
        shard, author = names[log]
        shards.setdefault(shard, []).append((author, number))
    return {shard: tuple(sorted(cut)) for shard, cut in shards.items()}


def _load_knowledge(reader: sqlite3.Connection, names: dict[int, LogName]) -> dict[Shard, Delta]:
    ranges: dict[int, list[tuple[int, int]]] = {}
    for log, low, high in reader.execute("SELECT log, low, high FROM knowledge ORDER BY log, low"):
        ranges.setdefault(log, []).append((low, high))
    shards: dict[Shard, list[tuple[Author, Ranges]]] = {}
    for log, held in ranges.items():
        shard, author = names[log]
        shards.setdefault(shard, []).append((author, tuple(held)))
    return {shard: tuple(sorted(authors)) for shard, authors in shards.items()}
