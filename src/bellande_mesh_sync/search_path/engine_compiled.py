"""The searches on compiled loops: arrays that grow, and the calls into them."""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.search_path import improving
from bellande_mesh_sync.search_path.box_tree import build_box_tree, hits_of
from bellande_mesh_sync.search_path.rrt_connect import FOUND, FULL, connect, joined
from bellande_mesh_sync.search_path.scene import FREE, Obstacles, Scene, has_other_ends, reach_of, scene_of
from bellande_mesh_sync.search_path.smoothing import smooth

Floats = NDArray[np.float64]

ROOM: Final = 1024
"""Nodes for which the arrays have room at first; they double."""
NODES_MAX: Final = 1 << 18
_PRUNE_GAIN: Final = 0.99
"""The tree is pruned when the best path became shorter than this share of what it was at the last time."""


class CompiledEngine:
    """One search's trees. Boxes and balls only."""

    name = "compiled"

    def __init__(self, scene: Scene, step: float, seed: int) -> None:
        self._step = step
        self._state = np.array([seed], np.uint64)
        self._size = 0
        self._reach = reach_of(scene)
        self._pruned_at = math.inf
        self._set(scene)
        self._restart(ROOM)
        self._plant(ROOM)

    def _set(self, scene: Scene) -> None:
        self._scene = scene
        forbidden = scene.forbidden()
        self._tree = build_box_tree(forbidden.low, forbidden.high, forbidden.radii)

    def hits(self, starts: Floats, ends: Floats) -> Floats:
        """For each move the share of it after which it first collides; FREE if it does not."""
        return hits_of(np.ascontiguousarray(starts), np.ascontiguousarray(ends), self._tree)

    def is_free(self, way: Floats) -> bool:
        return bool(np.all(self.hits(way[:-1], way[1:]) == FREE))

    def change(self, scene: Scene, added: Obstacles) -> None:
        """Go on in another scene. Only what `added` touches is given up, unless start or goal moved."""
        has_moved = has_other_ends(self._scene, scene)
        self._set(scene)
        self._restart(ROOM)
        self._pruned_at = math.inf
        if has_moved:
            self._plant(ROOM)
        elif len(added):
            tree = build_box_tree(added.low, added.high, added.radii)
            parents = np.maximum(self._links[: self._size, 0], 0)
            nodes = self._nodes[: self._size]
            blocked = hits_of(nodes[parents], nodes, tree) != FREE
            blocked[0] = False
            self._prune(blocked)

    def seed(self, head: Floats, tail: Floats) -> None:
        """Begin the two trees with a way from the start and a way to the goal, both free."""
        self._restart(max(ROOM, 2 * max(len(head), len(tail))))
        for tree, way in enumerate((head, tail[::-1])):
            self._points[tree, : len(way)] = way
            self._parents[tree, 1 : len(way)] = np.arange(len(way) - 1)
            self._sizes[tree] = len(way)

    # -- a path, from nothing

    def connect(self, samples_max: int, bound: float) -> tuple[Floats | None, int]:
        """Go on with the two trees; a path if they were joined, and the samples used."""
        before = int(self._sizes[3])
        scene = self._scene
        while True:
            left = samples_max - (int(self._sizes[3]) - before)
            said = connect(
                self._points, self._parents, self._sizes, self._meeting, scene.low, scene.high, self._tree,
                self._state, self._step, bound, left,
            )  # fmt: skip
            if said != FULL or self._points.shape[1] >= NODES_MAX:
                break
            self._widen()
        used = int(self._sizes[3]) - before
        if said != FOUND:
            if said == FULL:
                self._restart(ROOM)
            return None, used
        way = joined(self._points, self._parents, self._meeting)
        self._restart(self._points.shape[1])
        return way, used

    def _restart(self, room: int) -> None:
        scene = self._scene
        self._points = np.empty((2, room, scene.dimensions))
        self._parents = np.zeros((2, room), np.int64)
        self._points[0, 0], self._points[1, 0] = scene.start, scene.goal
        self._sizes = np.array([1, 1, 0, 0])
        self._meeting = np.zeros(2, np.int64)

    def _widen(self) -> None:
        self._points = np.concatenate([self._points, np.empty_like(self._points)], axis=1)
        self._parents = np.concatenate([self._parents, np.zeros_like(self._parents)], axis=1)

    # -- a shorter one

    def smooth(self, way: Floats, rounds: int) -> Floats:
        return smooth(way, self._tree, self._state, rounds)

    def lay(self, way: Floats) -> None:
        """Give the tree of cheapest ways this free path."""
        self._make_room(len(way))
        if self._size + len(way) <= len(self._costs):
            self._size = improving.lay(self._nodes, self._costs, self._links, self._size, way)

    def improve(self, samples_max: int, *, is_informed: bool) -> int:
        """Go on with the tree of cheapest ways; the samples used."""
        self._make_room(samples_max)
        scene = self._scene
        self._counts[0] = 0
        self._size = improving.improve(
            self._nodes, self._costs, self._links, self._size, scene.low, scene.high, self._tree, self._state,
            2.0 * self._step, self._reach, is_informed, samples_max, self._counts,
        )  # fmt: skip
        if is_informed and self._costs[improving.GOAL] < _PRUNE_GAIN * self._pruned_at:
            self._pruned_at = float(self._costs[improving.GOAL])
            self._prune(np.zeros(self._size, np.bool_))
        return int(self._counts[0])

    def _prune(self, blocked: NDArray[np.bool_]) -> None:
        self._size = improving.prune(self._nodes, self._costs, self._links, self._size, blocked)

    def tree_cost(self) -> float:
        return float(self._costs[improving.GOAL])

    def tree_way(self) -> Floats:
        return improving.way_to_goal(self._nodes, self._links)

    def branches(self) -> Floats:
        """All moves of all trees, shape (k, 2, n), for pictures."""
        found = []
        for tree in range(2):
            size = self._sizes[tree]
            points = self._points[tree, :size]
            found.append(np.stack([points[self._parents[tree, 1:size]], points[1:]], axis=1))
        rows = np.flatnonzero(self._links[: self._size, 0] >= 0)
        nodes = self._nodes
        found.append(np.stack([nodes[self._links[rows, 0]], nodes[rows]], axis=1))
        return np.concatenate(found)

    def _plant(self, room: int) -> None:
        scene = self._scene
        self._nodes = np.empty((room, scene.dimensions))
        self._costs = np.empty(room)
        self._links = np.empty((room, 4), np.int64)
        self._counts = np.zeros(1, np.int64)
        self._size = improving.plant(self._nodes, self._costs, self._links, scene.start, scene.goal)

    def _make_room(self, more: int) -> None:
        room = len(self._costs)
        if self._size + more <= room or room >= NODES_MAX:
            return
        while room < self._size + more:
            room *= 2
        for name in ("_nodes", "_costs", "_links"):
            old = getattr(self, name)
            new = np.empty((room, *old.shape[1:]), old.dtype)
            new[: self._size] = old[: self._size]
            setattr(self, name, new)


@functools.cache
def warm() -> None:
    """Compile all of this, or load what was compiled before, so that no search pays for it."""
    wall = np.array([[[0.4, 0.0], [0.6, 0.9]]])
    scene = scene_of([0.1, 0.1], [0.9, 0.1], [1.0, 1.0], wall)
    engine = CompiledEngine(scene, 0.2, 0)
    way, _ = engine.connect(4096, math.inf)
    assert way is not None, "there is a way around that wall"
    engine.lay(engine.smooth(way, 4))
    engine.improve(64, is_informed=True)
    engine.is_free(engine.tree_way())
