"""A question that stays open: obstacles come, move and go, and so does the one who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bellande_mesh_sync.errors import NoPathError, UsageError
from bellande_mesh_sync.search_path.planner import TIME_LIMIT_S, Teller, load_engine, now, run, search_of
from bellande_mesh_sync.search_path.scene import (
    Obstacle,
    Scene,
    check_place,
    obstacles_of,
    scene_of,
    vector,
)
from bellande_mesh_sync.values import Path

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class LivePlanner:
    """Plans again and again, each time from what still holds: the path, and the trees behind it.

    An obstacle that comes gives up only the moves it touches; one that goes gives up none.

    Args:
        obstacles: by name, each as for `plan`.
        and what `plan` takes.
    """

    def __init__(
        self,
        start: ArrayLike,
        goal: ArrayLike,
        environment: ArrayLike,
        obstacles: Mapping[str, Obstacle] | None = None,
        *,
        clearance: float = 0.0,
        step_size: float | None = None,
        seed: int = 0,
        algorithm: str = "auto",
        engine: str = "auto",
    ) -> None:
        self._named = dict(obstacles or {})
        self._scene = scene_of(start, goal, environment, list(self._named.values()), clearance=clearance)
        self._seed = seed
        self._algorithm = algorithm
        self._compile_s = load_engine(self._scene, engine)
        self._search = search_of(
            self._scene, step_size=step_size, seed=seed, algorithm=algorithm, engine=engine
        )
        self._added: list[str] = []
        self._is_changed = False

    @property
    def scene(self) -> Scene:
        """As it was planned last."""
        return self._scene

    def put(self, name: str, obstacle: Obstacle) -> None:
        """There is an obstacle, or another one under this name. InvalidSceneError if it is none."""
        obstacles_of([obstacle], self._scene.dimensions)
        self._named[name] = obstacle
        self._added.append(name)
        self._is_changed = True

    def remove(self, name: str) -> None:
        """It is gone. Nothing happens if there was none."""
        if self._named.pop(name, None) is not None:
            self._is_changed = True

    def move(self, start: ArrayLike | None = None, goal: ArrayLike | None = None) -> None:
        """Plan from here, or to there, from now on."""
        count = self._scene.dimensions
        if start is not None:
            self._scene = replace(self._scene, start=vector(start, "start", count))
        if goal is not None:
            self._scene = replace(self._scene, goal=vector(goal, "goal", count))
        self._is_changed = True

    def plan(
        self,
        *,
        time_limit: float | None = TIME_LIMIT_S,
        samples: int | None = None,
        on_progress: Callable[[Path], object] | None = None,
    ) -> Path:
        """The shortest path that was found in this time, or was known before and still holds.

        Raises:
            InvalidSceneError: start or goal is in an obstacle now. Change that, and plan again.
            NoPathError: none was found in time; what was searched is kept for the next call.
        """
        if time_limit is None and samples is None:
            raise UsageError(reason="a search needs a time limit, a number of samples, or both")
        began = now()
        self._change()
        search = self._search
        teller = Teller(search, self._algorithm, self._seed, began, self._compile_s, on_progress)
        self._compile_s = 0.0
        end = None if samples is None else search.samples + samples
        run(search, teller, time_limit, end)
        if search.way is None:
            raise NoPathError(samples=search.samples, seconds=round(teller.seconds(), 3))
        return teller.path()

    def _change(self) -> None:
        if not self._is_changed:
            return
        count = self._scene.dimensions
        scene = self._scene.with_obstacles(obstacles_of(list(self._named.values()), count))
        check_place(scene, scene.start, "start")
        check_place(scene, scene.goal, "goal")
        names = [name for name in dict.fromkeys(self._added) if name in self._named]
        added = scene.with_obstacles(obstacles_of([self._named[name] for name in names], count)).forbidden()
        self._scene = scene
        self._search.change(scene, added)
        self._added.clear()
        self._is_changed = False
