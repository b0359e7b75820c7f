"""Weights and likelihoods: adding up to one, averaging by them, and their logarithms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bellande_mesh_sync.errors import InvalidNumberError
from bellande_mesh_sync.search_path.arrays import FloatArray, finite_numbers

SMALLEST_SUM = 1e-10
"""A sum below this, whatever its sign, is too small to divide by."""


def normalise(weights: ArrayLike) -> FloatArray:
    """The weights, shape (m,), divided by their sum. Raises InvalidNumberError where that is nearly 0."""
    given = _weights(weights)
    return given / _total(given)


def weighted_average(weights: ArrayLike, values: ArrayLike) -> FloatArray:
    """The mean of values, shape (m,) or (m, n), by their weights, shape (m,). Shape () or (n,)."""
    given = _weights(weights)
    averaged = finite_numbers("the values", values)
    if not averaged.ndim or len(averaged) != len(given):
        raise InvalidNumberError(what="the values", wanted=f"{len(given)}, as many as there are weights")
    return np.asarray(np.tensordot(given, averaged, axes=1) / _total(given))


def log_likelihood(probabilities: ArrayLike) -> FloatArray:
    """ln p, of any shape. Raises InvalidNumberError unless 0 < p <= 1."""
    given = finite_numbers("a probability", probabilities)
    if not ((given > 0) & (given <= 1)).all():
        raise InvalidNumberError(what="a probability", wanted="above 0 and at most 1")
    return np.log(given)


def likelihood(logs: ArrayLike) -> FloatArray:
    """exp(l), of any shape: the way back. Raises InvalidNumberError unless l <= 0."""
    given = finite_numbers("a log-likelihood", logs)
    if (given > 0).any():
        raise InvalidNumberError(what="a log-likelihood", wanted="0 at most")
    return np.exp(given)


def _weights(weights: ArrayLike) -> FloatArray:
    given = finite_numbers("the weights", weights)
    if given.ndim != 1 or not len(given):
        raise InvalidNumberError(what="the weights", wanted="a list of numbers, with one at least")
    return given


def _total(weights: FloatArray) -> float:
    total = float(weights.sum())
    if abs(total) < SMALLEST_SUM:
        raise InvalidNumberError(what="the sum of the weights", wanted=f"{SMALLEST_SUM:g} or more")
    return total
