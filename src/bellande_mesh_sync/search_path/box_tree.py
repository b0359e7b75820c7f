"""A tree of boxes around obstacles, and where a straight move first meets one. Compiled.

An obstacle is a closed box, or a sphere within the box around it. The tree lies in arrays in depth-first
order; each node says which one comes next when nothing in it can be met, so a walk needs no stack. It works
in any dimension, where a grid would not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.compiled import compiled
from bellande_mesh_sync.search_path.scene import FREE

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
BoxTree = tuple[Floats, Floats, Floats, Floats, Floats, Integers, Integers, Integers]
"""Obstacles' lower and upper corners and radii (below 0: a box), in the tree's order; the nodes' lower and
upper corners, the node to go on with if this one is missed, first obstacle, and count (0: no leaf)."""

_LEAF_MAX: Final = 4
_DEPTH_MAX: Final = 64


@compiled
def build_box_tree(low: Floats, high: Floats, radii: Floats) -> BoxTree:
    """O(m log^2 m) for m obstacles: halves by the centres along the widest axis."""
    count, dimensions = low.shape
    order = np.arange(count)
    node_low = np.empty((2 * count + 1, dimensions))
    node_high = np.empty((2 * count + 1, dimensions))
    first = np.zeros(2 * count + 1, np.int64)
    held = np.zeros(2 * count + 1, np.int64)
    depths = np.zeros(2 * count + 1, np.int64)
    pending = np.empty((_DEPTH_MAX, 3), np.int64)
    pending[0, 0], pending[0, 1], pending[0, 2] = 0, count, 0
    waiting = 1 if count else 0
    nodes = 0
    while waiting:
        waiting -= 1
        begin, end, depth = pending[waiting, 0], pending[waiting, 1], pending[waiting, 2]
        axis, width = 0, -1.0
        for k in range(dimensions):
            node_low[nodes, k], node_high[nodes, k] = np.inf, -np.inf
            least, most = np.inf, -np.inf
            for place in range(begin, end):
                item = order[place]
                node_low[nodes, k] = min(node_low[nodes, k], low[item, k])
                node_high[nodes, k] = max(node_high[nodes, k], high[item, k])
                centre = low[item, k] + high[item, k]
                least, most = min(least, centre), max(most, centre)
            if most - least > width:
                axis, width = k, most - least
        first[nodes] = begin
        depths[nodes] = depth
        if end - begin <= _LEAF_MAX:
            held[nodes] = end - begin
        else:
            part = order[begin:end].copy()
            centres = low[part, axis] + high[part, axis]
            order[begin:end] = part[np.argsort(centres, kind="mergesort")]
            middle = (begin + end) // 2
            pending[waiting, 0], pending[waiting, 1], pending[waiting, 2] = middle, end, depth + 1
            waiting += 1
            pending[waiting, 0], pending[waiting, 1], pending[waiting, 2] = begin, middle, depth + 1
            waiting += 1
        nodes += 1
    skip = np.empty(nodes, np.int64)
    after = np.full(_DEPTH_MAX, nodes, np.int64)
    for node in range(nodes - 1, -1, -1):
        skip[node] = after[depths[node]]
        after[depths[node] :] = node
    return (
        low[order], high[order], radii[order],
        node_low[:nodes].copy(), node_high[:nodes].copy(), skip, first[:nodes].copy(), held[:nodes].copy(),
    )  # fmt: skip


@compiled
def _enters(start: Floats, end: Floats, low: Floats, high: Floats, row: int, latest: float) -> float:
    """Where start + t * (end - start) enters this box, 0 <= t <= latest; FREE if it does not. Slabs."""
    enters, leaves = 0.0, latest
    for k in range(start.shape[0]):
        move = end[k] - start[k]
        if move == 0.0:
            if start[k] < low[row, k] or start[k] > high[row, k]:
                return FREE
            continue
        near, far = (low[row, k] - start[k]) / move, (high[row, k] - start[k]) / move
        if near > far:
            near, far = far, near
        enters, leaves = max(enters, near), min(leaves, far)
        if enters > leaves:
            return FREE
    return enters


@compiled
def _enters_sphere(start: Floats, end: Floats, low: Floats, high: Floats, row: int, radius: float) -> float:
    """As `_enters`, for the sphere in the middle of this box: first t with |start + t*move - c| = r."""
    length2, along, away2 = 0.0, 0.0, 0.0
    for k in range(start.shape[0]):
        move = end[k] - start[k]
        away = start[k] - 0.5 * (low[row, k] + high[row, k])
        length2 += move * move
        along += move * away
        away2 += away * away
    outside = away2 - radius * radius
    if outside <= 0.0:
        return 0.0
    root2 = along * along - length2 * outside
    if root2 < 0.0 or along >= 0.0:
        return FREE
    at = outside / (-along + np.sqrt(root2))  # The stable form: no difference of near equals.
    return at if at <= 1.0 else FREE


@compiled
def first_hit(start: Floats, end: Floats, tree: BoxTree, is_any: bool) -> float:
    """The smallest t in [0, 1] at which start + t * (end - start) is in an obstacle; FREE if none is.

    With `is_any` the first one found will do, which is quicker. Exact: nothing is sampled.
    """
    low, high, radii, node_low, node_high, skip, first, held = tree
    best = FREE
    node = 0
    while node < skip.shape[0]:
        if _enters(start, end, node_low, node_high, node, min(best, 1.0)) == FREE:
            node = skip[node]
            continue
        for item in range(first[node], first[node] + held[node]):
            if radii[item] < 0.0:
                at = _enters(start, end, low, high, item, 1.0)
            else:
                at = _enters_sphere(start, end, low, high, item, radii[item])
            if at < best:
                best = at
                if is_any:
                    return best
        node += 1
    return best


@compiled
def hits_of(starts: Floats, ends: Floats, tree: BoxTree) -> Floats:
    """`first_hit` of many moves."""
    found = np.empty(starts.shape[0])
    for row in range(starts.shape[0]):
        found[row] = first_hit(starts[row], ends[row], tree, False)
    return found
