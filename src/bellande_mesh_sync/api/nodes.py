"""Members, as this node sees them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.values import Explanation, NodeView, Topology


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
    page, total = await call.mesh.nodes_page(query.state or None, query.offset, query.limit)
    return NodesPage(tuple(page), total, query.offset)


async def get_node(call: Call) -> NodeView:
    """One member, by its id, a unique start of its id, or its name."""
    return await call.mesh.find_node(call.path_rest())


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
    return await call.mesh.why((await call.mesh.find_node(call.path_rest())).node)


class TopologyQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    timeout: Annotated[float, Meta(gt=0, le=60)] = 2.0


async def get_topology(call: Call) -> Topology:
    """Who sees whom, with round trip, loss and route, as told by every member that answers in time."""
    return await call.mesh.topology(call.query(TopologyQuery).timeout)


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
