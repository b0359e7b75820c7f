"""Collecting: tombstones go once every owner has them and every owner knows that.

Two rounds of summaries decide it. After the first, all of a shard up to some cut is *stable*: each owner has
said that it has that much, and this node has all that each of them had when it said so, so no write is still
on its way that knew less. From then on a write without knowledge of such a tombstone comes from somebody who
has dropped it, and it counts as replaced. After the second, the cut is *settled*: each owner has said that it
is stable there too, so nobody holds up a write against what is dropped here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.cuts import Cut, CutTold, contiguous_cut, is_within, lowest
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.data.replica import Replica, is_deleted
from bellande_mesh_sync.core.messages import ShardSummary
from bellande_mesh_sync.core.placement.shards import shard_parts
from bellande_mesh_sync.core.reader import RecordReader
from bellande_mesh_sync.ids import NodeId, Now, Shard

KEYS_PER_LOOK = 256
"""Deleted keys that are looked at in one tick; a look reads their records from the store."""


@dataclass(slots=True)
class _Heard:
    """What an owner has said of one shard."""

    told: Delta | None = None
    """The knowledge it told last."""
    waiting: Delta | None = None
    """The same, while some of it is not known here yet."""
    has: Cut = field(default_factory=dict)
    """What it had when it told the last knowledge that is all known here."""
    stable: Cut = field(default_factory=dict)


class Collector:
    """Works out the cuts from what owners say, and drops what is within them, a bounded part at a time."""

    def __init__(self, node: NodeId, replica: Replica, reader: RecordReader, counters: Counters) -> None:
        self._node = node
        self._replica = replica
        self._reader = reader
        self._counters = counters
        self._heard: dict[NodeId, dict[Shard, _Heard]] = {}
        self._settled: dict[Shard, Cut] = {}
        self._owners: list[NodeId] = []
        self._judged: dict[Shard, Delta] = {}
        """What was known here of a shard at the last look, unless an owner has said more since."""
        self._was_held = False
        """Keys were passed over since the first one."""
        self._after: str | None = None
        """The last key that was looked at; None: there is nothing to look for."""

    # -- what owners say

    def note(self, owner: NodeId, summary: ShardSummary) -> None:
        """Cost: O(authors and ranges of the summary)."""
        if summary.is_part:
            return  # Of a knowledge with thousands of gaps nothing is concluded.
        heard = self._heard.setdefault(owner, {}).setdefault(summary.shard, _Heard())
        committed = self._replica.shard(summary.shard).committed
        _look_again(heard, committed)
        stable = dict(summary.stable)
        if summary.knowledge != heard.told or stable != heard.stable:
            self._judged.pop(summary.shard, None)
        if summary.knowledge != heard.told:
            heard.told = heard.waiting = summary.knowledge
            _look_again(heard, committed)
        heard.stable = stable

    def forget(self, node: NodeId) -> None:
        self._heard.pop(node, None)

    def was_left_out(self, shard: Shard, collected: CutTold) -> bool:
        """Whether a peer has dropped tombstones without having heard that they are stable here as well.

        It did not count this node then. So something here may be deleted, or may look as if it were in
        conflict with a delete that the others have forgotten.
        """
        mine = self._replica.shard(shard)
        return any(
            number > mine.collected.get(author, 0) and number > mine.stable.get(author, 0)
            for author, number in collected
        )

    # -- the cuts

    def work_out(self, owners: Iterable[NodeId]) -> None:
        """Work out the cuts of all shards. Cost: O(owners x authors) for each in which something changed.

        Args:
            owners: the nodes that must have a tombstone before it goes, this one among them.
        """
        others = sorted(set(owners) - {self._node})
        if others != self._owners:
            self._owners = others
            self._judged.clear()
        for shard, state in self._replica.shards():
            if shard_parts(shard)[1]:
                continue  # Not everybody holds it, and who does changes: its tombstones stay.
            known = state.committed.delta()
            if self._judged.get(shard) is known:
                continue
            self._judged[shard] = known
            heard = [self._heard.get(owner, {}).get(shard) or _Heard() for owner in others]
            for each in heard:
                _look_again(each, state.committed)
            state.stable = lowest([contiguous_cut(known), *(each.has for each in heard)])
            settled = lowest([state.stable, *(each.stable for each in heard)])
            if settled != self._settled.get(shard):
                self._settled[shard] = settled
                self.look_again()

    # -- collecting

    def look_again(self) -> None:
        """What was passed over, or was to go and did not, is looked at once more."""
        self._after = ""
        self._was_held = False

    def tick(self, held: Iterable[Shard], now: Now) -> None:
        """Look at the next deleted keys, as long as the cuts have moved since all were looked at.

        Args:
            held: shards in which nothing is concluded now.
        """
        if self._after is None:
            return
        keys = self._reader.deleted_keys(self._after, KEYS_PER_LOOK)
        self._after = keys[-1] if len(keys) == KEYS_PER_LOOK else None
        held = set(held)
        for key, siblings in self._replica.siblings(keys).items():
            shard = self._replica.shard_of(key)
            if shard in held:
                self._was_held = True
                continue
            if not is_deleted(siblings) or self._replica.is_damaged(key):
                continue
            for tombstone in siblings:
                if is_within(tombstone, self._settled.get(shard, {})):
                    self._replica.collect(shard, tombstone, now)
                    self._counters["tombstones_collected"] += 1
        if self._after is None and self._was_held:
            self.look_again()


def _look_again(heard: _Heard, committed: Knowledge) -> None:
    """Whether all that an owner knew when it spoke is known here by now."""
    if heard.waiting is not None and not committed.missing_from(heard.waiting):
        heard.has = contiguous_cut(heard.waiting)
        heard.waiting = None
