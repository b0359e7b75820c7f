"""Landmarks: a sparse memory of earlier paths, which later ones begin with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bellande_mesh_sync.search_path import Landmarks, plan
from bellande_mesh_sync.search_path.landmarks import LANDMARKS_MAX
from tests.search_path.scenes import check_path, random_boxes

WALL = np.array([[[4.0, 0.0], [5.0, 9.0]]])


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_what_one_search_found_the_next_one_begins_with(engine: str) -> None:
    landmarks = Landmarks([10, 10])
    limits: dict[str, Any] = {"landmarks": landmarks, "engine": engine, "time_limit": None}
    first = plan([1, 1], [9, 1], [10, 10], WALL, samples=900, **limits)
    assert 1 <= len(landmarks) <= len(first.points) - 2
    second = plan([2, 2], [8, 3], [10, 10], WALL, samples=1500, **limits)
    check_path(second.points, [2, 2], [8, 3], [10, 10], WALL)
    alone = plan([2, 2], [8, 3], [10, 10], WALL, engine=engine, time_limit=None, samples=2000)
    assert second.cost < alone.cost * 1.05


def test_a_way_over_landmarks_is_there_before_anything_is_sampled() -> None:
    landmarks = Landmarks([10, 10])
    assert landmarks.learn([(1, 1), (3.5, 9.5), (5.5, 9.5), (9, 1)]) == 2
    path = plan([2, 2], [8, 3], [10, 10], WALL, landmarks=landmarks, time_limit=None, samples=1)
    over = [(2.0, 2.0), (3.5, 9.5), (5.5, 9.5), (8.0, 3.0)]
    assert path.first_cost == pytest.approx(sum(map(math.dist, over, over[1:])))


def test_a_way_that_is_closed_by_now_is_not_taken() -> None:
    landmarks = Landmarks([10, 10])
    plan([1, 1], [9, 1], [10, 10], WALL, landmarks=landmarks, time_limit=None, samples=900)
    other = np.array([[[4.0, 1.0], [5.0, 10.0]]])
    path = plan([1, 8], [9, 8], [10, 10], other, landmarks=landmarks, time_limit=None, samples=900)
    check_path(path.points, [1, 8], [9, 8], [10, 10], other)


def test_the_memory_stays_sparse_and_bounded() -> None:
    landmarks = Landmarks([1.0, 1.0], grid_steps=[0.2, 0.2])
    rng = np.random.default_rng(1)
    for _ in range(60):
        landmarks.learn([(0.0, 0.0), *map(tuple, rng.random((20, 2))), (1.0, 1.0)])
    assert 9 <= len(landmarks) < 60
    fine = Landmarks([1.0, 1.0], parts=16, grid_steps=[0.001, 0.001])
    for _ in range(100):
        fine.learn([(0.0, 0.0), *map(tuple, rng.random((20, 2))), (1.0, 1.0)])
    assert len(fine) <= LANDMARKS_MAX


def test_many_dimensions_are_cut_along_some_only() -> None:
    start, goal, boxes = random_boxes(6, seed=1)
    landmarks = Landmarks(np.ones(6))
    path = plan(start, goal, np.ones(6), boxes, landmarks=landmarks, time_limit=None, samples=1500)
    again = plan(start, goal, np.ones(6), boxes, landmarks=landmarks, time_limit=None, samples=300)
    check_path(again.points, start, goal, np.ones(6), boxes)
    assert again.cost <= path.cost * 1.1
    assert landmarks.places().shape == (len(landmarks), 6)
