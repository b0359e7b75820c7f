"""Members, as this node sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.errors import NotFoundError, UsageError
from bellande_mesh_sync.values import NodeView

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
    Operation("GET", "/v1/nodes/{id}", get_node, "Look at a member", "observer", answer=NodeView),
)
