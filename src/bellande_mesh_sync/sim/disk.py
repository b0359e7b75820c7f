"""A simulated disk: commits take time and come in groups, it fills up, stalls, and forgets in a crash."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from blake3 import blake3

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import (
    CommitFailed,
    Committed,
    DamageFound,
    Event,
    Examined,
    MissingFound,
    PageRead,
)
from bellande_mesh_sync.core.reader import DamagedRecord, StoredState
from bellande_mesh_sync.errors import StorageError
from bellande_mesh_sync.ids import Dot, Shard
from bellande_mesh_sync.keys import shard_of
from bellande_mesh_sync.sim import log_end
from bellande_mesh_sync.sim.platter import Platter, missing_chunks
from bellande_mesh_sync.sim.sweeps import hashes_of, sweep
from bellande_mesh_sync.sim.world import MICROSECOND_NS, MILLISECOND_NS, World
from bellande_mesh_sync.store.condemned import Condemned


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
    sweep_every_ns: int = 0
    """How often chunks are swept that nothing refers to, without a time of grace; 0: never."""


class DiskWatcher(Protocol):
    def applied(self, disk: SimDisk, batch: Batch) -> None:
        """`batch` has just become durable."""
        ...

    def wiped(self, disk: SimDisk) -> None:
        """All the disk held is gone; what it holds now, if anything, is from a backup."""
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
        self.fails_next_read = False
        self.stalls_until_ns = 0
        """No sync ends before."""
        self.read_error_ratio = config.read_error_ratio
        self.counts: Counter[str] = Counter()
        self.sync_count = 0
        self.commit_count = 0
        self._world = world
        self._rng = rng
        self._watcher = watcher
        self._boot = 0
        self._place_count = 0
        self._become_empty()

    # -- life and death

    def open(self) -> StoredState:
        """As a store is opened by a new process: just what is durable is there."""
        self._boot += 1
        self._become_empty()
        self._read_log_end()
        self._agree_on_epoch()
        self._visible.update((key, dict(siblings)) for key, siblings in self.platter.by_key.items())
        return self.platter.state()

    def crash(self) -> None:
        """The process is gone. A group being synced is one transaction: on the disk as a whole or torn.

        What of its end is on the disk is found out when it is opened. Chunks that no sync made
        durable lie behind all that is indexed, and are cut off then.
        """
        syncing, chunks = self._syncing, self._syncing_chunks
        self._boot += 1
        self._become_empty()
        if not syncing or self.is_full:
            return
        batches = [batch for _, batch in syncing]
        outcome = self._rng.choice(("whole", "torn", "torn", "absent"))
        self.counts[f"groups_{outcome}"] += 1
        if outcome != "absent":
            written = log_end.encode(batches, chunks)
            self.platter.log_end = log_end.tear(written, self._rng) if outcome == "torn" else written
        epoch = next((batch.epoch for batch in batches if batch.epoch), b"")
        if epoch and self._rng.random() < 0.5:
            self.platter.epoch_file = epoch  # It is replaced just before the transaction ends.

    def _read_log_end(self) -> None:
        written, self.platter.log_end = self.platter.log_end, b""
        found = log_end.decode(written) if written else None
        if found is not None:
            self._harden(*found)

    def _agree_on_epoch(self) -> None:
        """Database and epoch file must be of one epoch and one place, or one of them is an old copy."""
        platter = self.platter
        if (platter.epoch, platter.place) != (platter.epoch_file, platter.file_place):
            self.counts["epochs_drawn"] += 1
            platter.epoch = platter.epoch_file = self._rng.randbytes(8)
        self._place_count += 1
        platter.place = platter.file_place = self._place_count

    def wipe(self) -> None:
        """A new disk is put in; only a stopped node's."""
        self._replace(Platter(self._rng.randbytes(8)))

    def backup(self) -> Platter:
        return self.platter.copy()

    def restore(self, backup: Platter, *, whole: bool) -> None:
        """Put a backup in place of what is there, of the whole home or of the database; of a stopped node."""
        platter = backup.copy()
        self._place_count += 1
        if whole:
            platter.file_place = self._place_count  # The file's copy is a file of its own.
        else:
            platter.epoch_file, platter.file_place = self.platter.epoch_file, self.platter.file_place
        self._replace(platter)

    def _replace(self, platter: Platter) -> None:
        self.platter = platter
        self._boot += 1
        self._become_empty()
        self._watcher.wiped(self)

    def _become_empty(self) -> None:
        self._visible: dict[str, dict[Dot, Record]] = {}
        self._fresh_chunks: dict[bytes, bytes] = {}
        self._syncing_chunks: dict[bytes, bytes] = {}
        self.condemned = Condemned()
        self._damaged: dict[bytes, None] = {}  # Chunks that failed their check; others are welcome.
        self._told_damaged: dict[Dot, None] = {}  # Records that the core knows to be damaged.
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
        self._world.at(max(self._world.now_ns + delay_ns, self.stalls_until_ns), self._end_sync, self._boot)

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
        self.platter.add_chunks(chunks)
        for hash in chunks:
            self._damaged.pop(hash, None)
        for batch in batches:
            if batch.set_aside:
                self.counts["set_aside"] += len(batch.set_aside)
            self.platter.apply(batch)
            self._watcher.applied(self, batch)

    def _tell_committed(self, group: list[tuple[int, Batch]]) -> None:
        self.post(Committed(group[-1][0]), lambda: self._publish(group))

    def _publish(self, group: list[tuple[int, Batch]]) -> None:
        for _, batch in group:
            for damaged in batch.set_aside:
                self._visible.get(damaged.key, {}).pop(damaged.dot, None)
                self._told_damaged.pop(damaged.dot, None)
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
        self.post(CommitFailed("disk_full", "the simulated disk is full"), self._accept_again)

    def _accept_again(self) -> None:
        """As in the shell: what comes between the refusal and the core hearing of it falls with it."""
        self._refusing = False

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
        """What the core sees: committed, and heard of, less what is damaged. Raises StorageError."""
        if self.fails_next_read:
            self.fails_next_read = False
            raise StorageError(reason="the simulated disk could not be read")
        if self.platter.rotten:
            return [self._sound(self.shown(key)) for key in keys]
        return [self.shown(key) for key in keys]

    def _sound(self, records: Sequence[Record]) -> tuple[Record, ...]:
        """Those that can be read; the core is told of the others."""
        damaged = [record for record in records if self._is_rotten(record)]
        if damaged:
            self._tell_damaged(damaged)
        return tuple(record for record in records if record not in damaged)

    def _is_rotten(self, record: Record) -> bool:
        return (record.key, record.dot) in self.platter.rotten

    def _tell_damaged(self, records: Sequence[Record]) -> None:
        found = tuple(DamagedRecord(shard_of(each.key), each.dot, each.key) for each in records)
        news = [each for each in found if each.dot not in self._told_damaged]
        if news:
            self.counts["rot_found"] += len(news)
            self._told_damaged.update((each.dot, None) for each in news)
            self.post(DamageFound(tuple(news)))

    def deleted_keys(self, after: str, limit: int) -> list[str]:
        """As `RecordReader.deleted_keys`."""
        found = (
            key
            for key, siblings in self._visible.items()
            if key > after and siblings and all(record.is_tombstone for record in siblings.values())
        )
        return sorted(found)[:limit]

    def is_damaged(self, key: str) -> bool:
        return any(self._is_rotten(record) for record in self.shown(key))

    def shown(self, key: str) -> tuple[Record, ...]:
        """What programs on this node would see, if every byte can be read."""
        return tuple(self._visible.get(key, {}).values())

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
        if any(self._is_rotten(record) for record in page):
            self._sound(page)
            del self._views[reading]
            self.post(PageRead(reading, (), 0, True, code="corrupt_store"))
            return
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
        self._fresh_chunks.update((hash, body) for hash, body in chunks.items() if not self._has(hash))

    def _touch(self, hashes: Iterable[bytes]) -> None:
        if self.config.sweep_every_ns:
            # One thread, so nothing can go between the look and the answer.
            self.condemned.touched(dict.fromkeys(hashes), self.condemned.generation)

    def sweep(self, under_way: Sequence[Manifest]) -> None:
        """Begin a sweep, which takes a while.

        Args:
            under_way: what is being written or fetched at this moment.
        """
        self.condemned.begin(self._world.now_ns)
        self._later(20 * self.config.read_mean_ns, self._sweep, under_way)

    def _sweep(self, under_way: Sequence[Manifest]) -> None:
        self.counts["chunks_swept"] += sweep(self.platter, self.condemned, under_way)

    def _has(self, hash: bytes) -> bool:
        """Whether a chunk is here, as far as is known without reading it."""
        self._touch((hash,))
        if hash in self._fresh_chunks or hash in self._syncing_chunks:
            return True
        return hash in self.platter.chunks and hash not in self._damaged

    def chunk(self, hash: bytes) -> bytes | None:
        """A chunk's bytes, compared with its hash; None if it is not here, or damaged."""
        self._touch((hash,))
        body = self._fresh_chunks.get(hash) or self._syncing_chunks.get(hash)
        if body is None and hash not in self._damaged:
            body = self.platter.rotten_chunks.get(hash) or self.platter.chunks.get(hash)
        if body is None or blake3(body).digest() == hash:
            return body
        self.counts["rot_found"] += 1
        self._damaged[hash] = None
        self.post(DamageFound(chunks=(ChunkRef(hash, len(body)),)))
        return None

    def examine(self, shard: Shard) -> None:
        self._later(20 * self.config.read_mean_ns, self._tell_examined, shard)

    def _tell_examined(self, shard: Shard) -> None:
        self.post(Examined(shard, None if self._fails() else self.platter.examine(shard)))

    def find_missing(self, fetch: int, manifest: Manifest) -> None:
        self._later(self.config.read_mean_ns, self._tell_missing, fetch, manifest)

    def missing_chunks(self, manifest: Manifest) -> tuple[tuple[ChunkRef, ...], bool]:
        chunks = self.platter.chunks | self._syncing_chunks | self._fresh_chunks
        self._touch(hashes_of(manifest, chunks))
        for hash in self._damaged:
            if not self._has(hash):
                chunks.pop(hash, None)
        return missing_chunks(manifest, chunks)

    def _tell_missing(self, fetch: int, manifest: Manifest) -> None:
        if self._fails():
            self.post(MissingFound(fetch, (), False, code="storage"))
            return
        if manifest.depth > 1 and any(
            self._has(ref.hash) and self.chunk(ref.hash) is None for ref in manifest.chunks
        ):
            self.post(MissingFound(fetch, (), False, code="corrupt_store"))
            return
        chunks, is_index = self.missing_chunks(manifest)
        self.post(MissingFound(fetch, chunks, is_index))

    # -- decay

    def rot_record(self, rng: random.Random) -> bool:
        """Flip a bit in some record; whether there is one."""
        keys = list(self.platter.by_key)
        if not keys:
            return False
        key = rng.choice(keys)
        place = (key, rng.choice(list(self.platter.by_key[key])))
        self.platter.rotten[place] = self.platter.ever_rotten[place] = None
        return True

    def rot_chunk(self, rng: random.Random) -> bool:
        if not self.platter.chunks:
            return False
        hash = rng.choice(list(self.platter.chunks))
        body = bytearray(self.platter.chunks[hash])
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        self.platter.rotten_chunks[hash] = bytes(body)
        return True

    def mend(self) -> None:
        """All that goes wrong with this disk is over."""
        self.is_full = self.is_slow = False
        self.read_error_ratio = 0.0
        self.heal()

    def heal(self) -> None:
        """What waits to go wrong with this disk does not, and what rotted unseen is as it was."""
        self.fails_next_sync = self.fails_next_read = False
        self.stalls_until_ns = 0
        self.platter.rotten.clear()
        self.platter.rotten_chunks.clear()
        self._damaged.clear()
        self._told_damaged.clear()

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
        return self.read_error_ratio > 0 and self._rng.random() < self.read_error_ratio


def record_bytes(record: Record) -> int:
    """About what a record takes in a page or on the wire."""
    return 200 + len(record.key) + len(record.inline or b"") + 60 * len(record.context)
