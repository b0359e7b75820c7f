"""One search that goes on for as long as it is let: first a path, then shorter ones. It knows no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.search_path.scene import FREE, Obstacles, Scene

Floats = NDArray[np.float64]

CONNECT_SAMPLES: Final = 256
"""Of one slice: some milliseconds at most, so that a clock is looked at often enough."""
IMPROVE_SAMPLES: Final = 32
ROUNDS: Final = 60
"""Of smoothing, for a path that is new."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What a search does once it has a path."""

    smooths: bool
    restarts: bool
    """Look for other paths from nothing, where shorter ones could be."""
    grows: bool
    """Go on with a tree of cheapest ways."""
    is_informed: bool


ALGORITHMS: Final = {
    "auto": Algorithm(smooths=True, restarts=True, grows=True, is_informed=True),
    "rrt_connect": Algorithm(smooths=True, restarts=False, grows=False, is_informed=True),
    "informed_rrt_star": Algorithm(smooths=True, restarts=False, grows=True, is_informed=True),
    "rrt_star": Algorithm(smooths=False, restarts=False, grows=True, is_informed=False),
}


class Engine(Protocol):
    name: str

    def hits(self, starts: Floats, ends: Floats) -> Floats: ...

    def is_free(self, way: Floats) -> bool: ...

    def change(self, scene: Scene, added: Obstacles) -> None: ...

    def seed(self, head: Floats, tail: Floats) -> None: ...

    def connect(self, samples_max: int, bound: float) -> tuple[Floats | None, int]: ...

    def smooth(self, way: Floats, rounds: int) -> Floats: ...

    def lay(self, way: Floats) -> None: ...

    def improve(self, samples_max: int, *, is_informed: bool) -> int: ...

    def tree_cost(self) -> float: ...

    def tree_way(self) -> Floats: ...

    def branches(self) -> Floats: ...


class Search:
    """A question, what is known of its answer, and the next slice of work.

    Equal scenes, seeds and slices give equal paths.
    """

    def __init__(self, scene: Scene, engine: Engine, algorithm: str) -> None:
        self.scene = scene
        self.engine = engine
        self.samples = 0
        self.way: Floats | None = None
        self.cost = math.inf
        self.first_cost = math.inf
        self._does = algorithm_of(algorithm)
        self._restarts_next = True
        self._is_rough = False
        self._is_new = True

    @property
    def is_done(self) -> bool:
        """Whether more work can change nothing."""
        if self.way is None or self._is_rough:
            return False
        return self.cost <= self.scene.lower_bound * (1.0 + 1e-12) or not (
            self._does.grows or self._does.restarts
        )

    def advance(self, samples_max: int) -> None:
        """One slice, of `samples_max` samples at most."""
        if self.way is None:
            self._find(samples_max)
        elif self._is_rough:
            # A slice of its own, so that the first path can be told at once.
            self._is_rough = False
            self._take(self.engine.smooth(self.way, ROUNDS))
        else:
            self._go_on(samples_max)

    def _go_on(self, samples_max: int) -> None:
        if self._restarts_next and self._does.restarts:
            way, used = self.engine.connect(min(CONNECT_SAMPLES, samples_max), self.cost)
            self.samples += used
            if way is not None:
                self._take(self.engine.smooth(way, ROUNDS))
        elif self._does.grows:
            self.samples += max(1, self._grow(min(IMPROVE_SAMPLES, samples_max)))
        self._restarts_next = not self._restarts_next

    def offer(self, way: Floats) -> bool:
        """A path of somebody else, from this start to this goal: taken if it is free here and shorter."""
        scene = self.scene
        if way.ndim != 2 or way.shape[1] != scene.dimensions or len(way) < 2:
            return False
        if not (np.array_equal(way[0], scene.start) and np.array_equal(way[-1], scene.goal)):
            return False
        if not np.all((scene.low <= way) & (way <= scene.high)) or length_of_way(way) >= self.cost:
            return False
        if not self.engine.is_free(way):
            return False
        self._first(way)
        self._take(way)
        return True

    def begin_with(self, way: Floats) -> None:
        """Begin with a free way from the start, whether it comes as far as the goal or not."""
        if not self.offer(way) and len(way) > 1:
            self.engine.seed(way, self.scene.goal[None])

    def change(self, scene: Scene, added: Obstacles) -> None:
        """Go on in this scene, which has the same space, with what of the trees and of the path still holds.

        Args:
            added: of the scene's forbidden places those that are new.
        """
        way = self.way
        self.engine.change(scene, added)
        self.scene = scene
        self.samples = 0
        self.way, self.cost, self.first_cost = None, math.inf, math.inf
        self._is_new, self._is_rough = True, False
        if way is not None:
            self._keep(self._with_ends(way))

    def _with_ends(self, way: Floats) -> Floats:
        """The path from where the start is now, over the corner that makes it shortest."""
        start, goal = self.scene.start, self.scene.goal
        rest = np.concatenate([way[1:-1], goal[None]])
        lengths = np.linalg.norm(np.diff(rest, axis=0), axis=1)
        to_go = np.concatenate([np.cumsum(lengths[::-1])[::-1], [0.0]])
        is_free = self.engine.hits(np.broadcast_to(start, rest.shape).copy(), rest) == FREE
        over = np.where(is_free, np.linalg.norm(rest - start, axis=1) + to_go, math.inf)
        first = int(over.argmin()) if is_free.any() else 0
        return np.concatenate([start[None], rest[first:]])

    def _keep(self, way: Floats) -> None:
        """All of this path if it is free, else its beginning and its end as first branches of the trees."""
        blocked = np.flatnonzero(self.engine.hits(way[:-1], way[1:]) != FREE)
        if not len(blocked):
            self._first(way)
            self._take(way)
        else:
            self.engine.seed(way[: blocked[0] + 1], way[blocked[-1] + 1 :])

    def points(self) -> tuple[tuple[float, ...], ...]:
        assert self.way is not None, "there is a path"
        return tuple(tuple(place) for place in self.way.tolist())

    def _find(self, samples_max: int) -> None:
        straight = np.stack([self.scene.start, self.scene.goal])
        if self._is_new and self.engine.is_free(straight):
            way: Floats | None = straight
        else:
            way, used = self.engine.connect(min(CONNECT_SAMPLES, samples_max), math.inf)
            self.samples += used
        self._is_new = False
        if way is not None:
            self._first(way)
            self._take(way)

    def _grow(self, samples: int) -> int:
        used = self.engine.improve(samples, is_informed=self._does.is_informed)
        if self.engine.tree_cost() < self.cost:
            way = self.engine.tree_way()
            self._take(self.engine.smooth(way, ROUNDS) if self._does.smooths else way)
        return used

    def _first(self, way: Floats) -> None:
        if self.way is None:
            self.first_cost = length_of_way(way)
            self._is_rough = self._does.smooths and len(way) > 2

    def _take(self, way: Floats) -> None:
        cost = length_of_way(way)
        if cost < self.cost:
            self.way, self.cost = way, cost
            if self._does.grows:
                self.engine.lay(way)


def algorithm_of(name: str) -> Algorithm:
    if name not in ALGORITHMS:
        raise UsageError(reason=f"algorithm {name!r} is none of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]


def length_of_way(way: Floats) -> float:
    return float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
