"""Views: what a core knows, in the form that people and programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.data.context import context_text
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.members.directory import Member
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.session.links import Link
from bellande_mesh_sync.ids import NodeId, Now, node_of, stamp_ms
from bellande_mesh_sync.values import Change, Entry, NodeView, Receipt

LIVE: Final = frozenset({"alive", "suspect"})


def entry_of(core: NodeCore, siblings: Sequence[Record], wall_ms: int) -> tuple[Record, Entry] | None:
    """What a reader of these siblings sees, as a record, and what is told of it; None if the key counts as
    gone. The record is one of them, or stands for what their space makes of them."""
    if not siblings:
        return None
    shown = core.replica.policies.of(siblings[0].key).shown(siblings, wall_ms)
    return None if shown is None else (shown.record, describe(core, shown.record, siblings, shown.version))


def describe(core: NodeCore, record: Record, siblings: Sequence[Record], version: str = "") -> Entry:
    """What is told of a record that a reader of these siblings sees; `version` if it is not the record's."""
    context = core.replica.context_of(core.replica.shard_of(record.key), siblings)
    return Entry(
        key=record.key,
        version=version or record.version,
        size=record.size,
        content_type=record.content_type,
        author=node_of(record.author).hex(),
        time_ms=stamp_ms(record.stamp),
        digest=record.digest.hex(),
        siblings=len(siblings),
        context=context_text(context),
    )


def change_of(record: Record, entry: Entry | None) -> Change:
    """What a watcher hears of a record that arrived; `entry` is what its key shows now."""
    if entry is None:
        return Change(record.key, "delete", record.version, node_of(record.author).hex(), None)
    return Change(record.key, "put", entry.version, entry.author, entry)


def receipts_of(receipts: Sequence[on.Receipt]) -> list[Receipt]:
    """The receipts of one request, which mostly name the same nodes."""
    nodes = {node: node.hex() for each in receipts for node in each.nodes}
    return [
        Receipt(each.key, each.version, tuple(nodes[node] for node in each.nodes), each.ack)
        for each in receipts
    ]


def node_views(core: NodeCore, now: Now, state: str | None = None) -> list[NodeView]:
    """This node first, then the others by id; those in `state` if given."""
    own = [own_view(core, now)] if state is None or state == own_state(core) else []
    others = core.directory.others()
    found = [member for member in others if state is None or member.state == state]
    return [*own, *(_view_of(core, member, now) for member in found)]


def node_view(core: NodeCore, node: NodeId, now: Now) -> NodeView | None:
    """One member; None if it is not known. Cost: O(1)."""
    if node == core.me.node:
        return own_view(core, now)
    member = core.directory.get(node)
    return None if member is None else _view_of(core, member, now)


def own_state(core: NodeCore) -> MemberState:
    return MemberState.ASLEEP if core.membership.is_asleep else MemberState.ALIVE


def own_view(core: NodeCore, now: Now) -> NodeView:
    uptime_s = max(0.0, (now.wall_ms - core.me.started_ms) / 1000) if core.me.started_ms else 0.0
    own = Member(core.directory.own, own_state(core), "this node", now.mono_ns - round(uptime_s * 1e9))
    return _view(own, now, link=None, rtt_ns=-1, loss_ratio=-1.0, is_local=True)


def _view_of(core: NodeCore, member: Member, now: Now) -> NodeView:
    link = core.links.to(member.record.node)
    rtt_ns, loss_ratio = core.membership.swim.quality(member.record.node)
    if link is not None and link.rtt_ns >= 0:
        rtt_ns = link.rtt_ns
    return _view(member, now, link=link, rtt_ns=rtt_ns, loss_ratio=loss_ratio, is_local=False)


def _view(
    member: Member, now: Now, *, link: Link | None, rtt_ns: int, loss_ratio: float, is_local: bool
) -> NodeView:
    record = member.record
    return NodeView(
        node=record.node.hex(),
        name=record.name,
        state=str(member.state),
        addresses=record.addresses,
        role=record.role,
        software=record.software,
        is_local=is_local,
        linked=link is not None,
        rtt_ms=rtt_ns / 1e6 if rtt_ns >= 0 else None,
        last_heard_s=0.0 if is_local else _heard_s(link, now),
        reason=member.reason,
        since_s=(now.mono_ns - member.since_ns) / 1e9,
        zone=record.zone,
        labels=dict(record.labels),
        capacity=record.capacity,
        incarnation=record.incarnation,
        datagrams=record.datagram_port != 0,
        loss=loss_ratio if loss_ratio >= 0 else None,
    )


def _heard_s(link: Link | None, now: Now) -> float | None:
    return (now.mono_ns - link.last_heard_ns) / 1e9 if link is not None else None


def nearest_views(core: NodeCore, point: bytes, count: int, now: Now) -> list[NodeView]:
    """The live members, this node among them, that are nearest to a point, nearest first."""
    views = (node_view(core, node, now) for node in core.directory.nearest.ranked(point))
    return list(islice((view for view in views if view is not None and view.state in LIVE), count))


def at_address(core: NodeCore, addresses: Collection[str], now: Now) -> NodeView | None:
    """The member that is linked and reached at one of these addresses. Cost: O(links), and one view."""
    for link in core.links.records_links():
        record = core.directory.record_of(link.peer)
        if record is not None and not {link.address, *record.addresses}.isdisjoint(addresses):
            return node_view(core, link.peer, now)
    return None


def member_counts(core: NodeCore) -> dict[str, int]:
    counts = Counter(state.value for state in core.directory.states().values())
    counts[MemberState.ALIVE.value] += 1
    return dict(counts)


def gauges_of(core: NodeCore) -> dict[str, float]:
    return {"links": len(core.links), **core.backlog()}


def peers_of(core: NodeCore, links: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is known of each linked peer, by node id; `links` is the shell's account of bytes."""
    peers: dict[str, dict[str, Any]] = {}
    for link in core.links.records_links():
        traffic = next((dict(each) for each in links if each.get("link") == link.link), {})
        peers[link.peer.hex()] = {
            **{name: value for name, value in traffic.items() if isinstance(value, int | float | str)},
            "name": core.directory.name_of(link.peer),
            "rtt_ms": link.rtt_ns / 1e6 if link.rtt_ns >= 0 else None,
            "credit_bytes": link.credit,
            "lacks_of_ours": _lag(core, link.peer),
        }
    return peers


def _lag(core: NodeCore, peer: NodeId) -> int:
    """How many of this node's own writes the peer has not reported on its disk yet."""
    author = core.replica.author
    lag = 0
    for shard, state in core.replica.shards():
        held = core.acks.held_by(peer, shard, author)
        for low, high in state.committed.of(author):
            gaps = held.gaps(low, high) if held is not None else [(low, high)]
            lag += sum(last - first + 1 for first, last in gaps)
    return lag


TROUBLE_S = 300.0
"""How long a check stays failed after what it looks for was seen last."""


def health_of(core: NodeCore, now: Now) -> dict[str, dict[str, Any]]:
    """Checks by name. A lonely node is healthy: it was built to work alone."""
    is_refusing = core.exchange.is_disk_refusing
    return {
        "store": {
            "ok": not is_refusing,
            "detail": "the disk refused the last write" if is_refusing else "the disk takes writes",
        },
        "data": _data_health(core),
        "replicas": _recent(core, "replicas", now, "equal knowledge with unequal records was found"),
        "clock": _recent(core, "clock", now, "records stamped in the future were refused"),
    }


def _data_health(core: NodeCore) -> dict[str, Any]:
    records, chunks = len(core.replica.damage), core.exchange.mending.chunk_count
    if not records and not chunks:
        return {"ok": True, "detail": "nothing is known to be damaged"}
    what = f"{records} records and {chunks} chunks are damaged here, and no other node has brought them yet"
    return {"ok": False, "detail": what}


def _recent(core: NodeCore, name: str, now: Now, what: str) -> dict[str, Any]:
    seen_ns = core.exchange.trouble_ns.get(name)
    if seen_ns is None:
        return {"ok": True, "detail": "nothing found"}
    ago_s = (now.mono_ns - seen_ns) / 1e9
    return {"ok": ago_s > TROUBLE_S, "detail": f"{what}, last {ago_s:.0f} s ago"}
