"""Coordinates: cartesian, polar, cylindrical, spherical. Angles are in radians."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, points_of


def convert(points: ArrayLike, source: str, target: str) -> FloatArray:
    """Points (n,) or (m, n) in the coordinates `target`.

    Between "cartesian" (x, y) and "polar" (r, theta) n is 2; between "cartesian" (x, y, z) and
    "cylindrical" (rho, phi, z) or "spherical" (r, theta, phi) it is 3, theta being measured from the
    z axis. From cartesian to cartesian is a copy, of any n.

    Raises InvalidNumberError for another pair of names, DimensionMismatchError for another n.
    """
    if (source, target) == ("cartesian", "cartesian"):
        return points_of("the points", points).copy()
    if (source, target) not in _WAYS:
        known = "; ".join(f"{one} to {other}" for one, other in _WAYS)
        raise InvalidNumberError(what=f"the way from {source} to {target}", wanted=f"one of: {known}")
    dimensions, way = _WAYS[source, target]
    return way(points_of("the points", points, dimensions))


def _to_polar(points: FloatArray) -> FloatArray:
    x, y = np.moveaxis(points, -1, 0)
    return np.stack([np.hypot(x, y), np.arctan2(y, x)], axis=-1)


def _from_polar(points: FloatArray) -> FloatArray:
    r, theta = np.moveaxis(points, -1, 0)
    return np.stack([r * np.cos(theta), r * np.sin(theta)], axis=-1)


def _to_cylindrical(points: FloatArray) -> FloatArray:
    return np.concatenate([_to_polar(points[..., :2]), points[..., 2:]], axis=-1)


def _from_cylindrical(points: FloatArray) -> FloatArray:
    return np.concatenate([_from_polar(points[..., :2]), points[..., 2:]], axis=-1)


def _to_spherical(points: FloatArray) -> FloatArray:
    x, y, z = np.moveaxis(points, -1, 0)
    flat = np.hypot(x, y)
    # The arc tangent of both sides is acos(z / r), keeps its digits near the axis, and is 0 for r = 0.
    return np.stack([np.hypot(flat, z), np.arctan2(flat, z), np.arctan2(y, x)], axis=-1)


def _from_spherical(points: FloatArray) -> FloatArray:
    r, theta, phi = np.moveaxis(points, -1, 0)
    flat = r * np.sin(theta)
    return np.stack([flat * np.cos(phi), flat * np.sin(phi), r * np.cos(theta)], axis=-1)


_WAYS: dict[tuple[str, str], tuple[int, Callable[[FloatArray], FloatArray]]] = {
    ("cartesian", "polar"): (2, _to_polar),
    ("polar", "cartesian"): (2, _from_polar),
    ("cartesian", "cylindrical"): (3, _to_cylindrical),
    ("cylindrical", "cartesian"): (3, _from_cylindrical),
    ("cartesian", "spherical"): (3, _to_spherical),
    ("spherical", "cartesian"): (3, _from_spherical),
}
