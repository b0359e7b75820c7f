"""Planning again when obstacles come and go, from what still holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bellande_mesh_sync.errors import InvalidSceneError, NoPathError
from bellande_mesh_sync.search_path import LivePlanner
from bellande_mesh_sync.search_path.engine_compiled import CompiledEngine
from bellande_mesh_sync.search_path.engine_numpy import NumpyEngine
from bellande_mesh_sync.search_path.scene import obstacles_of, scene_of
from bellande_mesh_sync.search_path.search import Search
from tests.search_path.scenes import check_path, random_boxes

ENGINES = ("compiled", "numpy")
SPACE = [10.0, 10.0]


def box(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    return {"position": [x, y], "dimensions": [width, height]}


def sides(obstacles: dict[str, Any]) -> list[Any]:
    return [(np.array(o["position"]), np.add(o["position"], o["dimensions"])) for o in obstacles.values()]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_obstacle_that_comes_is_planned_around_and_one_that_goes_gives_the_way_back(engine: str) -> None:
    live = LivePlanner([1, 5], [9, 5], SPACE, engine=engine)
    assert live.plan(samples=500, time_limit=None).cost == 8.0
    obstacles = {"wall": box(4, 2, 1, 6)}
    live.put("wall", obstacles["wall"])
    around = live.plan(samples=1500, time_limit=None)
    assert check_path(around.points, [1, 5], [9, 5], SPACE, sides(obstacles)) > 9.0
    live.put("far away", box(0, 0, 1, 1))
    assert live.plan(samples=1, time_limit=None).cost == pytest.approx(around.cost, rel=0.01)
    live.put("wall", box(4, 9, 1, 1))  # It moved out of the way.
    assert live.plan(samples=500, time_limit=None).cost == 8.0
    live.remove("wall")
    live.remove("what never was")
    assert live.plan(samples=500, time_limit=None).cost == 8.0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_path_that_nothing_touches_is_known_at_once(engine: str) -> None:
    start, goal, boxes = random_boxes(3, seed=2)
    named = {f"box {n}": {"position": b[0], "dimensions": b[1] - b[0]} for n, b in enumerate(boxes)}
    live = LivePlanner(start, goal, np.ones(3), named, engine=engine)
    before = live.plan(samples=2000, time_limit=None)
    live.put("dust", {"center": [0.99, 0.01, 0.99], "radius": 0.001})
    after = live.plan(samples=1, time_limit=None)
    assert after.first_path_s == 0.0
    assert after.cost <= before.cost


@pytest.mark.parametrize("engine", ENGINES)
def test_who_moves_along_the_path_keeps_the_rest_of_it(engine: str) -> None:
    obstacles = {"wall": box(4, 0, 1, 8)}
    live = LivePlanner([1, 1], [9, 1], SPACE, obstacles, engine=engine)
    path = live.plan(samples=1500, time_limit=None)
    here = np.add(path.points[0], path.points[1]) / 2
    live.move(start=here)
    rest = live.plan(samples=1, time_limit=None)
    assert rest.first_path_s == 0.0
    assert check_path(rest.points, here, [9, 1], SPACE, sides(obstacles)) == pytest.approx(
        path.cost - np.linalg.norm(here - np.array([1, 1])), rel=0.01
    )


def test_a_closed_way_is_said_and_opens_again() -> None:
    live = LivePlanner([1, 1], [9, 1], SPACE, {"wall": box(4, 0, 1, 10)})
    with pytest.raises(NoPathError):
        live.plan(samples=500, time_limit=None)
    live.put("wall", box(4, 0, 1, 9))
    assert live.plan(samples=5000, time_limit=None).cost > 16


def test_who_stands_in_an_obstacle_is_told_and_can_move_out() -> None:
    live = LivePlanner([1, 1], [9, 1], SPACE)
    live.put("crate", box(0, 0, 2, 2))
    with pytest.raises(InvalidSceneError, match="start"):
        live.plan()
    live.move(start=[3, 1])
    assert live.plan().cost == 6.0
    with pytest.raises(InvalidSceneError, match="obstacles"):
        live.put("ghost", {"colour": "white"})


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_comes_and_goes_the_path_is_free(engine: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    live = LivePlanner([0.2, 0.2], [9.8, 9.8], SPACE, engine=engine, seed=seed)
    there: dict[str, Any] = {}
    for _ in range(12):
        name = f"o{rng.integers(0, 8)}"
        if name in there and rng.random() < 0.3:
            del there[name]
            live.remove(name)
        else:
            low = rng.uniform(0.5, 8, 2)
            there[name] = box(low[0], low[1], *rng.uniform(0.1, 2.5, 2).clip(max=9.5 - low))
            live.put(name, there[name])
        try:
            path = live.plan(samples=200, time_limit=None)
        except NoPathError:
            continue
        check_path(path.points, [0.2, 0.2], [9.8, 9.8], SPACE, sides(there))


@pytest.mark.parametrize("kind", [CompiledEngine, NumpyEngine])
def test_the_tree_keeps_what_an_obstacle_does_not_touch_and_its_costs_stay_true(kind: Any) -> None:
    start, goal, boxes = random_boxes(2, seed=3)
    before = scene_of(start, goal, np.ones(2), boxes[:30])
    search = Search(before, kind(before, 0.1, 1), "informed_rrt_star")
    while search.samples < 1500:
        search.advance(100)
    after = scene_of(start, goal, np.ones(2), boxes)
    added = after.with_obstacles(obstacles_of(boxes[30:], 2)).forbidden()
    search.change(after, added)
    while search.samples < 1500:
        search.advance(100)
    way = search.engine.tree_way()
    assert search.engine.is_free(way)
    assert np.linalg.norm(np.diff(way, axis=0), axis=1).sum() == pytest.approx(search.engine.tree_cost())
