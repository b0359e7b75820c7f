"""Acks of writes to spaces that not everybody holds: only the disks of a key's owners count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.events import Receipt
from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.spreading.acks import Log, Waiting, need_of
from bellande_mesh_sync.ids import NodeId, Shard


@dataclass(slots=True, eq=False, kw_only=True)
class PlacedWaiting(Waiting):
    """As `Waiting`, with owners of its own for each shard that is written to."""

    local: NodeId
    shard_owners: dict[Shard, frozenset[NodeId]] = field(default_factory=dict)
    holders: dict[Log, set[NodeId]] = field(default_factory=dict)
    """Who has all of a range."""
    short: set[Log] = field(default_factory=set)
    """Ranges that are on too few disks."""
    shards: list[Shard] = field(default_factory=list)
    """The shard of each of `records`."""

    def reached(self, node: NodeId, log: Log) -> None:
        Waiting.reached(self, node, log)
        self.holders[log].add(node)
        self._look_at(log)

    def lose_owner(self, node: NodeId) -> None:
        Waiting.lose_owner(self, node)
        for shard, owners in self.shard_owners.items():
            self.shard_owners[shard] = owners - {node}
        for log in list(self.short):
            self._look_at(log)

    def _look_at(self, log: Log) -> None:
        if self._have(log) >= self._need(log):
            self.short.discard(log)

    def _have(self, log: Log) -> int:
        """Owners' disks; for `one` this node's own counts whether it is an owner or not."""
        owners = len(self.holders[log] & self.shard_owners[log[0]])
        if self.ack == "local":
            return int(self.local in self.holders[log])
        is_extra = self.local in self.holders[log] and self.local not in self.shard_owners[log[0]]
        return owners + is_extra if self.ack == "one" else owners

    def _need(self, log: Log) -> int:
        return need_of(self.ack, len(self.shard_owners[log[0]]))

    @property
    def is_enough(self) -> bool:
        return not self.short

    @property
    def count(self) -> int:
        return min(self._have(log) for log in self.ranges)

    def full(self) -> list[NodeId]:
        """Of the range on the fewest disks."""
        return min((self._named(log) for log in self.ranges), key=len)

    def receipts(self) -> tuple[Receipt, ...]:
        made: list[Receipt] = []
        for record, shard in zip(self.records, self.shards, strict=True):
            nodes = tuple(self._named((shard, record.author)))
            made.append(Receipt(record.key, record.version, nodes, self.ack))
        return tuple(made)

    def _named(self, log: Log) -> list[NodeId]:
        """The owners that have it: what they have is not let go. This node itself while there is none."""
        owners = self.holders[log] & self.shard_owners[log[0]]
        return sorted(owners or self.holders[log] & {self.local})


def placed_waiting(
    waiting: Waiting, shards: Sequence[Shard], placement: Placement, local: NodeId
) -> PlacedWaiting:
    """The same request, counted by shard. Shards that everybody holds keep the owners of `waiting`."""
    owners = {
        shard: frozenset(placement.owners(shard)) if placement.is_placed(shard) else waiting.owners
        for shard in dict.fromkeys(shards)
    }
    need = max(need_of(waiting.ack, len(each)) for each in owners.values())
    holders: Mapping[Log, set[NodeId]] = {log: set() for log in waiting.ranges}
    return PlacedWaiting(
        waiting.request, waiting.ack, waiting.timeout_ns, waiting.records, waiting.ranges, waiting.owners,
        need, local=local, shard_owners=owners, holders=dict(holders), short=set(waiting.ranges),
        shards=list(shards),
    )  # fmt: skip


def shards_of_records(records: Sequence[Record], placement: Placement) -> list[Shard]:
    return [placement.shard_of(record.key) for record in records]
