"""Custody: what this node is to hold of the spaces that only some members hold, and what else it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.replica import Replica, ShardState
from bellande_mesh_sync.core.effects import Effect, Log, Send
from bellande_mesh_sync.core.events import PageRead
from bellande_mesh_sync.core.messages import HoldAnswer, HoldWant, ShardSummary
from bellande_mesh_sync.core.placement.lookups import Lookups
from bellande_mesh_sync.core.placement.pace import Pace
from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.placement.release import Release
from bellande_mesh_sync.core.placement.rendezvous import Candidate
from bellande_mesh_sync.core.placement.wholeness import Wholeness
from bellande_mesh_sync.core.reader import RecordReader, StoredState
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.ids import NodeId, Now, Shard
from bellande_mesh_sync.keys import space_of

MISFIT_EVERY_NS: Final = 60_000_000_000

Told = Callable[[Link, Shard, Delta, Now], list[Effect]]


class Custody:
    def __init__(
        self, config: CoreConfig, local: NodeId, placement: Placement, links: Links, replica: Replica,
        reader: RecordReader, state: StoredState, counters: Counters, told: Told,
        is_doubted: Callable[[Shard], bool],
    ) -> None:  # fmt: skip
        """
        Args:
            told: what is done when a peer says that it has these dots.
            is_doubted: whether what is known of a shard is in doubt at the moment.
        """
        self.placement = placement
        shards = [each.shard for each in state.shards if each.fingerprint]
        self.wholeness = Wholeness(local, placement, links, config.sync_interval_ns, shards)
        self.release = Release(local, placement, links, replica, counters)
        self.lookups = Lookups(
            config, local, placement, self.wholeness, links, replica, reader, counters
        )  # fmt: skip
        self.pace = Pace(config.rebalance_bytes_per_s)
        self._replica = replica
        self._counters = counters
        self._told = told
        self._is_doubted = is_doubted
        self._misfit_ns: dict[NodeId, int] = {}
        """When it was last said that a peer cuts a space into other shards."""

    # -- members

    def see(self, members: Sequence[Candidate], gone_count: int, now: Now) -> tuple[bool, list[Effect]]:
        """These members count as owners, and so many others are away; whether owners may have changed."""
        self.wholeness.is_minority = gone_count >= len(members)
        if not self.placement.see(members):
            return False, []
        self.wholeness.members_changed(now)
        return True, self.release.members_changed()

    # -- what peers say they have

    def fits(self, link: Link, shard: Shard, now: Now) -> tuple[bool, list[Effect]]:
        """Whether a peer's settings for this shard's space are ours; what to say about it if not."""
        if self.placement.fits(shard):
            return True, []
        self._counters["shards_misfit"] += 1
        last_ns = self._misfit_ns.get(link.peer)
        if last_ns is not None and now.mono_ns - last_ns < MISFIT_EVERY_NS:
            return False, []
        self._misfit_ns[link.peer] = now.mono_ns
        facts = {"space": space_of(shard), "shard": shard, "peer": link.peer.hex()}
        return False, [Log("error", "placement_mismatch", facts)]

    def compared(self, theirs: ShardSummary, mine: ShardState) -> None:
        """A peer that is whole has told what it knows of a shard."""
        if not self.placement.is_placed(theirs.shard):
            return
        if self.placement.is_mine(theirs.shard) and not mine.committed.missing_from(theirs.knowledge):
            self.wholeness.has_all_of(theirs.shard, is_whole=True)

    def handle_hold_want(self, link: Link, want: HoldWant, now: Now) -> list[Effect]:
        """A node that is no owner wants to let go: say whether all of it is here, and ask for what is not."""
        fits, effects = self.fits(link, want.shard, now)
        if not fits or not self.placement.is_placed(want.shard):
            return effects
        lacking = self._replica.shard(want.shard).committed.missing_from(want.knowledge)
        is_mine = self.placement.is_mine(want.shard)
        if is_mine and lacking:
            self.wholeness.lacks(want.shard)
        elif is_mine:
            self.wholeness.has_all_of(want.shard, is_whole=False)
        is_sound = not self._is_doubted(want.shard) and not self._replica.damage.in_shard(want.shard)
        effects.append(Send(link.link, HoldAnswer(want.number, is_mine and not lacking and is_sound)))
        return effects + self._told(link, want.shard, want.knowledge, now)

    def handle_hold_answer(self, link: Link, answer: HoldAnswer, now: Now) -> list[Effect]:
        return self.release.handle_answer(link, answer, now)

    def handle_page(self, page: PageRead) -> list[Effect]:
        return self.release.handle_page(page)

    def tick(self, now: Now) -> list[Effect]:
        return self.release.tick(now) if self.placement.is_used else []

    def link_gone(self, link: Link, now: Now) -> list[Effect]:
        self._misfit_ns.pop(link.peer, None)
        return self.lookups.link_gone(link, now)
