"""Members, as this node sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.errors import NotFoundError, UsageError
from bellande_mesh_sync.values import Explanation, NodeView, Topology

PREFIX_CHARACTERS_MIN: Final = 4
"""A node may be named by the start of its id, if that is at least this long."""


class NodesQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    state: Literal["", "alive", "suspect", "asleep", "dead", "left", "revoked"] = ""
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class NodesPage(Struct, frozen=True):
    nodes: tuple[NodeView, ...]
    total: int
    """How many there are in this state, on all pages."""
    offset: int


async def list_nodes(call: Call) -> NodesPage:
    """The members in this state, or in any, in order of their ids."""
    query = call.query(NodesQuery)
    found = sorted(await call.mesh.nodes(query.state or None), key=lambda view: view.node)
    page = tuple(found[query.offset : query.offset + query.limit])
    return NodesPage(page, len(found), query.offset)


async def get_node(call: Call) -> NodeView:
    """One member, by its id, a unique start of its id, or its name."""
    return await find_node(call.mesh, call.path_rest())


class NearestQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=1000)] = 20


class Nearest(Struct, frozen=True):
    nodes: tuple[NodeView, ...]
    """Nearest first."""


async def find_nearest(call: Call) -> Nearest:
    """The live members nearest to an id, by XOR distance.

    `id` is a node id (64 hex digits); any other text, as a key, is hashed to a point with BLAKE3.
    """
    query = call.query(NearestQuery)
    return Nearest(tuple(await call.mesh.find_nearest_nodes(call.path_rest(), query.count)))


async def get_own_node(call: Call) -> NodeView:
    """The member that this node is."""
    return await call.mesh.node(call.mesh.node_id)


async def explain_node(call: Call) -> Explanation:
    """The evidence behind this node's verdict on a member, by its id, a start of it, or its name."""
    return await call.mesh.why((await find_node(call.mesh, call.path_rest())).node)


class TopologyQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    timeout: Annotated[float, Meta(gt=0, le=60)] = 2.0


async def get_topology(call: Call) -> Topology:
    """Who sees whom, with round trip, loss and route, as told by every member that answers in time."""
    return await call.mesh.topology(call.query(TopologyQuery).timeout)


async def find_node(mesh: MeshCalls, text: str) -> NodeView:
    """The member meant by `text`: an id, a name, or a unique start of an id.

    Raises NotFoundError, or UsageError if it fits more than one.
    """
    found = matching(await mesh.nodes(), text)
    if not found:
        raise NotFoundError(what="node", name=text)
    if len(found) > 1:
        raise UsageError(reason=f"{text!r} fits {len(found)} nodes; give more of the id")
    return found[0]


def matching(views: Sequence[NodeView], text: str) -> list[NodeView]:
    """The members that `text` fits best: by whole id, else by name, else by the start of the id."""
    wanted = text.lower()
    by_id = [view for view in views if view.node == wanted]
    by_name = [view for view in views if view.name == text]
    long_enough = len(wanted) >= PREFIX_CHARACTERS_MIN
    return by_id or by_name or [view for view in views if long_enough and view.node.startswith(wanted)]


OPERATIONS: Final = (
    Operation("GET", "/v1/nodes", list_nodes, "List members", "observer", query=NodesQuery, answer=NodesPage),
    Operation(
        "GET",
        "/v1/nodes/nearest/{id:rest}",
        find_nearest,
        "Find the nearest members",
        "observer",
        query=NearestQuery,
        answer=Nearest,
    ),
    Operation("GET", "/v1/nodes/self", get_own_node, "Look at this node", "observer", answer=NodeView),
    Operation("GET", "/v1/nodes/{id}", get_node, "Look at a member", "observer", answer=NodeView),
    Operation("GET", "/v1/nodes/{id}/why", explain_node, "Explain a verdict", "observer", answer=Explanation),
    Operation(
        "GET", "/v1/topology", get_topology, "Topology", "observer", query=TopologyQuery, answer=Topology
    ),
)
