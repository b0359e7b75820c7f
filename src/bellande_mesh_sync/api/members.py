"""Changing who is in the mesh, as this node sees it, and what this node says of itself."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.values import NodeView


class AddressWish(Struct, forbid_unknown_fields=True, kw_only=True):
    address: Annotated[str, Meta(max_length=300)]
    """HOST:PORT."""
    timeout: Annotated[float, Meta(gt=0, le=60)] = 10.0


class Removed(Struct, frozen=True):
    removed: tuple[str, ...]
    """Node ids."""


class SelfChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays as it is."""

    labels: dict[str, str] | None = None
    """All of them: those not named are gone."""
    capacity: int | None = None
    zone: str | None = None


class CleanupWish(Struct, forbid_unknown_fields=True, kw_only=True):
    older_than_s: Annotated[float, Meta(gt=0, le=366 * 86_400)] | None = None
    """Null: the setting `node_timeout`."""


class RestoreWish(Struct, forbid_unknown_fields=True, kw_only=True):
    timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0


class Restored(Struct, frozen=True):
    nodes: tuple[NodeView, ...]
    """Those with a link now, and none before."""


class ConnectionsMax(Struct, forbid_unknown_fields=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=100_000)]


class SleepWish(Struct, forbid_unknown_fields=True, kw_only=True):
    for_s: Annotated[float, Meta(gt=0, le=30 * 86_400)]


class Done(Struct, frozen=True):
    done: bool


async def register_node(call: Call) -> NodeView:
    """Tell this node where a member is reached; answers once it is linked and proven."""
    wish = await call.json(AddressWish)
    return await call.mesh.register_node(wish.address, timeout=wish.timeout)


async def remove_node(call: Call) -> Removed:
    """Say that a member that is down (dead, asleep or left) will not come back: all nodes are told, and it
    counts as left. By its id, a start of it, or its name.

    It expels nobody: if the machine comes back, it is a member again.
    """
    node = (await call.mesh.find_node(call.path_rest())).node
    await call.mesh.remove_node(node)
    return Removed((node,))


async def update_own_node(call: Call) -> NodeView:
    """Change what this node says of itself, until it stops: its next run starts with its settings again."""
    change = await call.json(SelfChange)
    return await call.mesh.update_node(labels=change.labels, capacity=change.capacity, zone=change.zone)


async def cleanup_nodes(call: Call) -> Removed:
    """Remove every member that has been dead for longer than a time."""
    wish = await call.json(CleanupWish)
    return Removed(tuple(await call.mesh.cleanup_dead_nodes(wish.older_than_s)))


async def restore_nodes(call: Call) -> Restored:
    """Try all known members without a link again now, without waiting for the pause of each."""
    wish = await call.json(RestoreWish)
    return Restored(tuple(await call.mesh.restore_nodes(timeout=wish.timeout)))


async def announce_node(call: Call) -> Done:
    """Say who this node is to all members again."""
    await call.mesh.broadcast_new_node()
    return Done(True)


async def put_max_connections(call: Call) -> ConnectionsMax:
    """At most this many links from now on, until the node stops."""
    wish = await call.json(ConnectionsMax)
    await call.mesh.set_max_connections(wish.count)
    return wish


async def sleep(call: Call) -> Done:
    """Fall silent as planned: the others are told, and raise no alarm. This API goes on answering."""
    await call.mesh.sleep((await call.json(SleepWish)).for_s)
    return Done(True)


async def wake(call: Call) -> Done:
    """End a planned sleep; whether there was one."""
    return Done(await call.mesh.wake())


OPERATIONS: Final = (
    Operation(
        "POST", "/v1/nodes", register_node, "Register a member", "admin", body=AddressWish, answer=NodeView
    ),
    Operation(
        "PATCH", "/v1/nodes/self", update_own_node, "Change this node", "admin", body=SelfChange,
        answer=NodeView,
    ),
    Operation(
        "POST", "/v1/nodes/cleanup", cleanup_nodes, "Remove dead members", "admin", body=CleanupWish,
        answer=Removed,
    ),
    Operation(
        "POST", "/v1/nodes/restore", restore_nodes, "Try members again", "admin", body=RestoreWish,
        answer=Restored,
    ),
    Operation("POST", "/v1/nodes/announce", announce_node, "Announce this node", "admin", answer=Done),
    Operation("DELETE", "/v1/nodes/{id}", remove_node, "Remove a member", "admin", answer=Removed),
    Operation(
        "PUT", "/v1/max-connections", put_max_connections, "Limit the links", "admin", body=ConnectionsMax,
        answer=ConnectionsMax,
    ),
    Operation("POST", "/v1/sleep", sleep, "Sleep as planned", "admin", body=SleepWish, answer=Done),
    Operation("POST", "/v1/wake", wake, "Wake", "admin", answer=Done),
)  # fmt: skip
