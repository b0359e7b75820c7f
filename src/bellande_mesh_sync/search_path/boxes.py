"""Obstacles: axis-aligned boxes of any dimension, both faces belonging to the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import BoolArray, FloatArray, check_points, finite_numbers


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes from their lowest corner to the opposite one. A negative size makes an empty box."""

    lowest: FloatArray
    """Shape (b, n)."""
    highest: FloatArray
    """Shape (b, n): the lowest corner plus the box's size."""

    def __len__(self) -> int:
        return len(self.lowest)

    def count_at(self, points: FloatArray) -> FloatArray:
        """How many boxes hold each point: shape (...,) for (..., n). Cost: O(points * b * n)."""
        count = np.zeros(points.shape[:-1])
        for lowest, highest in zip(self.lowest, self.highest, strict=True):
            count += inside(points, lowest, highest)
        return count


Obstacles: TypeAlias = Boxes | Sequence[Mapping[str, Any] | tuple[ArrayLike, ArrayLike]]
"""As the published payloads write them, `{"position": [...], "dimensions": [...]}` with the lowest corner
and the size, or as pairs of the two."""


def boxes_of(obstacles: Obstacles, dimensions: int) -> Boxes:
    """Check obstacles and stack them. Raises InvalidNumberError and DimensionMismatchError."""
    if isinstance(obstacles, Boxes):
        check_points("an obstacle", obstacles.lowest, dimensions)
        return obstacles
    corners, sizes = np.empty((len(obstacles), dimensions)), np.empty((len(obstacles), dimensions))
    for index, obstacle in enumerate(obstacles):
        corner, size = parts_of(obstacle, f"obstacle {index}")
        corners[index] = _row(f"the position of obstacle {index}", corner, dimensions)
        sizes[index] = _row(f"the dimensions of obstacle {index}", size, dimensions)
    return Boxes(corners, corners + sizes)


def inside(points: FloatArray, lowest: FloatArray, highest: FloatArray) -> BoolArray:
    """Whether each point lies in one box, faces and all; NaN lies in none. Shape (...,)."""
    found = np.ones(points.shape[:-1], dtype=bool)
    for axis in range(points.shape[-1]):
        along = points[..., axis]
        found &= (along >= lowest[axis]) & (along <= highest[axis])
    return found


def parts_of(obstacle: Any, what: str) -> tuple[Any, Any]:
    """(lowest corner, size) of an obstacle as it is written, not yet checked."""
    if isinstance(obstacle, Mapping) and {"position", "dimensions"} <= obstacle.keys():
        return obstacle["position"], obstacle["dimensions"]
    if isinstance(obstacle, tuple) and len(obstacle) == 2:
        return obstacle
    raise InvalidNumberError(what=what, wanted='{"position": [...], "dimensions": [...]}')


def _row(what: str, value: ArrayLike, dimensions: int) -> FloatArray:
    found = finite_numbers(what, value)
    if found.ndim != 1:
        raise InvalidNumberError(what=what, wanted="a list of numbers")
    check_points(what, found, dimensions)
    return found
