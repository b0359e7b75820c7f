"""What the policies of spaces say about placement, in the core's terms, and whether a store fits them."""

from __future__ import annotations

from collections.abc import Mapping

from bellande_mesh_sync.config_model import SpacePolicy
from bellande_mesh_sync.core.placement.placement import PlacedSpace
from bellande_mesh_sync.core.placement.shards import shard_parts
from bellande_mesh_sync.core.reader import StoredState
from bellande_mesh_sync.errors import ConfigError


def placed_spaces(spaces: Mapping[str, SpacePolicy]) -> tuple[PlacedSpace, ...]:
    return tuple(
        PlacedSpace(name, policy.replicas, policy.shards)
        for name, policy in sorted(spaces.items())
        if policy.replicas != "all"
    )


def check_placement(spaces: Mapping[str, SpacePolicy], state: StoredState) -> None:
    """ConfigError if the store holds a space that was cut otherwise than these policies say."""
    placed = {each.space: each.shards for each in placed_spaces(spaces)}
    for stored in state.shards:
        space, count, _ = shard_parts(stored.shard)
        wanted = placed.get(space, 0)
        if stored.knowledge and count != wanted:
            raise ConfigError(field=f"spaces.{space}.replicas", reason=_reason(count, wanted))


def _reason(count: int, wanted: int) -> str:
    was = f"a number of replicas and shards = {count}" if count else 'replicas = "all"'
    now = f"a number and shards = {wanted}" if wanted else '"all"'
    return (
        f"this node holds the space from when it had {was}; with {now} its records would not be found. "
        "Export it, delete it, and import it with the new setting"
    )
