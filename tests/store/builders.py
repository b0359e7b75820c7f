"""Records and batches for the store's tests."""

from __future__ import annotations

from blake3 import blake3

from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import TOMBSTONE, VALUE, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.ids import Author, NodeId, Shard, Stamp

SHARD = Shard("fleet/0")
ALICE = Author(b"a" * 40)
BOB = Author(b"b" * 40)


def record(key: str, sequence: int, author: Author = ALICE, body: bytes = b"value") -> Record:
    return Record(
        key=key,
        author=author,
        sequence=sequence,
        stamp=Stamp(sequence << 16),
        kind=VALUE,
        size=len(body),
        digest=blake3(body).digest(),
        content_type="text/plain",
        context=((author, sequence - 1, ()),),
        inline=body,
    )


def tombstone(key: str, sequence: int, author: Author = ALICE) -> Record:
    return Record(key, author, sequence, Stamp(sequence << 16), TOMBSTONE, 0, b"")


def batch_of(*puts: Record, drops: tuple[Record, ...] = (), shard: Shard = SHARD) -> Batch:
    """Puts and drops with the intervals and the fingerprint that a core would commit with them."""
    return Batch(
        puts=tuple((shard, put) for put in puts),
        drops=tuple((shard, drop.key, drop.dot) for drop in drops),
        intervals=tuple(IntervalChange(shard, put.author, put.sequence, put.sequence, ()) for put in puts),
        fingerprints=((shard, sum(map(fingerprint_of, puts)) - sum(map(fingerprint_of, drops))),),
    )


class Writing:
    """Makes batches as a core does: one interval a run of numbers, whatever was absorbed named."""

    def __init__(self, shard: Shard = SHARD) -> None:
        self.shard = shard
        self.knowledge = Knowledge()

    def batch(self, puts: list[Record], drops: list[Record] | None = None) -> Batch:
        intervals = []
        for put in puts:
            (low, high), absorbed = self.knowledge.add(put.author, put.sequence, put.sequence)
            intervals.append(IntervalChange(self.shard, put.author, low, high, tuple(absorbed)))
        plain = batch_of(*puts, drops=tuple(drops or ()), shard=self.shard)
        return Batch(plain.puts, plain.drops, tuple(intervals), plain.fingerprints)


def member(name: str) -> MemberRecord:
    return MemberRecord(
        NodeId(name.encode().ljust(32, b".")), b"k" * 32, name, ("127.0.0.1:1",), "writer", 1, False, "0"
    )


def chunk(body: bytes) -> tuple[bytes, bytes]:
    return blake3(body).digest(), body
