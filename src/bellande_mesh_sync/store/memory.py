"""The store in memory: for tests, for nodes that keep nothing, and as the disk of the simulator.

No clock, no thread, no chance: the same calls give the same answers. What `apply` has taken
survives `close` and `open`, as on a disk; what was only published or added to it does not count.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from blake3 import blake3

from bellande_mesh_sync.core.data.examination import Examination, examination_of
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.reader import DamagedRecord, StoredShard, StoredState
from bellande_mesh_sync.core.statements.statement import Judged, StatementId, id_of
from bellande_mesh_sync.errors import ChunkMissingError, CorruptStoreError
from bellande_mesh_sync.ids import Author, Dot, NodeId, Shard
from bellande_mesh_sync.store.condemned import Condemned
from bellande_mesh_sync.store.interface import ChangesView, Examiner, OldVersions, Page, ScanPage, StoreCounts
from bellande_mesh_sync.store.key_index import KeyIndex
from bellande_mesh_sync.store.manifests import find_missing, iterate_chunks
from bellande_mesh_sync.store.memory_history import MemoryHistory
from bellande_mesh_sync.store.packs import Entry, Location

FINGERPRINT_MODULUS = 1 << 256


class ChunkPlace(Protocol):
    """Where a MemoryStore keeps chunks."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def add(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None: ...
    def has(self, hashes: Sequence[bytes]) -> list[bool]: ...
    def read(self, hash: bytes) -> bytes: ...
    def pages(self) -> Iterator[Sequence[Entry]]: ...
    def drop(self, entries: Sequence[Entry]) -> int: ...
    def compact(self, pause: Callable[[int], None]) -> int: ...

    @property
    def condemned(self) -> Condemned: ...

    def commit(self) -> None:
        """Everything added so far survives the next `open`."""
        ...

    @property
    def size_bytes(self) -> int: ...


class ChunkDict:
    """Chunks in a dictionary; those not committed are gone after `open`."""

    def __init__(self) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self._uncommitted: list[bytes] = []
        self.size_bytes = 0
        self.condemned = Condemned()

    def open(self) -> None:
        for hash in self._uncommitted:
            self.size_bytes -= len(self.chunks.pop(hash))
        self._uncommitted.clear()

    def close(self) -> None:
        pass

    def add(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        self._touch([hash for hash, _ in chunks])
        for hash, body in chunks:
            if hash not in self.chunks:
                self.chunks[hash] = bytes(body)
                self._uncommitted.append(hash)
                self.size_bytes += len(body)

    def has(self, hashes: Sequence[bytes]) -> list[bool]:
        self._touch(hashes)
        return [hash in self.chunks for hash in hashes]

    def _touch(self, hashes: Sequence[bytes]) -> None:
        # One thread, so nothing can go between the look and the answer.
        self.condemned.touched(dict.fromkeys(hashes), self.condemned.generation)

    def read(self, hash: bytes) -> bytes:
        self._touch([hash])
        body = self.chunks.get(hash)
        if body is None:
            raise ChunkMissingError(f"chunk {hash.hex()} is not on this node", chunk=hash.hex())
        if blake3(body).digest() != hash:
            raise CorruptStoreError(path="memory", reason=f"chunk {hash.hex()} does not fit its hash")
        return body

    def commit(self) -> None:
        self._uncommitted.clear()

    def pages(self) -> Iterator[Sequence[Entry]]:
        fresh = set(self._uncommitted)
        yield [(hash, Location(0, 0, len(body))) for hash, body in self.chunks.items() if hash not in fresh]

    def drop(self, entries: Sequence[Entry]) -> int:
        going = self.condemned.take(dict(entries))
        for hash in going:
            del self.chunks[hash]
        self.condemned.gone()
        size_bytes = sum(location.size for location in going.values())
        self.size_bytes -= size_bytes
        return size_bytes

    def compact(self, pause: Callable[[int], None]) -> int:
        return 0  # What was dropped is gone.


class _Log:
    """The live records of one author in one shard, by sequence number."""

    __slots__ = ("_order", "number", "records")

    def __init__(self, number: int) -> None:
        self.number = number
        self.records: dict[int, Record] = {}
        self._order: list[int] | None = []  # Sorted sequence numbers; None: sort again when needed.

    def put(self, record: Record) -> None:
        order = self._order
        if order is not None:
            if not order or order[-1] < record.sequence:
                order.append(record.sequence)
            else:
                self._order = None
        self.records[record.sequence] = record

    def drop(self, sequence: int) -> None:
        self.records.pop(sequence, None)  # It stays in the order, until that is made again.

    def between(self, low: int, high: int) -> list[Record]:
        if self._order is None or len(self._order) > 2 * len(self.records) + 16:
            self._order = sorted(self.records)
        order = self._order
        found = (
            self.records.get(number) for number in order[bisect_left(order, low) : bisect_right(order, high)]
        )
        return [record for record in found if record is not None]


class MemoryChangesView:
    """References to the records that were live when it was opened."""

    def __init__(self, records: Sequence[Record], knowledge: Delta) -> None:
        self._records = records
        self._knowledge = knowledge
        self._position = 0

    def knowledge(self) -> Delta:
        return self._knowledge

    def read_page(self, size_bytes_max: int) -> Page:
        start = self._position
        size = 0
        while self._position < len(self._records):
            more = approximate_size(self._records[self._position])
            if self._position > start and size + more > size_bytes_max:
                break
            size += more
            self._position += 1
        return Page(tuple(self._records[start : self._position]), size, self._position == len(self._records))

    def close(self) -> None:
        self._records = ()
        self._position = 0


class MemoryExaminer:
    """Adds up the records that were live when it was made."""

    def __init__(self, shard: Shard, knowledge: Delta, records: Sequence[Record], stored: int) -> None:
        self._shard = shard
        self._knowledge = knowledge
        self._records = records
        self._stored = stored

    def run(self, pause: Callable[[int], None] = lambda size_bytes: None) -> Examination:
        live = Knowledge()
        fingerprint = size_bytes = 0
        for record in self._records:
            live.add(record.author, record.sequence, record.sequence)
            fingerprint += fingerprint_of(record)
            size_bytes += approximate_size(record)
            pause(approximate_size(record))
        return examination_of(
            self._shard,
            self._knowledge,
            live,
            fingerprint_stored=self._stored,
            fingerprint=fingerprint % FINGERPRINT_MODULUS,
            record_count=len(self._records),
            size_bytes=size_bytes,
        )

    def large_values(self) -> Iterator[tuple[str, Manifest]]:
        return ((record.key, record.manifest) for record in self._records if record.manifest is not None)

    def close(self) -> None:
        self._records = ()


class MemoryStore:
    """See `Store` for what each method promises.

    Args:
        new_epoch: draws the 8 bytes of the author epoch.
        chunks: where chunks are kept; by default in memory as well.
    """

    def __init__(self, *, new_epoch: Callable[[], bytes], chunks: ChunkPlace | None = None) -> None:
        self._new_epoch = new_epoch
        self._applying = threading.Lock()
        self._chunks: ChunkPlace = ChunkDict() if chunks is None else chunks
        # What a disk would hold:
        self._epoch = b""
        self._clock = 0
        self._logs: dict[tuple[Shard, Author], _Log] = {}
        self._knowledge: dict[Shard, dict[Author, dict[int, int]]] = {}
        self._fingerprints: dict[Shard, int] = {}
        self._collected: dict[Shard, dict[Author, int]] = {}
        self._members: dict[NodeId, MemberRecord] = {}
        self._history = MemoryHistory()
        self._damaged: dict[tuple[Shard, Dot], DamagedRecord] = {}
        self._statements: dict[StatementId, Judged] = {}
        # What is published:
        self._index = KeyIndex()
        self._visible: dict[int, Record] = {}

    def open(self) -> StoredState:
        self._chunks.open()
        self._epoch = self._epoch or self._new_epoch()
        self._index, self._visible = KeyIndex(), {}
        for log in self._logs.values():
            for record in log.records.values():
                self._show(log, record)
        self._index.settle()
        shards = sorted(self._knowledge.keys() | self._fingerprints.keys())
        members = tuple(self._members[node] for node in sorted(self._members))
        damaged = tuple(self._damaged.values())
        return StoredState(
            self._epoch, tuple(map(self._stored_shard, shards)), members, self._clock, damaged, self._kept()
        )

    def _kept(self) -> tuple[Judged, ...]:
        return tuple(self._statements[each] for each in sorted(self._statements))

    def _stored_shard(self, shard: Shard) -> StoredShard:
        collected = tuple(sorted(self._collected.get(shard, {}).items()))
        return StoredShard(shard, self._knowledge_of(shard), self._fingerprints.get(shard, 0), collected)

    def _knowledge_of(self, shard: Shard) -> Delta:
        authors = self._knowledge.get(shard, {})
        return tuple(
            (author, tuple(sorted(held.items()))) for author, held in sorted(authors.items()) if held
        )

    def close(self) -> None:
        self._chunks.close()

    # -- records

    def apply(self, batches: Sequence[Batch]) -> None:
        self._chunks.commit()
        with self._applying:
            for batch in batches:
                self._apply(batch)

    def _apply(self, batch: Batch) -> None:
        for damaged in batch.set_aside:
            self._log(damaged.shard, damaged.dot.author).drop(damaged.dot.sequence)
            self._damaged[damaged.shard, damaged.dot] = damaged
        for shard, author, ranges in batch.relearned:
            self._knowledge.setdefault(shard, {})[author] = dict(ranges)
        for shard, record in batch.puts:
            self._log(shard, record.author).put(record)
        for shard, _, dot in batch.drops:
            self._log(shard, dot.author).drop(dot.sequence)
        for change in batch.intervals:
            self._change_interval(change)
        for shard, amount in batch.fingerprints:
            self._fingerprints[shard] = (self._fingerprints.get(shard, 0) + amount) % FINGERPRINT_MODULUS
        for shard, author, number in batch.collected:
            self._collected.setdefault(shard, {})[author] = number
        for node in batch.forgotten:
            self._members.pop(node, None)
        for member in batch.members:
            self._members[member.node] = member
        if batch.history or batch.expired_ms:
            self._history.apply(batch)
        for shard, dot in batch.healed:
            self._damaged.pop((shard, Dot(*dot)), None)
        self._statements.update((id_of(each.statement), each) for each in batch.statements)
        self._epoch = batch.epoch or self._epoch
        self._clock = batch.clock or self._clock

    def _change_interval(self, change: IntervalChange) -> None:
        held = self._knowledge.setdefault(change.shard, {}).setdefault(change.author, {})
        for low in change.absorbed:
            held.pop(low, None)
        held[change.low] = change.high

    def _log(self, shard: Shard, author: Author) -> _Log:
        log = self._logs.get((shard, author))
        if log is None:
            log = self._logs[shard, author] = _Log(len(self._logs) + 1)
        return log

    def publish(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for damaged in batch.set_aside:
                self._hide(damaged.shard, damaged.key, damaged.dot)
            for shard, record in batch.puts:
                self._show(self._log(shard, record.author), record)
            for shard, key, dot in batch.drops:
                self._hide(shard, key, dot)
        self._index.settle()

    def _hide(self, shard: Shard, key: str, dot: Dot) -> None:
        record_id = self._log(shard, dot.author).number << 40 | dot.sequence
        _ = self._index.remove(key, record_id) or self._index.remove(key, -record_id)
        self._visible.pop(record_id, None)

    def _show(self, log: _Log, record: Record) -> None:
        record_id = log.number << 40 | record.sequence
        self._visible[record_id] = record
        # Tombstones are negative, so that a scan can pass over them.
        self._index.add(record.key, -record_id if record.is_tombstone else record_id)

    def siblings(self, keys: Sequence[str]) -> list[tuple[Record, ...]]:
        return [self._records(self._index.get(key)) for key in keys]

    def _records(self, ids: Sequence[int]) -> tuple[Record, ...]:
        return tuple(self._visible[abs(number)] for number in ids)

    def scan(self, prefix: str, after: str, limit: int) -> ScanPage:
        entries: list[tuple[str, tuple[Record, ...]]] = []
        for key, ids in self._index.scan(prefix, after):
            if max(ids) < 0:
                continue
            if len(entries) == limit:
                return ScanPage(tuple(entries), entries[-1][0])
            entries.append((key, self._records(ids)))
        return ScanPage(tuple(entries), "")

    def scan_conflicts(self, prefix: str, after: str, limit: int) -> ScanPage:
        found = list(islice(self._index.conflicts.scan(prefix, after), limit + 1))
        entries = tuple((key, self._records(self._index.get(key))) for key in found[:limit])
        return ScanPage(entries, found[limit - 1] if len(found) > limit else "")

    def scan_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        live = (key for key, _ in islice(self._index.scan(prefix, after), limit))
        return sorted({*live, *self._history.keys(prefix, after, limit)})[:limit]

    def old_versions(self, keys: Sequence[str], size_bytes_max: int) -> list[OldVersions]:
        return self._history.read(keys, size_bytes_max)

    def counts(self) -> StoreCounts:
        index = self._index
        chunk_bytes = self._chunks.size_bytes
        return StoreCounts(index.key_count, index.record_count, chunk_bytes, chunk_bytes, len(index.deleted))

    def conflict_counts(self) -> Mapping[str, int]:
        return self._index.conflicts.counts

    def fingerprints(self) -> dict[Shard, int]:
        return dict(self._fingerprints)

    def open_changes(self, shard: Shard, dots: Delta) -> ChangesView:
        found: list[Record] = []
        for author, ranges in dots:
            log = self._logs.get((shard, author))
            if log is not None:
                for low, high in ranges:
                    found += log.between(low, high)
        return MemoryChangesView(found, self._knowledge_of(shard))

    # -- damage

    def deleted_keys(self, after: str, limit: int) -> Sequence[str]:
        return list(islice(self._index.deleted.scan(after), limit))

    def is_damaged(self, key: str) -> bool:
        return False  # Memory keeps what it was given.

    def listen(self, on_damage: Callable[[DamageFound], None]) -> None:
        """Nothing in memory is ever found damaged."""

    def examine(self, shard: Shard, *, deep: bool = False) -> Examiner:
        return MemoryExaminer(
            shard,
            self._knowledge_of(shard),
            [
                record
                for (log_shard, _), log in list(self._logs.items())
                if log_shard == shard
                for record in list(log.records.values())
            ],
            self._fingerprints.get(shard, 0),
        )

    def check_pages(self) -> str:
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

    def manifests(self, pause: Callable[[int], None]) -> Iterator[Manifest]:
        with self._applying:
            records = [record for log in self._logs.values() for record in log.records.values()]
            records += self._history.records()
        for record in records:
            if record.manifest is not None:
                yield record.manifest

    def chunk_pages(self) -> Iterator[Sequence[Entry]]:
        return self._chunks.pages()

    def drop_chunks(self, entries: Sequence[Entry]) -> int:
        return self._chunks.drop(entries)

    def compact_chunks(self, pause: Callable[[int], None]) -> int:
        return self._chunks.compact(pause)


def approximate_size(record: Record) -> int:
    """About what a record takes on the wire, without encoding it."""
    contexts = sum(48 + 9 * len(extras) for _, _, extras in record.context)
    chunks = 40 * len(record.manifest.chunks) if record.manifest is not None else 0
    inline = len(record.inline) if record.inline is not None else 0
    return 110 + len(record.key) + len(record.content_type) + contexts + chunks + inline
