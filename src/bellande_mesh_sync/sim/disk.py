"""A simulated disk: commits take time and come in groups, it fills up, stalls, and forgets in a crash."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import CommitFailed, Committed, Event, MissingFound, PageRead
from bellande_mesh_sync.core.reader import StoredState
from bellande_mesh_sync.ids import Dot, Shard
from bellande_mesh_sync.sim.platter import Platter, missing_chunks
from bellande_mesh_sync.sim.world import MICROSECOND_NS, MILLISECOND_NS, World


@dataclass(frozen=True, slots=True)
class DiskConfig:
    sync_min_ns: int = MILLISECOND_NS
    sync_mean_ns: int = 3 * MILLISECOND_NS
    """Beyond the minimum; exponentially distributed."""
    slow_sync_mean_ns: int = 1_500 * MILLISECOND_NS
    """The same in an episode of slowness."""
    read_mean_ns: int = 300 * MICROSECOND_NS
    post_mean_ns: int = 50 * MICROSECOND_NS
    """From the end of a sync until the core's thread hears of it."""
    read_error_ratio: float = 0.0
    """How many pages and look-ups fail."""
    page_bytes: int = 256 * 1024


class DiskWatcher(Protocol):
    def applied(self, disk: SimDisk, batch: Batch) -> None:
        """`batch` has just become durable."""
        ...

    def wiped(self, disk: SimDisk) -> None:
        """All the disk held is gone."""
        ...


class Post(Protocol):
    """Brings an event to a node; `prepare` runs on the core's thread just before the core hears of it."""

    def __call__(self, event: Event, prepare: Callable[[], None] | None = None) -> None: ...


def _nowhere(event: Event, prepare: Callable[[], None] | None = None) -> None:
    """Where the events of a disk go that is in no machine."""


class _View:
    """A point-in-time view: taken at once, read in pages."""

    def __init__(self, records: list[Record], knowledge: Delta) -> None:
        self.records = records
        self.knowledge = knowledge
        self.position = 0


class SimDisk:
    """One node's disk and the store on it."""

    def __init__(
        self, world: World, index: int, config: DiskConfig, rng: random.Random, watcher: DiskWatcher
    ) -> None:
        self.index = index
        self.config = config
        self.platter = Platter(rng.randbytes(8))
        self.post: Post = _nowhere
        self.sync_failed: Callable[[], None] = lambda: None
        self.is_full = False
        self.is_slow = False
        self.fails_next_sync = False
        self.sync_count = 0
        self.commit_count = 0
        self._world = world
        self._rng = rng
        self._watcher = watcher
        self._boot = 0
        self._become_empty()

    # -- life and death

    def open(self) -> StoredState:
        """As a store is opened by a new process: just what is durable is there."""
        self._boot += 1
        self._become_empty()
        self._visible.update((key, dict(siblings)) for key, siblings in self.platter.by_key.items())
        return self.platter.state()

    def crash(self) -> None:
        """The process is gone. A group being synced is on the disk as a whole or not at all."""
        syncing, chunks = self._syncing, self._syncing_chunks
        self._boot += 1
        self._become_empty()
        if syncing and not self.is_full and self._rng.random() < 0.5:
            self._harden([batch for _, batch in syncing], chunks)

    def wipe(self) -> None:
        """A new disk is put in; only a stopped node's."""
        self.platter = Platter(self._rng.randbytes(8))
        self._boot += 1
        self._become_empty()
        self._watcher.wiped(self)

    def _become_empty(self) -> None:
        self._visible: dict[str, dict[Dot, Record]] = {}
        self._fresh_chunks: dict[bytes, bytes] = {}
        self._syncing_chunks: dict[bytes, bytes] = {}
        self._views: dict[int, _View] = {}
        self._waiting: list[tuple[int, Batch]] = []
        self._syncing: list[tuple[int, Batch]] = []
        self._refusing = False
        self._posted_count = 0  # Outcomes on their way to the core.
        self._posted_until_ns = 0

    # -- commits

    @property
    def outstanding(self) -> list[Batch]:
        """Batches that are asked for and not yet durable."""
        return [batch for _, batch in self._syncing + self._waiting]

    def is_idle(self) -> bool:
        return not self._syncing and not self._waiting and not self._posted_count

    def commit(self, number: int, batch: Batch) -> None:
        self.commit_count += 1
        if self._refusing:
            return  # The CommitFailed on its way to the core stands for this one too.
        self._waiting.append((number, batch))
        self._start_sync()

    def _start_sync(self) -> None:
        if self._syncing or not self._waiting or self._refusing:
            return
        self._syncing, self._waiting = self._waiting, []
        self._syncing_chunks, self._fresh_chunks = self._fresh_chunks, {}
        mean_ns = self.config.slow_sync_mean_ns if self.is_slow else self.config.sync_mean_ns
        delay_ns = self.config.sync_min_ns + int(self._rng.expovariate(1.0) * mean_ns)
        self._world.after(delay_ns, self._end_sync, self._boot)

    def _end_sync(self, boot: int) -> None:
        if boot != self._boot:
            return
        if self.fails_next_sync:
            self.fails_next_sync = False
            self.sync_failed()
            return
        if self.is_full:
            self._refuse()
            return
        group, self._syncing = self._syncing, []
        chunks, self._syncing_chunks = self._syncing_chunks, {}
        self.sync_count += 1
        self._harden([batch for _, batch in group], chunks)
        self._tell(self._tell_committed, group)
        self._start_sync()

    def _harden(self, batches: Sequence[Batch], chunks: dict[bytes, bytes]) -> None:
        self.platter.chunks.update(chunks)
        for batch in batches:
            self.platter.apply(batch)
            self._watcher.applied(self, batch)

    def _tell_committed(self, group: list[tuple[int, Batch]]) -> None:
        self.post(Committed(group[-1][0]), lambda: self._publish(group))

    def _publish(self, group: list[tuple[int, Batch]]) -> None:
        for _, batch in group:
            for _, record in batch.puts:
                self._visible.setdefault(record.key, {})[record.dot] = record
            for _, key, dot in batch.drops:
                self._visible.get(key, {}).pop(Dot(*dot), None)

    def _refuse(self) -> None:
        self._syncing, self._waiting = [], []
        self._fresh_chunks = self._syncing_chunks | self._fresh_chunks
        self._syncing_chunks = {}
        self._refusing = True
        self._tell(self._tell_refused)

    def _tell_refused(self) -> None:
        self._refusing = False
        self.post(CommitFailed("disk_full", "the simulated disk is full"))

    def _tell(self, action: Callable[..., None], *arguments: object) -> None:
        """Bring an outcome to the core's thread: a little later, and never before an earlier one."""
        delay_ns = int(self._rng.expovariate(1.0) * self.config.post_mean_ns)
        self._posted_until_ns = max(self._posted_until_ns, self._world.now_ns + delay_ns)
        self._posted_count += 1
        self._world.at(self._posted_until_ns, self._if_alive, self._boot, self._told, (action, arguments))

    def _told(self, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        self._posted_count -= 1
        action(*arguments)

    # -- reading

    def siblings(self, keys: Sequence[str]) -> list[tuple[Record, ...]]:
        """What the core and its programs see: committed, and heard of."""
        return [tuple(self._visible.get(key, {}).values()) for key in keys]

    def visible_keys(self) -> list[str]:
        return [key for key, siblings in self._visible.items() if siblings]

    def open_changes(self, reading: int, shard: Shard, dots: Delta) -> None:
        self._later(self.config.read_mean_ns, self._open_view, reading, shard, dots)
        self._views.setdefault(reading, _View([], ()))  # A close that comes before the view is there counts.

    def next_page(self, reading: int) -> None:
        self._later(self.config.read_mean_ns, self._read_page, reading)

    def close_changes(self, reading: int) -> None:
        self._views.pop(reading, None)

    @property
    def view_count(self) -> int:
        return len(self._views)

    def _open_view(self, reading: int, shard: Shard, dots: Delta) -> None:
        if reading in self._views:
            self._views[reading] = _View(
                list(self.platter.live_among(shard, dots)), self.platter.knowledge(shard)
            )
        self._read_page(reading)

    def _read_page(self, reading: int) -> None:
        view = self._views.get(reading)
        if view is None:  # Closed while the read was under way.
            self.post(PageRead(reading, (), 0, True, code="closed"))
            return
        if self._fails():
            del self._views[reading]
            self.post(PageRead(reading, (), 0, True, code="storage"))
            return
        page, size_bytes = self._take(view)
        is_last = view.position == len(view.records)
        if is_last:
            del self._views[reading]
        self.post(PageRead(reading, tuple(page), size_bytes, is_last, view.knowledge if is_last else ()))

    def _take(self, view: _View) -> tuple[list[Record], int]:
        page: list[Record] = []
        size_bytes = 0
        while view.position < len(view.records) and (not page or size_bytes < self.config.page_bytes):
            record = view.records[view.position]
            page.append(record)
            size_bytes += record_bytes(record)
            view.position += 1
        return page, size_bytes

    # -- chunks

    def add_chunks(self, chunks: dict[bytes, bytes]) -> None:
        """Readable at once; durable with the next sync."""
        self._fresh_chunks.update((hash, body) for hash, body in chunks.items() if self.chunk(hash) is None)

    def chunk(self, hash: bytes) -> bytes | None:
        for chunks in (self.platter.chunks, self._syncing_chunks, self._fresh_chunks):
            if hash in chunks:
                return chunks[hash]
        return None

    def find_missing(self, fetch: int, manifest: Manifest) -> None:
        self._later(self.config.read_mean_ns, self._tell_missing, fetch, manifest)

    def missing_chunks(self, manifest: Manifest) -> tuple[tuple[ChunkRef, ...], bool]:
        return missing_chunks(manifest, self.platter.chunks | self._syncing_chunks | self._fresh_chunks)

    def _tell_missing(self, fetch: int, manifest: Manifest) -> None:
        if self._fails():
            self.post(MissingFound(fetch, (), False, code="storage"))
            return
        chunks, is_index = self.missing_chunks(manifest)
        self.post(MissingFound(fetch, chunks, is_index))

    # -- time

    def read_later(self, action: Callable[..., None], *arguments: object) -> None:
        """Do `action` after the time of a read, unless the node dies meanwhile."""
        self._later(self.config.read_mean_ns, action, *arguments)

    def _later(self, mean_ns: int, action: Callable[..., None], *arguments: object) -> None:
        delay_ns = int(self._rng.expovariate(1.0) * mean_ns)
        self._world.after(delay_ns, self._if_alive, self._boot, action, arguments)

    def _if_alive(self, boot: int, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if boot == self._boot:
            action(*arguments)

    def _fails(self) -> bool:
        return self._rng.random() < self.config.read_error_ratio


def record_bytes(record: Record) -> int:
    """About what a record takes in a page or on the wire."""
    return 200 + len(record.key) + len(record.inline or b"") + 60 * len(record.context)
