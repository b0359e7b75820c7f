"""Tubes in space and time: where a robot may be at which moment, and whether two of them meet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.errors import InvalidSceneError

LEGS_MAX: Final = 1000
DIMENSIONS_MAX: Final = 64

Point = tuple[float, ...]


class Corner(Struct, frozen=True):
    """At this moment the robot is here. Between two corners it moves straight and evenly."""

    at_ms: int
    """Milliseconds since 1970."""
    point: Point


class Tube(Struct, frozen=True, forbid_unknown_fields=True):
    """All places within `radius` of where the robot should be, from the first corner to the last."""

    radius: Annotated[float, Meta(ge=0.0)]
    """Of the robot, with what it may be off its path, before or behind."""
    corners: Annotated[tuple[Corner, ...], Meta(min_length=2, max_length=LEGS_MAX + 1)]

    @property
    def from_ms(self) -> int:
        return self.corners[0].at_ms

    @property
    def until_ms(self) -> int:
        return self.corners[-1].at_ms

    def delayed(self, by_ms: int) -> Tube:
        corners = tuple(Corner(corner.at_ms + by_ms, corner.point) for corner in self.corners)
        return Tube(self.radius, corners)


def check_tube(tube: Tube) -> Tube:
    """InvalidSceneError unless times ascend and places are finite and of one dimension."""
    dimensions = {len(corner.point) for corner in tube.corners}
    if len(dimensions) != 1 or not 1 <= min(dimensions) <= DIMENSIONS_MAX:
        raise InvalidSceneError(what="tube", reason=f"its corners have {sorted(dimensions)} dimensions")
    if not all(math.isfinite(value) for corner in tube.corners for value in (tube.radius, *corner.point)):
        raise InvalidSceneError(what="tube", reason="a number is not finite")
    if any(b.at_ms <= a.at_ms for a, b in zip(tube.corners, tube.corners[1:], strict=False)):
        raise InvalidSceneError(what="tube", reason="each corner must come later than the one before")
    return tube


def tube_of(points: Sequence[Sequence[float]], *, start_ms: int, speed: float, radius: float) -> Tube:
    """The tube of a path that is driven at this speed, in the path's unit a second."""
    if not (math.isfinite(speed) and speed > 0.0):
        raise InvalidSceneError(what="tube", reason=f"speed {speed!r} is not a number above 0")
    corners = [Corner(start_ms, tuple(points[0]))]
    driven = 0.0
    for before, point in itertools.pairwise(points):
        driven += math.dist(before, point)
        # Two corners that are nearer than a millisecond's way are still told apart.
        at_ms = max(corners[-1].at_ms + 1, start_ms + round(driven / speed * 1000.0))
        corners.append(Corner(at_ms, tuple(point)))
    return check_tube(Tube(radius, tuple(corners)))


def meet(one: Tube, other: Tube) -> bool:
    """Whether the two may touch at some moment. Exact for even straight motion; O(legs of both)."""
    if len(one.corners[0].point) != len(other.corners[0].point):
        return one.from_ms <= other.until_ms and other.from_ms <= one.until_ms  # Not comparable: keep apart.
    apart = one.radius + other.radius
    a, b = 0, 0
    while a < len(one.corners) - 1 and b < len(other.corners) - 1:
        begin = max(one.corners[a].at_ms, other.corners[b].at_ms)
        end = min(one.corners[a + 1].at_ms, other.corners[b + 1].at_ms)
        if begin <= end and _nearest(one, a, other, b, begin, end) <= apart:
            return True
        if one.corners[a + 1].at_ms <= other.corners[b + 1].at_ms:
            a += 1
        else:
            b += 1
    return False


def _nearest(one: Tube, a: int, other: Tube, b: int, begin: int, end: int) -> float:
    """The least distance of the two middles in this span, in which both move evenly."""
    first = [p - q for p, q in zip(_place(one, a, begin), _place(other, b, begin), strict=True)]
    last = [p - q for p, q in zip(_place(one, a, end), _place(other, b, end), strict=True)]
    move = [q - p for p, q in zip(first, last, strict=True)]
    length2 = math.fsum(m * m for m in move)
    along = -math.fsum(p * m for p, m in zip(first, move, strict=True))
    part = min(1.0, max(0.0, along / length2)) if length2 > 0.0 else 0.0
    return math.hypot(*(p + part * m for p, m in zip(first, move, strict=True)))


def _place(tube: Tube, leg: int, at_ms: int) -> Point:
    before, after = tube.corners[leg], tube.corners[leg + 1]
    part = (at_ms - before.at_ms) / (after.at_ms - before.at_ms)
    return tuple(p + part * (q - p) for p, q in zip(before.point, after.point, strict=True))
