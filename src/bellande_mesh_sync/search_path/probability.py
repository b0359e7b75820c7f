"""Probability: how likely a point is under a normal distribution whose axes are given by formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, points_of, positive, whole
from bellande_mesh_sync.search_path.expressions import Expression

NORMAL_95 = 1.959963984540054
"""95 % of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class Probability:
    density: FloatArray
    """Shape () or (m,): the density at each point; 0 where it is below what a float holds."""
    log_density: FloatArray
    """Its natural logarithm, which does not vanish."""
    axis_densities: FloatArray
    """Shape (n,) or (m, n): the density along each axis, whose product is `density`."""
    distance: FloatArray
    """Shape () or (m,): the Mahalanobis distance from the mean."""
    means: FloatArray
    """Shape (n,)."""
    sigmas: FloatArray
    """Shape (n,)."""
    low: FloatArray
    """Shape (n,): mean - z * sigma."""
    high: FloatArray
    """Shape (n,): mean + z * sigma."""


def probability(
    mu: str | Expression, sigma: str | Expression, x: ArrayLike, *, first: int = 0, z: float = NORMAL_95
) -> Probability:
    """The density of x where axis i has the mean mu(i) and the standard deviation sigma(i).

    Args:
        mu, sigma: formulas in `i` (the axis, from `first` on) and `n` (how many axes), as "1 + i * 0.1";
            see `expressions`. Standard deviations must be > 0.
        x: shape (n,) or (m, n), in the unit of mu and sigma.
        first: the number of the first axis.
        z: > 0; how many standard deviations the interval `low` to `high` reaches to each side.

    Raises InvalidExpressionError and InvalidNumberError. Cost: O(m n).
    Source: normal distribution with diagonal covariance, Bishop, "Pattern Recognition and Machine
    Learning", 2.3. This reading is our own: docs/search-path/probability.md.
    """
    points = points_of("x", x)
    count = points.shape[-1]
    axes = np.arange(count, dtype=np.float64) + whole("first", first, -(2**31), 2**31)
    means, sigmas = (_formula(each).at(axes, count) for each in (mu, sigma))
    if (sigmas <= 0).any():
        axis = axes[sigmas <= 0][0]
        raise InvalidNumberError(what=f"sigma for i = {axis:g}", wanted="above 0")
    scaled = (points - means) / sigmas
    logs = -0.5 * scaled**2 - np.log(sigmas) - 0.5 * np.log(2 * np.pi)
    total = logs.sum(axis=-1)
    reach = positive("z", z) * sigmas
    return Probability(
        density=np.exp(total),
        log_density=total,
        axis_densities=np.exp(logs),
        distance=np.sqrt(np.square(scaled).sum(axis=-1)),
        means=means,
        sigmas=sigmas,
        low=means - reach,
        high=means + reach,
    )


def _formula(text: str | Expression) -> Expression:
    return text if isinstance(text, Expression) else Expression(text)
