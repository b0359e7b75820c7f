"""The planner: its paths are free, as short as they can be in time, and the same for the same seed."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellande_mesh_sync.errors import InvalidSceneError, MissingExtraError, NoPathError, UsageError
from bellande_mesh_sync.search_path import plan
from bellande_mesh_sync.search_path.engine_compiled import CompiledEngine
from bellande_mesh_sync.search_path.engine_numpy import NumpyEngine
from bellande_mesh_sync.search_path.scene import scene_of
from bellande_mesh_sync.search_path.steps import StepsByLimit
from bellande_mesh_sync.values import Path
from tests.search_path.scenes import check_path, meets_box, published_scene, random_boxes

ENGINES = ("compiled", "numpy")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ["auto", "rrt_connect", "informed_rrt_star", "rrt_star"])
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_every_path_is_free_and_as_long_as_it_says(n: int, algorithm: str, engine: str) -> None:
    start, goal, boxes = random_boxes(n, seed=n, count=50 if n > 1 else 0)
    path = plan(
        start, goal, np.ones(n), boxes, algorithm=algorithm, engine=engine, time_limit=None, samples=3000
    )
    assert path.cost == pytest.approx(check_path(path.points, start, goal, np.ones(n), boxes))
    assert path.lower_bound == pytest.approx(0.9 * math.sqrt(n))
    assert path.lower_bound * (1 + path.gap) == pytest.approx(path.cost)
    assert path.first_cost >= path.cost
    assert (path.engine, path.algorithm) == (engine, algorithm)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_published_scene_is_planned_to_within_a_thousandth_of_the_shortest_path(engine: str) -> None:
    start, goal, environment, obstacles = published_scene()
    path = plan(start, goal, environment, obstacles, engine=engine, time_limit=None, samples=8000)
    assert 868.46 < path.cost < 868.47 * 1.001


@pytest.mark.parametrize("engine", ENGINES)
def test_balls_are_kept_away_from(engine: str) -> None:
    ball = {"center": [5.0, 5.0, 5.0], "radius": 3.0}
    path = plan([0, 0, 0], [10, 10, 10], [10, 10, 10], [ball], engine=engine, time_limit=None, samples=6000)
    check_path(path.points, [0, 0, 0], [10, 10, 10], [10, 10, 10], balls=[([5.0, 5.0, 5.0], 3.0)])
    # Along a tangent, around, and along a tangent.
    half, angle = math.sqrt(75 - 9), math.pi - 2 * math.acos(3 / math.sqrt(75))
    assert path.cost == pytest.approx(2 * half + 3 * angle, rel=0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_clearance_is_kept(engine: str) -> None:
    wall = np.array([[[4.0, 0.0], [6.0, 8.0]]])
    path = plan([1, 1], [9, 1], [10, 10], wall, clearance=0.5, engine=engine, time_limit=None, samples=2000)
    check_path(path.points, [1, 1], [9, 1], [10, 10], [([3.5, -1], [6.5, 8.5])])


def test_a_collision_function_of_ones_own_is_asked_many_places_at_once() -> None:
    sizes = []

    def in_a_ring(places: Any) -> Any:
        sizes.append(len(places))
        away = np.linalg.norm(places - 5.0, axis=1)
        return (away > 3.0) & (away < 3.5) & (places[:, 0] < 7.5)

    path = plan([1, 5], [5, 5], [10, 10], collides=in_a_ring, time_limit=None, samples=1500)
    assert path.engine == "numpy"
    assert path.cost > 5.0  # Straight ahead is closed; the gap is on the other side.
    for a, b in zip(path.points, path.points[1:], strict=False):
        places = np.linspace(a, b, 200)
        away = np.linalg.norm(places - 5.0, axis=1)
        inside = (away > 3.05) & (away < 3.45) & (places[:, 0] < 7.4)
        assert not inside.any()
    assert max(sizes) > 100


def test_a_collision_function_that_answers_in_another_shape_is_named() -> None:
    with pytest.raises(InvalidSceneError, match=r"collides.*one truth value"):
        plan([1, 5], [5, 5], [10, 10], collides=lambda places: False, samples=10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ["auto", "rrt_star"])
def test_equal_seeds_give_equal_paths_where_samples_are_the_limit(algorithm: str, engine: str) -> None:
    start, goal, boxes = random_boxes(3, seed=4)
    settings = {"algorithm": algorithm, "engine": engine, "time_limit": None, "samples": 2000}
    one = plan(start, goal, np.ones(3), boxes, seed=7, **settings)  # type: ignore[arg-type]
    again = plan(start, goal, np.ones(3), boxes, seed=7, **settings)  # type: ignore[arg-type]
    other = plan(start, goal, np.ones(3), boxes, seed=8, **settings)  # type: ignore[arg-type]
    assert (one.points, one.cost, one.samples) == (again.points, again.cost, again.samples)
    assert one.points != other.points


def test_nothing_in_the_way_is_the_straight_line_at_once() -> None:
    path = plan([0, 0], [3, 4], [10, 10], time_limit=5)
    assert (path.points, path.cost, path.gap, path.samples) == (((0.0, 0.0), (3.0, 4.0)), 5.0, 0.0, 0)
    assert path.seconds < 1.0


def test_start_and_goal_may_be_the_same_place() -> None:
    path = plan([1, 1], [1, 1], [2, 2])
    assert (path.cost, path.gap) == (0.0, 0.0)


def test_each_shorter_path_is_told() -> None:
    start, goal, boxes = random_boxes(2, seed=3)
    told: list[Path] = []
    path = plan(start, goal, np.ones(2), boxes, time_limit=0.3, on_progress=told.append)
    costs = [each.cost for each in told]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == path.first_cost
    assert costs[-1] == path.cost
    assert 0.0 < path.first_path_s < path.seconds < 2.0


def test_a_search_that_finds_nothing_says_so() -> None:
    wall = np.array([[[0.4, 0.0], [0.6, 1.0]]])
    with pytest.raises(NoPathError) as raised:
        plan([0.1, 0.1], [0.9, 0.9], [1, 1], wall, time_limit=None, samples=3000)
    assert raised.value.samples == 3000


def test_ten_thousand_boxes_do_not_hold_it_up() -> None:
    start, goal, boxes = random_boxes(3, seed=1, count=10_000, share=0.1)
    path = plan(start, goal, np.ones(3), boxes, algorithm="rrt_connect", time_limit=30)
    points = np.array(path.points)
    low, high = np.minimum(points[1:], points[:-1]), np.maximum(points[1:], points[:-1])
    for hop in range(len(low)):
        close = np.all((boxes[:, 0] <= high[hop]) & (boxes[:, 1] >= low[hop]), axis=1)
        for box in boxes[close]:
            assert not meets_box(points[hop].tolist(), points[hop + 1].tolist(), box[0], box[1])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"start": []}, "start"),
        ({"start": [1, "x"]}, "start"),
        ({"start": [1, math.nan]}, "start"),
        ({"start": [11, 1]}, "start"),
        ({"start": [5, 5]}, "start"),
        ({"goal": [1, 2, 3]}, "goal"),
        ({"goal": [4, 5]}, "goal"),
        ({"environment": [10]}, "environment"),
        ({"environment": [10, 0]}, "environment"),
        ({"environment": "large"}, "environment"),
        ({"obstacles": [{"position": [1, 1]}]}, "obstacles\\[0\\]"),
        ({"obstacles": [{"position": [1, 1], "dimensions": [1, -1]}]}, "obstacles\\[0\\].dimensions"),
        ({"obstacles": [{"center": [1, 1], "radius": -1}]}, "obstacles\\[0\\].radius"),
        ({"obstacles": np.zeros((3, 2))}, "obstacles"),
        ({"clearance": -1}, "clearance"),
        ({"clearance": 4}, "start"),
        ({"resolution": 0}, "resolution"),
    ],
)
def test_a_scene_that_cannot_be_is_refused_and_says_why(change: dict[str, Any], what: str) -> None:
    scene: dict[str, Any] = {
        "start": [1, 1],
        "goal": [9, 9],
        "environment": [10, 10],
        "obstacles": [{"position": [4, 4], "dimensions": [2, 2]}],
    }
    with pytest.raises(InvalidSceneError, match=f"^the scene's {what}: "):
        plan(**(scene | change))


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "teleport"},
        {"engine": "steam"},
        {"time_limit": 0},
        {"samples": 0},
        {"time_limit": None},
        {"seed": -1},
        {"step_size": 0},
        {"engine": "compiled", "collides": lambda places: np.zeros(len(places), bool)},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plan([1, 1], [9, 9], [10, 10], **settings)


def test_without_a_compiler_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert plan([1, 1], [9, 9], [10, 10]).engine == "numpy"
    with pytest.raises(MissingExtraError, match=r"bellande-mesh-sync\[path\]"):
        plan([1, 1], [9, 9], [10, 10], engine="compiled")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
def test_both_engines_agree_on_where_a_move_collides(seed: int, n: int, is_flat: bool) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 1, (30, n))
    obstacles: list[dict[str, Any]] = [
        {"position": place.tolist(), "dimensions": rng.uniform(0, 0.2, n).tolist()} for place in low[:20]
    ]
    obstacles += [{"center": place.tolist(), "radius": float(rng.uniform(0, 0.1))} for place in low[20:]]
    scene = scene_of(np.full(n, -1.0), np.full(n, -1.0), [[-1.0] * n, [2.0] * n], obstacles)
    starts, ends = rng.uniform(0, 1, (40, n)), rng.uniform(0, 1, (40, n))
    if is_flat:
        ends[:, 0] = starts[:, 0]
    one, two = (kind(scene, 0.1, 0).hits(starts, ends) for kind in (CompiledEngine, NumpyEngine))
    np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(0, 40), st.sampled_from(ENGINES))
def test_whatever_the_scene_what_is_found_is_free(seed: int, n: int, count: int, engine: str) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 10, (count, n)).round(1)
    boxes = np.stack([low, low + rng.uniform(0, 3, (count, n)).round(1)], axis=1)
    start, goal = rng.uniform(0, 10, n).round(1), rng.uniform(0, 10, n).round(1)
    try:
        path = plan(start, goal, [10] * n, boxes, engine=engine, seed=seed, time_limit=None, samples=300)
    except (InvalidSceneError, NoPathError):
        return
    check_path(path.points, start, goal, [10] * n, boxes)


@pytest.mark.parametrize("n", [2, 3])
def test_adaptive_steps_are_short_where_something_lies_ahead(n: int) -> None:
    start, goal, boxes = random_boxes(n, seed=1)
    path = plan(start, goal, np.ones(n), boxes, is_adaptive=True, time_limit=None, samples=3000)
    check_path(path.points, start, goal, np.ones(n), boxes)
    assert path.engine == "numpy"
    wall = np.array([[[0.5, 0.0], [0.6, 1.0]]])
    steps = StepsByLimit(scene_of([0.1, 0.5], [0.9, 0.5], [1, 1], wall), 0.1)
    places = np.array([[0.1, 0.5], [0.45, 0.5]])
    far, near = steps.at(places, places + np.array([0.3, 0.0]), np.array([0.9, 0.5]))
    assert far == pytest.approx(0.1)
    assert near < 0.06
    with pytest.raises(UsageError, match="adaptive"):
        plan(start, goal, np.ones(n), boxes, is_adaptive=True, engine="compiled")
