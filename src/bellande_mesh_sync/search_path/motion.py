"""Motion probability: how well a particle fits what odometry says of the robot's move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.search_path.angles import bearing, heading
from bellande_mesh_sync.search_path.arrays import BoolArray, FloatArray, point_of, points_of, positive, whole
from bellande_mesh_sync.search_path.seeds import Seed, generator_of

SAMPLES_MAX = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class MotionProbability:
    density: FloatArray
    """Shape () or (m,): the particle's weight times the density of its move."""
    log_density: FloatArray
    """Its natural logarithm; -inf for a particle without weight."""
    odometry: FloatArray
    """Shape (3,): rotation, translation, rotation from the previous pose to the current one."""
    hypothesis: FloatArray
    """Shape (3,) or (m, 3): the same to each particle."""
    samples: FloatArray
    """Shape (s, 3): poses drawn from what odometry says."""
    near: BoolArray
    """Shape (s,) or (m, s): whether each is within the search radius of the particle."""


def motion_probability(
    particles: ArrayLike,
    previous: ArrayLike,
    current: ArrayLike,
    *,
    trans_sigma: float = 0.1,
    rot_sigma: float = 0.1,
    head_sigma: float = 0.1,
    search_radius: float = 50.0,
    sample_points: int = 20,
    radians: bool = False,
    seed: Seed = 0,
) -> MotionProbability:
    """The density of having come from `previous` to each particle, given odometry's way to `current`.

    Args:
        particles: shape (4,) or (m, 4): x, y, heading, weight.
        previous, current: shape (3,): x, y, heading, as odometry has them.
        trans_sigma: > 0, of the way. rot_sigma, head_sigma: > 0, of the first and the second rotation,
            in the unit of the headings.
        search_radius: >= 0; samples farther than this from a particle are not `near` it.
        sample_points: 0 to 1,000,000; so many poses are drawn.
        radians: whether angles are in radians; else in degrees.

    Raises InvalidNumberError and DimensionMismatchError. Cost: O(m s).
    Source: motion_model_odometry, Thrun, Burgard, Fox, "Probabilistic Robotics", table 5.5, with fixed
    deviations. This reading is our own: docs/search-path/motion-probability.md.
    """
    given = points_of("the particles", particles, 4)
    unit = 180 / np.pi if radians else 1.0
    before, after = point_of("previous", previous, 3), point_of("current", current, 3)
    sigmas = np.array(
        [positive("rot_sigma", rot_sigma) * unit, positive("trans_sigma", trans_sigma),
         positive("head_sigma", head_sigma) * unit]
    )  # fmt: skip
    weights = given[..., 3]
    if (weights < 0).any():
        positive("a particle's weight", float(weights.min()), or_zero=True)
    start, goal, guesses = _degrees(before, unit), _degrees(after, unit), _degrees(given[..., :3], unit)
    odometry, hypothesis = _moves(start, goal), _moves(start, guesses)
    off = odometry - hypothesis
    off[..., 0], off[..., 2] = bearing(off[..., 0]), bearing(off[..., 2])
    # A density per the caller's unit of angle, not per degree.
    scale = np.log(sigmas / [unit, 1.0, unit]) + 0.5 * np.log(2 * np.pi)
    with np.errstate(divide="ignore"):
        logs = np.log(weights) - (0.5 * (off / sigmas) ** 2 + scale).sum(axis=-1)
    samples = _draws(start, odometry, sigmas, whole("sample_points", sample_points, 0, SAMPLES_MAX), seed)
    away = samples[:, :2] - guesses[..., None, :2]
    near = np.hypot(away[..., 0], away[..., 1]) <= positive("search_radius", search_radius, or_zero=True)
    turned = np.array([unit, 1.0, unit])
    return MotionProbability(
        np.exp(logs), logs, odometry / turned, hypothesis / turned, samples / [1.0, 1.0, unit], near
    )


def _degrees(poses: FloatArray, unit: float) -> FloatArray:
    return np.asarray(poses * [1.0, 1.0, unit])


def _moves(start: FloatArray, goals: FloatArray) -> FloatArray:
    """(rotation, translation, rotation) in degrees from one pose to each goal; on the spot no first one."""
    away = goals[..., :2] - start[:2]
    way = np.hypot(away[..., 0], away[..., 1])
    turn = bearing(np.degrees(np.arctan2(away[..., 1], away[..., 0])) - start[2])
    first = np.where(way > 0, turn, 0.0)
    return np.stack([first, way, bearing(goals[..., 2] - start[2] - first)], axis=-1)


def _draws(start: FloatArray, move: FloatArray, sigmas: FloatArray, count: int, seed: Seed) -> FloatArray:
    first, way, last = (move + generator_of(seed).normal(size=(count, 3)) * sigmas).T
    direction = np.radians(start[2] + first)
    x, y = start[0] + way * np.cos(direction), start[1] + way * np.sin(direction)
    return np.column_stack([x, y, heading(start[2] + first + last)])
