"""The original library's names, as functions that take the mesh first. The work is in `Mesh`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.feeds import Subscription
from bellande_mesh_sync.mesh import Mesh, init, init_with_options
from bellande_mesh_sync.values import (
    CertificateCheck,
    Explanation,
    KeyRotation,
    NodeView,
    Receipt,
    Stats,
    Status,
    SweepReport,
    Topology,
    Value,
    VerifyReport,
)

__all__ = [
    "broadcast",
    "broadcast_message",
    "broadcast_new_node",
    "cleanup_data",
    "cleanup_dead_nodes",
    "find_closest_nodes",
    "find_nearest_nodes",
    "get_active_nodes",
    "get_local_id",
    "get_node_count",
    "get_node_list",
    "get_node_port",
    "get_nodes",
    "get_nodes_paginated",
    "get_stats",
    "get_status",
    "handle_join_request",
    "init",
    "init_with_options",
    "is_node_connected",
    "is_running",
    "register_node",
    "remove_node",
    "replicate_data",
    "restore_nodes",
    "retrieve_data",
    "rotate_keys",
    "send_message",
    "send_to_node",
    "set_max_connections",
    "shutdown",
    "sleep",
    "start",
    "stop",
    "store_data",
    "subscribe",
    "sync_with_peers",
    "topology",
    "update_node",
    "validate_certificate",
    "verify_data",
    "wake",
    "why",
]

# -- system control


async def start(mesh: Mesh) -> None:
    """Open the store, listen, and become part of the mesh."""
    await mesh.start()


async def stop(mesh: Mesh) -> None:
    """Say goodbye to the mesh and close everything. The node can be started again."""
    await mesh.stop()


async def shutdown(mesh: Mesh) -> None:
    """As `stop`: nothing that the node held is left open."""
    await mesh.shutdown()


async def is_running(mesh: Mesh) -> bool:
    """Whether the node is started and takes calls."""
    return mesh.is_running()


async def get_stats(mesh: Mesh) -> Stats:
    """Counters since the start, and sizes now."""
    return await mesh.stats()


async def get_status(mesh: Mesh) -> Status:
    """Who the node is and how it is."""
    return await mesh.status()


# -- network


async def get_node_port(mesh: Mesh) -> int:
    """The TCP port on which other nodes reach this one; 0 while it is not running."""
    address = (await mesh.status()).tcp
    return parse_address(address)[1] if address else 0


async def set_max_connections(mesh: Mesh, count: int) -> None:
    """At most this many links from now on, until the node stops."""
    await mesh.set_max_connections(count)


# -- nodes


async def get_nodes(mesh: Mesh) -> list[NodeView]:
    """All members as this node sees them, itself first."""
    return await mesh.nodes()


async def get_active_nodes(mesh: Mesh) -> list[NodeView]:
    """The members that are alive."""
    return await mesh.nodes("alive")


async def get_nodes_paginated(mesh: Mesh, page: int, page_size: int) -> list[NodeView]:
    """Page `page` (from 0) of the members. UsageError for a negative page or an empty page size."""
    if page < 0 or page_size < 1:
        raise UsageError(reason=f"there is no page {page} of {page_size} members")
    return (await mesh.nodes())[page * page_size : (page + 1) * page_size]


async def get_node_count(mesh: Mesh) -> int:
    """How many members there are, this node included."""
    return len(await mesh.nodes())


async def get_node_list(mesh: Mesh) -> list[str]:
    """The ids of all members."""
    return [view.node for view in await mesh.nodes()]


async def get_local_id(mesh: Mesh) -> str:
    """This node's id."""
    return mesh.node_id


async def is_node_connected(mesh: Mesh, node: str) -> bool:
    """Whether a link with this node is open now."""
    return await mesh.is_node_connected(node)


async def find_nearest_nodes(mesh: Mesh, point: str | bytes, count: int = 20) -> list[NodeView]:
    """The live members nearest to a node id, or to any other text or bytes, by XOR distance."""
    return await mesh.find_nearest_nodes(point, count)


async def find_closest_nodes(mesh: Mesh, point: str | bytes, count: int = 20) -> list[NodeView]:
    """The same as `find_nearest_nodes`."""
    return await mesh.find_nearest_nodes(point, count)


async def register_node(mesh: Mesh, address: str, *, timeout: float = 10.0) -> NodeView:
    """Tell the node where a member is reached; returns once it is linked and proven."""
    return await mesh.register_node(address, timeout=timeout)


async def remove_node(mesh: Mesh, node: str) -> bool:
    """Say that a member that is down will not come back."""
    return await mesh.remove_node(node)


async def update_node(
    mesh: Mesh,
    *,
    labels: Mapping[str, str] | None = None,
    capacity: int | None = None,
    zone: str | None = None,
) -> NodeView:
    """Change what the node says of itself, until it stops."""
    return await mesh.update_node(labels=labels, capacity=capacity, zone=zone)


async def restore_nodes(mesh: Mesh, *, timeout: float = 5.0) -> list[NodeView]:
    """Try all known members without a link again now; those that answered."""
    return await mesh.restore_nodes(timeout=timeout)


async def cleanup_dead_nodes(mesh: Mesh, older_than: float | None = None) -> list[str]:
    """Remove every member dead for longer than this many seconds, by default `node_timeout`; their ids."""
    return await mesh.cleanup_dead_nodes(older_than)


async def broadcast_new_node(mesh: Mesh) -> None:
    """Say who the node is to all members again."""
    await mesh.broadcast_new_node()


async def handle_join_request(mesh: Mesh, body: dict[str, Any], address: str) -> dict[str, Any]:
    """Answer a newcomer's request to join, as it came from this address."""
    return await mesh.handle_join_request(body, address)


async def topology(mesh: Mesh, timeout: float = 2.0) -> Topology:
    """Who sees whom, as told by every member that answers in time."""
    return await mesh.topology(timeout)


async def why(mesh: Mesh, node: str) -> Explanation:
    """The evidence behind the node's verdict on a member."""
    return await mesh.why(node)


async def sleep(mesh: Mesh, seconds: float) -> None:
    """Fall silent as planned: the other nodes are told, and raise no alarm."""
    await mesh.sleep(seconds)


async def wake(mesh: Mesh) -> bool:
    """End a planned sleep early; whether there was one."""
    return await mesh.wake()


# -- messages


async def send_message(mesh: Mesh, node: str, body: bytes | str) -> None:
    """Send a message to one node, best effort."""
    await mesh.send(node, body)


async def send_to_node(mesh: Mesh, node: str, body: bytes | str) -> None:
    """Send a message to one node, best effort."""
    await mesh.send(node, body)


async def broadcast(mesh: Mesh, body: bytes | str) -> int:
    """Send a message to every linked node, best effort; to how many it went."""
    return await mesh.broadcast(body)


async def broadcast_message(mesh: Mesh, body: bytes | str) -> int:
    """Send a message to every linked node, best effort; to how many it went."""
    return await mesh.broadcast(body)


async def subscribe(mesh: Mesh, pattern: str = "**") -> Subscription:
    """Messages by topic, as an async iterator."""
    return mesh.subscribe(pattern)


# -- data


async def store_data(mesh: Mesh, key: str, value: bytes | str) -> Receipt:
    """Write a value; returns when it is on this node's disk."""
    return await mesh.put(key, value)


async def retrieve_data(mesh: Mesh, key: str) -> Value:
    """The visible value of a key."""
    return await mesh.get(key)


async def verify_data(mesh: Mesh, *, deep: bool = False) -> VerifyReport:
    """Read all that the node holds again, and have what is damaged repaired; `deep`: hash every byte."""
    return await mesh.verify(deep=deep)


async def cleanup_data(mesh: Mesh, *, grace: float | None = None) -> SweepReport:
    """Remove from the node's disk the parts of large values that nothing refers to any more."""
    return await mesh.cleanup_data(grace=grace)


async def replicate_data(mesh: Mesh, key: str, *, timeout: float = 10.0) -> list[str]:
    """Wait until every node that is to hold a key has it on its disk; the ids of those nodes."""
    return await mesh.replicate_data(key, timeout=timeout)


async def sync_with_peers(mesh: Mesh) -> int:
    """Compare with every linked node what is held, now; with how many."""
    return await mesh.sync_with_peers()


# -- security


async def validate_certificate(mesh: Mesh, pem: bytes | str) -> CertificateCheck:
    """What is wrong with a certificate (PEM) as one of a member of the mesh, and by how much."""
    return await mesh.validate_certificate(pem)


async def rotate_keys(mesh: Mesh, what: str = "udp") -> KeyRotation:
    """Make a new key of this node now; nothing that is under way is lost."""
    return await mesh.rotate_keys(what)
