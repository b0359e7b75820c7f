"""Chance for compiled searches, from a state of their own: equal seeds give equal samples on any machine."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bellande_mesh_sync.search_path.compiled import compiled

Floats = NDArray[np.float64]
State = NDArray[np.uint64]
"""One number, changed by each draw."""

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B: Final = np.uint64(0x94D049BB133111EB)
_S30: Final = np.uint64(30)
_S27: Final = np.uint64(27)
_S31: Final = np.uint64(31)
_S11: Final = np.uint64(11)
_TRIES_MAX: Final = 64


@compiled
def uniform(state: State) -> float:
    """In [0, 1). SplitMix64 (Steele, Lea, Flood 2014)."""
    state[0] = state[0] + _GAMMA
    mixed = state[0]
    mixed = (mixed ^ (mixed >> _S30)) * _MIX_A
    mixed = (mixed ^ (mixed >> _S27)) * _MIX_B
    mixed = mixed ^ (mixed >> _S31)
    return float(mixed >> _S11) * (1.0 / 9007199254740992.0)


@compiled
def normal(state: State) -> float:
    """Mean 0, deviation 1 (Box and Muller 1958)."""
    return float(np.sqrt(-2.0 * np.log(1.0 - uniform(state))) * np.cos(2.0 * np.pi * uniform(state)))


@compiled
def sample(
    state: State, low: Floats, high: Floats, start: Floats, goal: Floats, bound: float, point: Floats
) -> bool:
    """Fill `point` with a place in the space through which a path shorter than `bound` could lead.

    Those places are an ellipsoid with `start` and `goal` as its foci. Drawn in turn from the space and from
    the ellipsoid, and kept if it lies in the other too: even in what they share, whichever is the smaller.
    False: none was found in so many tries. Source: informed RRT* (Gammell, Srinivasa, Barfoot 2014).
    """
    dimensions = low.shape[0]
    if bound == np.inf:
        for k in range(dimensions):
            point[k] = low[k] + uniform(state) * (high[k] - low[k])
        return True
    span = _distance(start, goal)
    for attempt in range(_TRIES_MAX):
        if attempt % 2 == 0:
            _draw_in_ellipsoid(state, start, goal, span, bound, point)
            fits = True
            for k in range(dimensions):
                fits = fits and low[k] <= point[k] <= high[k]
        else:
            for k in range(dimensions):
                point[k] = low[k] + uniform(state) * (high[k] - low[k])
            fits = _distance(start, point) + _distance(point, goal) <= bound
        if fits:
            return True
    return False


@compiled
def _draw_in_ellipsoid(
    state: State, start: Floats, goal: Floats, span: float, bound: float, point: Floats
) -> None:
    """A place in the unit ball, stretched along the first axis, and mirrored so that it lies along the foci.

    The mirror (Householder) does what a rotation would, for the ball is round.
    """
    dimensions = start.shape[0]
    length2 = 0.0
    for k in range(dimensions):
        point[k] = normal(state)
        length2 += point[k] * point[k]
    scale = uniform(state) ** (1.0 / dimensions) / np.sqrt(max(length2, 1e-300))
    narrow = 0.5 * np.sqrt(max(bound * bound - span * span, 0.0))
    for k in range(dimensions):
        point[k] *= scale * (0.5 * bound if k == 0 else narrow)
    if span > 0.0:
        dot, mirror2 = 0.0, 0.0
        for k in range(dimensions):
            mirror = (goal[k] - start[k]) / span - (1.0 if k == 0 else 0.0)
            dot += mirror * point[k]
            mirror2 += mirror * mirror
        if mirror2 > 1e-24:
            for k in range(dimensions):
                mirror = (goal[k] - start[k]) / span - (1.0 if k == 0 else 0.0)
                point[k] -= 2.0 * dot / mirror2 * mirror
    for k in range(dimensions):
        point[k] += 0.5 * (start[k] + goal[k])


@compiled
def _distance(a: Floats, b: Floats) -> float:
    total = 0.0
    for k in range(a.shape[0]):
        total += (a[k] - b[k]) ** 2
    return float(np.sqrt(total))
