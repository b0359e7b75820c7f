"""Step and Limit for what the published programs accept, which is more than `step` and `limit` do.

They take a negative limit, no sample at all, and numbers that are not finite; they refuse what their
own arithmetic cannot do. The compatible routes answer with these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, check_points, lengths, numbers_of
from bellande_mesh_sync.search_path.boxes import Boxes, parts_of
from bellande_mesh_sync.search_path.limit import SAMPLES_MAX, LookAhead, limits_of
from bellande_mesh_sync.search_path.step import advance


def published_step(
    node0: Sequence[float], node1: Sequence[float], limit: float, dimensions: int
) -> list[float]:
    """The point as the published Step gives it; `node1` as it came where that is within the limit.

    Raises DimensionMismatchError, and InvalidNumberError where the published program fails too.
    """
    start, goal = _point("node0", node0, dimensions), _point("node1", node1, dimensions)
    distance = _distance(start, goal)
    most = float(numbers_of("limit", limit))
    if distance < most:
        return list(node1)
    if distance == 0:
        raise InvalidNumberError(what="limit", wanted="above 0 where node0 is node1")
    return [float(number) for number in advance(start, goal, np.asarray(most))]


def published_limit(
    node0: Sequence[float],
    node1: Sequence[float],
    environment: Sequence[float],
    size: Sequence[float],
    goal: Sequence[float],
    obstacles: Sequence[Mapping[str, Any]] = (),
    search_radius: float = 50.0,
    sample_points: int = 20,
) -> float:
    """The number as the published Limit gives it.

    Raises DimensionMismatchError, and InvalidNumberError where the published program fails too, or for
    more than 100,000 samples.
    """
    space = _point("environment", environment, len(environment))
    named = {"node0": node0, "node1": node1, "size": size, "goal": goal}
    points = {name: _point(name, value, len(space)) for name, value in named.items()}
    boxes = _boxes(obstacles, len(space))
    if _distance(points["node0"], points["node1"]) == 0:
        return 0.0
    _distance(points["node0"], points["goal"])
    for vector in (points["size"], space):
        _distance(np.zeros_like(space), vector)
    if sample_points == 0 or sample_points > SAMPLES_MAX:
        raise InvalidNumberError(what="sample_points", wanted=f"an integer below {SAMPLES_MAX}, not 0")
    ahead = LookAhead(space, boxes, float(numbers_of("search_radius", search_radius)), sample_points)
    found = limits_of(points["node0"], points["node1"], points["size"], points["goal"], ahead)
    return float(found)


def _point(what: str, value: Sequence[float], dimensions: int) -> FloatArray:
    if not isinstance(value, Sequence):
        raise InvalidNumberError(what=what, wanted="a list of numbers")
    found = numbers_of(what, value)
    if found.ndim != 1:
        raise InvalidNumberError(what=what, wanted="a list of numbers")
    check_points(what, found, dimensions)
    return found


def _distance(start: FloatArray, goal: FloatArray) -> float:
    """Raises InvalidNumberError where a finite difference has no finite square."""
    with np.errstate(all="ignore"):
        delta = goal - start
        distance = float(lengths(delta))
    if np.isinf(distance) and np.isfinite(delta).all():
        raise InvalidNumberError(what="a distance", wanted="below 1e154")
    return distance


def _boxes(obstacles: Sequence[Mapping[str, Any]], dimensions: int) -> Boxes:
    corners, sizes = np.empty((len(obstacles), dimensions)), np.empty((len(obstacles), dimensions))
    for index, obstacle in enumerate(obstacles):
        corner, size = parts_of(obstacle, f"obstacle {index}")
        corners[index] = _point(f"the position of obstacle {index}", corner, dimensions)
        sizes[index] = _point(f"the dimensions of obstacle {index}", size, dimensions)
    return Boxes(corners, corners + sizes)
