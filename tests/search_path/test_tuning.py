"""Settings by precision, as the published client chooses them."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError
from bellande_mesh_sync.search_path import node_importance
from bellande_mesh_sync.search_path.tuning import (
    compare_importance,
    grid_step,
    least_coverage,
    limit_settings,
    step_iterations,
    waypoints,
)


def test_the_finer_the_more() -> None:
    assert [step_iterations(each) for each in (0.001, 0.01, 0.05, 0.1, 2)] == [500, 200, 200, 100, 100]
    fine = limit_settings([100, 300], [9, 9], 0.005)
    assert (fine.sample_points, fine.search_radius) == (50, 20)
    assert fine.size.tolist() == pytest.approx([0.005, 0.015])
    assert [limit_settings([1], [1], each).sample_points for each in (0.01, 0.1)] == [30, 20]


def test_waypoints_are_beside_the_obstacles_and_apart() -> None:
    assert waypoints([[0.0, 0.0], [0.0, 0.5], [0.0, 3.0]]).tolist() == [[2, 0], [2, 3]]


def test_a_segments_settings_follow_its_nodes_and_neighbours() -> None:
    assert grid_step([]) == 1.0
    assert grid_step([[5, 5]]) == 0.1
    assert grid_step([[0, 0], [3, 4], [3, 4]]) == pytest.approx(0.1 * 10 / 3)
    assert [least_coverage(count) for count in (0, 1, 2, 3, 5, 6)] == [0.7, 0.6, 0.6, 0.5, 0.5, 0.4]


def test_importance_is_compared_by_score_and_coverage() -> None:
    alone = node_importance(([0, 0], "a"), [], {}, {}, [1, 1])
    crowded = node_importance(([0, 0], "a"), [([0, 1], "a"), ([5, 5], "a")], {}, {}, [1, 1])
    assert compare_importance(alone, crowded) > 0 > compare_importance(crowded, alone)
    assert compare_importance(alone, crowded, 0) == alone.score - crowded.score


def test_a_wrong_call_says_what_is_wrong() -> None:
    with pytest.raises(InvalidNumberError, match="precision"):
        step_iterations(0)
    with pytest.raises(DimensionMismatchError, match="goal"):
        limit_settings([1, 1], [1], 0.1)
    with pytest.raises(InvalidNumberError, match="adjacent_count"):
        least_coverage(-1)
