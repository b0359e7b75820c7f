"""RRT-Connect, compiled: two trees grow towards each other until a free straight move joins them.

Source: Kuffner and LaValle 2000. What differs: a tree does not test step after step on its way to the other
one's new node, but asks once where the straight way there ends, and sets its nodes up to that place.
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

RUNNING: Final = 0
FOUND: Final = 1
FULL: Final = 2
"""The trees need more room than their arrays have."""

CHAIN_MAX: Final = 64
"""Nodes that one connecting move may set."""


@compiled
def nearest(points: Floats, size: int, place: Floats) -> int:
    """The row of the first `size` that is nearest to `place`. O(size): quick up to thousands."""
    best, found = np.inf, 0
    for row in range(size):
        total = 0.0
        for k in range(place.shape[0]):
            apart = points[row, k] - place[k]
            total += apart * apart
        if total < best:
            best, found = total, row
    return found


@compiled
def connect(
    points: Floats, parents: Integers, sizes: Integers, meeting: Integers, low: Floats, high: Floats,
    tree: BoxTree, state: State, step: float, bound: float, samples_max: int,
) -> int:  # fmt: skip
    """Go on with two trees, until they are joined, full, or `samples_max` samples are used up.

    Args:
        points: shape (2, room, n). Row 0 of the first tree is the start, of the second the goal.
        parents: shape (2, room).
        sizes: how many nodes each tree has; [2] which one grows next, [3] samples drawn so far.
        meeting: filled with the two nodes that a free move joins.
        bound: only places are sampled through which a path shorter than this could lead.
    """
    start, goal = points[0, 0], points[1, 0]
    dimensions = start.shape[0]
    new = np.empty(dimensions)
    for _ in range(samples_max):
        grows = sizes[2]
        other = 1 - grows
        if max(sizes[0], sizes[1]) + CHAIN_MAX + 1 > points.shape[1]:
            return FULL
        sizes[3] += 1
        if not sample(state, low, high, start, goal, bound, new):
            continue
        near = nearest(points[grows], sizes[grows], new)
        if _advance(points, parents, sizes, grows, near, new, step, tree) == near:
            sizes[2] = other
            continue
        added = sizes[grows] - 1
        new[:] = points[grows, added]
        near = nearest(points[other], sizes[other], new)
        hit = first_hit(points[other, near], new, tree, False)
        if hit == FREE:
            meeting[grows], meeting[other] = added, near
            return FOUND
        _set_chain(points, parents, sizes, other, near, new, step, hit, CHAIN_MAX)
        sizes[2] = other
    return RUNNING


@compiled
def _advance(
    points: Floats, parents: Integers, sizes: Integers, which: int, near: int, to: Floats, step: float,
    tree: BoxTree,
) -> int:  # fmt: skip
    """One step from `near`, if it is free. The node reached: `near` itself if none."""
    length = 0.0
    for k in range(to.shape[0]):
        length += (to[k] - points[which, near, k]) ** 2
    length = np.sqrt(length)
    if length == 0.0:
        return near
    added = int(sizes[which])
    part = min(1.0, step / length)
    for k in range(to.shape[0]):
        points[which, added, k] = points[which, near, k] + part * (to[k] - points[which, near, k])
    if first_hit(points[which, near], points[which, added], tree, True) != FREE:
        return near
    parents[which, added] = near
    sizes[which] = added + 1
    return added


@compiled
def _set_chain(
    points: Floats, parents: Integers, sizes: Integers, which: int, near: int, to: Floats, step: float,
    hit: float, nodes_max: int,
) -> None:  # fmt: skip
    """Nodes from `near` towards `to`, a step apart, as far as the way is free."""
    length = 0.0
    for k in range(to.shape[0]):
        length += (to[k] - points[which, near, k]) ** 2
    length = np.sqrt(length)
    count = min(nodes_max, int(hit * length / step))
    before = near
    for number in range(1, count + 1):
        part = number * step / length
        if part >= hit:
            return
        added = sizes[which]
        for k in range(to.shape[0]):
            points[which, added, k] = points[which, near, k] + part * (to[k] - points[which, near, k])
        parents[which, added] = before
        sizes[which] = added + 1
        before = added


@compiled
def joined(points: Floats, parents: Integers, meeting: Integers) -> Floats:
    """The way from the start to the goal over the move that joins the trees, shape (k, n)."""
    ahead, behind = 1, 1
    node = meeting[0]
    while node != 0:
        node = parents[0, node]
        ahead += 1
    node = meeting[1]
    while node != 0:
        node = parents[1, node]
        behind += 1
    way = np.empty((ahead + behind, points.shape[2]))
    node = meeting[0]
    for place in range(ahead - 1, -1, -1):
        way[place] = points[0, node]
        node = parents[0, node]
    node = meeting[1]
    for place in range(ahead, ahead + behind):
        way[place] = points[1, node]
        node = parents[1, node]
    return way
