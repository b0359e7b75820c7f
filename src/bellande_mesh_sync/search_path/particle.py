"""Particles: guesses of where a robot is in the plane, moved, compared with what it sees, and drawn anew.

A particle is (x, y, heading, weight): x and y in the caller's unit of length, the heading in degrees from
the x axis toward the y axis. Every function takes one particle, shape (4,), or many, shape (m, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError, PathError
from bellande_mesh_sync.search_path.angles import TURN, bearing, heading
from bellande_mesh_sync.search_path.arrays import (
    BoolArray,
    FloatArray,
    one_number,
    path_of,
    points_of,
    positive,
    whole,
)
from bellande_mesh_sync.search_path.boxes import Obstacles, boxes_of
from bellande_mesh_sync.search_path.seeds import Seed, generator_of

COUNT_MAX = 10_000_000
DRAWS_MAX = 200


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Markers as a particle sees them; the last axes are the markers, in the order of the world."""

    distances: FloatArray
    """Shape (..., k)."""
    bearings: FloatArray
    """Shape (..., k): degrees from straight ahead, above -180 and up to 180, to the left positive."""
    points: FloatArray
    """Shape (..., k, 2): ahead and to the left, in the particle's own frame."""
    seen: BoolArray
    """Shape (..., k): whether a marker is in the field of view and near enough."""


def move(
    particles: ArrayLike,
    rotation1: float,
    translation: float,
    rotation2: float,
    *,
    noise: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    seed: Seed = 0,
) -> FloatArray:
    """Turn by `rotation1` degrees, go `translation` ahead, turn by `rotation2`.

    Args:
        noise: a1 to a4, each >= 0. What is done differs from what is meant by draws from normal
            distributions of the variances a1 rotation^2 + a2 translation^2 for a rotation, and
            a3 translation^2 + a4 (rotation1^2 + rotation2^2) for the translation, angles in radians.
        seed: decides the draws.

    Returns: particles of the same shape; headings from 0 to 360, weights as they were.
    Raises InvalidNumberError and DimensionMismatchError. Cost: O(m).
    Source: sample_motion_model_odometry, Thrun, Burgard, Fox, "Probabilistic Robotics", table 5.6.
    """
    given = points_of("the particles", particles, 4)
    turn1, turn2 = one_number("rotation1", rotation1), one_number("rotation2", rotation2)
    way = one_number("translation", translation)
    if len(noise) != 4:
        raise InvalidNumberError(what="noise", wanted="four numbers")
    a1, a2, a3, a4 = (positive("noise", each, or_zero=True) for each in noise)
    r1, r2 = np.radians(turn1), np.radians(turn2)
    variances = (a1 * r1**2 + a2 * way**2, a3 * way**2 + a4 * (r1**2 + r2**2), a1 * r2**2 + a2 * way**2)
    errors = generator_of(seed).normal(size=(3, *given.shape[:-1]))
    first, going, last = (np.sqrt(variances)[:, None] * errors.reshape(3, -1)).reshape(errors.shape)
    moved = given.copy()
    direction = given[..., 2] + turn1 - np.degrees(first)
    moved[..., 0] += (way - going) * np.cos(np.radians(direction))
    moved[..., 1] += (way - going) * np.sin(np.radians(direction))
    moved[..., 2] = heading(direction + turn2 - np.degrees(last))
    return moved


def read_markers(
    particles: ArrayLike,
    markers: ArrayLike,
    *,
    field_of_view: float = TURN,
    range_max: float | None = None,
) -> Readings:
    """Where each particle would see the markers.

    Args:
        markers: shape (k, 2).
        field_of_view: degrees, above 0 and up to 360, half of them to each side.
        range_max: > 0; how far it sees. None: as far as you like.

    Raises InvalidNumberError and DimensionMismatchError. Cost: O(m k).
    """
    given = points_of("the particles", particles, 4)
    places = points_of("the markers", np.empty((0, 2)) if np.size(markers) == 0 else markers, 2)
    view = positive("field_of_view", field_of_view)
    if view > TURN or places.ndim != 2:
        raise InvalidNumberError(what="field_of_view", wanted="360 degrees at most")
    away = places - given[..., None, :2]
    distances = np.hypot(away[..., 0], away[..., 1])
    bearings = bearing(np.degrees(np.arctan2(away[..., 1], away[..., 0])) - given[..., 2, None])
    seen = np.abs(bearings) <= view / 2
    if range_max is not None:
        seen &= distances <= positive("range_max", range_max)
    turned = np.radians(bearings)
    points = np.stack([distances * np.cos(turned), distances * np.sin(turned)], axis=-1)
    return Readings(distances, bearings, points, seen)


def create_random(
    count: int, width: float, height: float, *, obstacles: Obstacles = (), seed: Seed = 0
) -> FloatArray:
    """`count` particles anywhere from (0, 0) to (width, height) and outside all obstacles.

    Returns: shape (count, 4), each with a heading from 0 to 360 and the weight 1 / count.
    Raises PathError where no free place was found in 200 draws for each.
    """
    wanted = whole("count", count, 1, COUNT_MAX)
    space = np.array([positive("width", width), positive("height", height)])
    boxes = boxes_of(obstacles, 2)
    rng = generator_of(seed)
    places = rng.uniform(size=(wanted, 2)) * space
    taken = np.flatnonzero(boxes.count_at(places))
    for _ in range(DRAWS_MAX):
        if not len(taken):
            break
        places[taken] = rng.uniform(size=(len(taken), 2)) * space
        taken = taken[boxes.count_at(places[taken]) > 0]
    else:
        raise PathError(reason="no free place was found for a particle; do the obstacles fill the world?")
    headings = rng.uniform(0, TURN, wanted)
    return np.column_stack([places, headings, np.full(wanted, 1 / wanted)])


def weigh(
    particles: ArrayLike,
    readings: ArrayLike,
    markers: ArrayLike,
    *,
    range_sigma: float,
    bearing_sigma: float,
) -> FloatArray:
    """Particles with their weights multiplied by how well each explains what was seen; they add up to 1.

    Args:
        readings: shape (k, 2): the distance and the bearing (degrees) at which marker k was seen.
        markers: shape (k, 2): where these markers are.
        range_sigma: > 0, of distances. bearing_sigma: > 0, of bearings, in degrees.

    Raises PathError where no particle has any weight. Cost: O(m k).
    Source: landmark_model_known_correspondence, same book, table 6.4, in logarithms.
    """
    given = path_of("the particles", particles, 4)
    measured = path_of("the readings", readings, 2)
    expected = read_markers(given, path_of("the markers", markers, 2))
    if len(measured) != expected.distances.shape[-1]:
        raise InvalidNumberError(what="the readings", wanted=f"{expected.distances.shape[-1]}, one a marker")
    off = (measured[:, 0] - expected.distances) / positive("range_sigma", range_sigma)
    turned = bearing(measured[:, 1] - expected.bearings) / positive("bearing_sigma", bearing_sigma)
    with np.errstate(divide="ignore"):
        logs = np.log(_weights(given)) - 0.5 * (off**2 + turned**2).sum(axis=-1)
    # The best becomes 1 before the exponential, which else is 0 for all where none fits well.
    weights = np.exp(logs - logs.max())
    return np.column_stack([given[:, :3], weights / weights.sum()])


def effective_count(particles: ArrayLike) -> float:
    """How many particles of equal weight would be as many guesses: 1 / sum of squared weights."""
    weights = _weights(path_of("the particles", particles, 4))
    return float(1 / np.square(weights).sum())


def resample(particles: ArrayLike, *, seed: Seed = 0) -> FloatArray:
    """As many particles again, each drawn as often as its weight says; then all weigh 1 / m.

    Cost: O(m log m). Source: low-variance sampler, same book, table 4.4: one draw decides for all.
    """
    given = path_of("the particles", particles, 4)
    count = len(given)
    marks = (np.arange(count) + generator_of(seed).uniform()) / count
    chosen = np.minimum(np.searchsorted(np.cumsum(_weights(given)), marks), count - 1)
    drawn = given[chosen]
    drawn[:, 3] = 1 / count
    return drawn


def estimate(particles: ArrayLike) -> FloatArray:
    """The weighted mean (x, y, heading), shape (3,); of headings that of their directions."""
    given = path_of("the particles", particles, 4)
    weights = _weights(given)
    turned = np.radians(given[:, 2])
    direction = np.arctan2(weights @ np.sin(turned), weights @ np.cos(turned))
    return np.array([*(weights @ given[:, :2]), float(heading(np.degrees(direction)))])


def _weights(particles: FloatArray) -> FloatArray:
    """The weights, adding up to 1."""
    weights = particles[:, 3]
    total = weights.sum()
    if (weights < 0).any() or not total > 0:
        raise PathError(reason="the particles need weights >= 0, one of them above 0")
    return np.asarray(weights / total)
