"""What a core may read of its store: small, synchronous, and only what is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.ids import Author, Dot, Shard


class StoredShard(Struct, frozen=True, gc=False):
    shard: Shard
    knowledge: Delta
    fingerprint: int
    collected: tuple[tuple[Author, int], ...] = ()
    """The last `Batch.collected` of each author."""


class DamagedRecord(Struct, frozen=True, gc=False):
    """A record whose bytes on the disk are not what was written: it is never given out."""

    shard: Shard
    dot: Dot
    """Where its row stands. The row of another dot stands there, if it was the number that changed."""
    key: str


class StoredState(Struct, frozen=True, gc=False):
    """What a core starts from."""

    epoch: bytes
    """The author epoch; a new store draws one when it is made."""
    shards: tuple[StoredShard, ...]
    members: tuple[MemberRecord, ...]
    clock: int = 0
    """The last `Batch.clock` that was applied; 0 if there was none."""
    damaged: tuple[DamagedRecord, ...] = ()
    """Records that were set aside, and have neither come back nor been replaced since."""
    statements: tuple[Judged, ...] = ()


class RecordReader(Protocol):
    def siblings(self, keys: Sequence[str]) -> list[tuple[Record, ...]]:
        """For each key its committed live records (values and tombstones), in no particular order.

        A key that was never written costs one look-up in memory; another one a point read.
        Records found damaged are left out, and `is_damaged` knows their keys from then on.
        """
        ...

    def deleted_keys(self, after: str, limit: int) -> Sequence[str]:
        """Up to `limit` keys above `after` that have nothing but tombstones, in order. Cost: O(limit)."""
        ...

    def is_damaged(self, key: str) -> bool:
        """Whether a record of the key was found damaged and is still in its place. Cost: a look-up."""
        ...

    def scan_keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Up to `limit` keys that start with `prefix`, above `after`, in order; those with nothing but
        tombstones too."""
        ...
