"""The topology: what the nodes of a mesh told of their links, put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bellande_mesh_sync.core.survey import LinkReport, SurveyAnswer
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.values import NodeView, Sight, Topology, TopologyNode

PAIRS_MAX: Final = 10_000
"""Above this many pairs only those with a link are told: each takes some 200 bytes of JSON."""

_Reports = Mapping[NodeId, Mapping[NodeId, LinkReport]]


def topology_of(asker: str, members: Sequence[NodeView], answer: SurveyAnswer) -> Topology:
    """Who sees whom. A report about a node that is no member (any more) is left out.

    Cost: O(pairs) and, for each that has no link, O(links of one node).
    """
    known = {NodeId(bytes.fromhex(view.node)): view for view in members}
    reports: dict[NodeId, dict[NodeId, LinkReport]] = {
        source: {report.node: report for report in told if report.node in known}
        for source, told in answer
        if source in known
    }
    is_complete = sum(map(len, reports.values())) <= PAIRS_MAX
    sights = [
        _sight(source, report, reports)
        for source in sorted(reports)
        for _, report in sorted(reports[source].items())
        if is_complete or report.is_linked
    ]
    nodes = [
        TopologyNode(view.node, view.name, view.state, view.zone, node in reports)
        for node, view in sorted(known.items())
    ]
    return Topology(asker, tuple(nodes), tuple(sights), is_complete)


def _sight(source: NodeId, report: LinkReport, reports: _Reports) -> Sight:
    via = None if report.is_linked else _relay(source, report.node, reports)
    return Sight(
        source=source.hex(),
        target=report.node.hex(),
        linked=report.is_linked,
        rtt_ms=report.rtt_us / 1000 if report.rtt_us >= 0 else None,
        loss=report.loss_permille / 1000 if report.loss_permille >= 0 else None,
        route="direct" if report.is_linked else "none" if via is None else "via",
        via="" if via is None else via.hex(),
    )


def _relay(source: NodeId, target: NodeId, reports: _Reports) -> NodeId | None:
    """The neighbour of both over which a message takes the least time, as far as that is known."""
    between = [
        (_round_trip_us(near) + _round_trip_us(far), relay)
        for relay, near in reports[source].items()
        if near.is_linked and (far := reports.get(relay, {}).get(target)) is not None and far.is_linked
    ]
    return min(between)[1] if between else None


def _round_trip_us(report: LinkReport) -> int:
    """One not measured yet counts as slow: a known one is the better guess."""
    return report.rtt_us if report.rtt_us >= 0 else 1_000_000
