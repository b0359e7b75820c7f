"""Verification: all that a node has on disk is read again, in a thread of its own, no faster than asked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from bellande_mesh_sync.core.data.record import ChunkRef, Manifest
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.errors import ChunkMissingError, CorruptStoreError, StorageError
from bellande_mesh_sync.ids import Shard
from bellande_mesh_sync.store.interface import Store

log = logging.getLogger(__name__)

DAMAGE_MAX: Final = 100_000
"""Finds that are remembered one by one; what is beyond is counted."""
SEEN_CHUNKS_MAX: Final = 1_000_000
"""Chunks remembered so as not to be read twice; others are, once for each value they belong to."""
_PAUSE_S: Final = 0.001
"""After each step at least: who waits for the interpreter's lock is to have it."""


class Find(Struct, frozen=True):
    """Something damaged: a record, or a chunk of a value."""

    key: str
    kind: str
    """`record`, `chunk` (damaged) or `missing_chunk`."""
    record: DamagedRecord | None = None
    chunk: ChunkRef | None = None


class Verification:
    """One reading of a store. Make it and read its counts on any thread; `run` it in a worker.

    Args:
        deep: hash every value and every chunk again, instead of only asking whether they are there.
        bytes_per_s_max: no faster than this.
    """

    def __init__(self, store: Store, *, deep: bool, bytes_per_s_max: float) -> None:
        self._store = store
        self._deep = deep
        self._bytes_per_s_max = bytes_per_s_max
        self._stopping = threading.Event()
        self._seen: set[bytes] = set()
        self.started_s = time.monotonic()
        self.bytes_read = self.records = self.chunks = self.left_off = 0
        self.database = ""
        """What is wrong with the database as such; "" if nothing."""
        self.finds: list[Find] = []
        self.doubted: list[Shard] = []
        """Shards whose records are not what their fingerprint and their knowledge say."""

    def stop(self) -> None:
        """Let `run` end with an error at its next step."""
        self._stopping.set()

    def run(self) -> None:
        """Raises StorageError if it was stopped, or the store was closed."""
        self.started_s = time.monotonic()
        try:
            self.database = self._store.check_pages()
        except CorruptStoreError as error:
            self.database = str(error.reason)
        for shard in sorted(self._store.fingerprints()):
            self._pause(0)
            try:
                self._verify_shard(shard)
            except CorruptStoreError as error:
                # Whole pages cannot be read: no record of them can be named.
                self.database = self.database or str(error.reason)

    def damage(self) -> DamageFound:
        """All that was found, for the core to mend."""
        return DamageFound(
            records=tuple(find.record for find in self.finds if find.record is not None),
            chunks=tuple(find.chunk for find in self.finds if find.chunk is not None),
            shards=tuple(self.doubted),
        )

    def _verify_shard(self, shard: Shard) -> None:
        examiner = self._store.examine(shard, deep=self._deep)
        try:
            found = examiner.run(self._record_step)
            self.records += found.record_count
            for record in found.damaged:
                self._find(Find(record.key, "record", record=record))
            if not found.is_clean:
                self.doubted.append(shard)
            for key, manifest in examiner.large_values():
                self._verify_value(key, manifest)
        finally:
            examiner.close()

    def _record_step(self, size_bytes: int) -> None:
        self.bytes_read += size_bytes
        self._pause(_PAUSE_S)

    def _verify_value(self, key: str, manifest: Manifest) -> None:
        for ref in self._chunks_of(key, manifest):
            if ref.hash in self._seen:
                continue
            if len(self._seen) < SEEN_CHUNKS_MAX:
                self._seen.add(ref.hash)
            self.chunks += 1
            self._verify_chunk(key, ref)
        self._pause(_PAUSE_S if self._deep else 0)

    def _chunks_of(self, key: str, manifest: Manifest) -> Iterator[ChunkRef]:
        """The index chunks of a large manifest first: those that are damaged cannot be followed."""
        if manifest.depth == 1:
            yield from manifest.chunks
            return
        yield from manifest.chunks
        try:
            yield from self._store.value_chunks(manifest)
        except (CorruptStoreError, ChunkMissingError) as error:
            log.debug("the chunks of %r cannot be listed: %s", key, error)  # Found as a chunk, above.

    def _verify_chunk(self, key: str, ref: ChunkRef) -> None:
        if not self._store.has_chunks([ref.hash])[0]:
            self._find(Find(key, "missing_chunk", chunk=ref))
            return
        if not self._deep:
            return
        try:
            self.bytes_read += len(self._store.read_chunk(ref.hash))
        except CorruptStoreError:
            self._find(Find(key, "chunk", chunk=ref))
        self._pause(0)

    def _find(self, find: Find) -> None:
        if len(self.finds) < DAMAGE_MAX:
            self.finds.append(find)
        else:
            self.left_off += 1

    def _pause(self, least_s: float) -> None:
        ahead_s = self.bytes_read / self._bytes_per_s_max - (time.monotonic() - self.started_s)
        wait_s = max(least_s, min(ahead_s, 1.0))
        if self._stopping.is_set() or (wait_s > 0 and self._stopping.wait(wait_s)):
            raise StorageError(reason="the verification was stopped")
