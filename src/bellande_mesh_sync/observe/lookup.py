"""Lookup: members by name or start of an id, and by the page, without describing all the others."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Final

from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.errors import NotFoundError, UsageError
from bellande_mesh_sync.ids import NODE_ID_BYTES, NodeId, Now
from bellande_mesh_sync.observe.views import node_view, own_state
from bellande_mesh_sync.values import NodeView

PREFIX_CHARACTERS_MIN: Final = 4
"""A node may be named by the start of its id, if that is at least this long."""


def member_view(core: NodeCore, text: str, now: Now) -> NodeView:
    """The member meant by `text`: an id, a name, or a unique start of an id.

    Raises NotFoundError, or UsageError if it fits more than one.

    Cost: O(1) for a whole id, O(members) for what is shorter.
    """
    view = _view_of_id(core, text, now)
    if view is None:
        own = (core.me.node, core.directory.own.name)
        others = ((member.record.node, member.record.name) for member in core.directory.others())
        view = node_view(core, the_one([own, *others], text), now)
    assert view is not None, "a member that was just found"
    return view


def _view_of_id(core: NodeCore, text: str, now: Now) -> NodeView | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return node_view(core, NodeId(raw), now) if len(raw) == NODE_ID_BYTES else None


def the_one(members: Iterable[tuple[NodeId, str]], text: str) -> NodeId:
    """The only one of these members, given by id and name, that `text` fits: by its name, else by the
    start of its id. Raises as `member_view`."""
    wanted = text.lower()
    is_long_enough = len(wanted) >= PREFIX_CHARACTERS_MIN
    by_name: list[NodeId] = []
    by_start: list[NodeId] = []
    for node, name in members:
        if name == text:
            by_name.append(node)
        elif is_long_enough and node.hex().startswith(wanted):
            by_start.append(node)
    found = by_name or by_start
    if not found:
        raise NotFoundError(what="node", name=text)
    if len(found) > 1:
        raise UsageError(reason=f"{text!r} fits {len(found)} nodes; give more of the id")
    return found[0]


def page_of(
    core: NodeCore, state: str | None, offset: int, limit: int, now: Now
) -> tuple[list[NodeView], int]:
    """Up to `limit` members in `state` (None: in any) in order of their ids, after the first `offset`; and
    how many there are in all."""
    others = core.directory.others()
    nodes = [member.record.node for member in others if state is None or member.state == state]
    if state is None or state == own_state(core):
        insort(nodes, core.me.node)
    page = (node_view(core, node, now) for node in nodes[offset : offset + limit])
    return [view for view in page if view is not None], len(nodes)
