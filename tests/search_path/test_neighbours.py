"""The nearest points, found in trees and by looking at all, are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError
from bellande_mesh_sync.search_path import Neighbours, neighbours
from bellande_mesh_sync.search_path.balanced import balanced_tree, search_nearest, search_within


def filled(points: np.ndarray) -> Neighbours:
    index = Neighbours(points.shape[1])
    for point in points:
        index.add(point)
    return index


def grid(count: int, dimensions: int) -> np.ndarray:
    """Points on a coarse grid, so that many are equally far."""
    return np.random.default_rng(dimensions).integers(0, 6, (count, dimensions)).astype(float)


@given(st.integers(1, 400), st.integers(1, 4), st.integers(1, 8))
def test_a_balanced_tree_finds_what_looking_at_all_finds(count: int, dimensions: int, k: int) -> None:
    points = grid(count, dimensions)
    tree = balanced_tree(points, 1000)
    target = np.full((1, dimensions), 2.5)
    k = min(k, count)
    squares, numbers = np.full((1, k), np.inf), np.full((1, k), -1)
    search_nearest(tree.points, tree.order, tree.axes, target, squares, numbers)
    every = ((points - target) ** 2).sum(axis=1)
    expected = np.lexsort((np.arange(count), every))[:k]
    assert numbers[0].tolist() == (expected + 1000).tolist()
    np.testing.assert_allclose(squares[0], every[expected])
    within = np.empty(count, np.int64)
    found = search_within(tree.points, tree.order, tree.axes, target[0], 4.0, within)
    assert sorted(within[:found]) == (np.flatnonzero(every <= 4.0) + 1000).tolist()


@pytest.mark.parametrize("dimensions", [1, 3, 6])
def test_compiled_trees_answer_as_looking_at_all_does(
    dimensions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="the extra 'path' is not installed")
    points = np.vstack([grid(3_000, dimensions), np.random.default_rng(1).normal(3, 2, (3_000, dimensions))])
    index = filled(points)
    targets = np.random.default_rng(2).uniform(0, 6, (20, dimensions))
    in_trees = [index.nearest(targets, k) for k in (1, 2, 40)]
    near = [index.within(target, 1.5) for target in targets]
    assert len(index._trees) > 1
    monkeypatch.setattr(neighbours, "TREES_FROM", 1_000_000)
    looked_at = filled(points)
    for (numbers, distances), k in zip(in_trees, (1, 2, 40), strict=True):
        expected_numbers, expected_distances = looked_at.nearest(targets, k)
        assert numbers.tolist() == expected_numbers.tolist()
        assert distances.tolist() == expected_distances.tolist()
    for target, found in zip(targets, near, strict=True):
        assert found.tolist() == looked_at.within(target, 1.5).tolist()


def test_trees_stay_balanced_and_few_while_points_come(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="the extra 'path' is not installed")
    monkeypatch.setattr(neighbours, "TREES_FROM", 1)
    index = Neighbours(2)
    for number in range(5_000):
        index.add([number % 71, number % 67])  # In an order that would make an unbalanced tree a list.
        if number % 500 == 499:
            assert index.nearest([number % 71, number % 67])[1][0] == 0
    sizes = [len(tree.order) for tree in index._trees]
    assert sizes == sorted(set(sizes), reverse=True), "each size once"
    assert sum(sizes) > 5_000 - 256


def test_without_the_compiler_all_points_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "compiled", lambda function: None)
    index = filled(grid(5_000, 3))
    assert index.nearest([2, 2, 2])[1][0] == 0
    assert len(index.within([2, 2, 2], 0)) > 1


def test_fewer_points_than_asked_for_are_all() -> None:
    index = filled(np.array([[0.0], [5.0], [1.0]]))
    numbers, distances = index.nearest([0.9], k=10)
    assert numbers.tolist() == [2, 0, 1]
    np.testing.assert_allclose(distances, [0.1, 0.9, 4.1])


def test_a_wrong_call_says_what_is_wrong() -> None:
    index = Neighbours(2)
    with pytest.raises(InvalidNumberError, match="number of points must be at least 1"):
        index.nearest([0, 0])
    index.add([0, 0])
    for wrong in ([0], [0, 0, 0]):
        with pytest.raises(DimensionMismatchError):
            index.add(wrong)
        with pytest.raises(DimensionMismatchError):
            index.nearest(wrong)
    with pytest.raises(InvalidNumberError, match="radius"):
        index.within([0, 0], -1)
    with pytest.raises(InvalidNumberError, match="k must be"):
        index.nearest([0, 0], 0)
    assert len(index) == 1
