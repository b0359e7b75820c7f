"""Making a free path shorter without leaving it for another: corners are cut and pulled tight. Compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.box_tree import BoxTree, first_hit
from bellande_mesh_sync.search_path.chance import State, uniform
from bellande_mesh_sync.search_path.compiled import compiled
from bellande_mesh_sync.search_path.scene import FREE

Floats = NDArray[np.float64]

_PULLS = 4
"""How often one corner's pull is halved before it is left where it is."""


@compiled
def length_of(way: Floats) -> float:
    total = 0.0
    for row in range(1, way.shape[0]):
        total += _apart(way[row - 1], way[row])
    return total


@compiled
def smooth(way: Floats, tree: BoxTree, state: State, rounds: int) -> Floats:
    """A path along the same start and goal, no longer than `way` and as free, after `rounds` of each kind.

    Cost: O(rounds * corners) moves tested.
    """
    way = skip_corners(way, tree)
    for _ in range(rounds):
        way = _cut(way, tree, state)
        if way.shape[0] <= 2:
            break
        _pull(way, tree)
    return skip_corners(way, tree)


@compiled
def skip_corners(way: Floats, tree: BoxTree) -> Floats:
    """From each corner straight to the last one that can be reached from there."""
    kept = np.empty_like(way)
    kept[0] = way[0]
    count, at = 1, 0
    last = way.shape[0] - 1
    while at < last:
        ahead = last
        while ahead > at + 1 and first_hit(way[at], way[ahead], tree, True) != FREE:
            ahead -= 1
        kept[count] = way[ahead]
        count += 1
        at = ahead
    return kept[:count].copy()


@compiled
def _cut(way: Floats, tree: BoxTree, state: State) -> Floats:
    """Join two places on the path by a straight move, if that is free."""
    hops = way.shape[0] - 1
    first, second = int(uniform(state) * hops), int(uniform(state) * hops)
    if first == second:
        return way
    if first > second:
        first, second = second, first
    part_a, part_b = uniform(state), uniform(state)
    a = way[first] + part_a * (way[first + 1] - way[first])
    b = way[second] + part_b * (way[second + 1] - way[second])
    # The rests of both hops are tested as well: rounding may set a place beside the line it lies on.
    if first_hit(a, b, tree, True) != FREE:
        return way
    if first_hit(way[first], a, tree, True) != FREE or first_hit(b, way[second + 1], tree, True) != FREE:
        return way
    cut = np.empty((first + 1 + 2 + way.shape[0] - second - 1, way.shape[1]))
    cut[: first + 1] = way[: first + 1]
    cut[first + 1] = a
    cut[first + 2] = b
    cut[first + 3 :] = way[second + 1 :]
    return cut


@compiled
def _pull(way: Floats, tree: BoxTree) -> None:
    """Move each corner towards the straight line between its neighbours, as far as stays free."""
    for row in range(1, way.shape[0] - 1):
        before, after = way[row - 1], way[row + 1]
        span2, along = 0.0, 0.0
        for k in range(way.shape[1]):
            span2 += (after[k] - before[k]) ** 2
            along += (way[row, k] - before[k]) * (after[k] - before[k])
        if span2 == 0.0:
            continue
        foot = before + min(1.0, max(0.0, along / span2)) * (after - before)
        part = 1.0
        for _ in range(_PULLS):
            place = way[row] + part * (foot - way[row])
            is_free = first_hit(before, place, tree, True) == FREE
            if is_free and first_hit(place, after, tree, True) == FREE:
                way[row] = place
                break
            part *= 0.5


@compiled
def _apart(a: Floats, b: Floats) -> float:
    total = 0.0
    for k in range(a.shape[0]):
        total += (a[k] - b[k]) ** 2
    return float(np.sqrt(total))
