"""Informed RRT*, compiled: a tree of cheapest ways from the start, bent towards ever shorter paths.

It starts from a path that is known, so the goal is a node like the others from the beginning, and only
places are sampled through which a shorter one could lead.
Source: RRT* (Karaman, Frazzoli 2011), informed (Gammell, Srinivasa, Barfoot 2014).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.box_tree import BoxTree, first_hit
from bellande_mesh_sync.search_path.chance import State, sample
from bellande_mesh_sync.search_path.compiled import compiled
from bellande_mesh_sync.search_path.scene import FREE

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

GOAL: Final = 1
"""The row of the goal; row 0 is the start."""
_NONE: Final = -1


@compiled
def plant(points: Floats, costs: Floats, links: Integers, start: Floats, goal: Floats) -> int:
    """A tree of the start alone, with the goal waiting for a parent. Returns its size."""
    points[0], points[GOAL] = start, goal
    costs[0], costs[GOAL] = 0.0, np.inf
    links[:2] = _NONE
    return 2


@compiled
def lay(points: Floats, costs: Floats, links: Integers, size: int, way: Floats) -> int:
    """Take the corners of a free path into the tree; its end becomes the goal's way if it is shorter."""
    parent = 0
    for row in range(1, way.shape[0]):
        cost = costs[parent] + _apart(points[parent], way[row])
        if row == way.shape[0] - 1:
            if cost < costs[GOAL]:
                _move(points, costs, links, GOAL, parent, cost)
        else:
            points[size] = way[row]
            costs[size] = np.inf
            links[size] = _NONE
            _move(points, costs, links, size, parent, cost)
            parent = size
            size += 1
    return size


@compiled
def improve(
    points: Floats, costs: Floats, links: Integers, size: int, low: Floats, high: Floats, tree: BoxTree,
    state: State, step: float, reach: float, is_informed: bool, samples_max: int, counts: Integers,
) -> int:  # fmt: skip
    """Go on with the tree for `samples_max` samples, or until it is full. Returns its size.

    Args:
        points: shape (room, n). `costs`: of the way from the start. `links`: parent, first child, next and
            previous child of the same parent, shape (room, 4).
        step: how far a new node may be from its nearest one.
        reach: gamma of RRT*: neighbours are within reach * (ln size / size)^(1/n), or a step.
        counts: [0] grows by the samples drawn.
    """
    room, dimensions = points.shape
    new = np.empty(dimensions)
    near = np.empty(room, np.int64)
    apart = np.empty(room)
    spans = np.empty(room)
    for _ in range(samples_max):
        if size >= room:
            break
        counts[0] += 1
        bound = costs[GOAL] if is_informed else np.inf
        if not sample(state, low, high, points[0], points[GOAL], bound, new):
            continue
        closest, least = 0, np.inf
        for row in range(size):
            total = 0.0
            for k in range(dimensions):
                gap = points[row, k] - new[k]
                total += gap * gap
            spans[row] = total
            if total < least and costs[row] < np.inf:
                closest, least = row, total
        least = np.sqrt(least)
        if least == 0.0:
            continue
        if least > step:
            for k in range(dimensions):
                new[k] = points[closest, k] + (step / least) * (new[k] - points[closest, k])
            for row in range(size):
                total = 0.0
                for k in range(dimensions):
                    gap = points[row, k] - new[k]
                    total += gap * gap
                spans[row] = total
            least = step
        within = min(step, reach * (np.log(size) / size) ** (1.0 / dimensions))
        within = max(within, least * (1.0 + 1e-12))
        count = 0
        for row in range(size):
            if spans[row] <= within * within:
                near[count] = row
                apart[count] = np.sqrt(spans[row])
                count += 1
        parent, cost = _choose(points, costs, near, apart, count, new, tree)
        if parent == _NONE or cost + _apart(new, points[GOAL]) >= costs[GOAL]:
            continue
        points[size] = new
        costs[size] = np.inf
        links[size] = _NONE
        _move(points, costs, links, size, parent, cost)
        added = size
        size += 1
        for place in range(count):
            row = near[place]
            shorter = cost + apart[place]
            if row != 0 and row != parent and shorter < costs[row]:
                if row != GOAL and shorter + _apart(points[row], points[GOAL]) >= costs[GOAL]:
                    continue
                if first_hit(new, points[row], tree, True) == FREE:
                    _move(points, costs, links, row, added, shorter)
    return size


@compiled
def _choose(
    points: Floats, costs: Floats, near: Integers, apart: Floats, count: int, new: Floats, tree: BoxTree
) -> tuple[int, float]:
    """The neighbour over which `new` is reached most cheaply by a free move. Tests the cheapest first."""
    order = np.argsort(costs[near[:count]] + apart[:count])
    for place in order:
        cost = costs[near[place]] + apart[place]
        if cost == np.inf:
            break
        if near[place] != GOAL and first_hit(points[near[place]], new, tree, True) == FREE:
            return near[place], cost
    return _NONE, np.inf


@compiled
def _move(points: Floats, costs: Floats, links: Integers, node: int, parent: int, cost: float) -> None:
    """Give a node another parent; all that hangs on it becomes cheaper by as much."""
    before = links[node, 0]
    if before != _NONE:
        next_one, previous = links[node, 2], links[node, 3]
        if previous == _NONE:
            links[before, 1] = next_one
        else:
            links[previous, 2] = next_one
        if next_one != _NONE:
            links[next_one, 3] = previous
    links[node, 0] = parent
    links[node, 2], links[node, 3] = links[parent, 1], _NONE
    if links[parent, 1] != _NONE:
        links[links[parent, 1], 3] = node
    links[parent, 1] = node
    costs[node] = cost
    at = links[node, 1]
    while at != _NONE and at != node:
        costs[at] = costs[links[at, 0]] + _apart(points[links[at, 0]], points[at])
        if links[at, 1] != _NONE:
            at = links[at, 1]
            continue
        while at != node and links[at, 2] == _NONE:
            at = links[at, 0]
        if at != node:
            at = links[at, 2]


@compiled
def way_to_goal(points: Floats, links: Integers) -> Floats:
    """The tree's way from the start to the goal, shape (k, n)."""
    count, node = 1, GOAL
    while node != 0:
        node = links[node, 0]
        count += 1
    way = np.empty((count, points.shape[1]))
    node = GOAL
    for place in range(count - 1, -1, -1):
        way[place] = points[node]
        node = links[node, 0]
    return way


@compiled
def prune(points: Floats, costs: Floats, links: Integers, size: int, blocked: Flags) -> int:
    """Drop the nodes through which no shorter path can lead, and those whose move from their parent is
    blocked, with all that hangs on them; the new size.

    The goal's own way stays as far as it is not blocked; if it is, the goal has no parent.
    """
    places = np.full(size, _NONE)
    kept = 0
    places[0], places[GOAL] = 0, GOAL
    pending = np.empty(size, np.int64)
    waiting = 0
    child = links[0, 1]
    order = np.empty(size, np.int64)
    on_way = np.zeros(size, np.bool_)
    is_reached = False
    node = GOAL
    while node != _NONE:
        on_way[node] = True
        node = links[node, 0]
    while child != _NONE:
        pending[waiting] = child
        waiting += 1
        child = links[child, 2]
    while waiting:
        waiting -= 1
        node = pending[waiting]
        shortest = _apart(points[0], points[node]) + _apart(points[node], points[GOAL])
        if blocked[node] or (not on_way[node] and shortest >= costs[GOAL]):
            continue
        is_reached = is_reached or node == GOAL
        if node != GOAL:
            order[kept] = node
            places[node] = 2 + kept
            kept += 1
        child = links[node, 1]
        while child != _NONE:
            pending[waiting] = child
            waiting += 1
            child = links[child, 2]
    old_points, old_links = points[:size].copy(), links[:size].copy()
    old_costs = costs[:size].copy()
    links[: 2 + kept] = _NONE
    if not is_reached:
        costs[GOAL] = np.inf
    for place in range(kept):
        points[2 + place] = old_points[order[place]]
        costs[2 + place] = old_costs[order[place]]
    for place in range(kept + 1):
        node = GOAL if place == kept else order[place]
        if old_links[node, 0] != _NONE and (node != GOAL or is_reached):
            row = places[node]
            parent = places[old_links[node, 0]]
            links[row, 0] = parent
            links[row, 2] = links[parent, 1]
            if links[parent, 1] != _NONE:
                links[links[parent, 1], 3] = row
            links[parent, 1] = row
    return 2 + kept


@compiled
def _apart(a: Floats, b: Floats) -> float:
    total = 0.0
    for k in range(a.shape[0]):
        total += (a[k] - b[k]) ** 2
    return float(np.sqrt(total))
