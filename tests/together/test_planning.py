"""Three nodes plan one path together, over a real mesh."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.errors import InvalidSceneError, NotFoundError
from bellande_mesh_sync.plan_wish import PlanWish
from bellande_mesh_sync.shared_paths import decode_path, encode_path
from bellande_mesh_sync.together import plan_shared, plan_together
from bellande_mesh_sync.together.planning import Sharing
from bellande_mesh_sync.values import Path
from tests.mesh.conftest import MeshMaker, Scenario, agree
from tests.search_path.scenes import check_path, random_boxes

Play = Callable[[Scenario], None]
SPACES = {"plans": {"conflict": "bellande_mesh_sync.shared_paths:shorter"}}


def wish_of(n: int = 3, scene: int = 2, **settings: Any) -> PlanWish:
    start, goal, boxes = random_boxes(n, scene)
    obstacles = [{"position": low.tolist(), "dimensions": (high - low).tolist()} for low, high in boxes]
    return PlanWish(
        start=start.tolist(), goal=goal.tolist(), environment=[1.0] * n, obstacles=obstacles, **settings
    )


async def best_on(mesh: Mesh, prefix: str) -> bytes:
    entries = (await mesh.list(f"{prefix}/best/")).entries
    assert len(entries) == 1
    return (await mesh.get(entries[0].key)).data


def test_three_nodes_end_with_one_path_as_short_as_the_shortest_of_theirs(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three(spaces=SPACES)
        wishes = [wish_of(time_limit=1.0) for _ in nodes]
        for number, wish in enumerate(wishes):
            wish.seed = number
        paths = await asyncio.gather(
            *(plan_together(mesh, "plans/dock", wish) for mesh, wish in zip(nodes, wishes, strict=True))
        )
        await agree(*nodes)
        shared = decode_path(await best_on(nodes[0], "plans/dock"))
        assert shared is not None
        assert shared.cost <= min(path.cost for path in paths) * (1 + 1e-5)
        start, goal, boxes = random_boxes(3, 2)
        check_path(shared.points, start, goal, np.ones(3), boxes)

        # Who joins later starts from the best.
        late = await make.node("late", nodes[0], spaces=SPACES)
        await agree(late, *nodes)
        told: list[Path] = []
        path = await plan_together(
            late, "plans/dock", wish_of(time_limit=0.2, seed=9), on_progress=told.append
        )
        assert told[0].cost <= shared.cost
        assert path.first_cost <= shared.cost

    play(scenario)


class MemoryDoor:
    """A door to keys in memory, where others may write too."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[bytes, str]] = {}
        self.lock = threading.Lock()
        self.writes = 0

    def read(self, key: str) -> tuple[bytes, str] | None:
        return self.values.get(key)

    def write(self, key: str, data: bytes, version: str) -> bool:
        with self.lock:
            if self.values.get(key, (b"", ""))[1] != version:
                return False
            self.writes += 1
            self.values[key] = (data, str(self.writes))
            return True

    def versions(self, prefix: str) -> dict[str, str]:
        return {key: version for key, (_, version) in self.values.items() if key.startswith(prefix)}

    def put(self, key: str, value: Any) -> None:
        self.write(key, json.dumps(value).encode(), self.values.get(key, (b"", ""))[1])


def flat(**settings: Any) -> PlanWish:
    return PlanWish(start=[1, 5], goal=[9, 5], environment=[10, 10], samples=600, time_limit=60, **settings)


def test_a_shorter_path_that_is_not_free_is_not_taken_and_replaced() -> None:
    door = MemoryDoor()
    wall = {"position": [4, 0], "dimensions": [1, 9]}
    wish = flat(obstacles=[wall])
    key = Sharing(door, "plans/x", wish).best_key
    door.write(key, encode_path(8.0, [(1.0, 5.0), (9.0, 5.0)]), "")
    path = plan_shared(door, "plans/x", wish)
    assert path.cost > 10
    best = decode_path(door.values[key][0])
    assert best is not None
    assert best.cost == path.cost


@pytest.mark.parametrize(
    "data", [b"junk", encode_path(5.0, [(0.0, 0.0), (3.0, 4.0)]), b'{"cost":1,"points":[]}']
)
def test_what_lies_under_the_key_and_is_no_answer_is_replaced(data: bytes) -> None:
    door = MemoryDoor()
    wish = flat()
    door.write(Sharing(door, "plans/x", wish).best_key, data, "")
    assert plan_shared(door, "plans/x", wish).cost == 8.0
    assert b'"cost":8.0' in door.values[Sharing(door, "plans/x", wish).best_key][0]


def test_a_shared_obstacle_counts_and_has_a_best_path_of_its_own() -> None:
    door = MemoryDoor()
    assert plan_shared(door, "plans/x", flat()).cost == 8.0
    door.put("plans/x/obstacles/lift", {"position": [4, 2], "dimensions": [1, 6]})
    assert plan_shared(door, "plans/x", flat()).cost > 9
    assert len(door.versions("plans/x/best/")) == 2


def test_an_obstacle_that_comes_while_a_search_runs_is_planned_around() -> None:
    door = MemoryDoor()
    wall = {"position": [4, 2], "dimensions": [1, 6]}
    wish = PlanWish(start=[1, 5], goal=[9, 5], environment=[10, 10], obstacles=[wall], time_limit=30)
    ends = threading.Event()
    costs: list[float] = []

    def tell(path: Path) -> None:
        costs.append(path.cost)
        if len(costs) == 1:
            door.put("plans/x/obstacles/lift", {"position": [4, 1], "dimensions": [1, 8]})
        elif path.cost > costs[-2]:
            ends.set()

    path = plan_shared(door, "plans/x", wish, on_progress=tell, ends=ends)
    check_path(path.points, [1, 5], [9, 5], [10, 10], [([4, 1], [5, 9])])


def test_a_shared_obstacle_that_is_none_is_named() -> None:
    door = MemoryDoor()
    door.put("plans/x/obstacles/ghost", {"colour": "white"})
    with pytest.raises(InvalidSceneError, match="plans/x/obstacles/ghost"):
        plan_shared(door, "plans/x", flat())


def test_a_mesh_says_that_there_is_nothing_yet(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a", spaces=SPACES)
        path = await plan_together(mesh, "plans/x", flat())
        assert path.cost == 8.0
        with pytest.raises(NotFoundError):
            await mesh.get("plans/x/best")

    play(scenario)
