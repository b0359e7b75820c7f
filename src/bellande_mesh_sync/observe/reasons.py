"""Reasons: the evidence behind this node's verdict on a member, for people and programs."""

from __future__ import annotations

from bellande_mesh_sync.core.members.swim.evidence import Finding as CoreFinding
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import NodeId, Now
from bellande_mesh_sync.observe.views import node_view
from bellande_mesh_sync.values import Explanation, Finding


def explanation_of(core: NodeCore, node: NodeId, now: Now) -> Explanation | None:
    """What this node knows of a member and why it judges it so; None if it is not known."""
    view = node_view(core, node, now)
    if view is None:
        return None
    found = core.membership.swim.explain(node, now.mono_ns)
    return Explanation(
        node=view.node,
        name=view.name,
        state=view.state,
        since_s=view.since_s,
        reason=view.reason,
        incarnation=view.incarnation,
        own_health=found.health_score,
        linked=view.linked,
        rtt_ms=view.rtt_ms,
        loss=view.loss,
        last_heard_s=view.last_heard_s,
        last_ack_s=found.acked_age_ns / 1e9 if found.acked_age_ns >= 0 else None,
        accusers=tuple(accuser.hex() for accuser in found.accusers),
        dead_in_s=max(0.0, (found.due_ns - now.mono_ns) / 1e9) if found.due_ns >= 0 else None,
        findings=tuple(_finding(core, each, now) for each in reversed(found.findings)),
    )


def _finding(core: NodeCore, found: CoreFinding, now: Now) -> Finding:
    """The finding with names, and with this node's own state at that moment where that was not good."""
    who = core.me.node if found.who is None else found.who
    text = found.kind.value
    if found.who is not None:
        text += f": {core.directory.name_of(found.who)}"
    if found.detail:
        text += f", {found.detail}"
    if found.health_score:
        text += f"; own health {found.health_score}"
    if found.lag_ns:
        text += f"; own loop {found.lag_ns / 1e6:.0f} ms late"
    ago_s = max(0.0, (now.mono_ns - found.at_ns) / 1e9)
    return Finding(ago_s, found.kind.name.lower(), who.hex(), text)
