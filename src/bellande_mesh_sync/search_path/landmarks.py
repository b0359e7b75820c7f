"""A sparse memory of a space: the few places of earlier paths that later ones may lead over."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bellande_mesh_sync.search_path.importance import node_importance
from bellande_mesh_sync.search_path.scene import FREE, Scene
from bellande_mesh_sync.search_path.segment import Segment

if TYPE_CHECKING:
    from bellande_mesh_sync.search_path.search import Engine

Floats = NDArray[np.float64]

LANDMARKS_MAX: Final = 256
RECENT_MAX: Final = 32
"""Corners that are remembered of a segment to judge a new one by."""
_CUT_AXES_MAX: Final = 8
_PARTS: Final = 4
_STEP_SHARE: Final = 0.05


class Landmarks:
    """Give the same ones to every `plan` in one space: what one search found, the next one begins with.

    The space is cut into segments; of the corners of each path those are kept that are important in theirs
    (`node_importance`): they cover what none covers, or connect to a segment beside it. Obstacles may change
    between searches, for every move over landmarks is tested anew.

    Args:
        environment: shape (n,): the space from 0 to these.
        parts: into how many segments each of the first eight axes is cut.
        grid_steps: how far along each axis a landmark reaches; a twentieth of the space if not given.
    """

    def __init__(
        self, environment: ArrayLike, *, parts: int = _PARTS, grid_steps: ArrayLike | None = None
    ) -> None:
        sizes = np.asarray(environment, float)
        counts = np.ones(len(sizes), int)
        counts[:_CUT_AXES_MAX] = parts
        self._segments = Segment(sizes, counts)
        self._grid_steps = _STEP_SHARE * sizes if grid_steps is None else np.asarray(grid_steps, float)
        self._kept: dict[int, list[Floats]] = {}
        self._recent: dict[int, deque[Floats]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def places(self) -> Floats:
        """All of them, shape (k, n)."""
        listed = [place for _, places in sorted(self._kept.items()) for place in places]
        return np.array(listed).reshape(len(listed), len(self._segments.counts))

    def learn(self, points: Sequence[Sequence[float]]) -> int:
        """Look at the corners of a path; how many became landmarks. Beyond 256 none does."""
        before = self._count
        for point in points[1:-1]:
            self._look_at(np.array(point, float))
        return self._count - before

    def _look_at(self, place: Floats) -> None:
        segment = int(self._segments.of(place))
        recent = self._recent.setdefault(segment, deque(maxlen=RECENT_MAX))
        recent.append(place)
        if self._count >= LANDMARKS_MAX:
            return
        beside = self._segments.adjacent(segment).tolist()
        near = {str(each): self._kept[each] for each in (segment, *beside) if each in self._kept}
        nodes = [(each, segment) for each in recent]
        adjacent = {str(segment): [each for each in beside if each in self._kept]}
        # All of a segment is to be covered: a corner that is left out may be the one that connects others.
        found = node_importance((place, segment), nodes, near, adjacent, self._grid_steps, 1.0)
        if found.important:
            self._kept.setdefault(segment, []).append(place)
            self._count += 1

    def way(self, scene: Scene, engine: Engine) -> Floats:
        """The shortest free way over landmarks to the goal; if there is none, to the one nearest to it.

        A*: the moves from a place are tested when it is the next, all at once.
        """
        places = np.concatenate([scene.start[None], scene.goal[None], self.places()])
        to_go = np.linalg.norm(places - scene.goal, axis=1)
        costs = np.full(len(places), math.inf)
        costs[0] = 0.0
        before = [0] * len(places)
        is_done = np.zeros(len(places), bool)
        waiting = [(float(to_go[0]), 0)]
        while waiting:
            _, at = heapq.heappop(waiting)
            if at == 1:
                return _traced(places, before, 1)
            if is_done[at]:
                continue
            is_done[at] = True
            over = costs[at] + np.linalg.norm(places - places[at], axis=1)
            shorter = np.flatnonzero(~is_done & (over < costs))
            begins = np.repeat(places[at : at + 1], len(shorter), axis=0)
            is_free = engine.hits(begins, places[shorter]) == FREE
            for row in shorter[is_free].tolist():
                costs[row], before[row] = over[row], at
                heapq.heappush(waiting, (float(over[row] + to_go[row]), row))
        return _traced(places, before, int(np.where(is_done, to_go, math.inf).argmin()))


def _traced(places: Floats, before: list[int], row: int) -> Floats:
    rows = [row]
    while rows[-1]:
        rows.append(before[rows[-1]])
    return places[rows[::-1]]
