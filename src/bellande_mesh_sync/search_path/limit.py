"""Limit: how long a step may be here, seen the size of the mover, what lies ahead, and the goal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.search_path.arrays import (
    BLOCK_NUMBERS,
    BoolArray,
    FloatArray,
    joint_shape,
    lengths,
    point_of,
    points_of,
    positive,
    whole,
)
from bellande_mesh_sync.search_path.boxes import Boxes, Obstacles, boxes_of, inside
from bellande_mesh_sync.search_path.rays import outlook

SAMPLES_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """The constants of the published Limit. They are absolute: it is not the same at another scale."""

    size_share: float = 0.4
    """The limit is at most this share of |size|, ..."""
    environment_share: float = 0.1
    """... and at most this share of |environment|."""
    near_factor: float = 0.5
    """What remains of it when something is hit in the near half of the ray."""
    hit_weight: float = 0.3
    """What is taken off when every sample is a hit."""
    goal_radius: float = 100.0
    """Within this distance of the goal the limit shrinks in proportion, ..."""
    goal_floor: float = 0.3
    """... though not below this share."""
    smallest: float = 1.0
    """Never less than this."""


PUBLISHED = LimitRule()


@dataclass(frozen=True, slots=True, eq=False)
class LookAhead:
    """Where the ray of a limit goes: the space, the boxes in it, its length, and how it is looked at."""

    environment: FloatArray
    boxes: Boxes
    radius: float
    samples: int
    exact: bool = False


def limit(
    node0: ArrayLike,
    node1: ArrayLike,
    environment: ArrayLike,
    size: ArrayLike,
    goal: ArrayLike,
    obstacles: Obstacles = (),
    search_radius: float = 50.0,
    sample_points: int = 20,
    *,
    exact: bool = False,
    rule: LimitRule = PUBLISHED,
) -> FloatArray:
    """The longest step to take at `node0` toward `node1`. All lengths in the caller's unit.

    Args:
        node0: shape (n,) or (m, n).
        node1: the same; one point goes with many.
        environment: shape (n,). The space reaches from 0 to here on each axis.
        size: shape (n,): the step's size on each axis. Only its length counts.
        goal: shape (n,) or (m, n).
        obstacles: boxes by lowest corner and size.
        search_radius: >= 0; how far to look ahead from `node0`, however near `node1` is.
        sample_points: 1 to 100,000; so many points are looked at on the way. A wall thinner than
            search_radius / sample_points may be missed.
        exact: look at the whole ray and not at points of it: what as many samples as you like would
            come to. No wall is missed, and `sample_points` does not matter.
        rule: the constants; as published unless told otherwise.

    Returns:
        Shape () or (m,): 0 where `node0` is `node1`, else at least `rule.smallest`. It may exceed the
        distance to `node1`; `step` then stops there.

    Raises:
        DimensionMismatchError: something has another number of dimensions than `environment`.
        InvalidNumberError: a number is not finite, above 1e150 or out of its range.

    Cost: O(m * sample_points * obstacles * n), in compiled loops.
    Source: Bellande Limit, as observed; docs/search-path/limit.md.
    """
    space = point_of("environment", environment)
    dimensions = len(space)
    boxes = boxes_of(obstacles, dimensions)
    radius = positive("search_radius", search_radius, or_zero=True)
    samples = whole("sample_points", sample_points, 1, SAMPLES_MAX)
    return limits_of(
        points_of("node0", node0, dimensions),
        points_of("node1", node1, dimensions),
        point_of("size", size, dimensions),
        points_of("goal", goal, dimensions),
        LookAhead(space, boxes, radius, samples, exact),
        rule,
    )


def limits_of(
    node0: FloatArray,
    node1: FloatArray,
    size: FloatArray,
    goal: FloatArray,
    ahead: LookAhead,
    rule: LimitRule = PUBLISHED,
) -> FloatArray:
    """Limit without a check of its numbers; those that are not finite count as outside the space."""
    shape = joint_shape("node0, node1 and goal", node0.shape[:-1], node1.shape[:-1], goal.shape[:-1])
    dimensions = len(ahead.environment)
    flat = (int(np.prod(shape)), dimensions)
    starts, targets, goals = (
        np.broadcast_to(points, (*shape, dimensions)).reshape(flat) for points in (node0, node1, goal)
    )
    base = min(
        rule.size_share * float(lengths(size)),
        rule.environment_share * float(lengths(ahead.environment)),
    )
    found = np.empty(flat[0])
    rows = max(1, BLOCK_NUMBERS // max(dimensions * max(ahead.samples, 1), 1))
    with np.errstate(all="ignore"):
        for first in range(0, flat[0], rows):
            block = slice(first, first + rows)
            found[block] = _block(starts[block], targets[block], goals[block], base, ahead, rule)
    return found.reshape(shape)


def _block(
    start: FloatArray, target: FloatArray, goal: FloatArray, base: float, ahead: LookAhead, rule: LimitRule
) -> FloatArray:
    delta = target - start
    distance = lengths(delta)
    direction = delta / distance[:, None]
    look = _exactly if ahead.exact else _sampled
    near, share = look(start, direction, ahead)
    # In this order: another one gives other last digits than the published program.
    limits = np.full(len(start), base)
    limits[near] *= rule.near_factor
    limits *= 1 - rule.hit_weight * share
    to_goal = lengths(goal - start)
    shrinks = to_goal < rule.goal_radius
    limits[shrinks] *= np.maximum(rule.goal_floor, to_goal[shrinks] / rule.goal_radius)
    # max(1, NaN) is 1 there, and so it is here.
    limits = np.where(limits > rule.smallest, limits, rule.smallest)
    limits[distance == 0] = 0.0
    return limits


def _sampled(start: FloatArray, direction: FloatArray, ahead: LookAhead) -> tuple[BoolArray, FloatArray]:
    """(hit in the near half, hits / samples) of each ray, looked at in points."""
    samples = ahead.samples
    if samples < 1:
        return np.zeros(len(start), dtype=bool), np.zeros(len(start))
    # This grouping: the forms r * i / s and (i / s) * r put samples on the other side of a face.
    distances = np.arange(1, samples + 1) * (ahead.radius / samples)
    points = start[:, None, :] + direction[:, None, :] * distances[None, :, None]
    hits = ahead.boxes.count_at(points)
    hits += ~inside(points, np.zeros_like(ahead.environment), ahead.environment)
    near: BoolArray = hits[:, : samples // 2].sum(axis=1) > 0
    # The first near hit ends the look ahead, and counts once; far ones count for each box.
    count = np.where(near, 1.0, hits[:, samples // 2 :].sum(axis=1))
    return near, count / samples


def _exactly(start: FloatArray, direction: FloatArray, ahead: LookAhead) -> tuple[BoolArray, FloatArray]:
    """(hit in the near half, share of the ray that is hit) of each ray, looked at as a whole."""
    return outlook(start, direction, ahead.environment, ahead.boxes, ahead.radius)
