"""Points that come one after the other, and the nearest of them to any place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import (
    BLOCK_NUMBERS,
    FloatArray,
    IndexArray,
    point_of,
    points_of,
    positive,
    whole,
)
from bellande_mesh_sync.search_path.balanced import (
    BalancedTree,
    balanced_tree,
    search_nearest,
    search_within,
)
from bellande_mesh_sync.search_path.compiling import compiled

TREES_FROM = 4096
"""Below this many points, looking at all of them is as quick as loading a compiler is slow."""

TREES_DIMENSIONS_MAX = 20
"""In more dimensions a tree must look nearly everywhere, and in a costlier order."""

SMALLEST_TREE = 256


class Neighbours:
    """A growing set of points in n dimensions, numbered from 0 in the order in which they come.

    Few points, or points in many dimensions, are looked at one by one. Many stand in balanced k-d
    trees of 256, 512, 1024 ... points; two of one size become one of the next, so each point is
    sorted into O(log m) trees in all, and a search visits O(log m) of them (the logarithmic method:
    Bentley and Saxe, "Decomposable searching problems", 1980). Without Numba all are looked at.
    Answers are the same either way, and among equals the first point comes first.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = whole("dimensions", dimensions, 1, 1_000_000)
        self._points = np.empty((64, self.dimensions))
        self._count = 0
        self._trees: list[BalancedTree] = []
        self._settled = 0
        """So many points, from the first on, stand in trees."""

    def __len__(self) -> int:
        return self._count

    @property
    def points(self) -> FloatArray:
        """Shape (m, n); a view that must not be written to."""
        view = self._points[: self._count]
        view.flags.writeable = False
        return view

    def add(self, point: ArrayLike) -> int:
        """Add one point; its number. Cost: O(n), and O(n log^2 m) spread over later searches."""
        checked = point_of("the point", point, self.dimensions)
        if self._count == len(self._points):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
        self._points[self._count] = checked
        self._count += 1
        return self._count - 1

    def nearest(self, targets: ArrayLike, k: int = 1) -> tuple[IndexArray, FloatArray]:
        """The `k` nearest points of one target (n,) or of each of many (q, n).

        Returns:
            (numbers, distances), shape (k,) or (q, k), nearest first. Fewer than k where there are
            fewer points.

        Raises InvalidNumberError when there is no point at all.
        """
        wanted = points_of("the target", targets, self.dimensions)
        count = min(whole("k", k, 1, 1_000_000), self._count)
        if not count:
            raise InvalidNumberError(what="the number of points", wanted="at least 1: add one first")
        rows = np.ascontiguousarray(np.atleast_2d(wanted))
        squares = np.full((len(rows), count), np.inf)
        numbers = np.full((len(rows), count), -1)
        self._search(rows, squares, numbers)
        shape = (*wanted.shape[:-1], count)
        return numbers.reshape(shape), np.sqrt(squares).reshape(shape)

    def within(self, target: ArrayLike, radius: float) -> IndexArray:
        """The numbers of all points at most `radius` from one target, ascending."""
        wanted = point_of("the target", target, self.dimensions)
        square = positive("radius", radius, or_zero=True) ** 2
        search = self._compiled(search_within)
        found = []
        for tree in self._trees if search is not None else ():
            assert search is not None
            numbers = np.empty(len(tree.order), np.int64)
            found.append(numbers[: search(tree.points, tree.order, tree.axes, wanted, square, numbers)])
        first = self._settled if search is not None else 0
        loose = self._points[first : self._count]
        found.append(np.flatnonzero(_squares(loose, wanted) <= square) + first)
        return np.sort(np.concatenate(found))

    def _search(self, targets: FloatArray, squares: FloatArray, numbers: IndexArray) -> None:
        search = self._compiled(search_nearest)
        first = 0
        if search is not None:
            first = self._settled
            for tree in self._trees:
                search(tree.points, tree.order, tree.axes, targets, squares, numbers)
        loose = self._points[first : self._count]
        for row, target in enumerate(targets):
            _better(_squares(loose, target), first, squares[row], numbers[row])

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any] | None:
        """The search, compiled, and every point in a tree that should be; None where trees don't pay."""
        if self._count < TREES_FROM or self.dimensions > TREES_DIMENSIONS_MAX:
            return None
        search = compiled(function)
        if search is not None:
            self._settle()
        return search

    def _settle(self) -> None:
        while self._count - self._settled >= SMALLEST_TREE:
            size = SMALLEST_TREE
            while self._trees and len(self._trees[-1].order) == size:
                size += len(self._trees.pop().order)
            end = self._settled + SMALLEST_TREE
            self._trees.append(balanced_tree(self._points[end - size : end], end - size))
            self._settled = end


def _squares(points: FloatArray, target: FloatArray) -> FloatArray:
    """The squared distances, added up axis by axis as the compiled search does it."""
    found = np.zeros(len(points))
    rows = max(1, BLOCK_NUMBERS)
    for first in range(0, len(points), rows):
        for axis in range(points.shape[1]):
            found[first : first + rows] += (points[first : first + rows, axis] - target[axis]) ** 2
    return found


def _better(loose: FloatArray, first: int, squares: FloatArray, numbers: IndexArray) -> None:
    """Merge the k nearest so far with points numbered from `first` on, at these squared distances."""
    k = len(squares)
    if k == 1:
        if len(loose):
            best = int(np.argmin(loose))
            if loose[best] < squares[0]:
                squares[0], numbers[0] = loose[best], best + first
        return
    held = numbers >= 0
    every = np.concatenate([squares[held], loose])
    named = np.concatenate([numbers[held], np.arange(first, first + len(loose))])
    if len(every) > 4 * k:
        # Ties at the k-th place must all stay in, so that the lowest numbers win.
        kept = every <= np.partition(every, k - 1)[k - 1]
        every, named = every[kept], named[kept]
    chosen = np.lexsort((named, every))[:k]
    squares[: len(chosen)], numbers[: len(chosen)] = every[chosen], named[chosen]
