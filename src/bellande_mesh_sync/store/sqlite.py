"""The embedded store: records appended in dot order to SQLite, keys indexed in memory, chunks in packs.

docs/decisions/0003-embedded-store.md has the measurements behind this layout.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import DamagedRecord, StoredState
from bellande_mesh_sync.errors import CorruptStoreError, DiskFullError, StorageError
from bellande_mesh_sync.ids import Dot, Shard
from bellande_mesh_sync.store import sqlite_schema as schema
from bellande_mesh_sync.store.chunk_files import ChunkFiles
from bellande_mesh_sync.store.condemned import Condemned
from bellande_mesh_sync.store.damaged_folder import DamagedFolder
from bellande_mesh_sync.store.disk_errors import disk_errors
from bellande_mesh_sync.store.epoch_file import place_of, read_epoch, write_epoch
from bellande_mesh_sync.store.interface import ChangesView, Examiner, OldVersions, ScanPage, StoreCounts
from bellande_mesh_sync.store.key_index import KeyIndex
from bellande_mesh_sync.store.manifests import find_missing, iterate_chunks
from bellande_mesh_sync.store.pack_sweeping import PackSweeping, Pause
from bellande_mesh_sync.store.packs import Entry
from bellande_mesh_sync.store.rot import Rot
from bellande_mesh_sync.store.sqlite_changes import Changes, LogName
from bellande_mesh_sync.store.sqlite_checked import DamagedRow, read_checked
from bellande_mesh_sync.store.sqlite_chunks import ChunkTable, rewrite_chunks
from bellande_mesh_sync.store.sqlite_examining import SqliteExaminer
from bellande_mesh_sync.store.sqlite_history import HistoryTable, add_tables
from bellande_mesh_sync.store.sqlite_loading import LoadedState, load_state
from bellande_mesh_sync.store.sqlite_manifests import SqliteManifests
from bellande_mesh_sync.store.sqlite_rows import SELECT_BY_ID, Row, as_json, select_one, select_records
from bellande_mesh_sync.store.sqlite_view import SqliteChangesView

log = logging.getLogger(__name__)

DATABASE_NAME: Final = "records.db"
WAL_BYTES_MAX: Final = 512 << 20
"""A write-ahead log longer than this is held up by a view that is read too slowly: views are ended."""
_READER_CACHE_KIB: Final = 4_096
_SCAN_READ_KEYS: Final = 256


class SqliteStore:
    """The store of a node on a disk; see `Store` for what each method promises.

    Args:
        new_epoch: draws the 8 bytes of a new author epoch.
        database_name: the file's name in `data_dir`.
    """

    def __init__(
        self,
        data_dir: Path,
        chunks_dir: Path,
        *,
        new_epoch: Callable[[], bytes],
        database_name: str = DATABASE_NAME,
        wal_bytes_max: int = WAL_BYTES_MAX,
    ) -> None:
        self._path = data_dir / database_name
        self._wal_path = data_dir / f"{database_name}-wal"
        self._epoch_path = data_dir / (
            "epoch" if database_name == DATABASE_NAME else f"{database_name}.epoch"
        )
        self._new_epoch = new_epoch
        self._wal_bytes_max = wal_bytes_max
        self._writer: sqlite3.Connection | None = None
        self._writing = threading.Lock()  # Commits, and what a sweep changes in the index of chunks.
        self._reader: sqlite3.Connection | None = None  # Of the core's thread.
        self._chunk_table = ChunkTable(self._path)
        self._history = HistoryTable(self._path)
        self._chunks = ChunkFiles(chunks_dir, self._chunk_table.find)
        self._sweeping = PackSweeping(
            self._chunks,
            page=self._chunk_table.page,
            find=self._chunk_table.find,
            rewrite=self._rewrite_chunks,
        )
        self._index = KeyIndex()
        self._logs: dict[LogName, int] = {}
        self._fingerprints: dict[Shard, int] = {}
        self._clock = 0
        # Rows that applied, not yet published batches have deleted: `siblings` still shows them.
        self._deleted: dict[int, Record] = {}
        self._rot = Rot()
        self._aside = DamagedFolder(data_dir / "damaged")
        self._views: dict[SqliteChangesView | SqliteExaminer | SqliteManifests, None] = {}
        self._views_lock = threading.Lock()

    # -- opening and closing

    def open(self) -> StoredState:
        """As `Store.open`. A damaged database is only ever read: its files stay as they are."""
        try:
            with disk_errors(self._path):
                return self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> StoredState:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._path.exists() or self._path.stat().st_size == 0:
            self._create()
        self._index = KeyIndex()
        self._deleted = {}
        loaded = load_state(self._path, self._wal_path, self._index)
        self._reader = schema.connect_reader(self._path, _READER_CACHE_KIB)
        self._writer = schema.connect_writer(self._path)
        schema.add_damaged_table(self._writer)
        schema.add_statements_table(self._writer)
        self._logs = loaded.logs
        self._fingerprints = loaded.fingerprints
        self._clock = loaded.clock
        add_tables(self._writer)
        self._chunk_table.open()
        self._history.open()
        self._chunks.open(loaded.packs_end)
        epoch = self._agree_on_epoch(loaded)
        self.apply([])  # Chunks that were found without an index get one.
        return StoredState(
            epoch, loaded.shards, loaded.members, loaded.clock, loaded.damaged, loaded.statements
        )

    def _create(self) -> None:
        connection = schema.connect_writer(self._path)
        try:
            if schema.is_empty(connection):
                schema.create_tables(connection)
        finally:
            connection.close()

    def _agree_on_epoch(self, loaded: LoadedState) -> bytes:
        """The epoch, if database and file are of one start of this home; else a new one, in both.

        They differ when one of them, or the whole home, came from a backup: the sequence numbers that
        the database would give out next may be used up. A crash between the two writes costs a new
        epoch, and no more.
        """
        agreed = (
            loaded.epoch != b""
            and loaded.epoch == read_epoch(self._epoch_path)
            and loaded.place == place_of(self._epoch_path)
        )
        if not agreed:
            if loaded.epoch:
                log.warning("%s was moved, copied or restored: the node writes as a new author", self._path)
            epoch = self._new_epoch()
            self.apply([Batch(epoch=epoch)])
            return epoch
        try:
            # With no room for the note the file must not be written either, or the next start would find
            # the two apart.
            self._try_room()
            self.apply([Batch(epoch=loaded.epoch)])
        except DiskFullError:
            log.warning("%s: this start could not be noted, the disk is full", self._path)
        return loaded.epoch

    def _try_room(self) -> None:
        """A small transaction like the one that follows. Raises DiskFullError, StorageError."""
        writer = self._writer
        assert writer is not None, "the store is not open"
        with disk_errors(self._path):
            try:
                writer.execute("BEGIN IMMEDIATE")
                writer.execute("INSERT OR REPLACE INTO meta VALUES ('start', randomblob(8))")
                writer.execute("COMMIT")
            except sqlite3.Error:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        for view in list(self._views):
            view.close()
        self._chunks.close()
        self._chunk_table.close()
        self._history.close()
        # The writer last: only then does closing empty the write-ahead log into the database.
        for connection in (self._reader, self._writer):
            if connection is not None:
                with suppress(sqlite3.Error):  # What was acknowledged is synced; the log is replayed.
                    connection.close()
        self._reader = self._writer = None

    # -- records

    def apply(self, batches: Sequence[Batch], notes: Sequence[Row] = ()) -> None:
        """As `Store.apply`. `notes` are rows of the table `meta` that are written with the batches."""
        with self._writing:
            self._apply(batches, notes)

    def _apply(self, batches: Sequence[Batch], notes: Sequence[Row]) -> None:
        writer = self._writer
        assert writer is not None, "the store is not open"
        changes = Changes(batches, self._logs)
        entries, packs_end = self._chunks.sync()
        if not changes and not entries and not notes:
            return
        fingerprints = changes.new_fingerprints(self._fingerprints)
        with disk_errors(self._path):
            try:
                writer.execute("BEGIN IMMEDIATE")
                self._keep_deleted(writer, changes)
                if changes.set_aside:
                    self._aside.keep_rows(writer, changes.set_aside)
                meta: list[Row] = [*notes]
                if entries:
                    meta.append(("packs_end", as_json(packs_end)))
                if changes.clock not in (0, self._clock):
                    meta.append(("clock", changes.clock.to_bytes(8, "big")))
                if changes.epoch:
                    write_epoch(self._epoch_path, changes.epoch)
                    meta += [("epoch", changes.epoch), ("place", place_of(self._epoch_path))]
                changes.write(writer, fingerprints, entries, meta)
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                for record_id in (*changes.drops, *changes.passing):
                    self._deleted.pop(record_id, None)
                raise
        self._logs.update(changes.new_logs)
        self._fingerprints = fingerprints
        self._clock = changes.clock or self._clock
        self._chunks.indexed(entries)
        self._bound_wal()

    def _keep_deleted(self, writer: sqlite3.Connection, changes: Changes) -> None:
        if changes.drops:
            names = {log: name for name, log in self._logs.items()}
            self._deleted.update(read_checked(writer, list(changes.drops), names).records)
        self._deleted.update(changes.passing)

    def _bound_wal(self) -> None:
        """End views while they keep the write-ahead log from starting anew and it is too long."""
        with suppress(FileNotFoundError):
            if self._wal_path.stat().st_size > self._wal_bytes_max:
                for view in list(self._views):
                    view.close()

    def publish(self, batches: Sequence[Batch]) -> None:
        index, logs = self._index, self._logs
        for batch in batches:
            for damaged in batch.set_aside:
                self._take_out(damaged)
            for shard, record in batch.puts:
                record_id = schema.row_id(logs[shard, record.author], record.sequence)
                self._rot.remove(record_id)
                # Tombstones are negative, so that a scan can pass over them without reading.
                index.add(record.key, -record_id if record.is_tombstone else record_id)
            for shard, key, dot in batch.drops:
                record_id = schema.row_id(logs[shard, dot.author], dot.sequence)
                _ = index.remove(key, record_id) or index.remove(key, -record_id)
                self._deleted.pop(record_id, None)
                self._rot.remove(record_id)
        index.settle()

    def _take_out(self, damaged: DamagedRecord) -> None:
        record_id = schema.row_id(self._logs[damaged.shard, damaged.dot.author], damaged.dot.sequence)
        self._rot.remove(record_id)
        for number in (record_id, -record_id):
            if self._index.remove(damaged.key, number):
                return
        # Its key is damaged too, or its number: look for it everywhere.
        self._index.remove_id(record_id)

    def siblings(self, keys: Sequence[str]) -> list[tuple[Record, ...]]:
        ids = [self._index.get(key) for key in keys]
        found = self._read([record_id for held in ids for record_id in held])
        return [self._sound(key, held, found) for key, held in zip(keys, ids, strict=True)]

    def deleted_keys(self, after: str, limit: int) -> Sequence[str]:
        return list(islice(self._index.deleted.scan(after), limit))

    def is_damaged(self, key: str) -> bool:
        return self._rot.has(key)

    def _read(self, record_ids: Sequence[int]) -> dict[int, Record]:
        """Records by their ids in the index; those that are damaged are left out."""
        if not record_ids:
            return {}
        assert self._reader is not None, "the store is not open"
        wanted = {abs(record_id): record_id for record_id in record_ids}
        with disk_errors(self._path):
            found = self._read_rows(self._reader, list(wanted))
        for row_id in wanted.keys() - found.keys():
            if row_id in self._deleted:
                found[row_id] = self._deleted[row_id]
        return {wanted[row_id]: record for row_id, record in found.items()}

    def _read_rows(self, reader: sqlite3.Connection, row_ids: list[int]) -> dict[int, Record]:
        try:
            if len(row_ids) == 1:
                return select_one(reader, self._path, row_ids[0])
            ids, records, _ = select_records(reader, self._path, SELECT_BY_ID, (as_json(row_ids),))
            return dict(zip(ids, records, strict=True))
        except (CorruptStoreError, ValueError, TypeError, AttributeError):
            # Something in these rows is not as it was written: find out which of them are.
            names = {log: name for name, log in self._logs.items()}
            return read_checked(reader, row_ids, names).records

    def _sound(self, key: str, ids: Sequence[int], found: dict[int, Record]) -> tuple[Record, ...]:
        records = tuple(
            [found[record_id] for record_id in ids if record_id in found and found[record_id].key == key]
        )
        if len(records) < len(ids):
            sound = {record.dot for record in records}
            for record_id in ids:
                damaged = self._damaged_record(abs(record_id), key)
                if damaged.dot not in sound:
                    self._rot.note(abs(record_id), damaged)
        elif self._rot.has(key):
            self._rot.remove_all(key)  # It could be read this time.
        return records

    def _damaged_record(self, row_id: int, key: str) -> DamagedRecord:
        log = row_id >> schema.SEQUENCE_BITS
        shard, author = next(name for name, number in list(self._logs.items()) if number == log)
        return DamagedRecord(shard, Dot(author, row_id & schema.SEQUENCE_MAX), key)

    def scan(self, prefix: str, after: str, limit: int) -> ScanPage:
        chosen: list[tuple[str, tuple[int, ...]]] = []
        cursor = ""
        for key, ids in self._index.scan(prefix, after):
            if max(ids) < 0:
                continue
            if len(chosen) == limit:
                cursor = chosen[-1][0]
                break
            chosen.append((key, ids))
        return self._page(chosen, cursor)

    def scan_conflicts(self, prefix: str, after: str, limit: int) -> ScanPage:
        found = list(islice(self._index.conflicts.scan(prefix, after), limit + 1))
        chosen = [(key, self._index.get(key)) for key in found[:limit]]
        return self._page(chosen, found[limit - 1] if len(found) > limit else "")

    def _page(self, chosen: Sequence[tuple[str, tuple[int, ...]]], cursor: str) -> ScanPage:
        entries: list[tuple[str, tuple[Record, ...]]] = []
        damaged: list[str] = []
        for start in range(0, len(chosen), _SCAN_READ_KEYS):
            part = chosen[start : start + _SCAN_READ_KEYS]
            found = self._read([record_id for _, ids in part for record_id in ids])
            for key, ids in part:
                siblings = self._sound(key, ids, found)
                if siblings:
                    entries.append((key, siblings))
                if len(siblings) < len(ids):
                    damaged.append(key)
        return ScanPage(tuple(entries), cursor, tuple(damaged))

    def scan_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        live = (key for key, _ in islice(self._index.scan(prefix, after), limit))
        return sorted({*live, *self._history.keys(prefix, after, limit)})[:limit]

    def old_versions(self, keys: Sequence[str], size_bytes_max: int) -> list[OldVersions]:
        return self._history.read(keys, size_bytes_max)

    def counts(self) -> StoreCounts:
        disk_bytes = chunk_bytes = self._chunks.size_bytes
        for path in (self._path, self._wal_path):
            with suppress(FileNotFoundError):
                disk_bytes += path.stat().st_size
        index = self._index
        return StoreCounts(index.key_count, index.record_count, disk_bytes, chunk_bytes, len(index.deleted))

    def conflict_counts(self) -> Mapping[str, int]:
        return self._index.conflicts.counts

    def fingerprints(self) -> dict[Shard, int]:
        return dict(self._fingerprints)

    def open_changes(self, shard: Shard, dots: Delta) -> ChangesView:
        view = SqliteChangesView(self._path, shard, dots, self._forget_view, self._page_damaged)
        with self._views_lock:
            self._views[view] = None
        return view

    def _page_damaged(self, rows: Sequence[DamagedRow]) -> None:
        for row in rows:
            self._rot.note(row.row_id, self._damaged_record(row.row_id, row.key))

    def _forget_view(self, view: SqliteChangesView | SqliteExaminer | SqliteManifests) -> None:
        with self._views_lock:
            self._views.pop(view, None)

    # -- damage

    def listen(self, on_damage: Callable[[DamageFound], None]) -> None:
        self._rot.on_found = on_damage
        self._chunks.on_damage = self._chunk_damaged

    def _chunk_damaged(self, ref: ChunkRef, body: bytes) -> None:
        self._aside.keep_chunk(ref.hash, body)
        self._rot.on_found(DamageFound(chunks=(ref,)))

    def examine(self, shard: Shard, *, deep: bool = False) -> Examiner:
        examiner = SqliteExaminer(self._path, shard, self._forget_view, is_deep=deep)
        with self._views_lock:
            self._views[examiner] = None
        return examiner

    def check_pages(self) -> str:
        with disk_errors(self._path), closing(schema.connect_reader(self._path, 1_024)) as reader:
            try:
                schema.quick_check(reader, self._path)
            except CorruptStoreError as error:
                return str(error.reason)
        return ""

    # -- chunks

    def add_chunks(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        self._chunks.add(chunks)

    def has_chunks(self, hashes: Sequence[bytes]) -> list[bool]:
        return self._chunks.has(hashes)

    def read_chunk(self, hash: bytes) -> bytes:
        return self._chunks.read(hash)

    def missing_chunks(self, manifest: Manifest) -> tuple[tuple[ChunkRef, ...], bool]:
        return find_missing(manifest, self.has_chunks, self.read_chunk)

    def value_chunks(self, manifest: Manifest) -> Iterator[ChunkRef]:
        return iterate_chunks(manifest, self.read_chunk)

    # -- sweeping

    @property
    def condemned(self) -> Condemned:
        return self._chunks.condemned

    def manifests(self, pause: Pause) -> Iterator[Manifest]:
        reading = SqliteManifests(self._path, self._forget_view)
        with self._views_lock:
            self._views[reading] = None
        try:
            yield from reading.read(pause)
        finally:
            reading.close()

    def chunk_pages(self) -> Iterator[Sequence[Entry]]:
        return self._sweeping.pages()

    def drop_chunks(self, entries: Sequence[Entry]) -> int:
        return self._sweeping.drop(entries)

    def compact_chunks(self, pause: Pause) -> int:
        with disk_errors(self._path):
            return self._sweeping.compact(pause)

    def _rewrite_chunks(self, gone: Sequence[Entry]) -> None:
        with self._writing:
            if self._writer is None:
                raise StorageError(reason="the store was closed")
            entries, packs_end = self._chunks.sync()
            with disk_errors(self._path):
                rewrite_chunks(self._writer, gone, entries, packs_end)
            self._chunks.indexed(entries)
            self._bound_wal()
