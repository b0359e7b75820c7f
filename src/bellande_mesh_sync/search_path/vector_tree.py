"""Informed RRT* in NumPy, one sample after another and all moves of one sample at once; as `improving`."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.moves import Moves
from bellande_mesh_sync.search_path.scene import FREE, Obstacles, Scene, reach_of

Floats = NDArray[np.float64]

GOAL: Final = 1
NODES_MAX: Final = 20_000
_TESTED_AT_ONCE: Final = 8
_ROUNDS_MAX: Final = 16


def sample_many(rng: Generator, scene: Scene, bound: float, count: int) -> Floats:
    """Up to `count` places through which a path shorter than `bound` could lead; `chance.sample` says how."""
    if bound == math.inf:
        return rng.uniform(scene.low, scene.high, (count, scene.dimensions))
    found: list[Floats] = []
    missing = count
    for number in range(_ROUNDS_MAX):
        places = _in_ellipsoid(rng, scene, bound, 2 * count) if number % 2 == 0 else (
            rng.uniform(scene.low, scene.high, (2 * count, scene.dimensions))
        )  # fmt: skip
        inside = np.all((scene.low <= places) & (places <= scene.high), axis=1)
        over = np.linalg.norm(places - scene.start, axis=1) + np.linalg.norm(places - scene.goal, axis=1)
        found.append(places[inside & (over <= bound * (1.0 + 1e-12))][:missing])
        missing -= len(found[-1])
        if not missing:
            break
    return np.concatenate(found)


def _in_ellipsoid(rng: Generator, scene: Scene, bound: float, count: int) -> Floats:
    n = scene.dimensions
    places = rng.standard_normal((count, n))
    places *= rng.random((count, 1)) ** (1.0 / n) / np.linalg.norm(places, axis=1, keepdims=True)
    span = scene.lower_bound
    narrow = 0.5 * math.sqrt(max(bound * bound - span * span, 0.0))
    places *= np.array([0.5 * bound] + [narrow] * (n - 1))
    if span > 0.0:
        mirror = (scene.goal - scene.start) / span
        mirror[0] -= 1.0
        if (size2 := float(mirror @ mirror)) > 1e-24:
            places -= (2.0 / size2) * (places @ mirror)[:, None] * mirror
    return places + 0.5 * (scene.start + scene.goal)


class CheapestWays:
    """The tree of cheapest ways from the start. The goal is row 1, and has no parent at first."""

    def __init__(self, scene: Scene, moves: Moves, rng: Generator, step: float) -> None:
        self._scene = scene
        self._moves = moves
        self._rng = rng
        self._step = step
        self._reach = reach_of(scene)
        self._plant()

    def _plant(self) -> None:
        scene = self._scene
        self._points = np.empty((256, scene.dimensions))
        self._points[0], self._points[GOAL] = scene.start, scene.goal
        self._costs = np.full(256, np.inf)
        self._costs[0] = 0.0
        self._parents = [-1, -1]
        self._children: list[list[int]] = [[], []]

    def cost(self) -> float:
        return float(self._costs[GOAL])

    def branches(self) -> Floats:
        rows = [row for row, parent in enumerate(self._parents) if parent >= 0]
        parents = [self._parents[row] for row in rows]
        return np.stack([self._points[parents], self._points[rows]], axis=1)

    def way(self) -> Floats:
        rows = [GOAL]
        while rows[-1]:
            rows.append(self._parents[rows[-1]])
        return self._points[rows[::-1]].copy()

    def change(self, scene: Scene, moves: Moves, added: Obstacles) -> None:
        """Other obstacles: what hangs on a move that `added` touches is given up."""
        self._scene = scene
        self._moves = moves
        size = len(self._parents)
        parents = np.maximum(np.array(self._parents), 0)
        tested = moves if scene.collides is not None else Moves(scene, added)
        is_blocked = tested.hits(self._points[parents], self._points[:size]) != FREE
        is_blocked[0] = False
        old, children, costs = self._points, self._children, self._costs
        self._plant()
        pending = [(child, 0) for child in children[0]]
        while pending:
            node, parent = pending.pop()
            if is_blocked[node]:
                continue
            if node == GOAL:
                self._move(GOAL, parent, float(costs[GOAL]))
                continue
            added_row = self._add(old[node], parent, float(costs[node]))
            pending += [(child, added_row) for child in children[node]]

    def lay(self, way: Floats) -> None:
        parent = 0
        for place in way[1:-1]:
            cost = float(self._costs[parent] + np.linalg.norm(place - self._points[parent]))
            parent = self._add(place, parent, cost)
        cost = float(self._costs[parent] + np.linalg.norm(self._scene.goal - self._points[parent]))
        if cost < self.cost():
            self._move(GOAL, parent, cost)

    def improve(self, samples_max: int, *, is_informed: bool) -> int:
        if len(self._parents) + samples_max > NODES_MAX:
            return 0
        bound = self.cost() if is_informed else math.inf
        places = sample_many(self._rng, self._scene, bound, samples_max)
        for place in places:
            self._try(place)
        return samples_max

    def _try(self, place: Floats) -> None:
        size = len(self._parents)
        points, costs = self._points[:size], self._costs[:size]
        gaps = points - place
        spans = np.einsum("ij,ij->i", gaps, gaps)
        closest = int(np.where(costs < np.inf, spans, np.inf).argmin())
        least = math.sqrt(spans[closest])
        if least == 0.0:
            return
        if least > self._step:
            place = points[closest] + (self._step / least) * (place - points[closest])
            gaps = points - place
            spans = np.einsum("ij,ij->i", gaps, gaps)
            least = self._step
        within = min(self._step, self._reach * (math.log(size) / size) ** (1.0 / len(place)))
        within = max(within, least * (1.0 + 1e-12))
        near = np.flatnonzero(spans <= within * within)
        apart = np.sqrt(spans[near])
        parent, cost = self._choose(near, apart, place)
        rest = self._scene.goal - place
        if parent < 0 or cost + math.sqrt(rest @ rest) >= self.cost():
            return
        added = self._add(place, parent, cost)
        shorter = cost + apart
        over = shorter + np.linalg.norm(self._points[near] - self._scene.goal, axis=1)
        wanted = (near != 0) & (near != parent) & (shorter < self._costs[near])
        wanted &= (over < self.cost()) | (near == GOAL)
        near, shorter = near[wanted], shorter[wanted]
        if not len(near):
            return
        ends = self._points[near]
        for at in np.flatnonzero(self._moves.hits(np.broadcast_to(place, ends.shape), ends) == FREE):
            if shorter[at] < self._costs[near[at]]:  # What hangs on another one may be cheaper by now.
                self._move(int(near[at]), added, float(shorter[at]))

    def _choose(self, near: NDArray[np.int64], apart: Floats, place: Floats) -> tuple[int, float]:
        costs = self._costs[near] + apart
        costs[near == GOAL] = np.inf
        order = costs.argsort(kind="stable")
        for begin in range(0, len(order), _TESTED_AT_ONCE):
            rows = order[begin : begin + _TESTED_AT_ONCE]
            rows = rows[costs[rows] < np.inf]
            if not len(rows):
                break
            begins = self._points[near[rows]]
            fits = np.flatnonzero(self._moves.hits(begins, np.broadcast_to(place, begins.shape)) == FREE)
            if len(fits):
                best = rows[fits[0]]
                return int(near[best]), float(costs[best])
        return -1, math.inf

    def _add(self, place: Floats, parent: int, cost: float) -> int:
        added = len(self._parents)
        if added == len(self._points):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._costs = np.concatenate([self._costs, np.full_like(self._costs, np.inf)])
        self._points[added] = place
        self._parents.append(-1)
        self._children.append([])
        self._move(added, parent, cost)
        return added

    def _move(self, node: int, parent: int, cost: float) -> None:
        if self._parents[node] >= 0:
            self._children[self._parents[node]].remove(node)
        self._parents[node] = parent
        self._children[parent].append(node)
        self._costs[node] = cost
        pending = [node]
        while pending:
            at = pending.pop()
            for child in self._children[at]:
                self._costs[child] = self._costs[at] + np.linalg.norm(self._points[child] - self._points[at])
                pending.append(child)
