"""Distances, bounds, and points between two points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.search_path.arrays import (
    BoolArray,
    FloatArray,
    lengths,
    path_of,
    point_of,
    points_of,
    whole,
)

COUNT_MAX = 10_000_000


def distance(start: ArrayLike, goal: ArrayLike) -> FloatArray:
    """|goal - start|, shape () or (m,) for points (n,) or (m, n)."""
    first = points_of("start", start)
    return lengths(points_of("goal", goal, first.shape[-1]) - first)


def in_bounds(points: ArrayLike, lowest: ArrayLike, highest: ArrayLike) -> BoolArray:
    """Whether each point lies between two corners, (n,) each, both included. Shape () or (m,)."""
    given = points_of("the points", points)
    low, high = (
        point_of(what, corner, given.shape[-1]) for what, corner in (("lowest", lowest), ("highest", highest))
    )
    return np.asarray(((given >= low) & (given <= high)).all(axis=-1))


def interpolate(start: ArrayLike, goal: ArrayLike, count: int) -> FloatArray:
    """`count` >= 2 points at equal distances on the way, shape (count, n); the first and last are exact."""
    first = point_of("start", start)
    last = point_of("goal", goal, len(first))
    share = np.arange(whole("count", count, 2, COUNT_MAX))[:, None] / (count - 1)
    points = first + share * (last - first)
    points[-1] = last
    return points


def path_length(path: ArrayLike) -> float:
    """The sum of the hops of a path, shape (m, n), m >= 1."""
    return float(lengths(np.diff(path_of("the path", path), axis=0)).sum())


def box_volume(path: ArrayLike) -> float:
    """The volume of the smallest box with axes along space's that holds the path; 0 if it is flat."""
    points = path_of("the path", path)
    return math.prod(float(side) for side in points.max(axis=0) - points.min(axis=0))
