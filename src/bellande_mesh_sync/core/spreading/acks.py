"""Acks: which nodes have a write on disk, and which callers wait to hear it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bellande_mesh_sync.core.data.knowledge import IntervalSet, Ranges
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Effect, Reject, Resolve
from bellande_mesh_sync.core.events import Receipt
from bellande_mesh_sync.ids import Author, NodeId, Shard, node_of

Log = tuple[Shard, Author]
"""Writes that are numbered together."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A request whose writes are numbered; it waits for disks."""

    request: int
    ack: str
    timeout_ns: int
    records: list[Record]
    ranges: dict[Log, tuple[int, int]]
    owners: frozenset[NodeId]
    need: int
    nodes: dict[NodeId, int] = field(default_factory=dict)
    """Per node, how many of `ranges` it is known to have."""
    full_count: int = 0
    owner_count: int = 0
    """Nodes, and owners among them, that have all of it."""
    is_overdue: bool = False
    """Its time is over; the caller hears so once it is on this node's own disk."""
    is_done: bool = False

    def reached(self, node: NodeId, log: Log) -> None:
        """One more of the ranges, this one, is on this node's disk."""
        count = self.nodes[node] = self.nodes.get(node, 0) + 1
        if count == len(self.ranges):
            self.full_count += 1
            self.owner_count += node in self.owners

    def lose_owner(self, node: NodeId) -> None:
        if node in self.owners:
            self.owners = self.owners - {node}
            self.owner_count -= self.nodes.get(node, 0) == len(self.ranges)
            self.need = need_of(self.ack, len(self.owners))

    def full(self) -> list[NodeId]:
        return sorted(node for node, count in self.nodes.items() if count == len(self.ranges))

    @property
    def is_enough(self) -> bool:
        return self.count >= self.need

    def receipts(self) -> tuple[Receipt, ...]:
        nodes = tuple(self.full())
        return tuple(Receipt(r.key, r.version, nodes, self.ack) for r in self.records)

    @property
    def count(self) -> int:
        """How many nodes count for the level: for `one` anybody's disk does, for the others an owner's."""
        return self.full_count if self.ack in ("local", "one") else self.owner_count


class Acks:
    """Counts disks per write. Levels: local 1, one 2, quorum a majority of the owners, all of them."""

    def __init__(self, local: NodeId) -> None:
        self._local = local
        self._held: dict[NodeId, dict[Log, IntervalSet]] = {}
        self._waiting: dict[Log, list[Waiting]] = {}
        """Sorted by the last number of the range: writes are numbered in the order of arrival."""
        self._done: dict[Log, int] = {}
        """How many of each list are answered and only not yet taken out."""
        self._requests: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def expect(self, waiting: Waiting) -> None:
        self._requests[waiting.request] = waiting
        for log in waiting.ranges:
            self._waiting.setdefault(log, []).append(waiting)

    def note(self, node: NodeId, shard: Shard, author: Author, ranges: Ranges) -> list[Effect]:
        """`node` has these dots on disk; answer whoever waited for just that."""
        log = (shard, author)
        held = self._held.setdefault(node, {}).setdefault(log, IntervalSet())
        reached: dict[int, Waiting] = {}
        for low, high in ranges:
            if held.contains_range(low, high):
                continue
            new = list(held.gaps(low, high))
            held.add(low, high)
            for gap_low, gap_high in new:
                reached.update((each.request, each) for each in self._touched(log, gap_low, gap_high))
        effects: list[Effect] = []
        for each in reached.values():
            if held.contains_range(*each.ranges[log]):
                each.reached(node, log)
                effects += self._check(each)
        return effects

    def _touched(self, log: Log, low: int, high: int) -> Iterator[Waiting]:
        """The requests with a write among these."""
        waiting = self._waiting.get(log, [])
        for index in range(bisect_left(waiting, low, key=lambda w: w.ranges[log][1]), len(waiting)):
            if waiting[index].ranges[log][0] > high:
                return
            yield waiting[index]

    def _check(self, waiting: Waiting) -> list[Effect]:
        if waiting.is_done or waiting.nodes.get(self._local, 0) < len(waiting.ranges):
            return []
        if waiting.is_enough:
            self._finish(waiting)
            return [Resolve(waiting.request, waiting.receipts())]
        return self._time_out(waiting) if waiting.is_overdue else []

    def _finish(self, waiting: Waiting) -> None:
        """Let go of a request; its lists are tidied when most of what they hold is answered."""
        waiting.is_done = True
        del self._requests[waiting.request]
        for log in waiting.ranges:
            done = self._done[log] = self._done.get(log, 0) + 1
            if done * 2 > len(self._waiting[log]):
                # A new list: a walk over the old one may be under way.
                self._tidy(log)

    def _tidy(self, log: Log) -> None:
        self._waiting[log] = [each for each in self._waiting[log] if not each.is_done]
        self._done[log] = 0

    def member_left(self, node: NodeId) -> list[Effect]:
        """A node that said goodbye is no owner any more: `all` no longer waits for it."""
        effects: list[Effect] = []
        for waiting in list(self._requests.values()):
            waiting.lose_owner(node)
            effects += self._check(waiting)
        return effects

    def overdue(self, request: int) -> list[Effect]:
        """The caller's time is over.

        It is told that the write stays, so this waits for our own disk: until then the disk may still
        refuse it, or a crash take it, and its numbers go to other writes.
        """
        waiting = self._requests.get(request)
        if waiting is None:
            return []
        waiting.is_overdue = True
        return self._check(waiting)

    def _time_out(self, waiting: Waiting) -> list[Effect]:
        facts = {
            "level": waiting.ack,
            "timeout_s": waiting.timeout_ns / 1e9,
            "have": waiting.count,
            "need": waiting.need,
            "nodes": [node.hex() for node in waiting.full()],
            "versions": [record.version for record in waiting.records[:100]],
        }
        self._finish(waiting)
        return [Reject(waiting.request, "ack_timeout", facts)]

    def lost(self, requests: Iterable[int], code: str, reason: str) -> list[Effect]:
        """The local disk refused these writes: they never happened, and their numbers are free again."""
        effects: list[Effect] = []
        for request in requests:
            waiting = self._requests.get(request)
            if waiting is not None:
                self._finish(waiting)
                effects.append(Reject(request, code, {"reason": reason}))
        for log in self._waiting:
            self._tidy(log)
        return effects

    def held_by(self, node: NodeId, shard: Shard, author: Author) -> IntervalSet | None:
        return self._held.get(node, {}).get((shard, author))

    def forget(self, node: NodeId) -> None:
        self._held.pop(node, None)


def need_of(ack: str, owner_count: int) -> int:
    """How many owners' disks a level asks for, this node's own among them."""
    match ack:
        case "local":
            return 1
        case "one":
            return 2
        case "quorum":
            return owner_count // 2 + 1
        case "all":
            return owner_count
        case _:
            raise AssertionError(f"unknown ack level {ack!r}")


def own_ranges(node: NodeId, delta: Iterable[tuple[Author, Ranges]]) -> list[tuple[Author, Ranges]]:
    """The part of a knowledge that speaks of this node's own writes."""
    return [(author, ranges) for author, ranges in delta if node_of(author) == node]
