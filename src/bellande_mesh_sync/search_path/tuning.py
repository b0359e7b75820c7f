"""Settings that a published client chooses for its requests, from how precise they are to be.

Source: the helpers of the published Rust client, by their documented formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.search_path.arrays import FloatArray, lengths, path_of, point_of, positive, whole
from bellande_mesh_sync.search_path.importance import Importance

FINE, MIDDLE = 0.01, 0.1
"""Below the first a precision is fine, below the second middling, else coarse."""

DETOUR = 2.0
APART = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class LimitSettings:
    """Arguments of `limit`."""

    size: FloatArray
    goal: FloatArray
    search_radius: float
    sample_points: int


def step_iterations(precision: float) -> int:
    """How many steps to allow: 500, 200 or 100 for a fine, middling or coarse precision (> 0)."""
    return _graded(precision, 500, 200, 100)


def limit_settings(environment: ArrayLike, goal: ArrayLike, precision: float) -> LimitSettings:
    """A step size of `precision` percent of the space, a tenth of it to look ahead, and 50, 30 or 20 samples.

    `environment` and `goal`: shape (n,). `precision`: > 0.
    """
    space = point_of("environment", environment)
    return LimitSettings(
        size=space * positive("precision", precision) / 100,
        goal=point_of("goal", goal, len(space)),
        search_radius=float(0.1 * space.mean()) if len(space) else 0.0,
        sample_points=_graded(precision, 50, 30, 20),
    )


def waypoints(obstacles: ArrayLike) -> FloatArray:
    """A point beside each obstacle point, (m, n): 2 further along the first axis; none within 1 of an
    earlier one. Shape (k, n), k <= m. Cost: O(m k n)."""
    beside = path_of("obstacles", obstacles).copy()
    beside[:, 0] += DETOUR
    kept = np.empty((0, beside.shape[1]))
    for point in beside:
        if not (lengths(kept - point) <= APART).any():
            kept = np.vstack([kept, point])
    return kept


def grid_step(important: ArrayLike) -> float:
    """A tenth of the mean distance between the important nodes of a segment, shape (m, n).

    0.1 for a single node, 1.0 where there is none. Cost: O(m^2 n).
    """
    if np.size(important) == 0:
        return 1.0
    nodes = path_of("important", important)
    if len(nodes) == 1:
        return 0.1
    total = sum(float(lengths(nodes[place + 1 :] - node).sum()) for place, node in enumerate(nodes))
    return 0.1 * total / (len(nodes) * (len(nodes) - 1) / 2)


def least_coverage(adjacent_count: int) -> float:
    """How much of a segment to cover: 0.7 without a neighbour, 0.6 with 1 or 2, 0.5 up to 5, else 0.4."""
    count = whole("adjacent_count", adjacent_count, 0, 2**53)
    return 0.7 if count == 0 else 0.6 if count <= 2 else 0.5 if count <= 5 else 0.4


def compare_importance(one: Importance, other: Importance, coverage_weight: float = 1.0) -> float:
    """Above 0 where `one` is the more important: the difference of scores, and of coverages by weight."""
    weight = positive("coverage_weight", coverage_weight, or_zero=True)
    return one.score - other.score + weight * (one.segment_coverage - other.segment_coverage)


def _graded(precision: float, fine: int, middling: int, coarse: int) -> int:
    wanted = positive("precision", precision)
    return fine if wanted < FINE else middling if wanted < MIDDLE else coarse
