"""The search tree grows by steps, and rewiring makes ways shorter and never longer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError, PathError
from bellande_mesh_sync.search_path import Tree
from bellande_mesh_sync.search_path.tree import connection_count, connection_radius, least_gamma


def grown(seed: int, dimensions: int, count: int = 120, *, rewired: bool = True) -> Tree:
    rng = np.random.default_rng(seed)
    tree = Tree(np.zeros(dimensions))
    for target in rng.uniform(-10, 10, (count, dimensions)):
        node = tree.extend(target, 2.0)
        if node is not None and rewired:
            tree.rewire(node, tree.near(tree.points[node], 3.0))
    return tree


def check(tree: Tree) -> None:
    """Every way leads to the root, and costs what its edges add up to."""
    for node in range(len(tree)):
        way = tree.path(node)
        assert (way[0] == tree.points[0]).all()
        assert tree.cost(node) == pytest.approx(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())


@given(st.integers(0, 1000), st.integers(1, 5))
def test_rewiring_keeps_a_tree_whose_costs_are_its_ways(seed: int, dimensions: int) -> None:
    tree = grown(seed, dimensions)
    check(tree)
    before = tree.costs
    node = len(tree) - 1
    changed = tree.rewire(node, range(len(tree)))
    check(tree)
    assert (tree.costs <= before).all()
    assert all(tree.costs[each] < before[each] for each in changed)


def test_rewiring_shortens_the_ways() -> None:
    assert grown(4, 2).costs.sum() < grown(4, 2, rewired=False).costs.sum()


def test_extending_goes_from_the_nearest_node_at_most_so_far() -> None:
    tree = Tree([0, 0])
    first = tree.extend([10, 0], 3)
    assert first == 1
    assert tree.points[1].tolist() == [3, 0]
    second = tree.extend([3, 1], 3)
    assert second == 2
    assert tree.points[2].tolist() == [3, 1], "a target within the limit is reached"
    assert (tree.parent(2), tree.cost(2)) == (1, 4.0)
    assert tree.extend([3, 1], 3) is None, "a node already"
    assert tree.extend([9, 9], 3, lambda start, goal: False) is None, "the edge is not free"
    assert len(tree) == 3


def test_only_free_edges_are_taken_when_rewiring() -> None:
    tree = Tree([0, 0])
    around = tree.add([0, 5], 0)
    far = tree.add([5, 5], around)
    asked: list[tuple[list[float], list[float]]] = []

    def is_free(start: np.ndarray, goal: np.ndarray) -> bool:
        asked.append((start.tolist(), goal.tolist()))
        return False

    assert tree.rewire(far, [0, around], is_free) == []
    assert asked == [([0, 0], [5, 5])], "only the edge that would gain is asked for"
    assert tree.rewire(far, [0, around]) == [far]
    assert tree.cost(far) == pytest.approx(50**0.5)


def test_nearest_and_near_are_by_distance() -> None:
    tree = Tree([0.0])
    for place in (1.0, 2.0, 4.0):
        tree.add([place], len(tree) - 1)
    assert tree.nearest([3.1]) == 3
    assert tree.near([1.0], 1.0).tolist() == [0, 1, 2]
    assert tree.nearest_of([1.1], 2).tolist() == [1, 2]
    assert tree.parents.tolist() == [0, 0, 1, 2]


def test_a_tree_does_not_grow_beyond_its_bound() -> None:
    tree = Tree([0, 0], nodes_max=2)
    tree.add([1, 1], 0)
    with pytest.raises(PathError, match="nodes_max"):
        tree.add([2, 2], 0)
    assert len(tree) == 2


def test_the_radius_shrinks_and_its_constants_are_the_papers() -> None:
    assert connection_radius(1, 2, 3.0, 10.0) == 0.0
    radii = [connection_radius(count, 2, 3.0, 10.0) for count in (10, 100, 1000)]
    assert radii == sorted(radii, reverse=True)
    assert connection_radius(10, 2, 1e9, 7.0) == 7.0
    assert least_gamma(2, np.pi) == pytest.approx(3**0.5)
    assert connection_count(1, 3) == 1
    assert connection_count(1000, 2) == int(np.ceil(np.e * 1.5 * np.log(1000)))


def test_a_wrong_call_says_what_is_wrong() -> None:
    tree = Tree([0, 0])
    with pytest.raises(DimensionMismatchError):
        tree.extend([1], 1)
    with pytest.raises(InvalidNumberError, match="limit must be a number > 0"):
        tree.extend([1, 1], 0)
    with pytest.raises(InvalidNumberError, match="node must be an integer from 0 to 0"):
        tree.add([1, 1], 1)
    with pytest.raises(InvalidNumberError):
        Tree([])
    assert len(tree) == 1
