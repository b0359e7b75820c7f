"""What is to be planned: start, goal, space and obstacles, checked once, as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bellande_mesh_sync.errors import InvalidSceneError

Floats = NDArray[np.float64]
Collides = Callable[[Floats], ArrayLike]
"""Given places of shape (k, n), says for each whether it collides: k truth values."""
Obstacle = Mapping[str, Any]
"""`{"position": [...], "dimensions": [...]}`, a closed box by its lowest corner and its sizes; or
`{"center": [...], "radius": r}`, a closed ball."""

DIMENSIONS_MAX: Final = 64
OBSTACLES_MAX: Final = 100_000

FREE: Final = 2.0
"""Of a move: it meets nothing. Else it is the share of it after which it first does, 0 to 1."""

_MARGIN: Final = 1e-9
"""Obstacles are grown by this share of the space's diagonal, so that no rounding puts a path into one."""
_RESOLUTION: Final = 0.005
"""Of the diagonal: how far apart places are at which a collision function is asked."""


@dataclass(frozen=True)
class Obstacles:
    """Boxes and balls; the box around a ball stands in `low` and `high`. `radii` is below 0 for a box."""

    low: Floats
    high: Floats
    radii: Floats

    def __len__(self) -> int:
        return len(self.radii)

    def grown(self, by: float) -> Obstacles:
        return Obstacles(self.low - by, self.high + by, np.where(self.radii < 0.0, -1.0, self.radii + by))


@dataclass(frozen=True)
class Scene:
    """A question for the planner. Make it with `scene_of`."""

    start: Floats
    goal: Floats
    low: Floats
    high: Floats
    obstacles: Obstacles
    """As given, neither grown by the clearance nor by the margin."""
    clearance: float
    collides: Collides | None
    resolution: float

    @property
    def dimensions(self) -> int:
        return len(self.start)

    @property
    def diagonal(self) -> float:
        return float(np.linalg.norm(self.high - self.low))

    @property
    def lower_bound(self) -> float:
        return float(np.linalg.norm(self.goal - self.start))

    def forbidden(self) -> Obstacles:
        """Where the path may not be: obstacles grown by the clearance and a margin against rounding."""
        return self.obstacles.grown(self.clearance + _MARGIN * self.diagonal)

    def with_obstacles(self, obstacles: Obstacles) -> Scene:
        return replace(self, obstacles=obstacles)


def scene_of(
    start: ArrayLike,
    goal: ArrayLike,
    environment: ArrayLike,
    obstacles: Sequence[Obstacle] | Floats = (),
    *,
    clearance: float = 0.0,
    collides: Collides | None = None,
    resolution: float | None = None,
) -> Scene:
    """The checked scene.

    Args:
        start: shape (n,), 1 <= n <= 64. `goal`: the same.
        environment: shape (n,): the space from 0 to these; or (2, n): its lowest and highest corner.
        obstacles: boxes and balls; or an array of shape (m, 2, n), boxes by lowest and highest corner.
        clearance: obstacles are kept away from by this.
        collides: asked besides, for places up to `resolution` apart.
        resolution: a two-hundredth of the space's diagonal if not given.

    Raises:
        InvalidSceneError: shapes differ, a number is not finite, start or goal lies outside or in an
            obstacle.
    """
    begin, end = vector(start, "start"), vector(goal, "goal")
    count = len(begin)
    if not 1 <= count <= DIMENSIONS_MAX:
        raise InvalidSceneError(
            what="start", reason=f"{count} dimensions; 1 to {DIMENSIONS_MAX} can be planned"
        )
    if len(end) != count:
        raise InvalidSceneError(what="goal", reason=f"{len(end)} numbers, and the start has {count}")
    low, high = _space(environment, count)
    if not (np.isfinite(clearance) and clearance >= 0):
        raise InvalidSceneError(what="clearance", reason=f"{clearance!r} is not a number from 0 on")
    apart = _RESOLUTION * float(np.linalg.norm(high - low)) if resolution is None else float(resolution)
    if not (np.isfinite(apart) and apart > 0):
        raise InvalidSceneError(what="resolution", reason=f"{resolution!r} is not a number above 0")
    scene = Scene(begin, end, low, high, obstacles_of(obstacles, count), float(clearance), collides, apart)
    for name, place in (("start", begin), ("goal", end)):
        check_place(scene, place, name)
    return scene


def reach_of(scene: Scene) -> float:
    """Gamma of RRT*: above (2 (1 + 1/n))^(1/n) (volume of the space / of the unit ball)^(1/n)."""
    n = scene.dimensions
    log_ball = 0.5 * n * math.log(math.pi) - math.lgamma(0.5 * n + 1.0)
    log_space = sum(map(math.log, (scene.high - scene.low).tolist()))
    # In logarithms, for the volume of a large space of many dimensions overflows.
    return 1.1 * math.exp((math.log(2.0 * (1.0 + 1.0 / n)) + log_space - log_ball) / n)


def has_other_ends(one: Scene, other: Scene) -> bool:
    return not (np.array_equal(one.start, other.start) and np.array_equal(one.goal, other.goal))


def check_place(scene: Scene, place: Floats, name: str) -> None:
    """InvalidSceneError if nothing can be at this place."""
    if not np.all((scene.low <= place) & (place <= scene.high)):
        raise InvalidSceneError(what=name, reason=f"{place.tolist()} lies outside the space")
    if blocked(place, scene.forbidden()):
        raise InvalidSceneError(
            what=name, reason=f"{place.tolist()} lies in an obstacle, or nearer than allowed"
        )
    if scene.collides is not None and bool(np.any(np.asarray(scene.collides(place[None, :])))):
        raise InvalidSceneError(what=name, reason=f"{place.tolist()} collides, says the collision function")


def obstacles_of(obstacles: Sequence[Obstacle] | Floats, dimensions: int) -> Obstacles:
    """Checked, as arrays."""
    if isinstance(obstacles, np.ndarray):
        return _boxes_of(obstacles, dimensions)
    if len(obstacles) > OBSTACLES_MAX:
        raise InvalidSceneError(
            what="obstacles", reason=f"{len(obstacles)}; at most {OBSTACLES_MAX} can be planned"
        )
    low, high = np.empty((len(obstacles), dimensions)), np.empty((len(obstacles), dimensions))
    radii = np.full(len(obstacles), -1.0)
    for row, each in enumerate(obstacles):
        name = f"obstacles[{row}]"
        keys = set(each)
        if keys == {"position", "dimensions"}:
            low[row] = vector(each["position"], f"{name}.position", dimensions)
            sizes = vector(each["dimensions"], f"{name}.dimensions", dimensions)
            if sizes.min() < 0.0:
                raise InvalidSceneError(what=f"{name}.dimensions", reason="a size is below 0")
            high[row] = low[row] + sizes
        elif keys == {"center", "radius"}:
            center = vector(each["center"], f"{name}.center", dimensions)
            radii[row] = vector([each["radius"]], f"{name}.radius", 1)[0]
            if radii[row] < 0.0:
                raise InvalidSceneError(what=f"{name}.radius", reason="it is below 0")
            low[row], high[row] = center - radii[row], center + radii[row]
        else:
            reason = 'it has neither exactly "position" and "dimensions" nor exactly "center" and "radius"'
            raise InvalidSceneError(what=name, reason=reason)
    return Obstacles(low, high, radii)


def vector(values: Any, name: str, dimensions: int | None = None) -> Floats:
    """Finite numbers, as many as `dimensions`."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSceneError(what=name, reason="it is no list of numbers") from None
    if found.ndim != 1:
        raise InvalidSceneError(what=name, reason="it is no list of numbers")
    if dimensions is not None and len(found) != dimensions:
        raise InvalidSceneError(what=name, reason=f"{len(found)} numbers where {dimensions} are needed")
    # Squares of larger ones overflow.
    if not np.all(np.abs(found) <= 1e100):
        raise InvalidSceneError(what=name, reason="a number is not finite, or larger than 1e100")
    return found


def blocked(place: Floats, obstacles: Obstacles) -> bool:
    """Whether a place lies in one of these."""
    inside = np.all((obstacles.low <= place) & (place <= obstacles.high), axis=1)
    balls = inside & (obstacles.radii >= 0.0)
    if not balls.any():
        return bool(inside.any())
    away = place - 0.5 * (obstacles.low[balls] + obstacles.high[balls])
    within = np.einsum("ij,ij->i", away, away) <= obstacles.radii[balls] ** 2
    return bool(within.any() or (inside & ~balls).any())


def _boxes_of(boxes: Floats, dimensions: int) -> Obstacles:
    if boxes.shape[1:] != (2, dimensions):
        raise InvalidSceneError(what="obstacles", reason=f"shape {boxes.shape} is not (m, 2, {dimensions})")
    if len(boxes) > OBSTACLES_MAX:
        raise InvalidSceneError(
            what="obstacles", reason=f"{len(boxes)}; at most {OBSTACLES_MAX} can be planned"
        )
    low, high = np.ascontiguousarray(boxes[:, 0], float), np.ascontiguousarray(boxes[:, 1], float)
    if not np.all(np.isfinite(low) & np.isfinite(high) & (low <= high)):
        raise InvalidSceneError(what="obstacles", reason="a corner is not finite, or above its opposite one")
    return Obstacles(low, high, np.full(len(boxes), -1.0))


def _space(environment: Any, dimensions: int) -> tuple[Floats, Floats]:
    try:
        given = np.array(environment, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidSceneError(what="environment", reason="it is no list of numbers") from None
    if given.ndim == 1:
        given = np.stack([np.zeros_like(given), given])
    if given.shape != (2, dimensions):
        reason = f"it needs {dimensions} numbers, or the lowest and the highest corner"
        raise InvalidSceneError(what="environment", reason=reason)
    if not (np.all(np.abs(given) <= 1e100) and np.all(given[0] < given[1])):
        raise InvalidSceneError(what="environment", reason="it is not finite, or empty along an axis")
    return given[0].copy(), given[1].copy()
