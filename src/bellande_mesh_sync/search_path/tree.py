"""A search tree: points with a parent each, and the cost of the way from the root."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError, PathError
from bellande_mesh_sync.search_path.arrays import (
    FloatArray,
    IndexArray,
    lengths,
    point_of,
    positive,
    whole,
)
from bellande_mesh_sync.search_path.neighbours import Neighbours
from bellande_mesh_sync.search_path.step import advance

EdgeCheck: TypeAlias = Callable[[FloatArray, FloatArray], bool]
"""Whether one may go straight from one point to another."""

ROOT = 0
NODES_MAX = 10_000_000


class Tree:
    """Nodes are numbered from 0, the root, in the order in which they were added; none is removed.

    Source: RRT (LaValle 1998), RRT* (Karaman and Frazzoli, IJRR 2011); docs/search-path/tree.md.
    """

    def __init__(self, root: ArrayLike, *, nodes_max: int = 1_000_000) -> None:
        """A tree of one node. `nodes_max`: `add` and `extend` refuse to grow it beyond."""
        start = point_of("the root", root)
        if not len(start):
            raise InvalidNumberError(what="the root", wanted="a point of one dimension at least")
        self.nodes_max = whole("nodes_max", nodes_max, 1, NODES_MAX)
        self._neighbours = Neighbours(len(start))
        self._neighbours.add(start)
        self._parents = [ROOT]
        self._edges = [0.0]  # The length of each node's edge from its parent.
        self._costs = [0.0]
        self._children: list[list[int]] = [[]]

    def __len__(self) -> int:
        return len(self._parents)

    @property
    def points(self) -> FloatArray:
        """Shape (m, n), by number; read only."""
        return self._neighbours.points

    @property
    def parents(self) -> IndexArray:
        """Shape (m,); the root is its own."""
        return np.array(self._parents, dtype=np.int64)

    @property
    def costs(self) -> FloatArray:
        """Shape (m,): the length of the way from the root to each node."""
        return np.array(self._costs)

    def cost(self, node: int) -> float:
        return self._costs[self._checked(node)]

    def parent(self, node: int) -> int:
        return self._parents[self._checked(node)]

    def nearest(self, target: ArrayLike) -> int:
        """The node nearest to a point. Cost: O(m n), or O(log m) compiled steps from 4096 nodes on."""
        return int(self._neighbours.nearest(point_of("the target", target))[0][0])

    def near(self, target: ArrayLike, radius: float) -> IndexArray:
        """All nodes at most `radius` away from a point, ascending."""
        return self._neighbours.within(target, radius)

    def nearest_of(self, target: ArrayLike, k: int) -> IndexArray:
        """The `k` nodes nearest to a point, nearest first; all there are if they are fewer."""
        return self._neighbours.nearest(point_of("the target", target), k)[0]

    def add(self, point: ArrayLike, parent: int) -> int:
        """Add a node under `parent`, with no check of the edge; its number. Raises PathError when full."""
        above = self._checked(parent)
        if len(self) >= self.nodes_max:
            raise PathError(reason=f"the tree has {self.nodes_max} nodes, which is its bound 'nodes_max'")
        node = self._neighbours.add(point)
        edge = self._length(above, node)
        self._parents.append(above)
        self._edges.append(edge)
        self._costs.append(self._costs[above] + edge)
        self._children.append([])
        self._children[above].append(node)
        return node

    def extend(self, target: ArrayLike, limit: float, is_free: EdgeCheck | None = None) -> int | None:
        """Grow from the nearest node toward `target` by one Step of at most `limit`.

        Returns the new node, or None where the edge is not free or `target` is a node already.
        """
        wanted = point_of("the target", target, self._neighbours.dimensions)
        most = np.asarray(positive("limit", limit))
        near = self.nearest(wanted)
        start = self.points[near]
        point = advance(start, wanted, most, resting=True)
        if (point == start).all() or (is_free is not None and not is_free(start, point)):
            return None
        return self.add(point, near)

    def rewire(self, node: int, near: Iterable[int], is_free: EdgeCheck | None = None) -> list[int]:
        """Give `node` the cheapest parent among `near`, then lead those of `near` that gain through it.

        Returns the nodes with a new parent. Costs below them follow. Edges are checked in the order of
        their gain, and only those that would gain.
        """
        middle = self._checked(node)
        others = [other for other in dict.fromkeys(near) if self._checked(other) != middle]
        apart = lengths(self.points[others] - self.points[middle])
        costs = np.array([self._costs[other] for other in others])
        changed = [middle] if self._adopt(middle, others, costs + apart, is_free) else []
        gains = np.flatnonzero(self._costs[middle] + apart < costs)
        for other in (others[place] for place in gains):
            # Costs may have fallen since, when a node above was led through here.
            cost = self._costs[middle] + self._length(middle, other)
            if other != ROOT and cost < self._costs[other] and self._is_free(middle, other, is_free):
                self._hang(other, middle)
                changed.append(other)
        return changed

    def _adopt(self, node: int, others: list[int], ways: FloatArray, is_free: EdgeCheck | None) -> bool:
        """Hang `node` under the first of `others` by the cost of the way, if that is cheaper and free."""
        if node == ROOT:
            return False
        for place in np.argsort(ways, kind="stable"):
            if ways[place] >= self._costs[node]:
                break
            if self._is_free(others[place], node, is_free):
                self._hang(node, others[place])
                return True
        return False

    def path(self, node: int) -> FloatArray:
        """The points from the root to `node`, shape (m, n)."""
        steps = [self._checked(node)]
        while steps[-1] != ROOT:
            steps.append(self._parents[steps[-1]])
        return self.points[steps[::-1]]

    def _checked(self, node: int) -> int:
        return whole("node", node, 0, len(self._parents) - 1)

    def _length(self, one: int, other: int) -> float:
        return float(lengths(self.points[one] - self.points[other]))

    def _is_free(self, one: int, other: int, is_free: EdgeCheck | None) -> bool:
        return is_free is None or is_free(self.points[one], self.points[other])

    def _hang(self, node: int, parent: int) -> None:
        """Put `node` under `parent`, which is cheaper: a cheaper node is never below `node`."""
        self._children[self._parents[node]].remove(node)
        self._children[parent].append(node)
        self._parents[node] = parent
        self._edges[node] = self._length(parent, node)
        waiting = [node]
        while waiting:
            below = waiting.pop()
            self._costs[below] = self._costs[self._parents[below]] + self._edges[below]
            waiting += self._children[below]


def connection_radius(count: int, dimensions: int, gamma: float, limit: float) -> float:
    """How far RRT* looks for better parents in a tree of `count` nodes: min(gamma (ln m / m)^(1/n), limit).

    Source: Karaman and Frazzoli 2011, section 3.3; `gamma` from `least_gamma`.
    """
    nodes = whole("count", count, 1, NODES_MAX)
    axes = whole("dimensions", dimensions, 1, 1_000_000)
    shrinking = positive("gamma", gamma) * math.pow(math.log(nodes) / nodes, 1 / axes)
    return min(shrinking, positive("limit", limit))


def least_gamma(dimensions: int, free_volume: float) -> float:
    """Above this gamma RRT* comes as near to the shortest path as you like: (2 (1 + 1/n) V / B)^(1/n).

    V is the volume of the free space, B that of the unit ball in n dimensions. Same source.
    """
    axes = whole("dimensions", dimensions, 1, 170)
    ball = math.pi ** (axes / 2) / math.gamma(axes / 2 + 1)
    volume = positive("free_volume", free_volume)
    return math.pow(2 * (1 + 1 / axes) * volume / ball, 1 / axes)


def connection_count(count: int, dimensions: int) -> int:
    """How many nearest nodes RRT* looks at instead, at least: ceil(e (1 + 1/n) ln m), 1 or more."""
    nodes = whole("count", count, 1, NODES_MAX)
    axes = whole("dimensions", dimensions, 1, 1_000_000)
    return max(1, math.ceil(math.e * (1 + 1 / axes) * math.log(nodes)))
