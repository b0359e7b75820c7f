"""The nearest ids by XOR distance: exactly those that looking at all of them finds, and quickly."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.members.nearest import NearestIndex
from bellande_mesh_sync.ids import NodeId

_ANY = st.binary(min_size=32, max_size=32)
# Ids that agree in all but a few bits: deep branches, which random ids do not have.
_ALIKE = st.integers(0, 63).map(lambda low: bytes(31) + bytes([low]))
_IDS = (_ANY | _ALIKE).map(NodeId)


def _by_looking_at_all(nodes: set[NodeId], point: bytes, count: int) -> list[NodeId]:
    target = int.from_bytes(point, "big")
    return sorted(nodes, key=lambda node: int.from_bytes(node, "big") ^ target)[:count]


@given(st.sets(_IDS, max_size=60), _ANY | _ALIKE, st.integers(0, 70))
def test_the_nearest_are_those_that_looking_at_all_finds(
    nodes: set[NodeId], point: bytes, count: int
) -> None:
    assert NearestIndex(nodes).nearest(point, count) == _by_looking_at_all(nodes, point, count)


@given(st.lists(st.tuples(st.booleans(), _IDS), max_size=60), _ANY | _ALIKE)
def test_members_that_come_and_go_are_found_or_not(changes: list[tuple[bool, NodeId]], point: bytes) -> None:
    index, nodes = NearestIndex(), set[NodeId]()
    for is_coming, node in changes:
        if is_coming:
            index.add(node)
            nodes.add(node)
        else:
            index.discard(node)
            nodes.discard(node)
        assert len(index) == len(nodes)
    assert index.nearest(point, 5) == _by_looking_at_all(nodes, point, 5)


def test_twenty_of_ten_thousand_are_found_in_a_millisecond() -> None:
    rng = random.Random(1)
    nodes = {NodeId(rng.randbytes(32)) for _ in range(10_000)}
    index = NearestIndex(nodes)
    points = [rng.randbytes(32) for _ in range(200)]
    took = []
    for point in points:
        began = time.perf_counter()
        found = index.nearest(point, 20)
        took.append(time.perf_counter() - began)
        assert len(found) == 20
    assert found == _by_looking_at_all(nodes, points[-1], 20)
    assert min(took) < 0.001, "the quickest of many: what the machine does beside it does not count"
