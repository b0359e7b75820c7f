"""Reports of many nodes, put side by side."""

from __future__ import annotations

from bellande_mesh_sync.core.survey import UNKNOWN, LinkReport
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.observe.topology import topology_of
from bellande_mesh_sync.values import NodeView, Sight

A, B, C, D = (NodeId(letter * 32) for letter in (b"a", b"b", b"c", b"d"))


def _member(node: NodeId) -> NodeView:
    name = chr(node[0])
    return NodeView(node.hex(), name, "alive", (), "writer", "", False, False, None, None, "", zone="z")


def _linked(node: NodeId, rtt_us: int = UNKNOWN, loss: int = UNKNOWN) -> LinkReport:
    return LinkReport(node, rtt_us, loss, True)


def _unlinked(node: NodeId) -> LinkReport:
    return LinkReport(node, UNKNOWN, UNKNOWN, False)


def _sights(found: tuple[Sight, ...]) -> dict[tuple[str, str], tuple[str, str]]:
    def name(node: str) -> str:
        return chr(int(node[:2], 16)) if node else ""

    return {(name(each.source), name(each.target)): (each.route, name(each.via)) for each in found}


def test_who_has_no_link_is_reached_over_the_quickest_neighbour_of_both() -> None:
    answer = (
        (A, (_linked(B, 900), _linked(C, 100), _unlinked(D))),
        (B, (_linked(A, 900), _linked(D, 100))),
        (C, (_linked(A, 100), _linked(D, 200))),
        (D, (_linked(B), _linked(C), _unlinked(A))),
    )
    found = topology_of(A.hex(), [_member(node) for node in (A, B, C, D)], answer)
    sights = _sights(found.sights)
    assert sights["a", "d"] == sights["d", "a"] == ("via", "c")
    assert sights["a", "b"] == ("direct", "")
    assert found.complete
    assert [node.answered for node in found.nodes] == [True] * 4


def test_nobody_in_between_is_no_route_and_who_is_silent_is_shown_as_such() -> None:
    answer = ((A, (_linked(B, 1500, 25), _unlinked(C))), (B, (_linked(A),)))
    found = topology_of(A.hex(), [_member(node) for node in (A, B, C)], answer)
    assert _sights(found.sights)["a", "c"] == ("none", "")
    assert (found.sights[0].rtt_ms, found.sights[0].loss) == (1.5, 0.025)
    assert [node.answered for node in found.nodes] == [True, True, False]
    assert found.nodes[2].zone == "z"


def test_reports_of_and_about_strangers_are_left_out() -> None:
    answer = ((A, (_linked(B), _linked(D))), (D, (_linked(A),)))
    found = topology_of(A.hex(), [_member(A), _member(B)], answer)
    assert list(_sights(found.sights)) == [("a", "b")]


def test_of_a_large_mesh_only_pairs_with_a_link_are_told() -> None:
    nodes = [NodeId(number.to_bytes(32, "big")) for number in range(150)]
    answer = tuple(
        (source, tuple(LinkReport(node, 1, 0, node == nodes[0]) for node in nodes if node != source))
        for source in nodes
    )
    found = topology_of(nodes[0].hex(), [_member(node) for node in nodes], answer)
    assert not found.complete
    assert len(found.sights) == 149
    assert all(sight.linked for sight in found.sights)
