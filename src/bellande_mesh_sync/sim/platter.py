"""What a simulated disk holds: the part of a store that survives a crash, and nothing clever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from bellande_mesh_sync.core.data.examination import Examination, examination_of
from bellande_mesh_sync.core.data.history import OldVersion, remaining
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge, Ranges
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.reader import DamagedRecord, StoredShard, StoredState
from bellande_mesh_sync.core.statements.statement import Judged, StatementId, id_of
from bellande_mesh_sync.ids import Author, Dot, NodeId, Shard

FINGERPRINT_MODULUS = 1 << 256
_decode_index = msgspec.msgpack.Decoder(list[ChunkRef]).decode


class Platter:
    """Durable state: live records, knowledge, fingerprints, members, chunks.

    What rots is beside it, so that those who judge a disk can see what it should hold.
    """

    def __init__(self, epoch: bytes) -> None:
        self.epoch = epoch
        self.epoch_file = epoch
        """The epoch beside the database, which no backup of the database alone brings back."""
        self.place = 0
        """Which writing of the epoch file the database belongs to."""
        self.file_place = 0
        """Which writing of the epoch file is there: a copy of the file is another one."""
        self.log_end = b""
        """The last transaction, as a crash amid its sync left it; judged when the store is opened."""
        self.clock = 0
        self.members: dict[NodeId, MemberRecord] = {}
        self.live: dict[Shard, dict[Author, dict[int, Record]]] = {}
        self.by_key: dict[str, dict[Dot, Record]] = {}
        self.history: dict[str, list[OldVersion]] = {}
        """Replaced versions by key, in the order in which they were replaced."""
        self.intervals: dict[Shard, dict[Author, dict[int, int]]] = {}
        self.fingerprints: dict[Shard, int] = {}
        self.collected: dict[Shard, dict[Author, int]] = {}
        self.chunks: dict[bytes, bytes] = {}
        self.statements: dict[StatementId, Judged] = {}
        self.rotten: dict[tuple[str, Dot], None] = {}
        """Records whose bytes are no longer what was written, by key and dot."""
        self.ever_rotten: dict[tuple[str, Dot], None] = {}
        """All that ever was among `rotten`."""
        self.damaged: dict[tuple[Shard, Dot], DamagedRecord] = {}
        """Records that were set aside and have not come back."""
        self.rotten_chunks: dict[bytes, bytes] = {}
        """What a read of these chunks gives."""

    def copy(self) -> Platter:
        """A backup, of this very moment."""
        copy = Platter(self.epoch)
        copy.epoch_file, copy.place, copy.file_place = self.epoch_file, self.place, self.file_place
        copy.log_end, copy.clock, copy.members = self.log_end, self.clock, dict(self.members)
        copy.statements = dict(self.statements)
        copy.live = {
            shard: {author: dict(records) for author, records in authors.items()}
            for shard, authors in self.live.items()
        }
        copy.by_key = {key: dict(siblings) for key, siblings in self.by_key.items()}
        copy.history = dict(self.history)  # Its lists are replaced, never changed.
        copy.intervals = {
            shard: {author: dict(held) for author, held in authors.items()}
            for shard, authors in self.intervals.items()
        }
        copy.collected = {shard: dict(cut) for shard, cut in self.collected.items()}
        copy.fingerprints, copy.chunks = dict(self.fingerprints), dict(self.chunks)
        copy.damaged, copy.ever_rotten = dict(self.damaged), dict(self.ever_rotten)
        copy.rotten, copy.rotten_chunks = dict(self.rotten), dict(self.rotten_chunks)
        return copy

    def add_chunks(self, chunks: dict[bytes, bytes]) -> None:
        self.chunks.update(chunks)
        for hash in chunks.keys() & self.rotten_chunks.keys():
            del self.rotten_chunks[hash]

    def apply(self, batch: Batch) -> None:
        for damaged in batch.set_aside:
            self._take_out(damaged.shard, damaged.key, damaged.dot)
            self.damaged[damaged.shard, damaged.dot] = damaged
        for shard, author, ranges in batch.relearned:
            self.intervals.setdefault(shard, {})[author] = dict(ranges)
        for shard, record in batch.puts:
            self.live.setdefault(shard, {}).setdefault(record.author, {})[record.sequence] = record
            self.by_key.setdefault(record.key, {})[record.dot] = record
        for shard, key, dot in batch.drops:
            self._take_out(shard, key, Dot(*dot))
        self._keep(batch)
        for change in batch.intervals:
            self._change(change)
        for shard, amount in batch.fingerprints:
            self.fingerprints[shard] = (self.fingerprints.get(shard, 0) + amount) % FINGERPRINT_MODULUS
        for shard, author, number in batch.collected:
            self.collected.setdefault(shard, {})[author] = number
        for node in batch.forgotten:
            self.members.pop(node, None)
        for member in batch.members:
            self.members[member.node] = member
        self.statements.update((id_of(each.statement), each) for each in batch.statements)
        self.clock = batch.clock or self.clock
        if batch.epoch:
            self.epoch = self.epoch_file = batch.epoch
        for shard, dot in batch.healed:
            self.damaged.pop((shard, Dot(*dot)), None)

    def _take_out(self, shard: Shard, key: str, dot: Dot) -> None:
        self.live[shard][dot.author].pop(dot.sequence, None)
        siblings = self.by_key.get(key, {})
        siblings.pop(dot, None)
        self.rotten.pop((key, dot), None)
        if not siblings:
            self.by_key.pop(key, None)

    def _keep(self, batch: Batch) -> None:
        for old in batch.history:
            kept = [
                each for each in self.history.get(old.record.key, ()) if each.record.dot != old.record.dot
            ]
            self.history[old.record.key] = remaining([*kept, old], old.versions)
        if batch.expired_ms:
            for key, kept in list(self.history.items()):
                self.history[key] = [old for old in kept if not 0 < old.expires_ms <= batch.expired_ms]

    def knowledge(self, shard: Shard) -> Delta:
        authors = self.intervals.get(shard, {})
        return tuple(
            (author, tuple(sorted(authors[author].items()))) for author in sorted(authors) if authors[author]
        )

    def state(self) -> StoredState:
        shards = sorted(self.intervals.keys() | self.live.keys())
        return StoredState(
            self.epoch,
            tuple(
                StoredShard(
                    shard,
                    self.knowledge(shard),
                    self.fingerprints.get(shard, 0),
                    tuple(sorted(self.collected.get(shard, {}).items())),
                )
                for shard in shards
            ),
            tuple(self.members[node] for node in sorted(self.members)),
            self.clock,
            tuple(self.damaged.values()),
            tuple(self.statements[each] for each in sorted(self.statements)),
        )

    def live_among(self, shard: Shard, dots: Delta) -> Iterator[Record]:
        """The live records among `dots`, per author in order of sequence."""
        authors = self.live.get(shard, {})
        for author, ranges in dots:
            yield from _within(authors.get(author, {}), ranges)

    def examine(self, shard: Shard) -> Examination:
        """As `Examiner.run`, in no time."""
        live = Knowledge()
        damaged: list[DamagedRecord] = []
        fingerprint = 0
        for author in sorted(self.live.get(shard, {})):
            for sequence, record in sorted(self.live[shard][author].items()):
                if (record.key, record.dot) in self.rotten:
                    damaged.append(DamagedRecord(shard, record.dot, record.key))
                else:
                    live.add(author, sequence, sequence)
                    fingerprint += fingerprint_of(record)
        return examination_of(
            shard,
            self.knowledge(shard),
            live,
            fingerprint_stored=self.fingerprints.get(shard, 0),
            fingerprint=fingerprint % FINGERPRINT_MODULUS,
            damaged=damaged,
        )

    def live_records(self) -> Iterator[tuple[Shard, Record]]:
        for shard in sorted(self.live):
            for author in sorted(self.live[shard]):
                records = self.live[shard][author]
                for sequence in sorted(records):
                    yield shard, records[sequence]

    def _change(self, change: IntervalChange) -> None:
        held = self.intervals.setdefault(change.shard, {}).setdefault(change.author, {})
        for low in change.absorbed:
            held.pop(low, None)
        held[change.low] = change.high


def _within(records: dict[int, Record], ranges: Ranges) -> Iterator[Record]:
    for low, high in ranges:
        if high - low < len(records):
            wanted: Iterable[int] = range(low, high + 1)
        else:
            wanted = sorted(sequence for sequence in records if low <= sequence <= high)
        for sequence in wanted:
            if sequence in records:
                yield records[sequence]


def value_chunks(manifest: Manifest, chunks: dict[bytes, bytes]) -> tuple[list[ChunkRef], list[ChunkRef]]:
    """(index chunks, the value's own chunks that can be listed) of a manifest."""
    if manifest.depth == 1:
        return [], list(manifest.chunks)
    listed = [
        ref for index in manifest.chunks if index.hash in chunks for ref in _decode_index(chunks[index.hash])
    ]
    return list(manifest.chunks), listed


def missing_chunks(manifest: Manifest, chunks: dict[bytes, bytes]) -> tuple[tuple[ChunkRef, ...], bool]:
    """As `Store.missing_chunks`: what of the value is not among `chunks`, and whether it is index chunks."""
    index, listed = value_chunks(manifest, chunks)
    absent_index = tuple(_first_of_each(ref for ref in index if ref.hash not in chunks))
    if absent_index:
        return absent_index, True
    return tuple(_first_of_each(ref for ref in listed if ref.hash not in chunks)), False


def _first_of_each(refs: Iterable[ChunkRef]) -> Iterator[ChunkRef]:
    return iter({ref.hash: ref for ref in refs}.values())
