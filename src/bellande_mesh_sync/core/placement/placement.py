"""Placement: how spaces with a number of replicas are cut into shards, and who owns each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from bellande_mesh_sync.core.placement.rendezvous import Candidate, choose_owners
from bellande_mesh_sync.core.placement.shards import placed_shard, shard_index, shard_parts
from bellande_mesh_sync.ids import NodeId, Shard
from bellande_mesh_sync.keys import shard_of, space_of

NAMES_KEPT: Final = 16_384
"""Names of shards that need not be taken apart again."""


@dataclass(frozen=True, slots=True)
class PlacedSpace:
    """A space of which each key is on `replicas` members."""

    space: str
    replicas: int
    shards: int
    """How many parts it is cut into. The same on all nodes, and for ever."""


class Placement:
    """Owners by shard, as this node sees the members. Worked out when asked for, kept until these change."""

    def __init__(self, spaces: Sequence[PlacedSpace], local: NodeId) -> None:
        self.spaces = {each.space: each for each in spaces}
        self._local = local
        self._view: tuple[Candidate, ...] = (Candidate(local),)
        self._owners: dict[Shard, tuple[NodeId, ...]] = {}
        self._parts = lru_cache(NAMES_KEPT)(shard_parts)

    @property
    def is_used(self) -> bool:
        return bool(self.spaces)

    @property
    def members(self) -> tuple[Candidate, ...]:
        return self._view

    def see(self, members: Sequence[Candidate]) -> bool:
        """These members count from now on; whether that is news."""
        view = tuple(sorted(members))
        if view == self._view:
            return False
        self._view = view
        self._owners.clear()
        return True

    # -- shards

    def shard_of(self, key: str) -> Shard:
        if self.spaces and (placed := self.spaces.get(space_of(key))) is not None:
            return placed_shard(placed.space, placed.shards, shard_index(key, placed.shards))
        return shard_of(key)

    def shards_of(self, space: str) -> tuple[Shard, ...]:
        """Every shard of a space that is placed."""
        placed = self.spaces[space]
        return tuple(placed_shard(space, placed.shards, index) for index in range(placed.shards))

    def fits(self, shard: Shard) -> bool:
        """Whether a shard of this name exists by this node's settings; with others elsewhere it may not."""
        if not self.spaces and shard.endswith("/0"):
            return True
        space, count, _ = self._parts(shard)
        placed = self.spaces.get(space)
        return count == (placed.shards if placed is not None else 0)

    def is_placed(self, shard: Shard) -> bool:
        """Whether only some members hold it."""
        return bool(self.spaces) and self._parts(shard)[0] in self.spaces

    # -- owners

    def owners(self, shard: Shard) -> tuple[NodeId, ...]:
        """Of a placed shard, best first. Cost: O(members) the first time, then a look-up."""
        found = self._owners.get(shard)
        if found is None:
            placed = self.spaces[self._parts(shard)[0]]
            found = self._owners[shard] = choose_owners(shard, self._view, placed.replicas)
        return found

    def is_mine(self, shard: Shard) -> bool:
        """Whether this node is to hold the shard; all do, if it is not placed."""
        return not self.is_placed(shard) or self._local in self.owners(shard)

    def is_for(self, shard: Shard, peer: NodeId) -> bool:
        """Whether a peer is to hold the shard."""
        return not self.is_placed(shard) or peer in self.owners(shard)
