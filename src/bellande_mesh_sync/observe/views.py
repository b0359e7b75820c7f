"""Views: what a core knows, in the form that people and programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.data.context import context_text
from bellande_mesh_sync.core.data.policies import visible
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import NodeId, Now, node_of, stamp_ms
from bellande_mesh_sync.keys import shard_of
from bellande_mesh_sync.values import Change, Entry, NodeView, Receipt


def entry_of(core: NodeCore, siblings: Sequence[Record], wall_ms: int) -> tuple[Record, Entry] | None:
    """The visible record among these siblings and what is told of it; None if the key counts as gone."""
    record = visible(siblings, wall_ms)
    return None if record is None else (record, describe(core, record, siblings))


def describe(core: NodeCore, record: Record, siblings: Sequence[Record]) -> Entry:
    """What is told of the one of these siblings that a reader sees."""
    context = core.replica.context_of(shard_of(record.key), siblings)
    return Entry(
        key=record.key,
        version=record.version,
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
    """The receipts of one request, which all name the same nodes."""
    nodes = {node: node.hex() for node in receipts[0].nodes}
    return [
        Receipt(each.key, each.version, tuple(nodes[node] for node in each.nodes), each.ack)
        for each in receipts
    ]


def node_views(core: NodeCore, now: Now) -> list[NodeView]:
    """This node first, then the others by id."""
    own = core.directory.own
    views = [
        NodeView(
            own.node.hex(), own.name, "alive", own.addresses, own.role, own.software, True, False, None, 0.0,
            "this node",
        )
    ]  # fmt: skip
    for member in core.directory.others():
        record = member.record
        link = core.links.to(record.node)
        heard_ns = link.last_heard_ns if link else None
        views.append(
            NodeView(
                node=record.node.hex(),
                name=record.name,
                state=str(member.state),
                addresses=record.addresses,
                role=record.role,
                software=record.software,
                is_local=False,
                linked=link is not None,
                rtt_ms=link.rtt_ns / 1e6 if link and link.rtt_ns >= 0 else None,
                last_heard_s=(now.mono_ns - heard_ns) / 1e9 if heard_ns is not None else None,
                reason=member.reason,
            )
        )
    return views


def member_counts(core: NodeCore) -> dict[str, int]:
    counts: dict[str, int] = {"alive": 1}
    for member in core.directory.others():
        counts[str(member.state)] = counts.get(str(member.state), 0) + 1
    return counts


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
        "replicas": _recent(core, "replicas", now, "equal knowledge with unequal records was found"),
        "clock": _recent(core, "clock", now, "records stamped in the future were refused"),
    }


def _recent(core: NodeCore, name: str, now: Now, what: str) -> dict[str, Any]:
    seen_ns = core.exchange.trouble_ns.get(name)
    if seen_ns is None:
        return {"ok": True, "detail": "nothing found"}
    ago_s = (now.mono_ns - seen_ns) / 1e9
    return {"ok": ago_s > TROUBLE_S, "detail": f"{what}, last {ago_s:.0f} s ago"}
