"""Wholeness: whether an owner has had all there was of a shard, so that what it lacks is nowhere.

A node that has just become an owner lacks what it has yet to be given, and must not say of a key that it does
not exist. It is whole when it has all that another whole owner has; or, where there is none (a new space, a
mesh that starts), when for a while all other owners were linked with it and nobody had anything for it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.ids import NodeId, Now, Shard

QUIET_INTERVALS: Final = 2
"""Comparisons after which whoever holds something for us has said so."""


class Wholeness:
    def __init__(
        self, local: NodeId, placement: Placement, links: Links, interval_ns: int, held: Collection[Shard]
    ) -> None:
        """`held`: the shards that were held when this node stopped last."""
        self._local = local
        self._placement = placement
        self._links = links
        self._quiet_ns = QUIET_INTERVALS * interval_ns
        self._whole = {shard for shard in held if placement.is_placed(shard)}
        self._lacking: set[Shard] = set()
        """Of which another holder has something that is not here yet."""
        self._moved_ns: int | None = None
        self.is_minority = False
        """Half of the members we know or more are away: what is not here may be with them."""

    def members_changed(self, now: Now) -> None:
        self._moved_ns = now.mono_ns
        self._whole = {shard for shard in self._whole if self._placement.is_mine(shard)}
        self._lacking = {shard for shard in self._lacking if self._placement.is_mine(shard)}

    def has_all_of(self, shard: Shard, *, is_whole: bool) -> None:
        """This node has all that another one has, which is whole or not."""
        if is_whole:
            self._whole.add(shard)
        self._lacking.discard(shard)

    def lacks(self, shard: Shard) -> None:
        """Another node holds something for us."""
        self._lacking.add(shard)

    def is_whole(self, shard: Shard, now: Now) -> bool:
        """Cost: O(replicas)."""
        if not self._placement.is_placed(shard):
            return True
        if shard in self._lacking or not self._placement.is_mine(shard):
            return False
        return shard in self._whole or self._is_quiet(shard, now)

    def _is_quiet(self, shard: Shard, now: Now) -> bool:
        if self.is_minority or self._moved_ns is None or now.mono_ns - self._moved_ns < self._quiet_ns:
            return False
        others = [owner for owner in self._placement.owners(shard) if owner != self._local]
        links = [self._links.to(owner) for owner in others]
        return all(link is not None and now.mono_ns - link.opened_ns >= self._quiet_ns for link in links)
