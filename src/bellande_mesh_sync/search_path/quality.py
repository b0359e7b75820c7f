"""Path quality: short hops, few turns, and a distance from obstacles, in one number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, lengths, path_of, point_of, positive
from bellande_mesh_sync.search_path.boxes import Boxes, Obstacles, boxes_of
from bellande_mesh_sync.search_path.geometry import box_volume, path_length

BEST = 10.0


@dataclass(frozen=True, slots=True)
class PathQuality:
    score: float
    """0 (bad) to 10, or to 12 with an environment."""
    length: float
    turning: float
    """The sum of the angles at the path's points, in radians."""
    clearance: float
    """The smallest distance from a point of the path to an obstacle; infinity without any."""
    penalty: float
    """0 to 2: for coming nearer than twice the wanted distance."""


def path_quality(
    path: ArrayLike,
    obstacles: Obstacles = (),
    radius: float = 1.0,
    *,
    environment: ArrayLike | None = None,
    hop_unit: float = 1.0,
) -> PathQuality:
    """max(0, 10 - mean hop - 2 mean turn - 5 penalty [+ 2 share of space]).

    Args:
        path: shape (m, n), m >= 1.
        obstacles: boxes; a point is a box of size 0. Distances are measured from the path's points:
            `interpolate` a path with long hops first.
        radius: > 0; nearer than twice this to an obstacle costs, and all of 5 at this distance.
        environment: shape (n,), > 0: a path whose bounding box takes much of the space gains up to 2.
        hop_unit: > 0; the length of a hop that costs 1. Of the published formula it is 1, so that any
            mean hop above 10 is worth nothing, whatever the space.

    Raises InvalidNumberError and DimensionMismatchError. Cost: O(m * obstacles * n).
    Source: the quality of the published client, with its faults mended; docs/search-path/quality.md.
    """
    points = path_of("the path", path)
    hops = max(len(points) - 1, 1)
    length, turning = path_length(points), _turning(points)
    wanted = positive("radius", radius)
    clearance = _clearance(points, boxes_of(obstacles, points.shape[1]))
    penalty = max(0.0, (2 * wanted - clearance) / wanted)
    mean_hop = length / hops / positive("hop_unit", hop_unit)
    score = BEST - mean_hop - 2 * turning / max(hops - 1, 1) - 5 * penalty
    if environment is not None:
        space = point_of("environment", environment, points.shape[1])
        if (space <= 0).any():
            raise InvalidNumberError(what="environment", wanted="numbers above 0")
        score += 2 * min(1.0, box_volume(points) / math.prod(float(side) for side in space))
    return PathQuality(max(0.0, score), length, turning, clearance, penalty)


def _turning(points: FloatArray) -> float:
    hops = np.diff(points, axis=0)
    size = lengths(hops)
    hops = hops[size > 0] / size[size > 0, None]
    # Rounding may lift the cosine of a straight path above 1, of which there is no angle.
    return float(np.arccos(np.clip((hops[1:] * hops[:-1]).sum(axis=1), -1, 1)).sum())


def _clearance(points: FloatArray, boxes: Boxes) -> float:
    nearest = math.inf
    for lowest, highest in zip(boxes.lowest, boxes.highest, strict=True):
        if (highest >= lowest).all():
            nearest = min(nearest, float(lengths(points - np.clip(points, lowest, highest)).min()))
    return nearest
