"""A balanced k-d tree over points that stay as they are, without pointers, and its compiled search.

The points stand in the tree's order: the middle of a range is its root, what is left of it the lower
half, what is right the higher half along the axis kept with it. Source: Bentley, "Multidimensional
binary search trees used for associative searching", CACM 1975; the axis is that of the widest spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bellande_mesh_sync.search_path.arrays import FloatArray, IndexArray

LEAF = 16
"""Ranges this short are looked through from one end to the other."""


@dataclass(frozen=True, slots=True, eq=False)
class BalancedTree:
    points: FloatArray
    """Shape (m, n), in the tree's order."""
    order: IndexArray
    """Shape (m,): the number of each of these points outside."""
    axes: IndexArray
    """Shape (m,): the axis by which the range is halved whose middle this is."""


def balanced_tree(points: FloatArray, first: int) -> BalancedTree:
    """The tree over points numbered from `first` on. Cost: O(m log m), in some 20 us for each 16 points."""
    order = np.arange(len(points))
    axes = np.zeros(len(points), dtype=np.int64)
    waiting = [(0, len(points))]
    while waiting:
        low, high = waiting.pop()
        if high - low <= LEAF:
            continue
        part = points[order[low:high]]
        middle = (low + high) // 2
        axis = int(np.argmax(part.max(axis=0) - part.min(axis=0)))
        order[low:high] = order[low:high][np.argpartition(part[:, axis], middle - low)]
        axes[middle] = axis
        waiting += [(low, middle), (middle + 1, high)]
    return BalancedTree(np.ascontiguousarray(points[order]), order + first, axes)


def search_nearest(
    points: FloatArray,
    order: IndexArray,
    axes: IndexArray,
    targets: FloatArray,
    squares: FloatArray,
    numbers: IndexArray,
) -> None:
    """Better the `k` nearest so far of each target by what is in the tree. To be compiled.

    `squares` and `numbers`, shape (targets, k), hold them with their squared distances, nearest first,
    among equals the lowest number first; places not yet taken hold infinity and -1.
    """
    k = squares.shape[1]
    lows, highs, bounds = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64)
    for t in range(targets.shape[0]):
        lows[0], highs[0], bounds[0] = 0, points.shape[0], 0.0
        waiting = 1
        while waiting > 0:
            waiting -= 1
            low, high = lows[waiting], highs[waiting]
            if bounds[waiting] > squares[t, k - 1]:
                continue
            while True:
                is_leaf = high - low <= LEAF
                middle = (low + high) // 2
                for i in range(low if is_leaf else middle, high if is_leaf else middle + 1):
                    square = 0.0
                    for axis in range(points.shape[1]):
                        square += (points[i, axis] - targets[t, axis]) ** 2
                    place = k
                    while place > 0 and (
                        square < squares[t, place - 1]
                        or (square == squares[t, place - 1] and order[i] < numbers[t, place - 1])
                    ):
                        place -= 1
                    if place < k:
                        for later in range(k - 1, place, -1):
                            squares[t, later] = squares[t, later - 1]
                            numbers[t, later] = numbers[t, later - 1]
                        squares[t, place] = square
                        numbers[t, place] = order[i]
                if is_leaf:
                    break
                beyond = targets[t, axes[middle]] - points[middle, axes[middle]]
                bounds[waiting] = beyond * beyond
                if beyond <= 0:
                    lows[waiting], highs[waiting], high = middle + 1, high, middle
                else:
                    lows[waiting], highs[waiting], low = low, middle, middle + 1
                waiting += 1


def search_within(
    points: FloatArray,
    order: IndexArray,
    axes: IndexArray,
    target: FloatArray,
    square_most: float,
    numbers: IndexArray,
) -> int:
    """Write the numbers of all points that near into `numbers`; how many there are. To be compiled."""
    lows, highs = np.empty(64, np.int64), np.empty(64, np.int64)
    lows[0], highs[0] = 0, points.shape[0]
    waiting, found = 1, 0
    while waiting > 0:
        waiting -= 1
        low, high = lows[waiting], highs[waiting]
        while True:
            is_leaf = high - low <= LEAF
            middle = (low + high) // 2
            for i in range(low if is_leaf else middle, high if is_leaf else middle + 1):
                square = 0.0
                for axis in range(points.shape[1]):
                    square += (points[i, axis] - target[axis]) ** 2
                if square <= square_most:
                    numbers[found] = order[i]
                    found += 1
            if is_leaf:
                break
            beyond = target[axes[middle]] - points[middle, axes[middle]]
            other_low, other_high = (middle + 1, high) if beyond <= 0 else (low, middle)
            low, high = (low, middle) if beyond <= 0 else (middle + 1, high)
            if beyond * beyond <= square_most:
                lows[waiting], highs[waiting] = other_low, other_high
                waiting += 1
    return found
