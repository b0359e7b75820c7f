"""The store on a PostgreSQL server, with a copy on the node's own disk for reading.

Every batch is committed on the server first: that is what acknowledges it. The copy follows; it is
what `siblings`, `scan` and views read, so neither the core's thread nor a peer waits for the network.
docs/decisions/0012-postgresql.md says why, and what a lost connection leads to.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psycopg

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import StoredState
from bellande_mesh_sync.errors import (
    ConfigError,
    CorruptStoreError,
    DiskFullError,
    StorageError,
    StoreUnavailableError,
)
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.store.condemned import Condemned
from bellande_mesh_sync.store.interface import ChangesView, Examiner, OldVersions, ScanPage, StoreCounts
from bellande_mesh_sync.store.packs import Entry
from bellande_mesh_sync.store.postgres_changes import LogName, ServerChanges
from bellande_mesh_sync.store.postgres_copy import COMMIT_NOTE, COPY_NAME, make_copy, read_state
from bellande_mesh_sync.store.postgres_errors import meaning_of
from bellande_mesh_sync.store.postgres_server import PAUSE_S, Connection, Heads, Owner, Session
from bellande_mesh_sync.store.postgres_url import parse_url
from bellande_mesh_sync.store.sqlite import SqliteStore
from bellande_mesh_sync.store.sqlite_rows import Row

log = logging.getLogger(__name__)

REFUSE_AFTER_S: Final = 10.0
"""A write that has not reached the server after this time is refused; nothing of it was written."""
STOP_AFTER_S: Final = 60.0
"""A commit whose answer was lost is asked about for this long; then the node stops."""
_COMMIT_BYTES: Final = 16
_ROOM_BYTES: Final = 8 << 20
_ROOM_PER_RECORD: Final = 400


class PostgresStore:
    """The store of a node whose records live on a server; see `Store` for what each method promises.

    Args:
        url: `postgresql://...`, with `schema=NAME` if it is not to be `default_schema`.
        data_dir, chunks_dir: the home's: for the copy and the author epoch, and for chunks.
        new_epoch: draws the 8 bytes of a new author epoch.

    Raises:
        ConfigError: `url` is none.
    """

    def __init__(
        self,
        url: str,
        data_dir: Path,
        chunks_dir: Path,
        *,
        owner: Owner,
        default_schema: str,
        new_epoch: Callable[[], bytes],
        refuse_after_s: float = REFUSE_AFTER_S,
        stop_after_s: float = STOP_AFTER_S,
    ) -> None:
        self._url = parse_url(url, default_schema)
        self._copy_path = data_dir / COPY_NAME
        self._copy = SqliteStore(data_dir, chunks_dir, new_epoch=new_epoch, database_name=COPY_NAME)
        self._session = Session(self._url, owner)
        self._refuse_after_s = refuse_after_s
        self._stop_after_s = stop_after_s
        self._commit = b""  # The last commit that the server has confirmed.
        self._logs: dict[LogName, int] = {}

    # -- opening and closing

    def open(self) -> StoredState:
        """As `Store.open`, with the server's copy made anew where it is not of the server's last commit.

        Raises:
            StoreRefusedError, StoreUnavailableError, HomeInUseError, CorruptStoreError, StorageError.
        """
        heads = self._session.open(secrets.token_bytes(_COMMIT_BYTES))
        try:
            self._make_copy_current(heads)
            self._logs = {
                (Shard(shard), Author(author)): number
                for number, shard, author in self._session.connection.execute(
                    "SELECT log, shard, author FROM logs", binary=True
                )
            }
            self._commit = heads.commit
            return self._open_copy(heads)
        except psycopg.Error as error:
            lost = self._session.is_lost
            self.close()
            if lost:
                raise self._unavailable(error) from error
            raise meaning_of(error, self._url) from error
        except BaseException:  # Whatever it is, it goes on from here.
            self.close()
            raise

    def _open_copy(self, heads: Heads) -> StoredState:
        try:
            return self._copy.open()
        except CorruptStoreError as error:
            log.warning("%s", error)
            self._make_copy(heads, [], keep_old=True)
            return self._copy.open()

    def _make_copy_current(self, heads: Heads) -> None:
        state = read_state(self._copy_path)
        if state.commit == heads.commit:
            return
        # The server is one commit ahead if the node died between the two. Whatever else is the case, one
        # of them came from a backup, and numbers beyond it may be used up: without its epoch in the copy
        # the node writes as a new author.
        is_behind = state.commit != b"" and state.commit == heads.previous
        home = [(name, value) for name, value in state.home if is_behind or name == "packs_end"]
        self._make_copy(heads, home, keep_old=not is_behind)

    def _make_copy(self, heads: Heads, home: Sequence[Row], *, keep_old: bool) -> None:
        log.info("reading all records of %s", self._url.shown)
        connection, shown = self._session.connection, self._url.shown
        old = make_copy(connection, self._copy_path, heads.commit, home, shown, keep_old=keep_old)
        if old is not None:
            log.warning(
                "%s and the copy of it in this home do not fit: one of them was restored, replaced or "
                "damaged. The server counts; the node writes as a new author, and keeps the old copy as %s",
                shown,
                old,
            )

    def close(self) -> None:
        self._copy.close()
        self._session.close()

    # -- records

    def apply(self, batches: Sequence[Batch]) -> None:
        """As `Store.apply`. Raises StoreUnavailableError as well; then nothing changed either."""
        changes = ServerChanges(batches, self._logs, self._copy.fingerprints())
        if not changes:
            self._copy.apply(batches)
            return
        self._check_room(batches)
        # The epoch is the home's own: known there before anything written under it is on the server. And
        # chunks are durable before a record that names them.
        epochs = [batch.epoch for batch in batches if batch.epoch]
        self._copy.apply([Batch(epoch=epochs[-1])] if epochs else [])
        commit = secrets.token_bytes(_COMMIT_BYTES)
        self._write(changes, commit)
        self._commit = commit
        self._logs.update(changes.new_logs)
        try:
            self._copy.apply(batches, [(COMMIT_NOTE, commit)])
        except DiskFullError as error:
            # Not a clean no: the server has it. At the next start the copy is made anew.
            raise StorageError(reason=f"{error}; the copy of {self._url.shown} fell behind") from error

    def _check_room(self, batches: Sequence[Batch]) -> None:
        """Refuse what the copy will have no room for, while nothing is written yet."""
        records = [record for batch in batches for _, record in batch.puts]
        needed = sum(_ROOM_PER_RECORD + 2 * len(record.inline or b"") for record in records)
        if shutil.disk_usage(self._copy_path.parent).free < needed + _ROOM_BYTES:
            raise DiskFullError(path=str(self._copy_path))

    def _write(self, changes: ServerChanges, commit: bytes) -> None:
        """Commit on the server, once, whatever happens to the connection meanwhile.

        Raises:
            StoreUnavailableError, DiskFullError: nothing was written.
            StorageError: it is unknown what was written, or the server is not as it was.
        """
        began = time.monotonic()
        is_in_doubt = False
        while True:
            try:
                if self._session.is_lost and self._find_again(commit, is_in_doubt):
                    return
                is_in_doubt = False
                self._run(lambda connection: changes.write(connection, commit))
                is_in_doubt = True  # From here to the answer: only the server knows.
                self._run(lambda connection: connection.execute("COMMIT"))
                return
            except StoreUnavailableError as error:
                if not self._session.is_lost:
                    raise  # The server's own clean no.
                wait_s = self._stop_after_s if is_in_doubt else self._refuse_after_s
                if time.monotonic() < began + wait_s:
                    time.sleep(PAUSE_S)
                elif is_in_doubt:
                    reason = f"{error}; whether the last write is on it is not known"
                    raise StorageError(reason=reason) from error
                else:
                    raise

    def _run(self, statements: Callable[[Connection], object]) -> None:
        """A part of a transaction. It is rolled back after an error on a connection that still stands."""
        connection = self._session.connection
        try:
            statements(connection)
        except psycopg.Error as error:
            if connection.closed:
                raise self._unavailable(error) from error
            try:
                connection.rollback()
            except psycopg.Error:
                self._session.close()  # Whatever it was that broke: the next session will tell.
            raise meaning_of(error, self._url) from error

    def _find_again(self, commit: bytes, is_in_doubt: bool) -> bool:
        """A new session after a lost one. Its lock was to be had, so what was under way there is decided.

        Returns:
            Whether `commit` is on the server.
        """
        try:
            heads = self._session.open()
        except ConfigError as error:
            raise StoreUnavailableError(server=self._url.shown, reason=str(error)) from error
        if heads.commit == self._commit:
            return False
        if is_in_doubt and (heads.commit, heads.previous) == (commit, self._commit):
            return True
        self._session.close()
        reason = f"{self._url.shown} is not as this node left it: restored, failed over, or another server"
        raise StorageError(reason=reason)

    def _unavailable(self, error: psycopg.Error) -> StoreUnavailableError:
        return StoreUnavailableError(server=self._url.shown, reason=self._url.scrub(str(error)))

    def publish(self, batches: Sequence[Batch]) -> None:
        self._copy.publish(batches)

    def siblings(self, keys: Sequence[str]) -> list[tuple[Record, ...]]:
        return self._copy.siblings(keys)

    def scan(self, prefix: str, after: str, limit: int) -> ScanPage:
        return self._copy.scan(prefix, after, limit)

    def scan_conflicts(self, prefix: str, after: str, limit: int) -> ScanPage:
        return self._copy.scan_conflicts(prefix, after, limit)

    def scan_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        return self._copy.scan_keys(prefix, after, limit)

    def old_versions(self, keys: Sequence[str], size_bytes_max: int) -> list[OldVersions]:
        return self._copy.old_versions(keys, size_bytes_max)

    def counts(self) -> StoreCounts:
        """As `Store.counts`; `disk_bytes` is what the copy and the chunks take on this disk."""
        return self._copy.counts()

    def conflict_counts(self) -> Mapping[str, int]:
        return self._copy.conflict_counts()

    def fingerprints(self) -> dict[Shard, int]:
        return self._copy.fingerprints()

    def open_changes(self, shard: Shard, dots: Delta) -> ChangesView:
        return self._copy.open_changes(shard, dots)

    def deleted_keys(self, after: str, limit: int) -> Sequence[str]:
        return self._copy.deleted_keys(after, limit)

    # -- damage

    def is_damaged(self, key: str) -> bool:
        return self._copy.is_damaged(key)

    def listen(self, on_damage: Callable[[DamageFound], None]) -> None:
        self._copy.listen(on_damage)

    def examine(self, shard: Shard, *, deep: bool = False) -> Examiner:
        """As `Store.examine`, of the copy: the server has checks of its own."""
        return self._copy.examine(shard, deep=deep)

    def check_pages(self) -> str:
        return self._copy.check_pages()

    # -- chunks

    def add_chunks(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        self._copy.add_chunks(chunks)

    def has_chunks(self, hashes: Sequence[bytes]) -> list[bool]:
        return self._copy.has_chunks(hashes)

    def read_chunk(self, hash: bytes) -> bytes:
        return self._copy.read_chunk(hash)

    def missing_chunks(self, manifest: Manifest) -> tuple[tuple[ChunkRef, ...], bool]:
        return self._copy.missing_chunks(manifest)

    def value_chunks(self, manifest: Manifest) -> Iterator[ChunkRef]:
        return self._copy.value_chunks(manifest)

    # -- sweeping

    @property
    def condemned(self) -> Condemned:
        return self._copy.condemned

    def manifests(self, pause: Callable[[int], None]) -> Iterator[Manifest]:
        return self._copy.manifests(pause)

    def chunk_pages(self) -> Iterator[Sequence[Entry]]:
        return self._copy.chunk_pages()

    def drop_chunks(self, entries: Sequence[Entry]) -> int:
        return self._copy.drop_chunks(entries)

    def compact_chunks(self, pause: Callable[[int], None]) -> int:
        return self._copy.compact_chunks(pause)
