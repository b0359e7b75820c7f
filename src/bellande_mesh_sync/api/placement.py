"""Who is to hold what: `GET /v1/placement`, and `POST /v1/sync`."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.values import KeyPlacement, SpacePlacement


class Placements(Struct, frozen=True):
    spaces: tuple[SpacePlacement, ...]
    """Those with a number of replicas. All others are on every member."""


class Replicated(Struct, frozen=True):
    key: str
    nodes: tuple[str, ...]
    """The nodes that are to hold the key; all of them have it on their disks."""


class Synced(Struct, frozen=True):
    peers: int
    """With how many nodes knowledge is being compared."""


class ReplicateQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 10.0


async def placements(call: Call) -> Placements:
    """How many shards of each space with a number of replicas every member is to hold."""
    return Placements(tuple(await call.mesh.placement()))


async def placement_of(call: Call) -> KeyPlacement:
    """Which nodes are to hold a key, whether it exists or not."""
    return await call.mesh.placement_of(check_key(call.path_rest()))


async def replicate(call: Call) -> Replicated:
    """Wait until every node that is to hold the key has it on its disk; 202 with `ack_timeout` if in vain."""
    key = check_key(call.path_rest())
    nodes = await call.mesh.replicate_data(key, timeout=call.query(ReplicateQuery).timeout)
    return Replicated(key, tuple(nodes))


async def sync(call: Call) -> Synced:
    """Compare what this node holds with every linked node, now."""
    return Synced(await call.mesh.sync_with_peers())


OPERATIONS: Final = (
    Operation("GET", "/v1/placement", placements, "Who holds how much", "reader", answer=Placements),
    Operation(
        "GET", "/v1/placement/{key:rest}", placement_of, "Who holds a key", "reader", answer=KeyPlacement
    ),
    Operation(
        "POST",
        "/v1/placement/{key:rest}",
        replicate,
        "Wait for all replicas of a key",
        "writer",
        query=ReplicateQuery,
        answer=Replicated,
    ),
    Operation("POST", "/v1/sync", sync, "Compare with all peers", "writer", answer=Synced),
)
